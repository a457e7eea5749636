//! The machine: signed blocks in, outcomes and checkpoints out; what cannot be a committed block is a fault.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{FutureExt as _, future, future::BoxFuture};
use prost::Message;
use quorate_core::{
    block::BlockKey,
    hash::Hash,
    name::ClusterId,
    position::{NodeId, Term},
};
use quorate_ledger::{block::Block, outcome::NewCheckpoint, view::LedgerHead};

use super::{CheckpointSink, StateMachine};
use crate::{
    block::{Link, seal},
    consensus::{CommittedEntry, Copied, InstallError, Machine, Position, SnapshotHandle},
    store::{
        faults::{FaultKind, StoreFault},
        log::{LogEntry, LogId, Payload},
        state::{
            ReadView, StateStore,
            tests::support::{
                CLUSTER, CLUSTER_NAME, START, birth, block, copy_directory, genesis, identity, options,
                origin, put, request,
            },
        },
    },
};

/// Remembers checkpoints; refuses snapshots when told to.
#[derive(Default)]
struct Sink {
    seen: Mutex<Vec<NewCheckpoint>>,
    refuse: bool,
}

impl CheckpointSink for Sink {
    fn checkpoint(&self, checkpoint: NewCheckpoint) {
        self.seen.lock().unwrap().push(checkpoint);
    }

    fn certificates(&self, heads: Vec<Arc<LedgerHead>>) -> BoxFuture<'static, Result<Vec<String>, String>> {
        let notes = heads.iter().map(|head| format!("{} {}", head.name, head.frontier.size())).collect();
        future::ready(Ok(notes)).boxed()
    }

    fn accepts(&self, _: &ReadView, _: &[String]) -> Result<(), String> {
        if self.refuse { Err("this is not what I signed".to_owned()) } else { Ok(()) }
    }
}

struct Node {
    _home: tempfile::TempDir,
    store: Arc<StateStore>,
    machine: StateMachine,
    sink: Arc<Sink>,
}

fn node(id: u64, refuse: bool) -> Node {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    StateStore::create(&path, identity(id), &options()).unwrap();
    let store = Arc::new(StateStore::open(&path, identity(id), options()).unwrap());
    let sink = Arc::new(Sink { refuse, ..Sink::default() });
    let machine = StateMachine::new(Arc::clone(&store), ClusterId::new(CLUSTER), Arc::clone(&sink) as _);
    Node { _home: home, store, machine, sink }
}

/// Seals blocks one behind the other, as entries.
struct Leader {
    key: BlockKey,
    last: Option<Link>,
    index: u64,
}

impl Leader {
    fn new() -> Self {
        Self { key: BlockKey::from_seed(&[1; 32]), last: None, index: 0 }
    }

    fn entry(&mut self, payload: Payload) -> CommittedEntry {
        let id = LogId { term: 3, index: self.index };
        self.index += 1;
        LogEntry { id, payload }
    }

    fn block(&mut self, block: &Block) -> CommittedEntry {
        let body = Bytes::from(block.encode_to_vec());
        let (sealed, payload) =
            seal(&self.key, ClusterId::new(CLUSTER), NodeId::new(1), Term::new(3), self.last, body);
        self.last = Some(sealed.link());
        self.entry(Payload::Block(payload))
    }

    fn founding(&mut self) -> Vec<CommittedEntry> {
        vec![
            self.entry(Payload::Membership(Bytes::from_static(b"members"))),
            self.entry(Payload::Blank),
            self.block(&genesis(CLUSTER_NAME, CLUSTER, START)),
            self.block(&block(START, [birth(&origin(), "default")])),
        ]
    }

    fn write(&mut self, key: &str) -> CommittedEntry {
        self.block(&block(START, [request("default", key, [put(key.as_bytes(), b"value")])]))
    }
}

#[test]
fn a_document_of_a_newer_version_stops_the_node_and_says_to_upgrade() {
    let node = node(1, false);
    let mut leader = Leader::new();
    node.machine.apply(leader.founding()).unwrap();
    let newer = leader.block(&block(START, [request("_system", "newer", [put(b"policies/default", b"")])]));
    for again in [false, true] {
        let fault = node.machine.apply(vec![newer.clone()]).unwrap_err();
        assert_eq!((fault.kind(), fault.is_damage()), (FaultKind::Newer, false), "again: {again}");
        let said = fault.to_string();
        assert!(said.contains("policies/default") && said.contains("upgrade this node"), "{said}");
    }
}

