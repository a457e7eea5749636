//! What the messages of peers are handed to.

use std::future::Future;

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

    /// Receives and installs a snapshot. A stream that ends early was cut.
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

    async fn transfer_leader(
        &self,
        peer: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Refusal> {
        self.handle_transfer_leader(peer.get(), request).await
    }
}
