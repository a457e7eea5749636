//! The types consensus runs on, and their one mapping to those of the rest of the node.
//!
//! Nothing of openraft leaves `consensus/`: outside, a log id is [`LogId`], a vote is [`Vote`], an entry is
//! [`LogEntry`] and a membership is [`Membership`]. Log ids carry the term only (one leader per term).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use openraft::{EntryPayload, alias, entry::RaftEntry, impls::leader_id_std, vote::RaftVote};

use tokio::sync::oneshot;

use crate::store::log::{LogEntry, LogId, Payload, Vote};

use super::machine::Outcome;

/// Id of a node, from 1; never reused.
pub type NodeId = u64;

/// Where a member is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Where its peers reach it, `host:port`.
    pub peer_address: String,
    /// Where clients reach it, an origin such as `https://host:port`; empty when unknown.
    pub client_address: String,
}

/// Which nodes take part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Sets of voters: one normally, two while a change is under way. Empty before the cluster is made.
    pub configs: Vec<BTreeSet<NodeId>>,
    /// Every node; those in no set are learners.
    pub members: BTreeMap<NodeId, Member>,
}

impl Membership {
    /// True when `node` votes.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.configs.iter().any(|set| set.contains(&node))
    }
}

/// A block as consensus sees it: bytes, and whoever waits until they are in the log.
pub(crate) struct Block {
    pub(crate) bytes: Bytes,
    /// Told when the leader's log has taken the block; dropped when it has not. `None` in all other blocks.
    pub(crate) taken: Option<oneshot::Sender<()>>,
}

impl Block {
    /// Takes the bytes out and tells who waits for that.
    pub(crate) fn take(self) -> Bytes {
        if let Some(taken) = self.taken {
            // Whoever waited may have given up.
            taken.send(()).ok();
        }
        self.bytes
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block of {} bytes", self.bytes.len())
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry gave: an outcome for a block, nothing for other entries.
#[derive(Clone)]
pub(crate) struct Applied(pub(crate) Option<Outcome>);

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "outcome" } else { "no outcome" })
    }
}

openraft::declare_raft_types!(
    /// The types openraft is instantiated with.
    pub(crate) TypeConfig:
        D = Block,
        R = Applied,
        NodeId = u64,
        Node = Member,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type RaftLogId = alias::LogIdOf<TypeConfig>;
pub(crate) type RaftVoteOf = alias::VoteOf<TypeConfig>;
pub(crate) type RaftEntryOf = alias::EntryOf<TypeConfig>;
pub(crate) type RaftStored = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig, super::state_machine::RaftMachine>;
pub(crate) type RaftMembership = openraft::Membership<u64, Member>;

pub(crate) fn to_raft_id(id: LogId) -> RaftLogId {
    RaftLogId::new(id.term.into(), id.index)
}

pub(crate) fn from_raft_id(id: &RaftLogId) -> LogId {
    LogId { term: id.leader_id.term, index: id.index }
}

pub(crate) fn to_raft_vote(vote: Vote) -> RaftVoteOf {
    RaftVoteOf::from_leader_id(
        leader_id_std::LeaderId { term: vote.term, voted_for: vote.node_id },
        vote.committed,
    )
}

pub(crate) fn from_raft_vote(vote: &RaftVoteOf) -> Vote {
    let leader = vote.leader_id();
    Vote { term: leader.term, node_id: leader.voted_for, committed: vote.is_committed() }
}

/// An entry for openraft. Fails when a membership in it does not decode.
pub(crate) fn to_raft_entry(entry: LogEntry) -> Result<RaftEntryOf, super::codec::Malformed> {
    let payload = match entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Block(bytes) => EntryPayload::Normal(Block { bytes, taken: None }),
        Payload::Membership(bytes) => {
            EntryPayload::Membership(to_raft_membership(super::codec::decode_membership(&bytes)?)?)
        }
    };
    Ok(RaftEntryOf::new(to_raft_id(entry.id), payload))
}

pub(crate) fn from_raft_entry(entry: RaftEntryOf) -> LogEntry {
    let id = from_raft_id(&entry.log_id);
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(block) => Payload::Block(block.take()),
        EntryPayload::Membership(membership) => {
            Payload::Membership(super::codec::encode_membership(&from_raft_membership(&membership)))
        }
    };
    LogEntry { id, payload }
}

pub(crate) fn to_raft_membership(membership: Membership) -> Result<RaftMembership, super::codec::Malformed> {
    if membership == Membership::default() {
        return Ok(RaftMembership::default());
    }
    RaftMembership::new(membership.configs, membership.members)
        .map_err(|error| super::codec::Malformed(format!("membership: {error}")))
}

pub(crate) fn from_raft_membership(membership: &RaftMembership) -> Membership {
    Membership {
        configs: membership.get_joint_config().clone(),
        members: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
    }
}

pub(crate) fn from_raft_stored(stored: &Arc<RaftStored>) -> Membership {
    from_raft_membership(stored.membership())
}
