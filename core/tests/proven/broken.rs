//! Logs that break their own rules, as only a lying quorum could sign them: noticed wherever an answer shows it.

use quorate_core::answer::{
    AnswerError, Bundle, CertifiedState, Contents, Direction, HistoryCursor, HistoryPage, Proven,
};
use quorate_core::entry::{OpKind, Operation};
use quorate_core::hash::Hash;
use quorate_core::position::{LogIndex, Revision};
use quorate_core::state_tree::Query;

use crate::support::{Ledger, Op, Shown};

const KEY: &[u8] = b"k";

fn contents(value: &[u8]) -> Contents {
    Contents { salt: [4; 16], attributes: Vec::new(), value: value.to_vec() }
}

fn put(revision: u64, prev_index: Option<u64>, value: &[u8]) -> Operation {
    Operation {
        kind: OpKind::Put,
        revision: Revision::new(revision),
        prev_index: prev_index.map(LogIndex::new),
        expires_at: None,
        value_len: u32::try_from(value.len()).unwrap(),
        value_digest: contents(value).digest(),
        key: KEY.to_vec(),
    }
}

fn erase(revision: u64, erased: u64) -> Operation {
    let bare = put(revision, Some(erased), b"");
    Operation { kind: OpKind::Erase, value_digest: Hash::ZERO, ..bare }
}

/// A ledger with these operations on one key, one transaction each, and its newest write in the state.
fn ledger(operations: &[Operation], newest: Option<usize>) -> Ledger {
    let mut ledger = Ledger::new(1);
    for (place, operation) in operations.iter().enumerate() {
        if newest == Some(place) {
            let index = LogIndex::new(ledger.size());
            ledger.state.insert(index, operation.encode()).unwrap();
        }
        ledger.raw_transaction(&[operation.encode()]);
    }
    ledger
}

/// Log index of the n-th operation: each is followed by its commit leaf.
const fn place(number: u64) -> u64 {
    1 + 2 * number
}

/// All transactions with these values, and the state proof of the key.
fn bundle(ledger: &Ledger, values: &[Option<&[u8]>]) -> Bundle {
    let mut bundle = ledger.answer_get(&[]);
    bundle.state_proofs = vec![ledger.state.prove(&Query::Key(KEY.to_vec()))];
    for (number, value) in (0..).zip(values) {
        let mut proof = ledger.transaction_proof(place(number), Shown::All);
        proof.meta = None;
        proof.operations[0].contents = value.map(contents);
        bundle.transactions.push(proof);
    }
    bundle
}

fn get(ledger: &Ledger, bundle: &Bundle) -> Result<(), AnswerError> {
    Proven::open(ledger.certified(), bundle.clone())?.get(KEY).map(drop)
}

