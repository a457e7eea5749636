//! An honest log passes, from any place to any place; every rule finds its planted violation.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../core/tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a model of a ledger; these tests use a part of it")]
mod support;

use std::path::{Path, PathBuf};

use quorate_audit::{AuditError, Auditor, Bounds, Finding, StoreError, Witness};
use quorate_client::LogLeaf;
use quorate_core::entry::{CommitLeaf, Leaf, OpKind, Operation, TransactionLeaf, ops_root};
use quorate_core::hash::Hash;
use quorate_core::key::CosignerKey;
use quorate_core::position::{Epoch, LogIndex, Micros, Revision, TreeSize};

use support::{Ledger, Op};

const ORIGIN: &str = "ledger.test/01010101/default";
const SECOND: u64 = 1_000_000;

fn leaves(ledger: &Ledger) -> Vec<LogLeaf> {
    let operations = |index: u64| match ledger.transactions.get(&index) {
        Some(stored) => stored.operations.iter().map(Operation::encode).collect(),
        None => Vec::new(),
    };
    let leaf = |(leaf, index): (&Vec<u8>, u64)| LogLeaf {
        index: LogIndex::new(index),
        leaf: leaf.clone(),
        operations: operations(index),
    };
    ledger.leaves.iter().zip(0..).map(leaf).collect()
}

fn bounds() -> Bounds {
    Bounds { store_cache: 1 << 20, tree_cache: 1 << 12 }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("default.audit")
    }

    fn open(&self) -> Auditor {
        open(&self.path()).unwrap()
    }
}

fn open(path: &Path) -> Result<Auditor, StoreError> {
    Auditor::open(path, ORIGIN, bounds())
}

/// The model's story, with many keys and more blocks.
fn long_story() -> Ledger {
    let mut ledger = Ledger::with_story();
    assert_eq!(ledger.origin, ORIGIN);
    for block in 0..30_u64 {
        let put = |n: u64| Op::Put(format!("k/{:03}", (block * 37 + n * 11) % 200).into(), vec![7], None);
        let transactions: Vec<Vec<Op>> = (0..4).map(|n| vec![put(n), put(n + 50)]).collect();
        ledger.block((1_100 + block) * SECOND, &transactions);
        if block % 7 == 3 {
            let gone = b"gone".to_vec();
            ledger.block((1_100 + block) * SECOND, &[vec![Op::Put(gone.clone(), vec![8], None)]]);
            ledger.block((1_100 + block) * SECOND, &[vec![Op::Delete(gone)]]);
        }
    }
    ledger
}

#[test]
fn an_honest_log_passes_in_pieces_of_any_size_over_any_number_of_starts() {
    let ledger = long_story();
    let all = leaves(&ledger);
    for (piece, reopen) in [(1, false), (3, true), (7, true), (1_000, false)] {
        let place = Place::new();
        let mut auditor = place.open();
        while auditor.next().get() < ledger.size() {
            let from = usize::try_from(auditor.next().get()).unwrap();
            let part = all[from..all.len().min(from + piece)].to_vec();
            let durable = part.len().is_multiple_of(2);
            auditor.take(part, durable).unwrap();
            if reopen && auditor.next() == auditor.size().next_index() {
                drop(auditor);
                auditor = place.open();
            }
        }
        assert_eq!((auditor.size().get(), auditor.root()), (ledger.size(), ledger.tree.root()));
        assert_eq!(auditor.keys(), ledger.records.len() as u64);
        auditor.check_root(&ledger.head(), "the model").unwrap();
        let mut other = ledger.head();
        other.root = Hash::new([1; 32]);
        let error = auditor.check_root(&other, "node 7").unwrap_err();
        assert!(
            matches!(&error, AuditError::Finding(finding) if finding.what.starts_with("node 7")),
            "{error}"
        );
    }
}

#[test]
fn a_block_that_was_not_whole_is_read_again_after_a_crash() {
    let ledger = long_story();
    let all = leaves(&ledger);
    let place = Place::new();
    let mut auditor = place.open();
    // Ends within a block: the position is the end of the block before.
    auditor.take(all[..22].to_vec(), true).unwrap();
    assert!(auditor.size().get() < 22 && auditor.next().get() == 22);
    let size = auditor.size().get();
    drop(auditor);
    let mut auditor = place.open();
    assert_eq!((auditor.size().get(), auditor.next().get()), (size, size));
    auditor.take(all[usize::try_from(size).unwrap()..28].to_vec(), true).unwrap();
    auditor.rewind();
    let from = usize::try_from(auditor.next().get()).unwrap();
    auditor.take(all[from..].to_vec(), true).unwrap();
    assert_eq!(auditor.root(), ledger.tree.root());
}

