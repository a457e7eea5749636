//! What the messages of peers are handed to.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use futures::stream::BoxStream;
use quorate_core::{
    name::LedgerName,
    position::{NodeId, TreeSize},
};
use quorate_proto::peer::v1 as pb;
use zeroize::Zeroizing;

use super::wire::Wire;
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
    /// `from` sent these cosignatures, made by itself if they verify with its key; none: somebody waits there. Must not
    /// wait.
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

/// Why a node is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    /// In words for its log.
    pub why: String,
    /// For a node that was removed: the first epoch without it.
    pub removed_in: Option<u64>,
}

/// Says who is let in.
pub trait Gate: Send + Sync + 'static {
    /// Whether `peer`, as the connection proved it, may make calls.
    ///
    /// # Errors
    /// Why not.
    fn admit(&self, peer: NodeId) -> Result<(), TurnedAway>;
}

/// What becomes of a node that asks to be registered.
#[derive(Debug)]
pub enum Joined {
    /// It is registered: the cluster's log secret.
    Registered(Zeroizing<[u8; 32]>),
    /// Another node leads; 0 = none is known.
    NotLeader(u64),
    /// Why not, in words for people.
    Refused(String),
}

/// Registers nodes, and keeps what is needed of earlier epochs.
pub trait MemberHandler: Send + Sync + 'static {
    /// `peer` was invited and asks to be registered with this record, which nobody has checked.
    fn join(&self, peer: NodeId, record: Bytes) -> impl Future<Output = Joined> + Send;

    /// What is kept here of the beginning of an epoch: the state proof, and cosignatures.
    fn epoch(&self, epoch: u64) -> impl Future<Output = (Bytes, Vec<pb::NodeCosignature>)> + Send;
}

/// Compares blocks.
pub trait BlockHandler: Send + Sync + 'static {
    /// What is held here for the same term, height and proposer as these, where it is another block. What two signatures
    /// prove is kept.
    fn compare(&self, theirs: &[pb::BlockClaim]) -> Vec<pb::BlockClaim>;
}

/// What the calls of peers are handed to.
pub struct Handlers<R, C, E, M> {
    /// Raft messages.
    pub raft: R,
    /// Cosignatures.
    pub cosign: C,
    /// First starts.
    pub enroll: E,
    /// New nodes, and earlier epochs.
    pub members: M,
    /// Blocks that are compared.
    pub blocks: Arc<dyn BlockHandler>,
    /// Who is let in to any of these but to ask to be registered.
    pub gate: Arc<dyn Gate>,
    /// Which versions are spoken.
    pub wire: Wire,
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
