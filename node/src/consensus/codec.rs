//! Messages of `quorate.peer.v1` to and from the types of consensus. Peers are untrusted input: what is
//! missing, out of order or impossible is [`Malformed`], and never reaches openraft.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::raft;
use prost::Message;
use quorate_proto::peer::v1 as pb;

use crate::store::log::{LogEntry, LogId, MissingField, Vote, next_index};

use super::{
    machine::Position,
    types::{
        Member, Membership, TypeConfig, from_raft_entry, from_raft_id, from_raft_vote, to_raft_entry,
        to_raft_id, to_raft_vote,
    },
};

/// A message of a peer that no correct peer sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct Malformed(pub String);

impl From<MissingField> for Malformed {
    fn from(missing: MissingField) -> Self {
        Malformed(missing.to_string())
    }
}

fn need<T>(field: Option<T>, name: &'static str) -> Result<T, Malformed> {
    field.ok_or_else(|| MissingField(name).into())
}

fn ensure(condition: bool, why: impl FnOnce() -> String) -> Result<(), Malformed> {
    if condition { Ok(()) } else { Err(Malformed(why())) }
}

/// Encodes a membership as `quorate.peer.v1.Membership`.
pub(crate) fn encode_membership(membership: &Membership) -> Bytes {
    let message = pb::Membership {
        configs: membership
            .configs
            .iter()
            .map(|set| pb::VoterSet { node_ids: set.iter().copied().collect() })
            .collect(),
        members: membership
            .members
            .iter()
            .map(|(id, member)| pb::Member {
                node_id: *id,
                peer_address: member.peer_address.clone(),
                client_address: member.client_address.clone(),
            })
            .collect(),
    };
    message.encode_to_vec().into()
}

/// Decodes `quorate.peer.v1.Membership`; node ids must be ascending, from 1, and each once.
pub(crate) fn decode_membership(bytes: &[u8]) -> Result<Membership, Malformed> {
    let message = pb::Membership::decode(bytes).map_err(|e| Malformed(format!("membership: {e}")))?;
    let ascending = |ids: &[u64]| ids.windows(2).all(|pair| pair[0] < pair[1]);
    let mut configs = Vec::with_capacity(message.configs.len());
    for set in message.configs {
        ensure(ascending(&set.node_ids), || "membership: voters are not ascending".to_owned())?;
        configs.push(set.node_ids.into_iter().collect::<BTreeSet<_>>());
    }
    let ids: Vec<u64> = message.members.iter().map(|member| member.node_id).collect();
    ensure(ascending(&ids), || "membership: members are not ascending".to_owned())?;
    let members: BTreeMap<u64, Member> = message
        .members
        .into_iter()
        .map(|m| (m.node_id, Member { peer_address: m.peer_address, client_address: m.client_address }))
        .collect();
    Ok(Membership { configs, members })
}

pub(crate) fn append_request(
    envelope: pb::Envelope,
    request: raft::AppendEntriesRequest<TypeConfig>,
) -> pb::AppendRequest {
    pb::AppendRequest {
        envelope: Some(envelope),
        vote: Some(from_raft_vote(&request.vote).into()),
        prev_log_id: request.prev_log_id.as_ref().map(|id| from_raft_id(id).into()),
        entries: request.entries.into_iter().map(|entry| from_raft_entry(entry).into()).collect(),
        leader_commit: request.leader_commit.as_ref().map(|id| from_raft_id(id).into()),
    }
}

/// An append request in the types of the node, after the checks every correct leader passes.
#[derive(Clone, Debug)]
pub(crate) struct CheckedAppend {
    pub(crate) vote: Vote,
    pub(crate) prev: Option<LogId>,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) commit: Option<LogId>,
}

