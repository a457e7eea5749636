//! Asks a peer whether it knows this node from before.

use std::time::Duration;

use quorate_core::position::NodeId;
use quorate_proto::peer::v1 as pb;

use super::{
    envelope,
    handler::{Enrolled, Life},
    peers::Peers,
};
use crate::consensus::PeerError;

/// Time for an answer, which is given after a write to disk.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Peers {
    /// Tells `node` that this node starts with `life`, and gives what that node knows.
    ///
    /// # Errors
    /// No answer, or one that makes no sense.
    pub async fn enroll(&self, node: NodeId, life: Life) -> Result<Enrolled, PeerError> {
        let failed = |why: String| PeerError::Failed { node: node.get(), why };
        let mut client = self.reach(node)?;
        let envelope = Some(envelope::envelope(self.own(), node));
        let request = self.request(pb::EnrollRequest { envelope, life: life.to_bytes() });
        let answer = tokio::time::timeout(TIMEOUT, client.enroll(request)).await;
        let answer = answer.map_err(|_| failed(format!("no answer within {TIMEOUT:?}")))?;
        let answer = answer.map_err(|status| self.failed(node, &status))?.into_inner();
        envelope::check(self.own(), node, answer.envelope.as_ref())
            .map_err(|error| failed(error.to_string()))?;
        let life = Life::from_bytes(&answer.life).ok_or_else(|| failed("a life is 16 bytes".to_owned()))?;
        Ok(Enrolled { life, takes_part: answer.takes_part })
    }
}
