//! Changes of who takes part, and how far everybody is. Which changes are made, and when, is decided elsewhere
//! ([`crate::membership`]); here they are safe: one at a time, through joint configurations where the voters change.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{ChangeMembers, Instant as _, async_runtime::watch::WatchReceiver};

use super::{
    node::{Consensus, MembershipError, membership_result},
    types::{Member, NodeId},
};

/// How far a node is that this leader replicates to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Index of the last entry that is known to be on its disk; `None` = none yet.
    pub matched: Option<u64>,
    /// Index of the last entry that it has applied, as it told last; `None` = it is of a version that does not tell.
    pub applied: Option<u64>,
    /// Time since it last answered; `None` = it never did.
    pub silence: Option<Duration>,
}

impl Progress {
    /// Index of the last entry that it has, and has applied as far as is known: what it has on its disk alone it can neither
    /// sign nor answer from.
    #[must_use]
    pub fn reached(&self) -> u64 {
        let matched = self.matched.unwrap_or(0);
        self.applied.map_or(matched, |applied| applied.min(matched))
    }
}

impl Consensus {
    /// How far the others are; empty unless this node leads.
    #[must_use]
    pub fn replication(&self) -> BTreeMap<NodeId, Progress> {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let heard = metrics.heartbeat.as_ref();
        let progress = |(id, matched): (&NodeId, &Option<super::types::RaftLogId>)| {
            let heard = heard.and_then(|heard| heard.get(id)).and_then(Option::as_ref);
            let progress = Progress {
                matched: matched.as_ref().map(|id| id.index),
                applied: self.applied_by(*id),
                silence: heard.map(|at| at.elapsed()),
            };
            (*id, progress)
        };
        metrics.replication.iter().flatten().map(progress).collect()
    }

    /// Hands leadership to `node`, if this node leads; otherwise nothing happens.
    ///
    /// # Errors
    /// [`MembershipError::Stopped`].
    pub async fn transfer_leadership(&self, node: NodeId) -> Result<(), MembershipError> {
        self.raft().trigger().transfer_leader(node).await.map_err(|_| MembershipError::Stopped)
    }

    /// Whether this node stands for election when it hears no leader. It votes for others either way, and takes over
    /// when a leader hands over to it.
    pub fn stand_for_election(&self, stands: bool) {
        self.raft().runtime_config().elect(stands);
    }

    /// Adds a node that receives the log and does not vote. Returns when the change is committed.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn add_learner(&self, node: NodeId, member: Member) -> Result<(), MembershipError> {
        membership_result(self.raft().add_learner(node, member, false).await)
    }

    /// Makes exactly these nodes voters; each must be a member. Nodes that stop voting get the log on, until they are
    /// [forgotten](Consensus::forget). Returns when the change is committed, through a joint configuration; a failure
    /// half-way leaves that in force, and [`Consensus::finish_change`] finishes it.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), MembershipError> {
        membership_result(self.raft().change_membership(voters, true).await)
    }

    /// Finishes a change of voters that was left half-way; without one nothing happens but an entry in the log.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn finish_change(&self) -> Result<(), MembershipError> {
        let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
        membership_result(self.raft().change_membership(nothing, true).await)
    }

    /// Stops sending the log to a node that does not vote.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn forget(&self, node: NodeId) -> Result<(), MembershipError> {
        let nodes = ChangeMembers::RemoveNodes(BTreeSet::from([node]));
        membership_result(self.raft().change_membership(nodes, true).await)
    }
}