impl CheckedAppend {
    /// Checks a request that node `from` sent: it is the leader of the vote's term, and the entries follow
    /// `prev` one by one, terms never falling and never above its own.
    pub(crate) fn new(request: pb::AppendRequest, from: u64) -> Result<Self, Malformed> {
        let vote: Vote = need(request.vote, "vote")?.into();
        ensure(vote.committed && vote.node_id == from, || {
            format!("node {from} appends with the vote: {vote}")
        })?;
        let prev: Option<LogId> = request.prev_log_id.map(Into::into);
        let mut entries = Vec::with_capacity(request.entries.len());
        let mut before = prev;
        for entry in request.entries {
            let entry = LogEntry::try_from(entry)?;
            let follows =
                entry.id.index == next_index(before) && before.is_none_or(|b| entry.id.term >= b.term);
            ensure(follows && entry.id.term <= vote.term, || {
                format!("entry {} does not follow {before:?} in term {}", entry.id, vote.term)
            })?;
            before = Some(entry.id);
            entries.push(entry);
        }
        let commit: Option<LogId> = request.leader_commit.map(Into::into);
        ensure(prev.max(commit).is_none_or(|id| id.term <= vote.term), || {
            format!("a position later than its own term {}", vote.term)
        })?;
        Ok(Self { vote, prev, entries, commit })
    }

    pub(crate) fn into_raft(self) -> Result<raft::AppendEntriesRequest<TypeConfig>, Malformed> {
        Ok(raft::AppendEntriesRequest {
            vote: to_raft_vote(self.vote),
            prev_log_id: self.prev.map(to_raft_id),
            entries: self.entries.into_iter().map(to_raft_entry).collect::<Result<_, _>>()?,
            leader_commit: self.commit.map(to_raft_id),
        })
    }
}

pub(crate) fn append_response(
    envelope: pb::Envelope,
    applied: Option<LogId>,
    result: raft::StreamAppendResult<TypeConfig>,
) -> pb::AppendResponse {
    use pb::append_response::Result as Out;
    let out = match result {
        Ok(matching) => {
            Out::Accepted(pb::AppendAccepted { matching: matching.map(|id| from_raft_id(&id).into()) })
        }
        Err(raft::StreamAppendError::Conflict(id)) => Out::Conflict(from_raft_id(&id).into()),
        Err(raft::StreamAppendError::HigherVote(vote)) => Out::HigherVote(from_raft_vote(&vote).into()),
    };
    let applied_index = Some(applied.map_or(0, |id| id.index));
    pb::AppendResponse { envelope: Some(envelope), result: Some(out), applied_index }
}

/// The answer to the request that covered `(prev, last]`: it may say no more and no less than that.
pub(crate) fn append_result(
    response: pb::AppendResponse,
    prev: Option<LogId>,
    last: Option<LogId>,
) -> Result<raft::StreamAppendResult<TypeConfig>, Malformed> {
    use pb::append_response::Result as In;
    match need(response.result, "result")? {
        In::Accepted(accepted) => {
            let matching: Option<LogId> = accepted.matching.map(Into::into);
            ensure(matching == last, || format!("accepted {matching:?} in answer to {last:?}"))?;
            Ok(Ok(matching.map(to_raft_id)))
        }
        In::Conflict(id) => {
            let id: LogId = id.into();
            ensure(prev == Some(id), || format!("conflict at {id} in answer to {prev:?}"))?;
            Ok(Err(raft::StreamAppendError::Conflict(to_raft_id(id))))
        }
        In::HigherVote(vote) => Ok(Err(raft::StreamAppendError::HigherVote(to_raft_vote(vote.into())))),
    }
}

pub(crate) fn vote_request(
    envelope: pb::Envelope,
    request: &raft::VoteRequest<TypeConfig>,
    pre_vote: bool,
) -> pb::VoteRequest {
    pb::VoteRequest {
        envelope: Some(envelope),
        vote: Some(from_raft_vote(&request.vote).into()),
        last_log_id: request.last_log_id.as_ref().map(|id| from_raft_id(id).into()),
        pre_vote,
        leadership_transfer: request.leadership_transfer,
    }
}

/// A vote request that node `from` sent for itself.
pub(crate) fn checked_vote(
    request: &pb::VoteRequest,
    from: u64,
) -> Result<raft::VoteRequest<TypeConfig>, Malformed> {
    let vote: Vote = need(request.vote, "vote")?.into();
    ensure(!vote.committed && vote.node_id == from, || format!("node {from} asks for the vote: {vote}"))?;
    let last: Option<LogId> = request.last_log_id.map(Into::into);
    ensure(last.is_none_or(|last| last.term <= vote.term), || {
        format!("its log ends in a later term than {}", vote.term)
    })?;
    let mut out = raft::VoteRequest::new(to_raft_vote(vote), last.map(to_raft_id));
    out.leadership_transfer = request.leadership_transfer;
    Ok(out)
}

