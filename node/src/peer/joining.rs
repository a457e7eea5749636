//! Asks peers to be registered, and for what they keep of earlier epochs.

use std::time::Duration;

use bytes::Bytes;
use quorate_core::position::NodeId;
use quorate_proto::peer::v1::{self as pb, join_response::Result as Out};
use zeroize::Zeroizing;

use super::{envelope, handler::Joined, peers::Peers};
use crate::consensus::PeerError;

/// Time for an answer about a registration, which is given when it is agreed on.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for other answers.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Peers {
    /// Asks `node` to register this node with an encoded record.
    ///
    /// # Errors
    /// No answer, or one that makes no sense: the node may be registered.
    pub async fn join(&self, node: NodeId, record: Bytes) -> Result<Joined, PeerError> {
        let failed = |why: String| PeerError::Failed { node: node.get(), why };
        let mut client = self.reach(node)?;
        let envelope = Some(envelope::envelope(self.own(), node));
        let request = self.request(pb::JoinRequest { envelope, record });
        let answer = tokio::time::timeout(JOIN_TIMEOUT, client.join(request)).await;
        let answer = answer.map_err(|_| failed(format!("no answer within {JOIN_TIMEOUT:?}")))?;
        let answer = answer.map_err(|status| self.failed(node, &status))?.into_inner();
        envelope::check(self.own(), node, answer.envelope.as_ref())
            .map_err(|error| failed(error.to_string()))?;
        match answer.result {
            Some(Out::LogSecret(secret)) => {
                let secret: [u8; 32] =
                    secret.as_ref().try_into().map_err(|_| failed("a log secret is 32 bytes".to_owned()))?;
                Ok(Joined::Registered(Zeroizing::new(secret)))
            }
            Some(Out::NotLeader(leader)) => Ok(Joined::NotLeader(leader.leader)),
            Some(Out::Refused(why)) => Ok(Joined::Refused(why)),
            None => Err(failed("an answer that says nothing".to_owned())),
        }
    }

    /// Asks `node` for what it keeps of the beginning of an epoch. Nothing of it is checked.
    ///
    /// # Errors
    /// No answer, or one that makes no sense.
    pub async fn epoch(&self, node: NodeId, epoch: u64) -> Result<pb::GetEpochResponse, PeerError> {
        let failed = |why: String| PeerError::Failed { node: node.get(), why };
        let mut client = self.reach(node)?;
        let envelope = Some(envelope::envelope(self.own(), node));
        let request = self.request(pb::GetEpochRequest { envelope, epoch });
        let answer = tokio::time::timeout(TIMEOUT, client.get_epoch(request)).await;
        let answer = answer.map_err(|_| failed(format!("no answer within {TIMEOUT:?}")))?;
        let answer = answer.map_err(|status| self.failed(node, &status))?.into_inner();
        envelope::check(self.own(), node, answer.envelope.as_ref())
            .map_err(|error| failed(error.to_string()))?;
        Ok(answer)
    }
}
