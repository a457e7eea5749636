//! A cluster in one process: blocks are applied to a real state store, one request each, and three keys cosign.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use prost::Message;
use quorate_core::{
    block::BlockKey,
    checkpoint::Checkpoint,
    hash::{Hash, sha256},
    key::{CosignerKey, LogKey, VerifierKey},
    name::{ClusterId, ClusterOrigin, LedgerName},
    note::SignedNote,
    policy::Policy,
    position::{BlockHeight, Micros, NodeId, TreeSize},
    possession::NodeStatement,
};
use quorate_ledger::{
    apply::apply,
    block::{Block, Genesis, Put, Request, Write},
    outcome::RequestOutcome,
    registry::{COSIGNERS_KEY, CosignerSet, NodeRecord, NodeState, node_key},
};
use quorate_proto::v1::{self, ledger_server::Ledger};
use tonic::Status;

use crate::{
    api::{Api, ApiParts, Backend},
    clock::{Clock, ManualClock},
    config::Limits,
    consensus::{self, ReadError, Role},
    disk::DiskGuard,
    health::Health,
    pace::Load,
    sequencer::SubmitError,
    signer::{Certified, Need, Reached, WaitError},
    store::{
        faults::StoreFault,
        log::{Identity, LogId},
        state::{LedgerView, StateOptions, StateStore},
    },
};

/// When the tests begin, microseconds.
pub(super) const START: u64 = 1_790_000_000_000_000;
pub(super) const SECOND: u64 = 1_000_000;
const CLUSTER: ClusterId = ClusterId::new([0x44; 16]);

pub(super) fn origin() -> ClusterOrigin {
    ClusterOrigin::new("ledger.example/test", &CLUSTER).unwrap()
}

/// The parts behind the interface, in one process.
pub(super) struct Fake {
    state: Arc<StateStore>,
    clock: Clock,
    keys: Vec<CosignerKey>,
    applying: Mutex<()>,
    /// How many of the three sign.
    pub(super) signing: AtomicUsize,
    /// When they signed, seconds.
    pub(super) signed_s: AtomicU64,
    /// What a request meets instead of the log.
    pub(super) submit_error: Mutex<Option<SubmitError>>,
    /// What a barrier meets.
    pub(super) read_error: Mutex<Option<ReadError>>,
    pub(super) barriers: AtomicUsize,
    /// How often it was said that somebody will wait for a certificate.
    pub(super) hurried: AtomicUsize,
}

impl Fake {
    fn apply(&self, block: &Block) -> Vec<RequestOutcome> {
        let _alone = self.applying.lock().unwrap();
        let index = self.state.view().applied().last.map_or(0, |last| last.index + 1);
        let applied = self.state.apply(LogId { term: 1, index }, |view, tries| {
            let height =
                view.cluster().last_block.map_or(BlockHeight::new(0), |(height, _)| height.next().unwrap());
            let hash = sha256(&[&block.encode_to_vec()]);
            apply(view, tries, block, height, hash).map_err(|error| StoreFault::diverged("test", "ok", error))
        });
        applied.unwrap().outcome.requests
    }

    fn block(&self, requests: Vec<Request>) -> Vec<RequestOutcome> {
        self.apply(&Block { time: self.clock.now().get(), requests, genesis: None })
    }

    fn log_key(&self, ledger: &LedgerName) -> LogKey {
        LogKey::derive(&[7; 32], &origin().ledger(ledger))
    }
}

