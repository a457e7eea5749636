//! Messages of peers: checked here, then given to Raft.
//!
//! Openraft trusts its peers. It panics on some messages no correct peer sends, and it takes any entry at or
//! below the commit position for a match. So the checks are made here: envelope, shape, the block guard, and
//! that nothing contradicts what is committed. The last check is made again when Raft has accepted a
//! request, because the commit position may have passed it meanwhile.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use futures::{FutureExt, Stream, StreamExt, future, stream, stream::BoxStream};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use quorate_proto::peer::v1 as pb;
use tokio::sync::watch;

use crate::{
    disk::DiskGuard,
    store::log::{LogId, LogStore},
    upkeep::Transfers,
};

use super::{
    codec::{self, CheckedAppend, Malformed},
    envelope::Postmark,
    guard::{BlockGuard, Refusal},
    machine::Machine,
    reads::{ReadError, ReadRounds},
    settings::Timeouts,
    snapshot_receive,
    status::{Role, Status},
    types::{NodeId, Raft, TypeConfig},
};

/// What handling a peer's messages needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Inbound {
    pub(crate) raft: Raft,
    pub(crate) log: LogStore,
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) guard: Arc<dyn BlockGuard>,
    pub(crate) postmark: Postmark,
    pub(crate) leader_reads: ReadRounds,
    pub(crate) timeouts: Timeouts,
    /// The last entry that is applied here.
    pub(crate) applied: watch::Receiver<Option<LogId>>,
    /// Ends open streams when consensus stops.
    pub(crate) status: watch::Receiver<Status>,
    /// The snapshot that was offered last. Held while one is received: one at a time.
    pub(crate) receiving: Arc<tokio::sync::Mutex<Option<snapshot_receive::Expected>>>,
    /// Where snapshots on their way are shown.
    pub(crate) transfers: Transfers,
    /// The disk of this node, once it is watched.
    pub(crate) disk: Arc<OnceLock<DiskGuard>>,
}

/// One append stream of a peer: what was passed on and not yet answered, and why the stream was ended.
#[derive(Default)]
struct Passed {
    /// Ids of each request's entries, in order.
    ids: VecDeque<Vec<LogId>>,
    refusal: Option<Refusal>,
}

type SharedPassed = Arc<Mutex<Passed>>;

