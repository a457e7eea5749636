//! Every lie about an answer that a node could tell is refused, and the error says which.

use quorate_core::answer::{
    Absent, AnswerError, Bundle, CertifiedState, Contents, Direction, HistoryCursor, KeyRange, LeafProof,
    Proven, Reading, RevealedOperation, Scan, TransactionProof,
};
use quorate_core::entry::{OpKind, Operation};
use quorate_core::hash::Hash;
use quorate_core::position::{LogIndex, Revision, TreeSize};
use quorate_core::state_tree::{Query, StateProofError};

use crate::support::{Ledger, Op, Shown};

fn open(ledger: &Ledger, bundle: Bundle) -> Result<Proven, AnswerError> {
    Proven::open(ledger.certified(), bundle)
}

fn index(number: u64) -> LogIndex {
    LogIndex::new(number)
}

#[test]
fn the_answer_about_another_key() {
    let ledger = Ledger::with_story();
    let proven = open(&ledger, ledger.answer_get(&[b"b"])).unwrap();
    assert!(matches!(proven.get(b"a/1"), Err(AnswerError::StateProof(StateProofError::Incomplete { .. }))));
    assert!(matches!(proven.get(b"b"), Ok(Reading::Value(value)) if value.bytes() == b"bee"));
}

#[test]
fn a_stale_value_with_the_proof_of_then() {
    let mut ledger = Ledger::with_story();
    let old = ledger.answer_get(&[b"b"]);
    ledger.block(1_010_000_000, &[vec![Op::Put(b"b".to_vec(), b"new".to_vec(), None)]]);
    // The whole answer of then does not fit today's checkpoint.
    assert!(matches!(open(&ledger, old.clone()), Err(AnswerError::NotIncluded { .. })));
    // Today's commit leaf with the state proof of then.
    let mut mixed = ledger.answer_get(&[b"b"]);
    mixed.state_proofs = old.state_proofs;
    mixed.contents = old.contents;
    let proven = open(&ledger, mixed).unwrap();
    let error = proven.get(b"b").unwrap_err();
    assert!(matches!(error, AnswerError::StateProof(StateProofError::WrongRoot { .. })), "{error}");
}

#[test]
fn a_stale_value_under_a_fresh_proof() {
    let mut ledger = Ledger::with_story();
    let old = ledger.answer_get(&[b"b"]).contents;
    ledger.block(1_010_000_000, &[vec![Op::Put(b"b".to_vec(), b"new".to_vec(), None)]]);
    let mut bundle = ledger.answer_get(&[b"b"]);
    bundle.contents = old;
    let error = open(&ledger, bundle).unwrap().get(b"b").unwrap_err();
    assert!(matches!(error, AnswerError::MissingContents { .. }), "{error}");
}

#[test]
fn false_absence() {
    let ledger = Ledger::with_story();
    // The proof that another key is absent, and the same with the key's leaf pruned away.
    let mut bundle = ledger.answer_get(&[b"nothing here"]);
    assert!(open(&ledger, bundle.clone()).unwrap().get(b"b").is_err());
    let mut other = Ledger::new(1);
    other.block(1_001_000_000, &[vec![Op::Put(b"d".to_vec(), b"dee".to_vec(), None)]]);
    bundle.state_proofs = vec![other.state.prove(&Query::Key(b"b".to_vec()))];
    assert!(matches!(
        open(&ledger, bundle).unwrap().get(b"b"),
        Err(AnswerError::StateProof(StateProofError::WrongRoot { .. }))
    ));
}

