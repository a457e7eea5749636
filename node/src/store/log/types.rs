//! The vocabulary of the Raft log: ids, votes and entries, without any consensus library in it.

use bytes::Bytes;
use quorate_proto::peer::v1 as pb;

/// The place of an entry in the Raft log. Ordered by term, then index, as Raft compares logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// Term of the leader that made the entry.
    pub term: u64,
    /// Index, from 0, without gaps.
    pub index: u64,
}

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.term, self.index)
    }
}

impl From<LogId> for pb::LogId {
    fn from(id: LogId) -> Self {
        Self { term: id.term, index: id.index }
    }
}

impl From<pb::LogId> for LogId {
    fn from(id: pb::LogId) -> Self {
        Self { term: id.term, index: id.index }
    }
}

/// Shows an optional log id: `term/index`, or `none`.
pub(crate) fn show(id: Option<LogId>) -> String {
    id.map_or_else(|| "none".to_owned(), |id| id.to_string())
}

/// A vote: for whom this node voted in a term, and whether that candidate is known to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// The candidate.
    pub node_id: u64,
    /// True when a quorum granted the vote.
    pub committed: bool,
}

impl Vote {
    /// True when a node that promised `earlier` may stand at `self`: a later term, or the same
    /// candidate of the same term, and not less committed. (Within a term, a vote may also pass from
    /// a candidate to the leader that won, so a committed vote may follow any uncommitted one.)
    #[must_use]
    pub fn keeps(&self, earlier: &Vote) -> bool {
        match self.term.cmp(&earlier.term) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => {
                (self.node_id == earlier.node_id && self.committed >= earlier.committed)
                    || (self.committed && !earlier.committed)
            }
        }
    }
}

impl std::fmt::Display for Vote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.committed { "leads" } else { "asks" };
        write!(f, "term {} node {} {state}", self.term, self.node_id)
    }
}

impl From<Vote> for pb::Vote {
    fn from(vote: Vote) -> Self {
        Self { term: vote.term, node_id: vote.node_id, committed: vote.committed }
    }
}

impl From<pb::Vote> for Vote {
    fn from(vote: pb::Vote) -> Self {
        Self { term: vote.term, node_id: vote.node_id, committed: vote.committed }
    }
}

/// What an entry carries. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: made by a new leader to commit its term.
    Blank,
    /// A block as its proposer encoded it; opaque here.
    Block(Bytes),
    /// An encoded `quorate.peer.v1.Membership`.
    Membership(Bytes),
}

impl Payload {
    /// Size of the carried bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Payload::Blank => 0,
            Payload::Block(bytes) | Payload::Membership(bytes) => bytes.len(),
        }
    }

    /// True when nothing is carried.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One entry of the log. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place.
    pub id: LogId,
    /// What it carries.
    pub payload: Payload,
}

impl LogEntry {
    /// Size to count against limits: the carried bytes and a flat amount for the rest.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.payload.len().saturating_add(64)
    }
}

impl From<LogEntry> for pb::Entry {
    fn from(entry: LogEntry) -> Self {
        let payload = match entry.payload {
            Payload::Blank => pb::entry::Payload::Blank(pb::Blank {}),
            Payload::Block(bytes) => pb::entry::Payload::Block(bytes),
            Payload::Membership(bytes) => pb::entry::Payload::Membership(bytes),
        };
        Self { log_id: Some(entry.id.into()), payload: Some(payload) }
    }
}

/// A message that lacks what it must have: the name of the missing field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{0}` is missing")]
pub struct MissingField(pub &'static str);

impl TryFrom<pb::Entry> for LogEntry {
    type Error = MissingField;

    fn try_from(entry: pb::Entry) -> Result<Self, MissingField> {
        let id = entry.log_id.ok_or(MissingField("entry.log_id"))?.into();
        let payload = match entry.payload.ok_or(MissingField("entry.payload"))? {
            pb::entry::Payload::Blank(_) => Payload::Blank,
            pb::entry::Payload::Block(bytes) => Payload::Block(bytes),
            pb::entry::Payload::Membership(bytes) => Payload::Membership(bytes),
        };
        Ok(Self { id, payload })
    }
}