fn with<T>(passed: &SharedPassed, f: impl FnOnce(&mut Passed) -> T) -> T {
    f(&mut passed.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Inbound {
    pub(crate) fn append(
        &self,
        peer: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxStream<'static, Result<pb::AppendResponse, Refusal>> {
        let passed = SharedPassed::default();
        let mut status = self.status.clone();
        let stopped = async move { status.wait_for(|status| status.role == Role::Stopped).await.is_ok() };
        let requests = requests.take_until(stopped.boxed()).boxed();
        let accepted = self.raft.stream_append(self.admitted(peer, requests, Arc::clone(&passed)).boxed());
        let this = self.clone();
        let after = Arc::clone(&passed);
        let answers = accepted.map(move |result| match result {
            Ok(result) => this.answer(peer, result, &after),
            Err(_) => Err(Refusal::Stopped),
        });
        let refusal = stream::once(future::lazy(move |_| with(&passed, |p| p.refusal.take())));
        let ended = refusal.filter_map(|refusal| future::ready(refusal.map(Err)));
        // The first error ends the stream.
        let mut failed = false;
        let until_error = move |item: &Result<_, _>| {
            let go_on = !failed;
            failed = item.is_err();
            future::ready(go_on)
        };
        answers.chain(ended).take_while(until_error).boxed()
    }

    /// The requests that pass the checks; ends at the first that does not.
    fn admitted(
        &self,
        peer: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
        passed: SharedPassed,
    ) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + use<> {
        let state = (self.clone(), requests, passed);
        stream::unfold(state, move |(this, mut requests, passed)| async move {
            let request = requests.next().await?;
            match this.admit(peer, request) {
                Ok((ids, request)) => {
                    with(&passed, |p| p.ids.push_back(ids));
                    Some((request, (this, requests, passed)))
                }
                Err(refusal) => {
                    tracing::warn!(peer, %refusal, "an append request was refused");
                    with(&passed, |p| p.refusal = Some(refusal));
                    None
                }
            }
        })
    }

    fn admit(
        &self,
        peer: NodeId,
        request: pb::AppendRequest,
    ) -> Result<(Vec<LogId>, AppendEntriesRequest<TypeConfig>), Refusal> {
        self.postmark.check(request.envelope.as_ref(), peer)?;
        let checked = CheckedAppend::new(request, peer)?;
        let ids: Vec<LogId> = checked.prev.into_iter().chain(checked.entries.iter().map(|e| e.id)).collect();
        self.no_contradiction(&ids)?;
        if !checked.entries.is_empty() {
            self.guard.check(checked.prev, &checked.entries).map_err(Refusal::Block)?;
        }
        Ok((ids, checked.into_raft()?))
    }

    fn answer(
        &self,
        peer: NodeId,
        result: StreamAppendResult<TypeConfig>,
        passed: &SharedPassed,
    ) -> Result<pb::AppendResponse, Refusal> {
        let ids = with(passed, |p| p.ids.pop_front()).unwrap_or_default();
        if result.is_ok() {
            self.no_contradiction(&ids)?;
        }
        Ok(codec::append_response(self.postmark.to(peer), *self.applied.borrow(), result))
    }

    /// Refuses ids that differ from what is committed here. Purged positions are past checking.
    fn no_contradiction(&self, ids: &[LogId]) -> Result<(), Refusal> {
        let Some(committed) = self.log.bounds().committed else {
            return Ok(());
        };
        for theirs in ids.iter().take_while(|id| id.index <= committed.index) {
            if let Some(ours) = self.log.id_at(theirs.index)?.filter(|ours| ours != theirs) {
                tracing::error!(%ours, %theirs, "a leader contradicts what is committed here");
                return Err(Refusal::Contradiction { ours, theirs: *theirs });
            }
        }
        Ok(())
    }

    pub(crate) async fn vote(
        &self,
        peer: NodeId,
        request: pb::VoteRequest,
    ) -> Result<pb::VoteResponse, Refusal> {
        self.postmark.check(request.envelope.as_ref(), peer)?;
        let vote = codec::checked_vote(&request, peer)?;
        let answer =
            if request.pre_vote { self.raft.pre_vote(vote).await } else { self.raft.vote(vote).await };
        let answer = answer.map_err(|_| Refusal::Stopped)?;
        Ok(codec::vote_response(self.postmark.to(peer), &answer))
    }

    pub(crate) async fn transfer_leader(
        &self,
        peer: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Refusal> {
        self.postmark.check(request.envelope.as_ref(), peer)?;
        let transfer = codec::checked_transfer(&request, peer)?;
        let answer = self.raft.handle_transfer_leader(transfer).await.map_err(|_| Refusal::Stopped)?;
        Ok(codec::transfer_response(self.postmark.to(peer), answer))
    }

    pub(crate) async fn read_index(
        &self,
        peer: NodeId,
        request: pb::ReadIndexRequest,
    ) -> Result<pb::ReadIndexResponse, Refusal> {
        use pb::read_index_response::Result as Out;
        self.postmark.check(request.envelope.as_ref(), peer)?;
        let result = match self.leader_reads.ask().await {
            Ok(position) => Out::ReadLogId(position.into()),
            Err(ReadError::Stopped) => return Err(Refusal::Stopped),
            Err(ReadError::NotLeader { leader }) => {
                Out::NotLeader(pb::NotLeader { leader: leader.unwrap_or(0) })
            }
            Err(ReadError::NoQuorum | ReadError::Peer(_)) => Out::NotLeader(pb::NotLeader { leader: 0 }),
        };
        Ok(pb::ReadIndexResponse { envelope: Some(self.postmark.to(peer)), result: Some(result) })
    }

    pub(crate) fn room(&self, peer: NodeId, request: &pb::RoomRequest) -> Result<pb::RoomResponse, Refusal> {
        self.postmark.check(request.envelope.as_ref(), peer)?;
        Ok(pb::RoomResponse {
            envelope: Some(self.postmark.to(peer)),
            has_room: self.disk.get().is_some_and(|disk| !disk.is_low()),
            last_log_id: self.log.bounds().last.map(Into::into),
        })
    }

    pub(crate) async fn offer(
        &self,
        peer: NodeId,
        offer: pb::SnapshotOffer,
    ) -> Result<pb::SnapshotAnswer, Refusal> {
        let result = snapshot_receive::offered(self, peer, offer).await?;
        Ok(pb::SnapshotAnswer { envelope: Some(self.postmark.to(peer)), result: Some(result) })
    }

    pub(crate) async fn snapshot(
        &self,
        peer: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotResponse, Refusal> {
        let received = snapshot_receive::receive(self, peer, chunks).await;
        let vote =
            received.inspect_err(|refusal| tracing::warn!(peer, %refusal, "a snapshot was refused"))?;
        Ok(pb::SnapshotResponse { envelope: Some(self.postmark.to(peer)), vote: Some(vote.into()) })
    }
}

impl From<String> for Malformed {
    fn from(why: String) -> Self {
        Malformed(why)
    }
}