#[test]
fn an_expired_value_cannot_be_served_and_a_live_one_cannot_be_called_expired() {
    let mut ledger = Ledger::new(1);
    ledger.block(2_000_000_000, &[vec![Op::Put(b"k".to_vec(), b"v".to_vec(), Some(2_003_000_000))]]);
    let read = |ledger: &Ledger| open(ledger, ledger.answer_get(&[b"k"])).unwrap().get(b"k").unwrap();
    assert!(matches!(read(&ledger), Reading::Value(_)));
    // Only one node's clock has passed the time: the second newest counts.
    let head = ledger.head();
    let mut note = ledger.sign(&head, &[0, 1], 2_002);
    note.add(ledger.nodes[2].cosign(&head, 9_999).unwrap().to_line());
    let certified = ledger.policy().certify(note).unwrap();
    let proven = Proven::open(certified, ledger.answer_get(&[b"k"])).unwrap();
    assert!(matches!(proven.get(b"k").unwrap(), Reading::Value(_)));
    ledger.cosign_seconds = 2_003;
    assert!(matches!(read(&ledger), Reading::Absent(Absent::Expired(_))));
    // As of its own index it had not expired, whatever the clocks say now.
    let proven = open(&ledger, ledger.answer_as_of(&[b"k"], 1)).unwrap();
    assert!(matches!(proven.as_of(index(1)).unwrap().get(b"k").unwrap(), Reading::Value(_)));
    // By the log's own time too it is over.
    ledger.cosign_seconds = 0;
    ledger.block(2_003_000_000, &[vec![Op::Put(b"x".to_vec(), b"".to_vec(), None)]]);
    assert!(matches!(read(&ledger), Reading::Absent(Absent::Expired(_))));
}

#[test]
fn erased_too_early_or_not_at_all() {
    let mut ledger = Ledger::with_story();
    // Withheld, without any erasure.
    let mut bundle = ledger.answer_get(&[b"d"]);
    bundle.contents.clear();
    let error = open(&ledger, bundle.clone()).unwrap().get(b"d").unwrap_err();
    assert!(matches!(error, AnswerError::MissingContents { .. }), "{error}");
    // With the erasure of another key, or of another revision of the key.
    bundle
        .transactions
        .push(ledger.transaction_proof(ledger.records[&b"c"[..]][0].erased_at.unwrap(), Shown::All));
    assert!(matches!(open(&ledger, bundle).unwrap().get(b"d"), Err(AnswerError::MissingContents { .. })));
    let mut bundle = ledger.answer_get(&[b"a/1"]);
    bundle.contents.clear();
    let erased_at = ledger.records[&b"a/1"[..]][0].erased_at.unwrap();
    bundle.transactions.push(ledger.transaction_proof(erased_at, Shown::All));
    assert!(matches!(open(&ledger, bundle).unwrap().get(b"a/1"), Err(AnswerError::MissingContents { .. })));
    // With an erasure that the checkpoint does not cover yet.
    let certified = ledger.certified();
    let mut early = ledger.answer_get(&[b"d"]);
    early.contents.clear();
    ledger.block(1_020_000_000, &[vec![Op::Erase(b"d".to_vec(), 1)]]);
    early.transactions.push(ledger.transaction_proof(ledger.size() - 2, Shown::All));
    assert!(matches!(Proven::open(certified, early), Err(AnswerError::NotInTree { .. })));
    // And when it is covered, it is believed.
    let proven = open(&ledger, ledger.answer_get(&[b"d"])).unwrap();
    assert!(
        matches!(proven.get(b"d").unwrap(), Reading::Erased(erased) if erased.at() == index(ledger.size() - 2))
    );
}

#[test]
fn a_key_hidden_from_a_scan() {
    let ledger = Ledger::with_story();
    let range = KeyRange::prefix(b"a/");
    let (honest, covered) = ledger.answer_scan(&range, Direction::Ascending, 9);
    assert_eq!(
        open(&ledger, honest.clone())
            .unwrap()
            .scan(&range, Direction::Ascending, &covered)
            .unwrap()
            .readings()
            .len(),
        2
    );
    // The proof of one of the two keys only.
    let mut hidden = honest.clone();
    hidden.state_proofs = vec![ledger.state.prove(&Query::Key(b"a/1".to_vec()))];
    let proven = open(&ledger, hidden).unwrap();
    assert!(matches!(
        proven.scan(&range, Direction::Ascending, &covered),
        Err(AnswerError::StateProof(StateProofError::Incomplete { .. }))
    ));
    // A proven page of another range.
    let (bundle, other) = ledger.answer_scan(&KeyRange::prefix(b"b"), Direction::Ascending, 9);
    let proven = open(&ledger, bundle).unwrap();
    for direction in [Direction::Ascending, Direction::Descending] {
        assert!(matches!(proven.scan(&range, direction, &other), Err(AnswerError::WrongRange)));
    }
}

