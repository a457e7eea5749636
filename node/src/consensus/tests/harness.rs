//! A cluster in one process: real log stores in temporary directories, toy machines, and a network that can be cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future, future::BoxFuture, stream::BoxStream};
use prost::Message;
use quorate_proto::peer::v1 as pb;
use tempfile::TempDir;

use super::toy::{Toy, ToyState};
use crate::{
    consensus::{
        AppendAnswers, BlockGuard, Consensus, ConsensusConfig, LogEntry, LogId, Member, NodeId, Payload,
        PeerError, PeerTransport, ProposeError, Refusal, Role,
    },
    store::log::{Identity, LogConfig, LogFault, LogStore},
};

pub(super) const CLUSTER: [u8; 16] = *b"sixteen bytes id";

/// Which nodes run, and which directions are cut.
#[derive(Default)]
pub(super) struct Net {
    running: Mutex<BTreeMap<NodeId, Consensus>>,
    cut: Mutex<BTreeSet<(NodeId, NodeId)>>,
    /// After how many pieces each transfer of a snapshot is cut; `None`: none is.
    cut_after: Mutex<Option<usize>>,
    /// Bytes of snapshot files that went over the network.
    pub(super) snapshot_bytes: AtomicUsize,
}

impl Net {
    fn open(&self, from: NodeId, to: NodeId) -> bool {
        !self.cut.lock().unwrap().contains(&(from, to)) && self.running.lock().unwrap().contains_key(&to)
    }

    fn find(&self, from: NodeId, to: NodeId) -> Result<Consensus, PeerError> {
        let gone = || PeerError::Unreachable { node: to, why: "cut or down".to_owned() };
        if !self.open(from, to) {
            return Err(gone());
        }
        self.running.lock().unwrap().get(&to).cloned().ok_or_else(gone)
    }
}

/// One node's end of the network.
struct Wire {
    net: Arc<Net>,
    own: NodeId,
}

fn over_the_wire<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn lost(node: NodeId) -> PeerError {
    PeerError::Failed { node, why: "cut".to_owned() }
}

fn refused(node: NodeId) -> impl Fn(Refusal) -> PeerError {
    move |refusal| PeerError::Failed { node, why: refusal.to_string() }
}

impl Wire {
    /// One question and its answer, if neither direction is cut.
    fn call<Q, A, F>(
        &self,
        node: NodeId,
        request: &Q,
        handle: impl FnOnce(Consensus, NodeId, Q) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<A, PeerError>>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
        F: Future<Output = Result<A, Refusal>> + Send + 'static,
    {
        let (net, own, request) = (Arc::clone(&self.net), self.own, over_the_wire(request));
        async move {
            let target = net.find(own, node)?;
            let answer = handle(target, own, request).await.map_err(refused(node))?;
            if net.open(node, own) { Ok(over_the_wire(&answer)) } else { Err(lost(node)) }
        }
        .boxed()
    }
}

impl PeerTransport for Wire {
    fn learn(&self, node: NodeId, member: &Member) {
        assert_eq!(member.peer_address, format!("node-{node}"));
    }

    fn append(
        &self,
        node: NodeId,
        requests: BoxStream<'static, pb::AppendRequest>,
    ) -> BoxFuture<'static, Result<AppendAnswers, PeerError>> {
        let (net, own) = (Arc::clone(&self.net), self.own);
        async move {
            let target = net.find(own, node)?;
            let there = Arc::clone(&net);
            let requests = requests
                .take_while(move |_| future::ready(there.open(own, node)))
                .map(|request| over_the_wire(&request));
            let answers = target.handle_append(own, requests.boxed()).map(move |answer| {
                let answer = answer.map_err(refused(node))?;
                if net.open(node, own) { Ok(over_the_wire(&answer)) } else { Err(lost(node)) }
            });
            Ok(answers.boxed())
        }
        .boxed()
    }

