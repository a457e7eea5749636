//! What the messages of peers are handed to.

use std::future::Future;

use bytes::Bytes;
use futures::stream::BoxStream;
use quorate_core::{
    name::LedgerName,
    position::{NodeId, TreeSize},
};
use quorate_proto::peer::v1 as pb;

use crate::consensus::{Consensus, Refusal};

/// Takes Raft messages. `peer` is the node that the connection proved; an implementation refuses every message
/// whose envelope does not say the same, or is not for this node and cluster.
pub trait RaftHandler: Send + Sync + 'static {
    /// Answers append requests in their order; the first error ends the call.
    fn append(
        &self,
        peer: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxStream<'static, Result<pb::AppendResponse, Refusal>>;

    /// Answers a vote or pre-vote request.
    fn vote(
        &self,
        peer: NodeId,
        request: pb::VoteRequest,
    ) -> impl Future<Output = Result<pb::VoteResponse, Refusal>> + Send;

    /// Says what is missing of a snapshot.
    fn offer_snapshot(
        &self,
        peer: NodeId,
        offer: pb::SnapshotOffer,
    ) -> impl Future<Output = Result<pb::SnapshotAnswer, Refusal>> + Send;

    /// Receives and installs the snapshot that was offered last. A stream that ends early was cut.
    fn install_snapshot(
        &self,
        peer: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> impl Future<Output = Result<pb::SnapshotResponse, Refusal>> + Send;

    /// Gives a read position.
    fn read_index(
        &self,
        peer: NodeId,
        request: pb::ReadIndexRequest,
    ) -> impl Future<Output = Result<pb::ReadIndexResponse, Refusal>> + Send;

    /// Says whether this node has room to lead.
    fn ask_room(
        &self,
        peer: NodeId,
        request: pb::RoomRequest,
    ) -> impl Future<Output = Result<pb::RoomResponse, Refusal>> + Send;

    /// Takes over leadership.
    fn transfer_leader(
        &self,
        peer: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> impl Future<Output = Result<pb::TransferLeaderResponse, Refusal>> + Send;
}

/// Takes and gives cosignatures. Envelopes are checked before; signatures are not.
pub trait CosignHandler: Send + Sync + 'static {
    /// `from` sent these cosignatures, made by itself if they verify with its key. Must not wait.
    fn incoming(&self, from: NodeId, batch: Vec<pb::Cosignature>);

    /// This node's own cosignatures of a ledger, from a size on, ascending, at most `limit`. With `refresh`, a stale
    /// signature of the newest checkpoint is made anew first.
    fn get(
        &self,
        ledger: &LedgerName,
        from: TreeSize,
        limit: usize,
        refresh: bool,
    ) -> impl Future<Output = Vec<pb::Cosignature>> + Send;
}

/// The name of one data directory of a node: random, drawn when the directory is made, and so another one after the
/// directory was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life([u8; 16]);

impl Life {
    /// A new one.
    ///
    /// # Errors
    /// The operating system's: it has no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut life = [0; 16];
        getrandom::fill(&mut life)?;
        Ok(Self(life))
    }

    /// From its 16 bytes; `None` from any other number of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its 16 bytes.
    #[must_use]
    pub fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

/// What a node answers to one that starts on an empty data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The first life of the asking node that it heard of, and keeps.
    pub life: Life,
    /// Whether the answering node itself takes part.
    pub takes_part: bool,
}

/// Remembers the nodes that started.
pub trait EnrollHandler: Send + Sync + 'static {
    /// `peer` starts with `life`. What the answer says is on disk.
    ///
    /// # Errors
    /// Why it is not noted, for the peer's log.
    fn enroll(&self, peer: NodeId, life: Life) -> impl Future<Output = Result<Enrolled, String>> + Send;
}

impl RaftHandler for Consensus {
    fn append(
        &self,
        peer: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxStream<'static, Result<pb::AppendResponse, Refusal>> {
        self.handle_append(peer.get(), requests)
    }

    async fn vote(&self, peer: NodeId, request: pb::VoteRequest) -> Result<pb::VoteResponse, Refusal> {
        self.handle_vote(peer.get(), request).await
    }

    async fn offer_snapshot(
        &self,
        peer: NodeId,
        offer: pb::SnapshotOffer,
    ) -> Result<pb::SnapshotAnswer, Refusal> {
        self.handle_offer(peer.get(), offer).await
    }

    async fn install_snapshot(
        &self,
        peer: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotResponse, Refusal> {
        self.handle_snapshot(peer.get(), chunks).await
    }

    async fn read_index(
        &self,
        peer: NodeId,
        request: pb::ReadIndexRequest,
    ) -> Result<pb::ReadIndexResponse, Refusal> {
        self.handle_read_index(peer.get(), request).await
    }

    async fn ask_room(&self, peer: NodeId, request: pb::RoomRequest) -> Result<pb::RoomResponse, Refusal> {
        self.handle_room(peer.get(), &request)
    }

    async fn transfer_leader(
        &self,
        peer: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Refusal> {
        self.handle_transfer_leader(peer.get(), request).await
    }
}