#[test]
fn pages_that_skip_overlap_or_come_from_another_size() {
    let mut ledger = Ledger::with_story();
    let range = |first: &str, end: &str| KeyRange::new(first.into(), Some(end.into())).unwrap();
    let asked = range("a", "d");
    let ascending = [("b", "d"), ("a", "e"), ("", "d")].map(|(first, end)| range(first, end));
    let descending = [("a", "c"), ("Z", "d"), ("a", "e")].map(|(first, end)| range(first, end));
    for covered in ascending {
        assert_eq!(asked.after(&covered, Direction::Ascending), Err(AnswerError::WrongRange), "{covered:?}");
    }
    for covered in descending {
        assert_eq!(asked.after(&covered, Direction::Descending), Err(AnswerError::WrongRange), "{covered:?}");
    }
    let unbounded = KeyRange::new(b"a".to_vec(), None).unwrap();
    assert_eq!(asked.after(&unbounded, Direction::Ascending), Err(AnswerError::WrongRange));
    assert_eq!(KeyRange::new(b"b".to_vec(), Some(b"b".to_vec())), Err(AnswerError::EmptyRange));

    let mut scan = Scan::new(KeyRange::all(), Direction::Ascending);
    let (bundle, covered) = ledger.answer_scan(&KeyRange::all(), Direction::Ascending, 2);
    scan.page(&open(&ledger, bundle).unwrap(), &covered).unwrap();
    let rest = scan.rest().unwrap().clone();
    ledger.block(1_030_000_000, &[vec![Op::Put(b"d2".to_vec(), b"".to_vec(), None)]]);
    let (bundle, covered) = ledger.answer_scan(&rest, Direction::Ascending, 9);
    let moved = scan.page(&open(&ledger, bundle).unwrap(), &covered);
    assert!(matches!(moved, Err(AnswerError::CheckpointMoved { .. })));
    assert_eq!(scan.rest(), Some(&rest));
}

#[test]
fn a_revision_left_out_of_a_history() {
    let ledger = Ledger::with_story();
    let places: Vec<u64> = ledger.records[&b"a/1"[..]].iter().map(|record| record.index).collect();
    for direction in [Direction::Ascending, Direction::Descending] {
        let cursor = HistoryCursor::new(b"a/1", direction);
        let honest = ledger.answer_history(&cursor, 9);
        assert_eq!(open(&ledger, honest.clone()).unwrap().history(&cursor).unwrap().entries().len(), 3);
        for place in &places {
            let mut bundle = honest.clone();
            bundle.transactions.retain(|shown| shown.index != index(*place));
            let proven = open(&ledger, bundle).unwrap();
            match proven.history(&cursor) {
                Err(_) => {}
                // A page that just ends before the one left out is true, and says that there is more.
                Ok(page) => {
                    assert!(page.entries().len() < 3);
                    assert!(page.next().is_some(), "{direction:?} without {place}");
                }
            }
        }
        // Nothing shown at all.
        let mut bundle = honest;
        bundle.transactions.clear();
        assert!(matches!(open(&ledger, bundle).unwrap().history(&cursor), Err(AnswerError::EmptyPage)));
    }
}

#[test]
fn a_history_without_its_newest_write() {
    let mut ledger = Ledger::with_story();
    let cursor = HistoryCursor::new(b"b", Direction::Descending);
    let old = ledger.answer_history(&cursor, 9);
    ledger.block(1_040_000_000, &[vec![Op::Put(b"b".to_vec(), b"newest".to_vec(), None)]]);
    let mut bundle = ledger.answer_history(&cursor, 9);
    bundle.transactions.retain(|shown| old.transactions.iter().any(|before| before.index == shown.index));
    assert!(open(&ledger, bundle.clone()).unwrap().history(&cursor).is_err());
    bundle.state_proofs = old.state_proofs;
    assert!(open(&ledger, bundle).unwrap().history(&cursor).is_err());
    // Upwards, the page that stops early is not the end.
    let cursor = HistoryCursor::new(b"b", Direction::Ascending);
    let proven = open(&ledger, ledger.answer_history(&cursor, 1)).unwrap();
    assert!(proven.history(&cursor).unwrap().next().is_some());
}

