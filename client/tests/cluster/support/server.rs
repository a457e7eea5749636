//! Replicas that serve the model over gRPC, well or badly.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_core::answer::Contents;
use quorate_proto::convert;
use quorate_proto::v1::{self, ledger_server};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Response, Status};

use super::model::{Ask, LedgerModel, Model};

/// How a replica treats requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Serves reads and writes.
    Leader,
    /// Serves reads; writes are for that node (0: it does not know whose).
    Follower(u64),
    /// Answers UNAVAILABLE, and says whether that is certain to have had no effect.
    Unavailable { no_effect: bool },
    /// Answers RESOURCE_EXHAUSTED.
    Busy,
    /// Answers INTERNAL.
    Broken,
    /// Does what is asked, and never answers.
    Hanging,
    /// Answers, but nobody signs anything anew for it.
    CutOff,
}

/// What a test does to answers before they are sent.
type Alter<M> = Arc<dyn Fn(&mut M) + Send + Sync>;

#[derive(Clone, Default)]
pub(crate) struct Alterations {
    pub(crate) commit: Option<Alter<v1::CommitResponse>>,
    pub(crate) get: Option<Alter<v1::GetResponse>>,
    pub(crate) scan: Option<Alter<v1::ScanResponse>>,
    pub(crate) history: Option<Alter<v1::HistoryResponse>>,
    pub(crate) transaction: Option<Alter<v1::GetTransactionResponse>>,
    pub(crate) checkpoint: Option<Alter<v1::GetCheckpointResponse>>,
    pub(crate) entries: Option<Alter<v1::ListTransactionsResponse>>,
    pub(crate) consistency: Option<Alter<v1::ConsistencyProofResponse>>,
    pub(crate) feed: Option<Alter<v1::SubscribeResponse>>,
    /// Messages of answers on a stream of commits.
    pub(crate) answers: Option<Alter<v1::CommitStreamResponse>>,
}

/// What a replica is like at the moment.
pub(crate) struct State {
    pub(crate) model: Arc<Mutex<Model>>,
    pub(crate) mode: Mode,
    /// Whose cosignatures its notes carry.
    pub(crate) cosigners: Vec<u8>,
    /// Their time, seconds since the Unix epoch.
    pub(crate) cosign_time: u64,
    /// What it does to its answers.
    pub(crate) alter: Alterations,
    /// The changes of replicas that it tells of.
    pub(crate) epochs: Vec<v1::EpochProof>,
    /// Whether it is of a version without streams of commits.
    pub(crate) has_no_streams: bool,
    /// A stream of commits ends after so many messages.
    pub(crate) cut_after: Option<usize>,
}

/// A replica.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) id: u64,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Requests that reached it, by any method.
    pub(crate) calls: Arc<AtomicUsize>,
    /// Messages of streams of commits that reached it.
    pub(crate) streamed: Arc<AtomicUsize>,
    /// All replicas of the cluster, by id.
    pub(super) peers: Arc<Mutex<Vec<(u64, SocketAddr)>>>,
}

/// Three replicas of one model; the first leads.
pub(crate) struct Cluster {
    pub(crate) model: Arc<Mutex<Model>>,
    pub(crate) nodes: Vec<Node>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let model = Arc::new(Mutex::new(Model::new()));
        let mut nodes = Vec::new();
        for id in 1..=3 {
            let mode = if id == 1 { Mode::Leader } else { Mode::Follower(1) };
            nodes.push(Node::start(id, Arc::clone(&model), mode).await);
        }
        let peers: Vec<(u64, SocketAddr)> = nodes.iter().map(|node| (node.id, node.address)).collect();
        for node in &nodes {
            node.peers.lock().unwrap().clone_from(&peers);
        }
        Self { model, nodes }
    }

    pub(crate) fn all(&self) -> Vec<&Node> {
        self.nodes.iter().collect()
    }

    /// The ledger `default`.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut LedgerModel) -> T) -> T {
        change(self.model.lock().unwrap().ledgers.get_mut("default").unwrap())
    }

    /// Puts a value behind the client's back.
    pub(crate) fn put(&self, key: &str, value: &str) -> u64 {
        let contents = Contents { salt: [3; 16], attributes: Vec::new(), value: value.into() };
        let name = rand_name();
        self.with(|ledger| {
            ledger.commit(&name, u64::MAX, &[Ask::Put { key: key.into(), contents, expires_at: None }]).0
        })
    }
}

