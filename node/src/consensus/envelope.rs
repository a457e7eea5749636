//! Who says what to whom: every message between nodes carries it, and every message is checked for it.

use bytes::Bytes;
use quorate_proto::peer::v1 as pb;

use super::types::NodeId;

/// An envelope that is not for this node, or not from who the connection says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// There is none.
    #[error("the message has no envelope")]
    Missing,
    /// Another cluster.
    #[error("the message is of cluster {found}, this is cluster {expected}")]
    Cluster {
        /// This cluster, hex.
        expected: String,
        /// The cluster in the message, hex.
        found: String,
    },
    /// Another sender than the connection's.
    #[error("the message says it is from node {found}, the connection is with node {expected}")]
    From {
        /// The node the connection is with.
        expected: NodeId,
        /// The node in the message.
        found: NodeId,
    },
    /// Meant for another node.
    #[error("the message is for node {found}, this is node {expected}")]
    To {
        /// This node.
        expected: NodeId,
        /// The node in the message.
        found: NodeId,
    },
}

/// This node's place: makes envelopes, checks those of others.
#[derive(Clone, Debug)]
pub(crate) struct Postmark {
    cluster_id: Bytes,
    node: NodeId,
}

impl Postmark {
    pub(crate) fn new(cluster_id: [u8; 16], node: NodeId) -> Self {
        Self { cluster_id: Bytes::copy_from_slice(&cluster_id), node }
    }

    /// An envelope to `to`.
    pub(crate) fn to(&self, to: NodeId) -> pb::Envelope {
        pb::Envelope { cluster_id: self.cluster_id.clone(), from: self.node, to }
    }

    /// Checks the envelope of a message that came over the connection with `from`.
    pub(crate) fn check(&self, envelope: Option<&pb::Envelope>, from: NodeId) -> Result<(), EnvelopeError> {
        let envelope = envelope.ok_or(EnvelopeError::Missing)?;
        if envelope.cluster_id != self.cluster_id {
            let (expected, found) = (hex::encode(&self.cluster_id), hex::encode(&envelope.cluster_id));
            return Err(EnvelopeError::Cluster { expected, found });
        }
        if envelope.from != from {
            return Err(EnvelopeError::From { expected: from, found: envelope.from });
        }
        if envelope.to != self.node {
            return Err(EnvelopeError::To { expected: self.node, found: envelope.to });
        }
        Ok(())
    }
}