#[test]
fn the_wrong_neighbour_as_of_an_index() {
    let ledger = Ledger::with_story();
    let writes: Vec<u64> = ledger.records[&b"a/1"[..]].iter().map(|record| record.index).collect();
    let [first, second, third] = writes[..] else { panic!("{writes:?}") };
    // As of the second write: the first one with the second as its next would be as of before it.
    let mut bundle = ledger.answer_as_of(&[b"a/1"], second);
    bundle.transactions =
        vec![ledger.transaction_proof(first, Shown::All), ledger.transaction_proof(second, Shown::All)];
    let proven = open(&ledger, bundle.clone()).unwrap();
    let reading = proven.as_of(index(second)).unwrap().get(b"a/1").unwrap();
    assert_eq!(reading.write().unwrap().index(), index(second));
    // As of before the first: that the third exists says nothing of the first.
    bundle = ledger.answer_as_of_from_log(b"a/1", 0);
    bundle.transactions = vec![ledger.transaction_proof(third, Shown::All)];
    let proven = open(&ledger, bundle.clone()).unwrap();
    let error = proven.as_of(index(0)).unwrap().get(b"a/1").unwrap_err();
    assert!(matches!(error, AnswerError::MissingNextWrite { .. }), "{error}");
    // "Nothing yet" of another key, and without anything.
    bundle.transactions = vec![ledger.transaction_proof(writes[0], Shown::Key(b"a/2"))];
    assert!(open(&ledger, bundle.clone()).unwrap().as_of(index(0)).unwrap().get(b"a/1").is_err());
    bundle.transactions.clear();
    assert!(open(&ledger, bundle.clone()).unwrap().as_of(index(0)).unwrap().get(b"a/1").is_err());
    // The leaf of another point in time, or none.
    bundle.point = Some(ledger.leaf_proof(1));
    assert!(matches!(
        open(&ledger, bundle.clone()).unwrap().as_of(index(0)),
        Err(AnswerError::NotIncluded { .. })
    ));
    bundle.point = None;
    assert!(matches!(
        open(&ledger, bundle.clone()).unwrap().as_of(index(0)),
        Err(AnswerError::Missing { .. })
    ));
    assert!(matches!(
        open(&ledger, bundle).unwrap().as_of(index(ledger.size())),
        Err(AnswerError::NotInTree { .. })
    ));
}

/// Turns an honest proof into a lie.
type Lie<'a> = &'a dyn Fn(&mut TransactionProof);