/// A name that no other request has.
pub(crate) fn rand_name() -> Vec<u8> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec()
}

impl Node {
    pub(crate) async fn start(id: u64, model: Arc<Mutex<Model>>, mode: Mode) -> Self {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap().with_nodelay(Some(true));
        let state = State {
            model,
            mode,
            cosigners: vec![1, 2, 3],
            cosign_time: 2_000_000_000,
            alter: Alterations::default(),
            epochs: Vec::new(),
            has_no_streams: false,
            cut_after: None,
        };
        let node = Self {
            id,
            address: incoming.local_addr().unwrap(),
            state: Arc::new(Mutex::new(state)),
            calls: Arc::default(),
            streamed: Arc::default(),
            peers: Arc::default(),
        };
        let service = ledger_server::LedgerServer::new(node.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        node
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.state().mode = mode;
    }

    pub(crate) fn alter(&self, change: impl FnOnce(&mut Alterations)) {
        change(&mut self.state().alter);
    }

    /// It names no other replica.
    pub(crate) fn peers_are_unknown(&self) {
        self.peers.lock().unwrap().clear();
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// What every request passes.
    pub(super) fn admit(&self, is_write: bool) -> Result<(), Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let detail = |reason: &str, leader, no_effect| v1::ErrorDetail {
            reason: reason.to_owned(),
            leader,
            no_effect,
            ..v1::ErrorDetail::default()
        };
        match self.state().mode {
            Mode::Follower(leader) if is_write => {
                let detail = detail("not_leader", leader, true);
                Err(convert::status(Code::FailedPrecondition, "ask the leader", &detail))
            }
            Mode::Unavailable { no_effect } => {
                let detail = detail("stopping", 0, no_effect);
                Err(convert::status(Code::Unavailable, "stopping", &detail))
            }
            Mode::Busy => Err(Status::resource_exhausted("the queue is full")),
            Mode::Broken => Err(Status::internal("broken")),
            Mode::Leader | Mode::Follower(_) | Mode::Hanging | Mode::CutOff => Ok(()),
        }
    }

    /// Answers, or hangs with the work done.
    pub(super) async fn answer<M>(&self, message: M) -> Result<Response<M>, Status> {
        let mode = self.state().mode;
        if mode == Mode::Hanging {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(message))
    }

    pub(super) fn alterations(&self) -> Alterations {
        self.state().alter.clone()
    }

    /// Reads or changes a ledger of the model.
    pub(super) fn ledger<T>(
        &self,
        name: &str,
        with: impl FnOnce(&mut LedgerModel) -> T,
    ) -> Result<T, Status> {
        let model = Arc::clone(&self.state().model);
        let mut model = model.lock().unwrap();
        match model.ledgers.get_mut(name) {
            Some(ledger) => Ok(with(ledger)),
            None => Err(Status::not_found("no such ledger")),
        }
    }

    pub(super) fn checkpoint(&self, ledger: &LedgerModel, size: u64, trusted: u64) -> v1::CheckpointProof {
        let (cosigners, time) = {
            let state = self.state();
            (state.cosigners.clone(), state.cosign_time)
        };
        ledger.checkpoint_proof(size, trusted, &cosigners, time)
    }

    pub(super) fn read<T>(
        &self,
        name: &str,
        options: Option<&v1::ReadOptions>,
        with: impl FnOnce(&mut LedgerModel, Option<u64>) -> T,
    ) -> Result<(T, Option<v1::CheckpointProof>), Status> {
        let options = options.cloned().unwrap_or_default();
        self.ledger(name, |ledger| {
            if options.at.is_some_and(|at| at >= ledger.size()) {
                return Err(Status::out_of_range("beyond the end"));
            }
            let checkpoint =
                options.prove.then(|| self.checkpoint(ledger, ledger.size(), options.trusted_size));
            Ok((with(ledger, options.at), checkpoint))
        })?
    }
}