impl Backend for Fake {
    fn submit(&self, request: Request, _: Duration) -> BoxFuture<'_, Result<RequestOutcome, SubmitError>> {
        Box::pin(async move {
            if let Some(error) = self.submit_error.lock().unwrap().clone() {
                return Err(error);
            }
            Ok(self.block(vec![request]).pop().unwrap())
        })
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        self.barriers.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { self.read_error.lock().unwrap().clone().map_or(Ok(()), Err) })
    }

    fn consensus(&self) -> consensus::Status {
        consensus::Status {
            role: Role::Leader,
            leader: Some(1),
            term: 3,
            recovered: true,
            ..Default::default()
        }
    }

    fn leader_silence(&self) -> Duration {
        Duration::ZERO
    }

    fn certified<'a>(
        &'a self,
        ledger: &'a LedgerName,
        size: TreeSize,
        root: Hash,
        need: Need,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<Certified, WaitError>> {
        Box::pin(async move {
            let need = need.enough(2);
            let have = self.signing.load(Ordering::Relaxed);
            if have < need {
                return Err(WaitError::Timeout { size, have, need, missing: "node 3".to_owned() });
            }
            let checkpoint = Checkpoint { origin: origin().ledger(ledger).to_string(), size, root };
            let time = self.signed_s.load(Ordering::Relaxed);
            let mut note = SignedNote::new(checkpoint.clone());
            note.add(self.log_key(ledger).sign(&checkpoint));
            for key in self.keys.iter().take(have) {
                note.add(key.cosign(&checkpoint, time).unwrap().to_line());
            }
            Ok(Certified { size, root, note: note.to_string().into(), times: vec![time; have] })
        })
    }

    fn reach(
        &self,
        view: Arc<LedgerView>,
        least: TreeSize,
        need: Need,
        _timeout: Duration,
    ) -> BoxFuture<'_, Result<Reached, WaitError>> {
        Box::pin(async move {
            // Its witnesses sign whatever all three replicas do.
            let (need, have) = (need.enough(2), self.signing.load(Ordering::Relaxed));
            if have < need {
                return Err(WaitError::Timeout { size: least, have, need, missing: "node 3".to_owned() });
            }
            Ok(Reached { view, size: least })
        })
    }

    fn newest_meeting(&self, ledger: &LedgerName, _need: Need) -> TreeSize {
        self.certified_size(ledger)
    }

    fn hurry(&self) {
        self.hurried.fetch_add(1, Ordering::Relaxed);
    }

    fn certified_size(&self, ledger: &LedgerName) -> TreeSize {
        let enough = self.signing.load(Ordering::Relaxed) >= self.majority();
        self.state.view().ledger(ledger).filter(|_| enough).map_or(TreeSize::ZERO, |ledger| ledger.size())
    }

    fn certified_beyond<'a>(&'a self, ledger: &'a LedgerName, size: TreeSize) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            while self.certified_size(ledger) <= size {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    }

    fn majority(&self) -> usize {
        2
    }

    fn refresh<'a>(&'a self, _ledger: &'a LedgerName) -> BoxFuture<'a, ()> {
        let now = self.clock.now().as_secs();
        if now - self.signed_s.load(Ordering::Relaxed) > 10 {
            self.signed_s.store(now, Ordering::Relaxed);
        }
        Box::pin(async {})
    }

    fn log_vkey(&self, ledger: &LedgerName) -> String {
        self.log_key(ledger).verifier().to_string()
    }
}

/// A cluster with the ledger `default`, its interface, and what a client knows of it.
pub(super) struct World {
    pub(super) api: Api,
    pub(super) fake: Arc<Fake>,
    pub(super) hand: ManualClock,
    pub(super) clock: Clock,
    pub(super) health: Health,
    pub(super) disk: DiskGuard,
    /// Bytes that clients have had written, as the interface is told.
    pub(super) written: Arc<AtomicU64>,
    requests: AtomicU64,
    _home: tempfile::TempDir,
}

