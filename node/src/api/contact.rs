//! When this node last heard from a leader: for people who look at a status, and for nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use quorate_core::position::NodeId;
use quorate_proto::peer::v1 as pb;

use crate::{clock::Clock, consensus::Refusal, peer::RaftHandler};

/// The time of the last message of a leader. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct LeaderContact {
    clock: Clock,
    /// Monotonic milliseconds.
    heard_ms: Arc<AtomicU64>,
}

impl LeaderContact {
    /// Begins as if a leader had been heard now.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let contact = Self { clock, heard_ms: Arc::default() };
        contact.heard();
        contact
    }

    /// A message of a leader arrived.
    pub fn heard(&self) {
        self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Time since the last message of a leader.
    #[must_use]
    pub fn silence(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.heard_ms.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Hands Raft messages on and notes when a leader was heard.
pub struct Listening<R> {
    inner: R,
    contact: LeaderContact,
}

impl<R> Listening<R> {
    /// Notes what is handed to `inner` in `contact`.
    pub const fn new(inner: R, contact: LeaderContact) -> Self {
        Self { inner, contact }
    }
}

impl<R: RaftHandler> RaftHandler for Listening<R> {
    fn append(
        &self,
        peer: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxStream<'static, Result<pb::AppendResponse, Refusal>> {
        let contact = self.contact.clone();
        self.inner.append(peer, requests.inspect(move |_| contact.heard()).boxed())
    }

    async fn vote(&self, peer: NodeId, request: pb::VoteRequest) -> Result<pb::VoteResponse, Refusal> {
        self.inner.vote(peer, request).await
    }

    async fn offer_snapshot(
        &self,
        peer: NodeId,
        offer: pb::SnapshotOffer,
    ) -> Result<pb::SnapshotAnswer, Refusal> {
        self.contact.heard();
        self.inner.offer_snapshot(peer, offer).await
    }

    async fn install_snapshot(
        &self,
        peer: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotResponse, Refusal> {
        let contact = self.contact.clone();
        self.inner.install_snapshot(peer, chunks.inspect(move |_| contact.heard()).boxed()).await
    }

    async fn read_index(
        &self,
        peer: NodeId,
        request: pb::ReadIndexRequest,
    ) -> Result<pb::ReadIndexResponse, Refusal> {
        self.inner.read_index(peer, request).await
    }

    async fn ask_room(&self, peer: NodeId, request: pb::RoomRequest) -> Result<pb::RoomResponse, Refusal> {
        self.inner.ask_room(peer, request).await
    }

    async fn transfer_leader(
        &self,
        peer: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Refusal> {
        self.inner.transfer_leader(peer, request).await
    }
}
