//! Handlers that are there before what they hand to: a node answers peers before it takes part.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::{StreamExt, future, stream, stream::BoxStream};
use quorate_core::{
    name::LedgerName,
    position::{NodeId, TreeSize},
};
use quorate_proto::peer::v1 as pb;

use super::handler::{BlockHandler, CosignHandler, Joined, MemberHandler, RaftHandler};
use crate::consensus::Refusal;

/// Hands everything on to what [`Later::set`] was given. Before that, Raft messages are refused and cosignatures are
/// dropped, which is as if this node did not run. Clones share it.
#[derive(Debug)]
pub struct Later<T>(Arc<OnceLock<T>>);

impl<T> Later<T> {
    /// From now on `handler` is handed everything; only the first call has an effect.
    pub fn set(&self, handler: T) {
        self.0.get_or_init(|| handler);
    }
}

impl<T> Default for Later<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Later<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: RaftHandler> Later<R> {
    fn taking_part(&self) -> Result<&R, Refusal> {
        self.0.get().ok_or(Refusal::NotYet)
    }
}

impl<R: RaftHandler> RaftHandler for Later<R> {
    fn append(
        &self,
        peer: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxStream<'static, Result<pb::AppendResponse, Refusal>> {
        match self.taking_part() {
            Ok(raft) => raft.append(peer, requests),
            Err(refusal) => stream::once(future::ready(Err(refusal))).boxed(),
        }
    }

    async fn vote(&self, peer: NodeId, request: pb::VoteRequest) -> Result<pb::VoteResponse, Refusal> {
        self.taking_part()?.vote(peer, request).await
    }

    async fn offer_snapshot(
        &self,
        peer: NodeId,
        offer: pb::SnapshotOffer,
    ) -> Result<pb::SnapshotAnswer, Refusal> {
        self.taking_part()?.offer_snapshot(peer, offer).await
    }

    async fn install_snapshot(
        &self,
        peer: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotResponse, Refusal> {
        self.taking_part()?.install_snapshot(peer, chunks).await
    }

    async fn read_index(
        &self,
        peer: NodeId,
        request: pb::ReadIndexRequest,
    ) -> Result<pb::ReadIndexResponse, Refusal> {
        self.taking_part()?.read_index(peer, request).await
    }

    async fn ask_room(&self, peer: NodeId, request: pb::RoomRequest) -> Result<pb::RoomResponse, Refusal> {
        self.taking_part()?.ask_room(peer, request).await
    }

    async fn transfer_leader(
        &self,
        peer: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Refusal> {
        self.taking_part()?.transfer_leader(peer, request).await
    }
}

impl<C: CosignHandler> CosignHandler for Later<C> {
    fn incoming(&self, from: NodeId, batch: Vec<pb::Cosignature>) {
        if let Some(signer) = self.0.get() {
            signer.incoming(from, batch);
        }
    }

    async fn get(
        &self,
        ledger: &LedgerName,
        from: TreeSize,
        limit: usize,
        refresh: bool,
    ) -> Vec<pb::Cosignature> {
        match self.0.get() {
            Some(signer) => signer.get(ledger, from, limit, refresh).await,
            None => Vec::new(),
        }
    }
}

impl<B: BlockHandler> BlockHandler for Later<Arc<B>> {
    fn compare(&self, theirs: &[pb::BlockClaim]) -> Vec<pb::BlockClaim> {
        self.0.get().map(|blocks| blocks.compare(theirs)).unwrap_or_default()
    }
}

impl<M: MemberHandler> MemberHandler for Later<M> {
    async fn join(&self, peer: NodeId, record: Bytes) -> Joined {
        match self.0.get() {
            Some(members) => members.join(peer, record).await,
            None => Joined::NotLeader(0),
        }
    }

    async fn epoch(&self, epoch: u64) -> (Bytes, Vec<pb::NodeCosignature>) {
        match self.0.get() {
            Some(members) => members.epoch(epoch).await,
            None => (Bytes::new(), Vec::new()),
        }
    }
}