#[test]
fn a_right_proof_with_the_leaf_or_operation_of_another() {
    let ledger = Ledger::with_story();
    let (one, other) = (1, 2);
    let honest = ledger.transaction_proof(one, Shown::All);
    let stranger = ledger.transaction_proof(other, Shown::All);
    let lies: [(&str, Lie<'_>); 9] = [
        ("leaf", &|lie| lie.leaf.clone_from(&stranger.leaf)),
        ("index", &|lie| lie.index = index(other)),
        ("operations", &|lie| lie.operations.clone_from(&stranger.operations)),
        ("order", &|lie| lie.operations.swap(0, 1)),
        ("contents", &|lie| lie.operations[0].contents.clone_from(&stranger.operations[0].contents)),
        ("fewer", &|lie| lie.operations.truncate(1)),
        ("meta", &|lie| lie.meta.as_mut().unwrap().bytes.push(0)),
        ("longer path", &|lie| lie.path.push(Hash::ZERO)),
        ("shorter path", &|lie| lie.path.truncate(1)),
    ];
    for (name, tell) in lies {
        let mut lie = honest.clone();
        tell(&mut lie);
        let bundle = Bundle { transactions: vec![lie], ..Bundle::default() };
        assert!(open(&ledger, bundle).is_err(), "{name}");
    }
}

#[test]
fn parts_of_an_answer_that_are_not_what_was_asked_for() {
    let ledger = Ledger::with_story();
    let honest = ledger.transaction_proof(1, Shown::All);
    // A commit leaf is no transaction, and each transaction comes once.
    let commit = ledger.leaf_proof(0);
    let mut lie = honest.clone();
    (lie.index, lie.leaf, lie.path) = (index(0), commit.leaf, commit.path);
    let bundle = Bundle { transactions: vec![lie], ..Bundle::default() };
    assert!(matches!(open(&ledger, bundle), Err(AnswerError::WrongLeaf { .. })));
    let twice = Bundle { transactions: vec![honest.clone(), honest.clone()], ..Bundle::default() };
    assert!(matches!(open(&ledger, twice), Err(AnswerError::DuplicateTransaction { .. })));
    let proven = open(&ledger, Bundle { transactions: vec![honest], ..Bundle::default() }).unwrap();
    assert!(matches!(proven.transaction(index(2)), Err(AnswerError::MissingTransaction { .. })));
    assert!(matches!(proven.request(&Hash::ZERO), Err(AnswerError::MissingRequest { .. })));
    assert!(matches!(proven.get(b"b"), Err(AnswerError::StateProofCount { .. })));
    // State proofs without the commit leaf, and more of them than keys.
    let mut bundle = ledger.answer_get(&[b"b", b"d"]);
    assert!(matches!(
        open(&ledger, bundle.clone()).unwrap().get(b"b"),
        Err(AnswerError::StateProofCount { .. })
    ));
    bundle.commit = None;
    let missing = open(&ledger, bundle).unwrap().get_many(&[b"b", b"d"]);
    assert!(matches!(missing, Err(AnswerError::Missing { .. })));
    // An erasure shown without the value it erased says nothing of a value that is there.
    let erased_at = ledger.records[&b"c"[..]][0].erased_at.unwrap();
    let mut bundle = ledger.answer_get(&[b"c"]);
    bundle.transactions.clear();
    assert!(matches!(
        open(&ledger, bundle.clone()).unwrap().get(b"c"),
        Err(AnswerError::MissingContents { .. })
    ));
    bundle.transactions.push(ledger.transaction_proof(erased_at, Shown::Key(b"c")));
    assert!(matches!(open(&ledger, bundle).unwrap().get(b"c"), Ok(Reading::Erased(_))));
}

#[test]
fn operations_of_a_later_version_are_counted_and_not_shown() {
    let mut ledger = Ledger::new(1);
    let opaque = [&[9][..], &[7; 70]].concat();
    let known = Operation { key: b"k".to_vec(), ..delete_of_nothing() };
    let index = ledger.raw_transaction(&[known.encode(), opaque.clone()]);
    let revealed = |operation, position| RevealedOperation { operation, position, ..Default::default() };
    let mut proof = TransactionProof {
        index: LogIndex::new(index),
        operations: vec![revealed(known.encode(), 0), revealed(opaque, 1)],
        ..Default::default()
    };
    let at = ledger.leaf_proof(index);
    (proof.leaf, proof.path) = (at.leaf, at.path);
    let bundle = Bundle { transactions: vec![proof.clone()], ..Bundle::default() };
    let proven = open(&ledger, bundle).unwrap();
    let transaction = proven.transaction(LogIndex::new(index)).unwrap();
    assert_eq!((transaction.operations().len(), transaction.opaque_operations()), (1, 1));
    assert!(transaction.is_complete());
    // Contents cannot belong to what is not understood.
    proof.operations[1].contents = Some(Contents::default());
    let bundle = Bundle { transactions: vec![proof], ..Bundle::default() };
    assert!(matches!(open(&ledger, bundle), Err(AnswerError::Entry(_))));
}

fn delete_of_nothing() -> Operation {
    Operation {
        kind: OpKind::Delete,
        revision: Revision::FIRST,
        prev_index: None,
        expires_at: None,
        value_len: 0,
        value_digest: Hash::ZERO,
        key: Vec::new(),
    }
}

#[test]
fn a_checkpoint_that_does_not_end_with_its_commit_leaf() {
    let ledger = Ledger::with_story();
    let size = ledger.size();
    let mut head = ledger.head();
    head.size = TreeSize::new(size - 1);
    head.root = quorate_core::tree::root_at(&ledger.tree, head.size).unwrap();
    let certified = ledger.policy().certify(ledger.sign(&head, &[0, 1, 2], 2_000)).unwrap();
    let path = quorate_core::tree::inclusion_path(&ledger.tree, index(size - 2), head.size).unwrap();
    let leaf = LeafProof { leaf: ledger.leaves[size as usize - 2].clone(), path };
    assert!(matches!(CertifiedState::verify(certified, &leaf), Err(AnswerError::WrongLeaf { .. })));
    // An older commit leaf is not the last one.
    let older = ledger.leaf_proof(0);
    assert!(CertifiedState::verify(ledger.certified(), &older).is_err());
}
