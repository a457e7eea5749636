//! The connections, as openraft wants them: one client per peer and purpose.
//!
//! Errors stay errors. A peer that answers nonsense is treated like one that does not answer. Pre-vote is a
//! call of its own: openraft's default would count an unimplemented pre-vote as granted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use openraft::{
    OptionalSend,
    alias::{SnapshotOf, VoteOf},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{
        Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
        RaftNetworkFactory,
    },
    raft::{
        AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use quorate_proto::peer::v1 as pb;

use crate::{store::log::LogId, upkeep::Transfers};

use super::{
    codec,
    envelope::Postmark,
    link::Link,
    settings::Timeouts,
    snapshot_send,
    state_machine::SnapshotSource,
    transport::{PeerError, PeerTransport},
    types::{Member, NodeId, TypeConfig, from_raft_id, from_raft_vote, to_raft_vote},
};

type Rpc<T> = Result<T, RPCError<TypeConfig>>;

/// Everything a client needs, shared by all of them.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) postmark: Postmark,
    pub(crate) timeouts: Timeouts,
    pub(crate) snapshot_chunk_bytes: usize,
    /// Where snapshots on their way are shown.
    pub(crate) transfers: Transfers,
    /// What the peers have applied, as they told last.
    pub(crate) applied: PeersApplied,
}

/// Index of the last entry that each peer has applied, by its own word. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeersApplied(Arc<Mutex<BTreeMap<NodeId, u64>>>);

impl PeersApplied {
    /// Notes what an answer tells; nothing is known of a peer of a version that does not tell.
    pub(crate) fn told(&self, node: NodeId, index: Option<u64>) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match index {
            Some(index) => drop(peers.insert(node, index)),
            None => drop(peers.remove(&node)),
        }
    }

    /// What `node` told last.
    pub(crate) fn of(&self, node: NodeId) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied()
    }
}

impl Network {
    /// Waits for an answer and checks that it comes from `node`.
    async fn ask<T>(
        &self,
        node: NodeId,
        limit: Duration,
        call: BoxFuture<'static, Result<T, PeerError>>,
        envelope: impl FnOnce(&T) -> Option<&pb::Envelope>,
    ) -> Result<T, PeerError> {
        let answer = match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer?,
            Err(_) => return Err(timeout(node, limit)),
        };
        self.postmark.check(envelope(&answer), node).map_err(|error| failed(node, error))?;
        Ok(answer)
    }

    /// Asks `node` for a read position; `Err(leader)` inside when it does not lead.
    pub(crate) async fn read_index(&self, node: NodeId) -> Result<pb::ReadIndexResponse, PeerError> {
        let request = pb::ReadIndexRequest { envelope: Some(self.postmark.to(node)) };
        let call = self.transport.read_index(node, request);
        self.ask(node, self.timeouts.read, call, |r| r.envelope.as_ref()).await
    }

    /// Asks `node` whether it has room to lead; its last entry if it has.
    pub(crate) async fn ask_room(&self, node: NodeId) -> Result<Option<Option<LogId>>, PeerError> {
        let request = pb::RoomRequest { envelope: Some(self.postmark.to(node)) };
        let call = self.transport.ask_room(node, request);
        let answer = self.ask(node, self.timeouts.transfer, call, |r| r.envelope.as_ref()).await?;
        Ok(answer.has_room.then(|| answer.last_log_id.map(Into::into)))
    }

    async fn vote(&self, node: NodeId, request: pb::VoteRequest) -> Rpc<VoteResponse<TypeConfig>> {
        let call = self.transport.vote(node, request);
        let answer = self.ask(node, self.timeouts.vote, call, |r| r.envelope.as_ref()).await.map_err(rpc)?;
        codec::vote_result(answer).map_err(|error| rpc(failed(node, error)))
    }
}

pub(crate) fn failed(node: NodeId, why: impl ToString) -> PeerError {
    PeerError::Failed { node, why: why.to_string() }
}

pub(crate) fn timeout(node: NodeId, limit: Duration) -> PeerError {
    PeerError::Timeout { node, millis: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
}

pub(crate) fn rpc(error: PeerError) -> RPCError<TypeConfig> {
    match error {
        PeerError::Unreachable { .. } => RPCError::Unreachable(Unreachable::new(&error)),
        PeerError::Failed { .. } | PeerError::Timeout { .. } => RPCError::Network(NetworkError::new(&error)),
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, member: &Member) -> Client {
        self.transport.learn(target, member);
        Client { network: self.clone(), node: target, link: None, opened: false }
    }
}

/// Rest before a link is opened again. Well below an election timeout, so that a peer that comes back is heard in time.
const REOPEN_PAUSE: Duration = Duration::from_millis(50);

/// The way to one peer. Replication, heartbeats and snapshots have one each, on the same connection.
pub(crate) struct Client {
    network: Network,
    node: NodeId,
    /// The open append stream, kept between sessions. `None` before the first and after an error.
    link: Option<Link>,
    /// Whether a link was asked for before: then the last one was lost, or could not be had.
    opened: bool,
}

impl Client {
    /// A new link; after a lost one not at once. Openraft asks again without a pause of its own when a peer is
    /// down, thousands of times a second.
    async fn open(&mut self) -> Result<Link, PeerError> {
        if std::mem::replace(&mut self.opened, true) {
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
        Link::open(self.network.clone(), self.node).await
    }
}

impl NetBackoff<TypeConfig> for Client {
    fn backoff(&self) -> Option<Backoff> {
        None
    }
}

impl NetStreamAppend<TypeConfig> for Client {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let link = match self.link.take() {
                Some(link) => link,
                None => self.open().await.map_err(rpc)?,
            };
            Ok(link.session(input, &mut self.link).boxed())
        })
    }
}

impl NetVote<TypeConfig> for Client {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        let request = codec::vote_request(self.network.postmark.to(self.node), &request, false);
        self.network.vote(self.node, request).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        let request = codec::vote_request(self.network.postmark.to(self.node), &request, true);
        self.network.vote(self.node, request).await
    }
}

impl NetSnapshot<TypeConfig> for Client {
    type SnapshotData = SnapshotSource;

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotSource>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotSource::Local(outgoing) = snapshot.snapshot else {
            let error = failed(self.node, "a snapshot that is being received is not sent on");
            return Err(StreamingError::Network(NetworkError::new(&error)));
        };
        let least = snapshot.meta.last_log_id.as_ref().map(from_raft_id);
        let sending = snapshot_send::send(&self.network, self.node, from_raft_vote(&vote), least, &outgoing);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(to_raft_vote(vote))),
                Err(error) => Err(rpc(error).into()),
            },
        }
    }
}

impl NetTransferLeader<TypeConfig> for Client {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        let message = codec::transfer_request(self.network.postmark.to(self.node), &request);
        let call = self.network.transport.transfer_leader(self.node, message);
        let limit = self.network.timeouts.transfer;
        let answer = self.network.ask(self.node, limit, call, |r| r.envelope.as_ref()).await.map_err(rpc)?;
        codec::transfer_result(answer, &request).map_err(|error| rpc(failed(self.node, error)))
    }
}
