//! What consensus says about itself: one watch channel, a new value at each change.

use openraft::{ServerState, async_runtime::watch::WatchReceiver, errors::Fatal};
use tokio::{sync::watch, task::JoinHandle};

use crate::store::log::LogId;

use super::own_fault::OwnFault;
use super::types::{Membership, NodeId, Raft, TypeConfig, from_raft_id, from_raft_stored};

/// The part a node plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Receives the log and does not vote.
    #[default]
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Consensus has stopped: shut down, or after a fault.
    Stopped,
}

/// The state of consensus on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This node's part.
    pub role: Role,
    /// The leader it knows of.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: u64,
    /// Index of the last entry of its log.
    pub last_log_index: Option<u64>,
    /// The last entry it knows to be committed and has in its log.
    pub committed: Option<LogId>,
    /// The last entry it has applied, as openraft was told; may lag a little.
    pub applied: Option<LogId>,
    /// The position of the state on disk, as of the last flush.
    pub flushed: Option<LogId>,
    /// The last entry purged from its log.
    pub purged: Option<LogId>,
    /// The membership in force.
    pub membership: Membership,
    /// The entry that brought it in.
    pub membership_id: Option<LogId>,
    /// True once everything that may have been applied before the start is applied again.
    pub recovered: bool,
    /// Why consensus has stopped, if it was a fault.
    pub fault: Option<String>,
}

type Metrics = openraft::RaftMetrics<TypeConfig>;

/// Takes over what the metrics say; says whether anything is new. They change many times per block: the membership,
/// which is large, is read only when it is another.
fn update(status: &mut Status, metrics: &Metrics, own: &OwnFault) -> bool {
    let (role, fault) = match (&metrics.running_state, metrics.state) {
        (Err(Fatal::Stopped), _) => (Role::Stopped, None),
        (Err(fatal @ Fatal::StorageError(_)), _) => (Role::Stopped, Some(own.or(fatal))),
        (Err(fatal @ Fatal::Panicked), _) => (Role::Stopped, Some(fatal.to_string())),
        (Ok(()), ServerState::Learner) => (Role::Learner, None),
        (Ok(()), ServerState::Follower) => (Role::Follower, None),
        (Ok(()), ServerState::Candidate) => (Role::Candidate, None),
        (Ok(()), ServerState::Leader) => (Role::Leader, None),
        (Ok(()), ServerState::Shutdown) => (Role::Stopped, None),
    };
    let mut new = set(&mut status.role, role) | set(&mut status.fault, fault);
    new |= set(&mut status.leader, metrics.current_leader) | set(&mut status.term, metrics.current_term);
    new |= set(&mut status.last_log_index, metrics.last_log_index);
    new |= set(&mut status.committed, metrics.local_committed.as_ref().map(from_raft_id));
    new |= set(&mut status.applied, metrics.last_applied.as_ref().map(from_raft_id));
    new |= set(&mut status.flushed, metrics.snapshot.as_ref().map(from_raft_id));
    new |= set(&mut status.purged, metrics.purged.as_ref().map(from_raft_id));
    let membership_id = metrics.membership_config.log_id().as_ref().map(from_raft_id);
    let is_other = set(&mut status.membership_id, membership_id);
    if is_other || membership_id.is_none() {
        new |= is_other | set(&mut status.membership, from_raft_stored(&metrics.membership_config));
    }
    new
}

/// Sets a field; says whether it is another value.
fn set<T: PartialEq>(field: &mut T, value: T) -> bool {
    let is_new = *field != value;
    if is_new {
        *field = value;
    }
    is_new
}

/// Follows the metrics of `raft`; a failed store is told in the words of `own`. The task ends when consensus does.
pub(crate) fn follow(raft: &Raft, own: OwnFault) -> (watch::Receiver<Status>, JoinHandle<()>) {
    let mut metrics = raft.metrics();
    let mut first = Status::default();
    update(&mut first, &metrics.borrow_watched(), &own);
    let (sender, receiver) = watch::channel(first);
    let recovering = raft.clone();
    let task = tokio::spawn(async move {
        let recovered = recovering.wait_for_recovery(None);
        tokio::pin!(recovered);
        let mut waiting = true;
        loop {
            tokio::select! {
                result = &mut recovered, if waiting => {
                    waiting = false;
                    sender.send_modify(|status| status.recovered = result.is_ok());
                }
                changed = metrics.changed() => {
                    sender.send_if_modified(|status| update(status, &metrics.borrow_watched(), &own));
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    });
    (receiver, task)
}