pub(crate) fn vote_response(
    envelope: pb::Envelope,
    response: &raft::VoteResponse<TypeConfig>,
) -> pb::VoteResponse {
    pb::VoteResponse {
        envelope: Some(envelope),
        vote: Some(from_raft_vote(&response.vote).into()),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(|id| from_raft_id(id).into()),
    }
}

pub(crate) fn vote_result(response: pb::VoteResponse) -> Result<raft::VoteResponse<TypeConfig>, Malformed> {
    let vote: Vote = need(response.vote, "vote")?.into();
    let last: Option<LogId> = response.last_log_id.map(Into::into);
    Ok(raft::VoteResponse::new(to_raft_vote(vote), last.map(to_raft_id), response.granted))
}

pub(crate) fn transfer_request(
    envelope: pb::Envelope,
    request: &raft::TransferLeaderRequest<TypeConfig>,
) -> pb::TransferLeaderRequest {
    pb::TransferLeaderRequest {
        envelope: Some(envelope),
        from_leader: Some(from_raft_vote(request.from_leader()).into()),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().map(|id| from_raft_id(id).into()),
    }
}

/// A hand-over that node `from`, the leader of the vote's term, asked for.
pub(crate) fn checked_transfer(
    request: &pb::TransferLeaderRequest,
    from: u64,
) -> Result<raft::TransferLeaderRequest<TypeConfig>, Malformed> {
    let vote: Vote = need(request.from_leader, "from_leader")?.into();
    ensure(vote.committed && vote.node_id == from, || {
        format!("node {from} hands over with the vote: {vote}")
    })?;
    let last: Option<LogId> = request.last_log_id.map(Into::into);
    Ok(raft::TransferLeaderRequest::new(to_raft_vote(vote), request.to_node_id, last.map(to_raft_id)))
}

pub(crate) fn transfer_response(
    envelope: pb::Envelope,
    response: raft::TransferLeaderResponse<TypeConfig>,
) -> pb::TransferLeaderResponse {
    use pb::transfer_leader_response::Result as Out;
    let out = match response {
        Ok(()) => Out::Accepted(pb::Blank {}),
        Err(raft::TransferLeaderError::VoteChanged { actual, .. }) => {
            Out::VoteChanged(from_raft_vote(&actual).into())
        }
        Err(raft::TransferLeaderError::LogNotFlushed { actual, .. }) => {
            Out::NotFlushed(pb::LogNotFlushed { actual: actual.map(|id| from_raft_id(&id).into()) })
        }
    };
    pb::TransferLeaderResponse { envelope: Some(envelope), result: Some(out) }
}

pub(crate) fn transfer_result(
    response: pb::TransferLeaderResponse,
    request: &raft::TransferLeaderRequest<TypeConfig>,
) -> Result<raft::TransferLeaderResponse<TypeConfig>, Malformed> {
    use pb::transfer_leader_response::Result as In;
    Ok(match need(response.result, "result")? {
        In::Accepted(_) => Ok(()),
        In::VoteChanged(vote) => Err(raft::TransferLeaderError::VoteChanged {
            expected: *request.from_leader(),
            actual: to_raft_vote(vote.into()),
        }),
        In::NotFlushed(found) => Err(raft::TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: found.actual.map(|id| to_raft_id(id.into())),
        }),
    })
}
/// Encodes the position of a snapshot.
pub(crate) fn encode_position(position: &Position) -> pb::SnapshotMeta {
    pb::SnapshotMeta {
        last_log_id: position.last.map(Into::into),
        membership_log_id: position.membership.as_ref().map(|(id, _)| (*id).into()),
        membership: position.membership.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default(),
    }
}

/// Decodes the position of a snapshot.
pub(crate) fn decode_position(meta: &pb::SnapshotMeta) -> Position {
    let membership = meta.membership_log_id.map(|id| (LogId::from(id), meta.membership.clone()));
    Position { last: meta.last_log_id.map(Into::into), membership }
}