#[test]
fn blocks_give_outcomes_and_checkpoints_in_order_and_other_entries_only_move_the_position() {
    let node = node(1, false);
    let mut leader = Leader::new();
    let mut entries = leader.founding();
    entries.extend(["a", "b"].map(|key| leader.write(key)));
    let outcomes = node.machine.apply(entries).unwrap();
    assert_eq!(outcomes.iter().map(|outcome| outcome.height.get()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let seen = node.sink.seen.lock().unwrap().clone();
    let made = outcomes.iter().flat_map(|outcome| outcome.checkpoints.clone()).collect::<Vec<_>>();
    assert_eq!(seen, made);
    let view = node.store.view();
    assert_eq!(view.applied().last, Some(LogId { term: 3, index: 5 }));
    assert_eq!(view.cluster().last_block, leader.last.map(|link| (link.height, link.hash)));
    node.store.flush().unwrap();
    let position = node.machine.applied().unwrap();
    let members = Some((LogId { term: 3, index: 0 }, Bytes::from_static(b"members")));
    assert_eq!(position, Position { last: view.applied().last, membership: members });
}

/// A way to spoil the next entry.
type Spoil = fn(&mut Leader) -> CommittedEntry;

#[test]
fn what_is_no_committed_block_of_this_chain_is_a_fault_and_changes_nothing() {
    let cases: [(&str, Spoil); 5] = [
        ("another block before", |leader| {
            leader.last = leader.last.map(|link| Link { hash: Hash::ZERO, ..link });
            leader.write("x")
        }),
        ("a height left out", |leader| {
            drop(leader.write("left out"));
            leader.index -= 1;
            leader.write("x")
        }),
        ("another term than the entry's", |leader| {
            let mut entry = leader.write("x");
            entry.id.term = 4;
            entry
        }),
        ("no block", |leader| leader.entry(Payload::Block(Bytes::from_static(b"\xff\xff")))),
        ("a second genesis", |leader| leader.block(&genesis(CLUSTER_NAME, CLUSTER, START))),
    ];
    for (name, spoil) in cases {
        let node = node(1, false);
        let mut leader = Leader::new();
        node.machine.apply(leader.founding()).unwrap();
        let before = node.store.view();
        let fault: StoreFault = node.machine.apply(vec![spoil(&mut leader)]).expect_err(name);
        assert_eq!(fault.kind(), FaultKind::Diverged, "{name}: {fault}");
        assert_eq!(node.store.view().applied(), before.applied(), "{name}");
    }
}

fn snapshot(node: &Node) -> SnapshotHandle {
    let Copied { files, notes } = node.machine.snapshot().unwrap();
    files.certified(notes.now_or_never().unwrap().unwrap())
}

#[test]
fn a_snapshot_that_is_kept_is_there_after_a_start_and_no_other_is() {
    let node = node(1, false);
    let mut leader = Leader::new();
    node.machine.apply(leader.founding()).unwrap();
    let (first, other) = (snapshot(&node), snapshot(&node));
    node.machine.apply(vec![leader.write("a")]).unwrap();
    let second = snapshot(&node);
    assert!(second.position().last > first.position().last);
    for kept in [&first, &second] {
        node.machine.keep(kept).unwrap();
    }
    for left in [&first, &other, &second] {
        left.stay(true);
    }
    let Node { _home: home, store, machine, .. } = node;
    drop((machine, store));
    let path = home.path().join("state");
    let store = Arc::new(StateStore::open(&path, identity(1), options()).unwrap());
    assert_eq!((first.dir().exists(), other.dir().exists(), second.dir().exists()), (false, false, true));
    let machine = StateMachine::new(Arc::clone(&store), ClusterId::new(CLUSTER), Arc::new(Sink::default()));
    let kept = machine.kept().unwrap();
    assert_eq!(
        (kept.position(), kept.notes(), kept.dir()),
        (second.position(), second.notes(), second.dir())
    );
    // What cannot be read is not used, and stops nobody.
    let record = path.join("STANDING");
    let mut bytes = fs::read(&record).unwrap();
    bytes[40] ^= 1;
    fs::write(&record, bytes).unwrap();
    assert!(machine.kept().is_none());
}

#[test]
fn a_snapshot_goes_from_machine_to_machine_and_its_heads_are_signed() {
    let (from, to) = (node(1, false), node(2, false));
    let mut leader = Leader::new();
    let mut entries = leader.founding();
    entries.push(leader.write("a"));
    from.machine.apply(entries).unwrap();
    let snapshot = snapshot(&from);
    assert_eq!(snapshot.position().last, from.store.view().applied().last);
    assert_eq!(snapshot.notes(), ["_system 3", "default 3"], "the heads of the copy itself are certified");
    let received = to.machine.begin_install(0).unwrap();
    copy_directory(snapshot.dir(), &received);
    to.machine.check_install(snapshot.position(), snapshot.notes(), &received).unwrap();
    to.machine.install(snapshot.position(), &received).unwrap();
    assert_eq!(to.machine.applied().unwrap(), *snapshot.position());
    let heads =
        from.store.view().ledgers().iter().map(|l| (l.size(), l.head().frontier.root())).collect::<Vec<_>>();
    let signed = to.sink.seen.lock().unwrap().iter().map(|made| (made.size, made.root)).collect::<Vec<_>>();
    assert_eq!(signed, heads);
    let dir = snapshot.dir().to_owned();
    drop(snapshot);
    assert!(!dir.exists());
    let next = leader.write("b");
    assert_eq!(from.machine.apply(vec![next.clone()]).unwrap(), to.machine.apply(vec![next]).unwrap());
}

#[test]
fn a_snapshot_that_contradicts_what_was_signed_is_refused() {
    let (from, to) = (node(1, false), node(2, true));
    from.machine.apply(Leader::new().founding()).unwrap();
    let snapshot = snapshot(&from);
    let received = to.machine.begin_install(0).unwrap();
    copy_directory(snapshot.dir(), &received);
    let refused = to.machine.check_install(snapshot.position(), snapshot.notes(), &received);
    assert!(matches!(refused, Err(InstallError::Refused(problem)) if problem == "this is not what I signed"));
    fs::remove_dir_all(received).unwrap();
}
