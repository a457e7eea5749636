//! Consensus of one node, as the rest of the node sees it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::BoxStream;
use openraft::{
    errors::{ClientWriteError, ForwardReason, ForwardToLeader, InitializeError, RaftError},
    impls::ProgressResponder,
};
use quorate_proto::peer::v1 as pb;
use tokio::{
    sync::{oneshot, watch},
    task::AbortHandle,
};

use crate::{
    disk::DiskGuard,
    pace::Load,
    store::{
        faults::StoreFault,
        log::{LogFault, LogId, LogStore, next_index},
    },
    upkeep::Transfers,
};

use super::{
    envelope::Postmark,
    guard::{BlockGuard, Refusal},
    inbound::Inbound,
    log_storage::RaftLog,
    machine::{Machine, Outcome},
    maintenance,
    network::{Network, PeersApplied},
    own_fault::OwnFault,
    reads::{ReadError, ReadRounds, leader_round, member_round},
    settings::ConsensusConfig,
    snapshot_kept::Outgoing,
    state_machine::RaftMachine,
    status::{self, Role, Status},
    transport::PeerTransport,
    types::{Block, Member, NodeId, Raft, TypeConfig},
};

/// Why consensus does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The timings contradict each other.
    #[error("consensus settings: {0}")]
    Settings(String),
    /// The state store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogFault),
    /// The log and the state do not fit together, or could not be read.
    #[error("recovery failed: {0}")]
    Recovery(String),
}

/// Why a block was not committed by this call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It was not put into the log, and never will be by this call.
    #[error("this node does not lead in that term")]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// It is in some log; whether it will be committed is not known.
    #[error("the outcome is unknown: leadership changed while the block was on its way")]
    OutcomeUnknown,
    /// Consensus has stopped before it took the block.
    #[error("consensus has stopped")]
    Stopped,
}

/// Why a membership was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// The cluster was made already.
    #[error("this node is already part of a cluster")]
    AlreadyInitialized,
    /// The change is not possible now.
    #[error("the membership cannot be changed like that now: {0}")]
    Refused(String),
    /// This node does not lead.
    #[error("this node does not lead")]
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Consensus has stopped.
    #[error("consensus has stopped")]
    Stopped,
}

/// A block on its way.
#[derive(Debug)]
pub struct Proposal {
    result: oneshot::Receiver<openraft::raft::ClientWriteResult<TypeConfig>>,
}

impl Proposal {
    /// Waits until the block is committed and applied here, or can no longer be by this leader. There is no
    /// time limit: a leader cut off from its peers keeps its blocks. Giving up means "unknown".
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn outcome(self) -> Result<Outcome, ProposeError> {
        match self.result.await {
            Ok(Ok(done)) => done.data.0.ok_or(ProposeError::OutcomeUnknown),
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_id })
            }
            // Discarded, or the answer was lost with the core: it may be in another log.
            Ok(Err(_)) | Err(_) => Err(ProposeError::OutcomeUnknown),
        }
    }
}

struct Inner {
    raft: Raft,
    /// Pause before a block is offered again to a log that takes nothing at the moment.
    offer_again: Duration,
    log: LogStore,
    inbound: Inbound,
    network: Network,
    member_reads: ReadRounds,
    status: watch::Receiver<Status>,
    applied: watch::Receiver<Option<LogId>>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// The running consensus of one node. Clones share it; [`Consensus::shutdown`] ends it.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus").field("status", &*self.inner.status.borrow()).finish_non_exhaustive()
    }
}