    fn vote(
        &self,
        node: NodeId,
        request: pb::VoteRequest,
    ) -> BoxFuture<'static, Result<pb::VoteResponse, PeerError>> {
        self.call(
            node,
            &request,
            |target, own, request| async move { target.handle_vote(own, request).await },
        )
    }

    fn offer_snapshot(
        &self,
        node: NodeId,
        offer: pb::SnapshotOffer,
    ) -> BoxFuture<'static, Result<pb::SnapshotAnswer, PeerError>> {
        self.call(node, &offer, |target, own, offer| async move { target.handle_offer(own, offer).await })
    }

    fn install_snapshot(
        &self,
        node: NodeId,
        chunks: BoxStream<'static, pb::SnapshotChunk>,
    ) -> BoxFuture<'static, Result<pb::SnapshotResponse, PeerError>> {
        let (net, own) = (Arc::clone(&self.net), self.own);
        async move {
            let target = net.find(own, node)?;
            let limit = net.cut_after.lock().unwrap().unwrap_or(usize::MAX);
            let there = Arc::clone(&net);
            let chunks = chunks.take(limit).take_while(move |_| future::ready(net.open(own, node)));
            let chunks = chunks.inspect(move |chunk| {
                if let Some(pb::snapshot_chunk::Step::Data(data)) = &chunk.step {
                    there.snapshot_bytes.fetch_add(data.data.len(), Ordering::Relaxed);
                }
            });
            target.handle_snapshot(own, chunks.boxed()).await.map_err(refused(node))
        }
        .boxed()
    }

    fn read_index(
        &self,
        node: NodeId,
        request: pb::ReadIndexRequest,
    ) -> BoxFuture<'static, Result<pb::ReadIndexResponse, PeerError>> {
        self.call(node, &request, |target, own, request| async move {
            target.handle_read_index(own, request).await
        })
    }

    fn ask_room(
        &self,
        node: NodeId,
        request: pb::RoomRequest,
    ) -> BoxFuture<'static, Result<pb::RoomResponse, PeerError>> {
        self.call(node, &request, |target, own, request| async move { target.handle_room(own, &request) })
    }

    fn transfer_leader(
        &self,
        node: NodeId,
        request: pb::TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<pb::TransferLeaderResponse, PeerError>> {
        self.call(node, &request, |target, own, request| async move {
            target.handle_transfer_leader(own, request).await
        })
    }
}

/// Refuses blocks that say so.
pub(super) struct Guard;

impl BlockGuard for Guard {
    fn check(&self, _prev: Option<LogId>, entries: &[LogEntry]) -> Result<(), String> {
        let bad = entries.iter().any(|entry| entry.payload == Payload::Block(Bytes::from_static(b"forged")));
        if bad { Err("a forged block".to_owned()) } else { Ok(()) }
    }
}

pub(super) struct Node {
    pub(super) consensus: Consensus,
    pub(super) toy: Arc<Toy>,
}

pub(super) struct Cluster {
    dir: TempDir,
    pub(super) net: Arc<Net>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    /// What a stopped node's machine had made durable.
    stopped: BTreeMap<NodeId, ToyState>,
    tune: fn(&mut ConsensusConfig),
}

pub(super) fn member(node: NodeId) -> Member {
    Member { peer_address: format!("node-{node}"), client_address: String::new() }
}

/// Timings for tests: fast, but not so fast that a busy machine costs the leader its lease all the time.
pub(super) fn quick(config: &mut ConsensusConfig) {
    config.heartbeat_ms = 50;
    config.election_min_ms = 400;
    config.election_max_ms = 800;
}

/// Timings under which nothing but the first election happens.
pub(super) fn calm(config: &mut ConsensusConfig) {
    config.election_min_ms = 5_000;
    config.election_max_ms = 10_000;
}