fn history(ledger: &Ledger, bundle: &Bundle, direction: Direction) -> Result<usize, AnswerError> {
    let proven = Proven::open(ledger.certified(), bundle.clone())?;
    let cursor = HistoryCursor::new(KEY, direction);
    proven.history(&cursor).map(|page: HistoryPage<'_>| page.entries().len())
}

fn both(ledger: &Ledger, bundle: &Bundle) -> [Result<usize, AnswerError>; 2] {
    [Direction::Ascending, Direction::Descending].map(|direction| history(ledger, bundle, direction))
}

#[test]
fn the_same_log_without_a_flaw_is_believed() {
    let writes = [put(1, None, b"a"), put(2, Some(place(0)), b"b"), erase(1, place(0))];
    let ledger = ledger(&writes, Some(1));
    let bundle = bundle(&ledger, &[None, Some(b"b"), None]);
    get(&ledger, &bundle).unwrap();
    assert_eq!(both(&ledger, &bundle), [Ok(2), Ok(2)]);
}

#[test]
fn an_erasure_of_another_revision_or_from_before_the_write() {
    let other_revision = [put(1, None, b"a"), erase(2, place(0))];
    let too_early = [erase(1, place(1)), put(1, None, b"a")];
    for (operations, newest) in [(other_revision, 0), (too_early, 1)] {
        let ledger = ledger(&operations, Some(newest));
        let refused = get(&ledger, &bundle(&ledger, &[None, None]));
        assert!(matches!(refused, Err(AnswerError::MissingContents { .. })), "{refused:?}");
    }
}

#[test]
fn a_state_leaf_that_differs_from_the_transaction_it_names() {
    let mut ledger = Ledger::new(1);
    ledger.state.insert(LogIndex::new(place(0)), put(1, None, b"told").encode()).unwrap();
    ledger.raw_transaction(&[put(1, None, b"written").encode()]);
    let bundle = bundle(&ledger, &[Some(b"written")]);
    assert!(matches!(get(&ledger, &bundle), Err(AnswerError::MissingContents { .. })));
    for refused in both(&ledger, &bundle) {
        assert!(matches!(refused, Err(AnswerError::NotNewest { .. })), "{refused:?}");
    }
}

#[test]
fn revisions_that_do_not_follow_each_other() {
    let flaws = [
        [put(1, None, b"a"), put(3, Some(place(0)), b"b")],
        [put(2, None, b"a"), put(3, Some(place(0)), b"b")],
        [put(1, None, b"a"), put(1, Some(place(0)), b"b")],
        [put(1, None, b"a"), put(2, Some(place(1)), b"b")],
        [put(1, None, b"a"), put(2, Some(place(9)), b"b")],
        [put(1, None, b"a"), put(2, None, b"b")],
    ];
    for writes in flaws {
        let ledger = ledger(&writes, Some(1));
        let bundle = bundle(&ledger, &[Some(b"a"), Some(b"b")]);
        for refused in both(&ledger, &bundle) {
            assert!(refused.is_err(), "{writes:?}");
        }
    }
}

#[test]
fn a_write_that_comes_after_the_one_it_precedes() {
    let writes = [put(2, Some(place(1)), b"b"), put(1, None, b"a")];
    let ledger = ledger(&writes, Some(0));
    for refused in both(&ledger, &bundle(&ledger, &[Some(b"b"), Some(b"a")])) {
        assert!(refused.is_err(), "{refused:?}");
    }
}

#[test]
fn a_branch_beside_the_newest_write() {
    // The state tree says the second write is the newest; the log has another one with its revision.
    let writes = [put(1, None, b"a"), put(2, Some(place(0)), b"b"), put(2, Some(place(0)), b"c")];
    let ledger = ledger(&writes, Some(2));
    let mut bundle = bundle(&ledger, &[Some(b"a"), Some(b"b"), None]);
    bundle.transactions.truncate(2);
    for refused in both(&ledger, &bundle) {
        assert!(refused.is_err(), "{refused:?}");
    }
}

#[test]
fn a_write_that_is_missing_from_the_state() {
    let ledger = ledger(&[put(1, None, b"a")], None);
    let proven = Proven::open(ledger.certified(), bundle(&ledger, &[Some(b"a")])).unwrap();
    // The state says never written; a cursor that saw the write does not take that for the end.
    let mut honest = Ledger::new(1);
    honest.block(1_001_000_000, &[vec![Op::Put(KEY.to_vec(), b"a".to_vec(), None)]]);
    honest.block(1_002_000_000, &[vec![Op::Put(KEY.to_vec(), b"b".to_vec(), None)]]);
    let cursor = HistoryCursor::new(KEY, Direction::Ascending);
    let seen = Proven::open(honest.certified(), honest.answer_history(&cursor, 1)).unwrap();
    let next = seen.history(&cursor).unwrap().next().unwrap().clone();
    assert!(matches!(proven.history(&next), Err(AnswerError::MissingNextWrite { .. })));
}

#[test]
fn a_put_that_lies_about_the_length_of_its_value() {
    let longer = Operation { value_len: 9, ..put(1, None, b"a") };
    let ledger = ledger(&[longer], Some(0));
    let mut bundle = bundle(&ledger, &[Some(b"a")]);
    assert!(matches!(get(&ledger, &bundle), Err(AnswerError::WrongContents { .. })));
    bundle.transactions.clear();
    bundle.contents.push(contents(b"a"));
    assert!(matches!(get(&ledger, &bundle), Err(AnswerError::MissingContents { .. })));
}

#[test]
fn a_commit_leaf_that_counts_wrongly() {
    let mut ledger = Ledger::new(1);
    ledger.raw_commit(7);
    let last = ledger.leaf_proof(ledger.last_index());
    let refused = CertifiedState::verify(ledger.certified(), &last);
    assert!(matches!(refused, Err(AnswerError::CommitPosition { .. })));
}