#[test]
fn files_of_another_ledger_and_damaged_ones_are_no_beginning() {
    let place = Place::new();
    let mut auditor = place.open();
    auditor.take(leaves(&long_story()), true).unwrap();
    drop(auditor);
    let other = Auditor::open(&place.path(), "ledger.test/01010101/other", bounds()).unwrap_err();
    assert!(matches!(other, StoreError::OtherLedger { .. }), "{other}");
    std::fs::write(place.path(), b"no database at all").unwrap();
    let damaged = open(&place.path()).unwrap_err();
    assert!(matches!(damaged, StoreError::Database { .. }), "{damaged}");
}

/// What an audit of these leaves finds.
fn finding(leaves: Vec<LogLeaf>) -> Finding {
    let place = Place::new();
    let mut auditor = place.open();
    match auditor.take(leaves, true).unwrap_err() {
        AuditError::Finding(finding) => finding,
        AuditError::Store(error) => panic!("{error}"),
    }
}

/// Alters a transaction; its leaf goes on to fit its operations.
fn edit(all: &mut [LogLeaf], index: usize, change: impl FnOnce(&mut TransactionLeaf, &mut Vec<Operation>)) {
    let Leaf::Transaction(mut leaf) = Leaf::decode(&all[index].leaf).unwrap() else { panic!("{index}") };
    let operations = all[index].operations.iter();
    let mut operations: Vec<Operation> =
        operations.map(|operation| Operation::decode(operation).unwrap()).collect();
    let before = operations.clone();
    change(&mut leaf, &mut operations);
    if operations != before {
        leaf.op_count = u32::try_from(operations.len()).unwrap();
        leaf.ops_root = ops_root(operations.iter().map(Operation::encode));
    }
    all[index].leaf = leaf.encode().to_vec();
    all[index].operations = operations.iter().map(Operation::encode).collect();
}

fn edit_commit(all: &mut [LogLeaf], index: usize, change: impl FnOnce(&mut CommitLeaf)) {
    let Leaf::Commit(mut leaf) = Leaf::decode(&all[index].leaf).unwrap() else { panic!("{index}") };
    change(&mut leaf);
    all[index].leaf = leaf.encode().to_vec();
}

// The story of the model: 0 commit · 1 a/1, a/2 · 2 b · 3 commit · 4 a/1 · 5 commit · 6 delete a/2, c, d · 7 commit · 8 e · 9 commit ·
// 10 a/1, erase c · 11 commit · 12 erase a/1 · 13 a/2 · 14 commit.

/// A violation to plant.
type Plant = Box<dyn FnOnce(&mut Vec<LogLeaf>)>;

fn plant(change: impl FnOnce(&mut Vec<LogLeaf>) + 'static) -> Plant {
    Box::new(change)
}

fn tx(index: usize, change: impl FnOnce(&mut TransactionLeaf, &mut Vec<Operation>) + 'static) -> Plant {
    plant(move |all| edit(all, index, change))
}

fn commit(index: usize, change: impl FnOnce(&mut CommitLeaf) + 'static) -> Plant {
    plant(move |all| edit_commit(all, index, change))
}

/// That each violation is found, at its leaf and in these words.
fn found(cases: Vec<(u64, &str, Plant)>) {
    for (index, word, plant) in cases {
        let mut all = leaves(&Ledger::with_story());
        plant(&mut all);
        let found = finding(all);
        assert!(found.index.get() == index && found.what.contains(word), "{index} {word}: {found}");
    }
}

#[test]
fn operations_that_do_not_continue_their_keys_are_found() {
    found(vec![
        (4, "ops_root", plant(|all| all[4].operations[0][9] ^= 1)),
        (4, "op_count", plant(|all| all[4].operations.clear())),
        (4, "revision 9 after 1", tx(4, |_, ops| ops[0].revision = Revision::new(9))),
        (2, "revision 2 after none", tx(2, |_, ops| ops[0].revision = Revision::new(2))),
        (4, "prev_index", tx(4, |_, ops| ops[0].prev_index = Some(LogIndex::new(2)))),
        (4, "prev_index", tx(4, |_, ops| ops[0].prev_index = None)),
        (2, "prev_index", tx(2, |_, ops| ops[0].prev_index = Some(LogIndex::new(0)))),
        (1, "twice", tx(1, |_, ops| ops[1].key = b"a/1".to_vec())),
        (13, "deleted twice", tx(13, |_, ops| deletes(&mut ops[0]))),
        (2, "never written", tx(2, |_, ops| deletes(&mut ops[0]))),
        (10, "it erases revision", tx(10, |_, ops| ops[1].revision = Revision::new(2))),
        (12, "it erases revision", tx(12, |_, ops| ops[0].prev_index = Some(LogIndex::new(10)))),
        (10, "erased and was never written", tx(10, |_, ops| ops[1].key = b"zz".to_vec())),
        (10, "an erase names the place", tx(10, |_, ops| ops[1].prev_index = Some(LogIndex::new(10)))),
    ]);
}