impl Cluster {
    /// Nodes 1 to `size`, running, made into a cluster.
    pub(super) async fn start(size: u64, tune: fn(&mut ConsensusConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster =
            Self { dir, net: Arc::default(), nodes: BTreeMap::new(), stopped: BTreeMap::new(), tune };
        for node in 1..=size {
            cluster.create(node).await;
        }
        let members = (1..=size).map(|node| (node, member(node))).collect();
        cluster.nodes[&1].consensus.initialize(members).await.unwrap();
        cluster
    }

    /// Makes the files of a new node and starts it.
    pub(super) async fn create(&mut self, node: NodeId) {
        let identity = Identity { cluster_id: CLUSTER, node_id: node };
        LogStore::create(&self.dir.path().join(format!("log-{node}")), identity).unwrap();
        self.stopped.insert(node, ToyState::default());
        self.restart(node).await;
    }

    /// Starts a stopped node on its files and on what its machine had flushed.
    pub(super) async fn restart(&mut self, node: NodeId) {
        let identity = Identity { cluster_id: CLUSTER, node_id: node };
        let path = self.dir.path().join(format!("log-{node}"));
        let mut log = None;
        for _ in 0..100 {
            match LogStore::open(&path, identity, LogConfig::default()) {
                Ok(opened) => {
                    log = Some(opened);
                    break;
                }
                // Tasks of the run before may still hold the database for a moment.
                Err(LogFault::Database(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(fault) => panic!("{fault}"),
            }
        }
        let scratch = self.dir.path().join(format!("state-{node}"));
        let toy = Arc::new(Toy::new(&scratch, self.stopped.remove(&node).unwrap(), false));
        let mut config = ConsensusConfig::new(CLUSTER, node);
        quick(&mut config);
        (self.tune)(&mut config);
        let wire = Arc::new(Wire { net: Arc::clone(&self.net), own: node });
        let machine: Arc<Toy> = Arc::clone(&toy);
        let consensus =
            Consensus::start(&config, log.unwrap(), machine, wire, Arc::new(Guard)).await.unwrap();
        self.net.running.lock().unwrap().insert(node, consensus.clone());
        self.nodes.insert(node, Node { consensus, toy });
    }

    /// Stops a node; its machine forgets what it did not flush.
    pub(super) async fn kill(&mut self, node: NodeId) {
        self.net.running.lock().unwrap().remove(&node);
        let running = self.nodes.remove(&node).unwrap();
        running.consensus.shutdown().await;
        self.stopped.insert(node, running.toy.durable());
    }

    /// Cuts a node off from all others, both ways.
    pub(super) fn isolate(&self, node: NodeId) {
        let mut cut = self.net.cut.lock().unwrap();
        for other in 1..=9 {
            cut.insert((node, other));
            cut.insert((other, node));
        }
    }

    /// Cuts every transfer of a snapshot after so many pieces.
    pub(super) fn cut_snapshots_after(&self, pieces: Option<usize>) {
        *self.net.cut_after.lock().unwrap() = pieces;
    }

    pub(super) fn heal(&self) {
        self.net.cut.lock().unwrap().clear();
    }

    /// A leader that the majority of running nodes follows, and its term.
    pub(super) async fn leader(&self) -> (NodeId, u64) {
        self.leader_other_than(0).await
    }

    pub(super) async fn leader_other_than(&self, not: NodeId) -> (NodeId, u64) {
        eventually("a leader", || {
            self.nodes.iter().find_map(|(id, node)| {
                let status = node.consensus.status().borrow().clone();
                let followed = self.nodes.values().filter(|other| {
                    let seen = other.consensus.status().borrow().clone();
                    seen.leader == Some(*id) && seen.term == status.term
                });
                let led = status.role == Role::Leader && *id != not && followed.count() >= 2;
                led.then_some((*id, status.term))
            })
        })
        .await
    }

    pub(super) fn node(&self, node: NodeId) -> &Node {
        &self.nodes[&node]
    }

    /// Proposes blocks `name-0` … one after the other until each is committed. A block that was certainly
    /// not committed (a leader that lost its lease on a busy machine) is proposed again.
    pub(super) async fn write(&self, name: &str, count: usize) {
        let mut leader = self.leader().await;
        for number in 0..count {
            let block = Bytes::from(format!("{name}-{number}"));
            loop {
                let (node, term) = leader;
                match self.node(node).consensus.propose(term, block.clone()).await {
                    Ok(_) => break,
                    Err(ProposeError::NotLeader { .. }) => leader = self.leader().await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Waits until all running nodes hold the same blocks, `count` of them, and gives them.
    pub(super) async fn settled(&self, count: usize) -> Vec<Bytes> {
        eventually(&format!("{count} equal blocks everywhere"), || {
            let mut states = self.nodes.values().map(|node| node.toy.present().blocks);
            let first = states.next().unwrap();
            (first.len() == count && states.all(|other| other == first)).then_some(first)
        })
        .await
    }
}

/// Polls until `probe` gives something; fails after 20 s.
pub(super) async fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = probe() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("gave up waiting for {what}");
}
