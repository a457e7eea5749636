//! Who says what to whom, for the messages that do not go through consensus (which checks its own).

use bytes::Bytes;
use quorate_core::position::NodeId;
use quorate_proto::peer::v1 as pb;

use crate::{consensus::EnvelopeError, tls::PeerIdentity};

/// Name of the metadata entry by which a node says who it is where nothing proves it.
pub(super) const NODE_HEADER: &str = "quorate-node";

/// Name of the metadata entry by which a node hears in which epoch it was removed.
pub(super) const REMOVED_HEADER: &str = "quorate-removed-in";

/// An envelope from `own` to `to`.
pub(super) fn envelope(own: PeerIdentity, to: NodeId) -> pb::Envelope {
    let cluster_id = Bytes::copy_from_slice(own.cluster.as_bytes());
    pb::Envelope { cluster_id, from: own.node.get(), to: to.get() }
}

/// Checks the envelope of a message that came to `own` over the connection with `from`.
pub(super) fn check(
    own: PeerIdentity,
    from: NodeId,
    envelope: Option<&pb::Envelope>,
) -> Result<(), EnvelopeError> {
    let envelope = envelope.ok_or(EnvelopeError::Missing)?;
    if envelope.cluster_id.as_ref() != own.cluster.as_bytes() {
        let found = hex::encode(&envelope.cluster_id);
        return Err(EnvelopeError::Cluster { expected: own.cluster.to_string(), found });
    }
    if envelope.from != from.get() {
        return Err(EnvelopeError::From { expected: from.get(), found: envelope.from });
    }
    if envelope.to != own.node.get() {
        return Err(EnvelopeError::To { expected: own.node.get(), found: envelope.to });
    }
    Ok(())
}