impl World {
    /// A founded cluster.
    pub(super) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        let identity = Identity { cluster_id: *CLUSTER.as_bytes(), node_id: 1 };
        StateStore::create(&path, identity, &StateOptions::default()).unwrap();
        let state = Arc::new(StateStore::open(&path, identity, StateOptions::default()).unwrap());
        let (clock, hand) = Clock::manual(Micros::new(START));
        let key =
            |node: u8| CosignerKey::from_seed(&origin().node(NodeId::new(node.into())), &[node; 32]).unwrap();
        let fake = Arc::new(Fake {
            state: Arc::clone(&state),
            clock: clock.clone(),
            keys: (1..=3).map(key).collect(),
            applying: Mutex::default(),
            signing: AtomicUsize::new(3),
            signed_s: AtomicU64::new(START / SECOND),
            submit_error: Mutex::default(),
            read_error: Mutex::default(),
            barriers: AtomicUsize::new(0),
            hurried: AtomicUsize::new(0),
        });
        let written = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&written);
        let health = Health::new();
        let disk = DiskGuard::new(&[home.path().to_owned()], 1);
        let api = Api::new(ApiParts {
            upkeep: crate::upkeep::Upkeep::default(),
            me: NodeId::new(1),
            cluster: CLUSTER,
            origin: origin(),
            state,
            backend: Arc::clone(&fake) as Arc<dyn Backend>,
            health: health.clone(),
            clock: clock.clone(),
            limits,
            data_dir: home.path().to_owned(),
            disk: disk.clone(),
            office: None,
            evidence: crate::evidence::EvidenceFiles::open(home.path()),
            load: Load::new(move || counter.load(Ordering::Relaxed)),
        });
        let requests = AtomicU64::new(0);
        let world = Self { api, fake, hand, clock, health, disk, written, requests, _home: home };
        world.found().await;
        world
    }

    async fn found(&self) {
        let cluster_id = Bytes::copy_from_slice(CLUSTER.as_bytes());
        let genesis = Genesis { cluster_id, cluster_name: origin().name().to_owned() };
        self.fake.apply(&Block { time: START, requests: Vec::new(), genesis: Some(genesis) });
        let record = |(key, node): (&CosignerKey, u8)| {
            let block = BlockKey::from_seed(&[node + 100; 32]);
            let statement = NodeStatement {
                cluster: CLUSTER,
                node: NodeId::new(node.into()),
                cosigner: *key.verifier().public_key(),
                block: *block.public().as_bytes(),
            };
            NodeRecord {
                node_id: node.into(),
                vkey: key.verifier().to_string(),
                block_public_key: block.public().as_bytes().to_vec().into(),
                client_address: format!("127.0.0.1:{}", 7_400 + u16::from(node)),
                peer_address: format!("127.0.0.1:{}", 7_500 + u16::from(node)),
                state: NodeState::Member.into(),
                cosigner_proof: key.possess(&statement).to_vec().into(),
                block_proof: block.possess(&statement).to_vec().into(),
                ..NodeRecord::default()
            }
        };
        let records: Vec<NodeRecord> = self.fake.keys.iter().zip(1..).map(record).collect();
        let set = CosignerSet { epoch: 1, cosigners: records.iter().map(NodeRecord::cosigner).collect() };
        let put = |key: Vec<u8>, value: Vec<u8>| {
            let put = Put { salt: vec![2; 16].into(), value: value.into(), ..Put::default() };
            Write { key: key.into(), put: Some(put), erase: None }
        };
        let mut writes = vec![put(COSIGNERS_KEY.to_vec(), set.encode_to_vec())];
        writes.extend(
            records.iter().map(|record| put(node_key(NodeId::new(record.node_id)), record.encode_to_vec())),
        );
        let outcomes = self.fake.block(vec![Request { ledger: "_system".to_owned(), ..self.bare(writes) }]);
        assert!(matches!(outcomes[..], [RequestOutcome::Committed(_)]), "{outcomes:?}");
        self.create("default").await.unwrap();
    }

    /// A request to `default` as the sequencer gets it, for what the interface does not offer.
    pub(super) fn bare(&self, writes: Vec<Write>) -> Request {
        Request {
            ledger: "default".to_owned(),
            author: "anonymous".to_owned(),
            idempotency_key: self.next_key(),
            not_after: self.clock.now().get() + 60 * SECOND,
            meta: Bytes::new(),
            meta_salt: vec![1; 16].into(),
            preconditions: Vec::new(),
            writes,
        }
    }

    /// Erases what a revision of a key wrote.
    /// A later set with the same members.
    pub(super) async fn next_epoch(&self) {
        let set = self.fake.state.view().cluster().registry.next_set();
        let put = Put { salt: vec![2; 16].into(), value: set.encode_to_vec().into(), ..Put::default() };
        let write = Write { key: COSIGNERS_KEY.to_vec().into(), put: Some(put), erase: None };
        let request = Request { ledger: "_system".to_owned(), ..self.bare(vec![write]) };
        let outcome = self.fake.submit(request, Duration::MAX).await.unwrap();
        assert!(matches!(outcome, RequestOutcome::Committed(_)), "{outcome:?}");
    }

    pub(super) async fn erase(&self, key: &str, revision: u64) {
        let write = Write { key: Bytes::copy_from_slice(key.as_bytes()), put: None, erase: Some(revision) };
        let outcome = self.fake.submit(self.bare(vec![write]), Duration::MAX).await.unwrap();
        assert!(matches!(outcome, RequestOutcome::Committed(_)), "{outcome:?}");
    }

    pub(super) fn next_key(&self) -> Bytes {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("request {number}").into_bytes().into()
    }

    pub(super) async fn create(&self, name: &str) -> Result<v1::CreateLedgerResponse, Status> {
        let request = v1::CreateLedgerRequest {
            ledger: name.to_owned(),
            idempotency_key: self.next_key(),
            not_after: self.clock.now().get() + 60 * SECOND,
        };
        self.api.create_ledger(tonic::Request::new(request)).await.map(tonic::Response::into_inner)
    }

    /// A certified commit to `default`.
    pub(super) fn request(&self, writes: Vec<v1::Write>) -> v1::CommitRequest {
        v1::CommitRequest {
            ledger: "default".to_owned(),
            idempotency_key: self.next_key(),
            not_after: self.clock.now().get() + 60 * SECOND,
            writes,
            ..v1::CommitRequest::default()
        }
    }

    /// Commits writes to `default`; gives the log index.
    pub(super) async fn write(&self, writes: Vec<v1::Write>) -> u64 {
        let answer = self.commit(self.request(writes)).await.unwrap();
        answer.transaction.unwrap().index
    }

    pub(super) async fn commit(&self, request: v1::CommitRequest) -> Result<v1::CommitResponse, Status> {
        self.api.commit(tonic::Request::new(request)).await.map(tonic::Response::into_inner)
    }

    pub(super) fn size(&self) -> u64 {
        let name = LedgerName::new("default").unwrap();
        self.fake.state.view().ledger(&name).unwrap().size().get()
    }

    /// Lets time pass.
    pub(super) fn pass(&self, seconds: u64) {
        self.hand.advance(Duration::from_secs(seconds));
    }

    /// The policy of `default`: a majority of the three.
    pub(super) fn policy(&self) -> Policy {
        self.policy_of("default")
    }

    /// Whom to believe about a ledger.
    pub(super) fn policy_of(&self, ledger: &str) -> Policy {
        let cosigners: Vec<VerifierKey> = self.fake.keys.iter().map(|key| key.verifier().clone()).collect();
        let log = self.fake.log_key(&LedgerName::new(ledger).unwrap());
        Policy::majority(log.verifier(), &cosigners).unwrap()
    }
}

pub(super) fn put(key: &str, value: &str) -> v1::Write {
    put_until(key, value, 0)
}

pub(super) fn put_until(key: &str, value: &str, expires_at: u64) -> v1::Write {
    let put = v1::Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        expires_at,
        ..v1::Put::default()
    };
    v1::Write { write: Some(v1::write::Write::Put(put)) }
}

pub(super) fn delete(key: &str) -> v1::Write {
    let delete = v1::Delete { key: Bytes::copy_from_slice(key.as_bytes()) };
    v1::Write { write: Some(v1::write::Write::Delete(delete)) }
}

/// Options that ask for proofs.
pub(super) fn proven(at: Option<u64>) -> Option<v1::ReadOptions> {
    Some(v1::ReadOptions { at, prove: true, ..v1::ReadOptions::default() })
}
