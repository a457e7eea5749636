//! What consensus asks of the connections to other nodes.
//!
//! Contract. One connection per peer; messages of one `append` call arrive in order, and so do its answers.
//! A failure to get an answer is an error, and nothing else: it is never taken for a grant. Timeouts of
//! whole calls are enforced by the caller here, keepalive and message size limits by the implementation.

use futures::{future::BoxFuture, stream::BoxStream};
use quorate_proto::peer::v1 as pb;

use super::types::{Member, NodeId};

/// Why a call to a peer gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No connection, or its address is unknown.
    #[error("node {node} cannot be reached: {why}")]
    Unreachable {
        /// The peer.
        node: NodeId,
        /// What happened.
        why: String,
    },
    /// The call failed after it was sent: lost, refused by the peer, or answered with nonsense.
    #[error("the call to node {node} failed: {why}")]
    Failed {
        /// The peer.
        node: NodeId,
        /// What happened.
        why: String,
    },
    /// No answer in time.
    #[error("node {node} did not answer within {millis} ms")]
    Timeout {
        /// The peer.
        node: NodeId,
        /// How long was waited, in milliseconds.
        millis: u64,
    },
}

/// A stream of answers to append requests.
pub type AppendAnswers = BoxStream<'static, Result<pb::AppendResponse, PeerError>>;

/// The connections to the other nodes.
pub trait PeerTransport: Send + Sync + 'static {
    /// Tells where a node is reached, as the membership says. Called before the first call to it, and again
    /// when the address changed. Must not block.
    fn learn(&self, node: NodeId, member: &Member);

    /// Opens a long-lived stream of append requests, and of their answers in the same order. Dropping the
    /// answers ends the call.
    fn append(
        &self,
        node: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxFuture<'static, Result<AppendAnswers, PeerError>>;

    /// Asks for a vote or a pre-vote.
    fn vote(
        &self,
        node: NodeId,
        request: pb::VoteRequest,
    ) -> BoxFuture<'static, Result<pb::VoteResponse, PeerError>>;

    /// Offers a snapshot; answered with what is missing of it.
    fn offer_snapshot(
        &self,
        node: NodeId,
        offer: pb::SnapshotOffer,
    ) -> BoxFuture<'static, Result<pb::SnapshotAnswer, PeerError>>;

    /// Sends what is missing of the snapshot that was offered last; answered when it is installed or refused.
    fn install_snapshot(
        &self,
        node: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> BoxFuture<'static, Result<pb::SnapshotResponse, PeerError>>;

    /// Asks the leader for a read position.
    fn read_index(
        &self,
        node: NodeId,
        request: pb::ReadIndexRequest,
    ) -> BoxFuture<'static, Result<pb::ReadIndexResponse, PeerError>>;

    /// Asks whether a node has room to lead.
    fn ask_room(
        &self,
        node: NodeId,
        request: pb::RoomRequest,
    ) -> BoxFuture<'static, Result<pb::RoomResponse, PeerError>>;

    /// Hands leadership over.
    fn transfer_leader(
        &self,
        node: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<pb::TransferLeaderResponse, PeerError>>;
}