#[test]
fn times_and_requests_out_of_order_are_found() {
    found(vec![
        (4, "is not that of its block", tx(4, |leaf, _| leaf.time = Micros::new(1_002_000_001))),
        (4, "before its time", tx(4, |leaf, _| leaf.not_after = Micros::new(1_001_000_000))),
        (4, "too far", tx(4, |leaf, _| leaf.not_after = Micros::new(5_000_000_000))),
        (
            5,
            "before that of the block before",
            plant(|all| {
                edit(all, 4, |leaf, _| leaf.time = Micros::new(1));
                edit(all, 4, |leaf, _| leaf.not_after = Micros::new(2));
                edit_commit(all, 5, |leaf| leaf.time = Micros::new(1));
            }),
        ),
        (
            2,
            "executed again",
            plant(|all| {
                let Leaf::Transaction(first) = Leaf::decode(&all[1].leaf).unwrap() else { panic!() };
                edit(all, 2, |leaf, _| leaf.request_id = first.request_id);
            }),
        ),
        (
            4,
            "executed again",
            plant(|all| {
                let Leaf::Transaction(first) = Leaf::decode(&all[1].leaf).unwrap() else { panic!() };
                edit(all, 4, |leaf, _| leaf.request_id = first.request_id);
            }),
        ),
    ]);
}

#[test]
fn blocks_and_roots_that_do_not_fit_are_found() {
    found(vec![
        (3, "first_index", commit(3, |leaf| leaf.first_index = LogIndex::new(2))),
        (3, "tx_count", commit(3, |leaf| leaf.tx_count = 1)),
        (3, "state root", commit(3, |leaf| leaf.state_root = Hash::new([3; 32]))),
        (5, "epoch", commit(5, |leaf| leaf.epoch = Epoch::new(0))),
        (
            4,
            "without transactions",
            plant(|all| {
                let mut empty = all[3].clone();
                empty.index = LogIndex::new(4);
                all.insert(4, empty);
                edit_commit(all, 4, |leaf| {
                    leaf.first_index = LogIndex::new(4);
                    leaf.tx_count = 0;
                });
            }),
        ),
        (4, "the next leaf is 3", plant(|all| drop(all.remove(3)))),
        (3, "does not know", plant(|all| all[3].leaf[1] = 9)),
        (3, "has no operations", plant(|all| all[3].operations = vec![vec![1]])),
    ]);
}

/// Makes a delete of a put.
fn deletes(operation: &mut Operation) {
    operation.kind = OpKind::Delete;
    (operation.value_len, operation.value_digest, operation.expires_at) = (0, Hash::ZERO, None);
}

#[test]
fn a_request_may_be_made_again_once_it_is_not_known_any_more() {
    let story = |later: u64| {
        let mut ledger = Ledger::new(1);
        let put = |value: &str| vec![Op::Put(b"k".to_vec(), value.into(), None)];
        ledger.block(1_000 * SECOND, &[put("1")]);
        ledger.block((1_000 + later) * SECOND, &[put("2")]);
        let mut all = leaves(&ledger);
        let Leaf::Transaction(first) = Leaf::decode(&all[1].leaf).unwrap() else { panic!() };
        // The state does not depend on it.
        edit(&mut all, 3, |leaf, _| leaf.request_id = first.request_id);
        all
    };
    // The model's requests are known for 60 seconds.
    assert!(finding(story(60)).what.contains("executed again"));
    Place::new().open().take(story(61), true).unwrap();
}

#[test]
fn a_witness_signs_what_was_recomputed_and_never_goes_back() {
    let ledger = long_story();
    let all = leaves(&ledger);
    let place = Place::new();
    let mut auditor = place.open();
    let early = 4;
    auditor.take(all[..early].to_vec(), true).unwrap();
    drop(auditor);
    let mut auditor = place.open();
    let key = CosignerKey::from_seed("auditor.example/one", &[8; 32]).unwrap();
    let verifier = key.verifier().clone();
    let witness = Witness::new(key);
    let certified = ledger.certified();
    assert!(witness.cosign(&mut auditor, &certified).unwrap().is_none(), "not there yet");
    auditor.take(all[early..].to_vec(), true).unwrap();
    let note = witness.cosign(&mut auditor, &certified).unwrap().unwrap();
    let opened = note.open(&[verifier]).unwrap();
    assert_eq!((opened.cosigners().count(), opened.checkpoint()), (1, &ledger.head()));
    witness.cosign(&mut auditor, &certified).unwrap().expect("the same again is no contradiction");
    // Recomputed to another root: nothing is signed.
    let mut fork = long_story();
    fork.block(9_000 * SECOND, &[vec![Op::Put(b"z".to_vec(), vec![1], None)]]);
    let mut forged = ledger.head();
    forged.root = fork.tree.root();
    let forged = ledger.policy().certify(ledger.sign(&forged, &[0, 1, 2], 5)).unwrap();
    assert!(matches!(witness.cosign(&mut auditor, &forged), Err(AuditError::Finding(_))));
    assert_eq!(auditor.size(), TreeSize::new(ledger.size()));
}
