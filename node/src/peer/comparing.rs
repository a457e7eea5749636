//! Compares the blocks that this node holds with those of a peer.

use std::time::Duration;

use quorate_core::position::NodeId;
use quorate_proto::peer::v1 as pb;

use super::{envelope, peers::Peers};
use crate::consensus::PeerError;

/// Time for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Blocks in one message, at most.
pub(super) const MAX_BLOCKS: usize = 4_096;

impl Peers {
    /// Shows `node` the blocks that are held here, and gives those that it holds in their places, where they are others.
    /// Nothing of the answer is checked.
    ///
    /// # Errors
    /// No answer, or one that makes no sense.
    pub async fn compare_blocks(
        &self,
        node: NodeId,
        blocks: Vec<pb::BlockClaim>,
    ) -> Result<Vec<pb::BlockClaim>, PeerError> {
        let failed = |why: String| PeerError::Failed { node: node.get(), why };
        let mut client = self.reach(node)?;
        let envelope = Some(envelope::envelope(self.own(), node));
        let request = self.request(pb::CompareBlocksRequest { envelope, blocks });
        let answer = tokio::time::timeout(TIMEOUT, client.compare_blocks(request)).await;
        let answer = answer.map_err(|_| failed(format!("no answer within {TIMEOUT:?}")))?;
        let answer = answer.map_err(|status| self.failed(node, &status))?.into_inner();
        envelope::check(self.own(), node, answer.envelope.as_ref())
            .map_err(|error| failed(error.to_string()))?;
        if answer.blocks.len() > MAX_BLOCKS {
            return Err(failed(format!("{} blocks, at most {MAX_BLOCKS} are taken", answer.blocks.len())));
        }
        Ok(answer.blocks)
    }
}