impl Consensus {
    /// Starts consensus on an opened log and state. The log was checked against its floor by `open`; here the
    /// committed entries that the state lacks are applied before anything else happens.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start(
        config: &ConsensusConfig,
        log: LogStore,
        machine: Arc<dyn Machine>,
        transport: Arc<dyn PeerTransport>,
        guard: Arc<dyn BlockGuard>,
    ) -> Result<Self, StartError> {
        let raft_config = config.raft().map_err(|e| StartError::Settings(e.to_string()))?;
        let durable = machine.applied()?;
        log.limit_purge(next_index(durable.last));
        let (applied_sender, applied) = watch::channel(durable.last);
        let fault = OwnFault::default();
        let written = log.clone();
        let load = Load::new(move || written.appended_bytes());
        let outgoing = Outgoing::new(Arc::clone(&machine), config.snapshot, load);
        let transfers = Transfers::default();
        let state = RaftMachine::new(
            Arc::clone(&machine),
            outgoing.clone(),
            log.clone(),
            Arc::new(applied_sender),
            fault.clone(),
        );
        let state = state.map_err(|e| StartError::Recovery(e.to_string()))?;
        let postmark = Postmark::new(config.cluster_id, config.node_id);
        let network = Network {
            transport,
            postmark: postmark.clone(),
            timeouts: config.timeouts(),
            snapshot_chunk_bytes: config.snapshot_chunk_bytes.max(1),
            transfers: transfers.clone(),
            applied: PeersApplied::default(),
        };
        let raft_log = RaftLog::new(log.clone(), config.max_append_bytes, fault.clone());
        let raft = Raft::new(config.node_id, raft_config, network.clone(), raft_log, state).await;
        let raft = raft.map_err(|e| StartError::Recovery(fault.or(&e)))?;
        let (status, follow) = status::follow(&raft, fault);
        let leading = raft.clone();
        let (leader_reads, lead) = ReadRounds::start(move || Box::pin(leader_round(leading.clone())));
        let (own, reading, local, remote) =
            (config.node_id, raft.clone(), leader_reads.clone(), network.clone());
        let (member_reads, read) = ReadRounds::start(move || {
            Box::pin(member_round(own, reading.clone(), local.clone(), remote.clone()))
        });
        let inbound = Inbound {
            raft: raft.clone(),
            log: log.clone(),
            machine,
            guard,
            postmark,
            leader_reads,
            timeouts: config.timeouts(),
            applied: applied.clone(),
            status: status.clone(),
            receiving: Arc::default(),
            transfers: transfers.clone(),
            disk: Arc::default(),
        };
        let (raft_of, log_of) = (raft.clone(), log.clone());
        let maintain =
            maintenance::start(config, raft_of, log_of, applied.clone(), outgoing, inbound.clone());
        let tasks = [follow, maintain, lead, read].iter().map(|task| task.abort_handle()).collect();
        let offer_again = Duration::from_millis((config.heartbeat_ms / 4).max(1));
        let inner = Inner { raft, offer_again, log, inbound, network, member_reads, status, applied, tasks };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Index of the last entry that another node has applied, as it told this one last.
    pub(super) fn applied_by(&self, node: NodeId) -> Option<u64> {
        self.inner.network.applied.of(node)
    }

    pub(super) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    /// Makes a new cluster of these voters. Called once, on one member or on all with the same members.
    ///
    /// # Errors
    /// [`MembershipError::AlreadyInitialized`] when this node has a log or voted.
    pub async fn initialize(&self, members: BTreeMap<NodeId, Member>) -> Result<(), MembershipError> {
        match self.inner.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                Err(MembershipError::AlreadyInitialized)
            }
            Err(RaftError::APIError(error)) => Err(MembershipError::Refused(error.to_string())),
            Err(RaftError::Fatal(_)) => Err(MembershipError::Stopped),
        }
    }

    /// Puts a block into the log of this node, if it leads in `term` (the term its proposer signed). Returns
    /// when the log has taken it, so that a block that builds on it can be submitted; several may be under way
    /// at once.
    ///
    /// A leader that has not heard from a majority for a while takes nothing. The block is then offered again
    /// for as long as this node leads in that term; there is no time limit.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`]: it is not in the log, and never will be by this call. The others as they say.
    pub async fn submit(&self, term: u64, block: Bytes) -> Result<Proposal, ProposeError> {
        loop {
            let (responder, result) = ProgressResponder::complete_only();
            let (taken, waiting) = oneshot::channel();
            let block = Block { bytes: block.clone(), taken: Some(taken) };
            let write = self.inner.raft.write(block).responder(responder).with_leader(term);
            write.await.map_err(|_| ProposeError::Stopped)?;
            if waiting.await.is_ok() {
                return Ok(Proposal { result });
            }
            // Refused, or the core has stopped: then the answer never comes.
            match result.await {
                Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
                    if forward.reason != ForwardReason::LeaseExpired {
                        return Err(ProposeError::NotLeader { leader: forward.leader_id });
                    }
                }
                _ => return Err(ProposeError::OutcomeUnknown),
            }
            tokio::time::sleep(self.inner.offer_again).await;
        }
    }

    /// [`Consensus::submit`] and [`Proposal::outcome`] in one.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, term: u64, block: Bytes) -> Result<Outcome, ProposeError> {
        self.submit(term, block).await?.outcome().await
    }

    /// The state of consensus; a new value at each change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// The last entry applied by this process; updated before those who proposed it are told.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.inner.applied.clone()
    }

    /// The log store, for durable records and status.
    #[must_use]
    pub fn log(&self) -> &LogStore {
        &self.inner.log
    }

    /// Waits until a read of the local state sees everything acknowledged, by any node, before this call.
    /// Gives the position that was waited for. Works on every member; has no time limit of its own once the
    /// position is known.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_barrier(&self) -> Result<LogId, ReadError> {
        let position = self.inner.member_reads.ask().await?;
        let mut applied = self.inner.applied.clone();
        let reached = applied.wait_for(|applied| next_index(*applied) > position.index).await;
        reached.map_err(|_| ReadError::Stopped)?;
        Ok(position)
    }

    /// Tells other nodes, when they ask, whether this node's disk has room to lead. Before this is called it has none.
    pub fn watch_disk(&self, disk: DiskGuard) {
        self.inner.inbound.disk.get_or_init(|| disk);
    }

    /// Asks the other voters for one that has room to lead: of these the one with the longest log.
    pub async fn voter_with_room(&self) -> Option<NodeId> {
        let (own, voters) = {
            let status = self.inner.status.borrow();
            let voters = status.membership.members.keys().copied();
            let voters = voters.filter(|node| status.membership.is_voter(*node)).collect::<Vec<_>>();
            (status.leader, voters)
        };
        let others = voters.into_iter().filter(|node| Some(*node) != own);
        let ask = async |node| Some((self.inner.network.ask_room(node).await.ok()??, node));
        let answers = futures::future::join_all(others.map(ask)).await;
        answers.into_iter().flatten().max().map(|(_, node)| node)
    }

    /// Flushes the state and purges the log, now rather than when it is due.
    ///
    /// # Errors
    /// [`MembershipError::Stopped`].
    pub async fn flush(&self) -> Result<(), MembershipError> {
        self.inner.raft.trigger().snapshot().await.map_err(|_| MembershipError::Stopped)
    }

    /// Ends consensus in good order: nothing is proposed, acknowledged or applied afterwards.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "consensus did not end in good order");
        }
        self.inner.tasks.iter().for_each(AbortHandle::abort);
    }

    /// Waits until consensus has stopped; gives the fault, or `None` after a shutdown.
    pub async fn stopped(&self) -> Option<String> {
        let mut status = self.inner.status.clone();
        match status.wait_for(|status| status.role == Role::Stopped).await {
            Ok(status) => status.fault.clone(),
            Err(_) => None,
        }
    }

    /// Handles an append stream of `peer`, the node that the connection proved. The first error ends it.
    pub fn handle_append(
        &self,
        peer: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxStream<'static, Result<pb::AppendResponse, Refusal>> {
        self.inner.inbound.append(peer, requests)
    }

    /// Handles a vote or pre-vote request of `peer`.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn handle_vote(
        &self,
        peer: NodeId,
        request: pb::VoteRequest,
    ) -> Result<pb::VoteResponse, Refusal> {
        self.inner.inbound.vote(peer, request).await
    }

    /// The snapshots on their way from and to this node.
    #[must_use]
    pub fn transfers(&self) -> Transfers {
        self.inner.inbound.transfers.clone()
    }

    /// Handles the offer of a snapshot by `peer`.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn handle_offer(
        &self,
        peer: NodeId,
        offer: pb::SnapshotOffer,
    ) -> Result<pb::SnapshotAnswer, Refusal> {
        self.inner.inbound.offer(peer, offer).await
    }

    /// Handles a snapshot of `peer`.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn handle_snapshot(
        &self,
        peer: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> Result<pb::SnapshotResponse, Refusal> {
        self.inner.inbound.snapshot(peer, chunks).await
    }

    /// Handles a request of `peer` for a read position.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn handle_read_index(
        &self,
        peer: NodeId,
        request: pb::ReadIndexRequest,
    ) -> Result<pb::ReadIndexResponse, Refusal> {
        self.inner.inbound.read_index(peer, request).await
    }

    /// Handles the question of `peer` whether this node has room to lead.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn handle_room(&self, peer: NodeId, request: &pb::RoomRequest) -> Result<pb::RoomResponse, Refusal> {
        self.inner.inbound.room(peer, request)
    }

    /// Handles a hand-over of leadership by `peer`.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn handle_transfer_leader(
        &self,
        peer: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> Result<pb::TransferLeaderResponse, Refusal> {
        self.inner.inbound.transfer_leader(peer, request).await
    }
}

pub(super) fn membership_result<T>(
    result: Result<T, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>,
) -> Result<(), MembershipError> {
    match result {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader {
            leader_id, ..
        }))) => Err(MembershipError::NotLeader { leader: leader_id }),
        Err(RaftError::APIError(error)) => Err(MembershipError::Refused(error.to_string())),
        Err(RaftError::Fatal(_)) => Err(MembershipError::Stopped),
    }
}
