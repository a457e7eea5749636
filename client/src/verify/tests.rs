//! Showings of one transaction become one, and verification costs what it may cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_core::answer::{Contents, Direction, KeyRange};
use quorate_core::state_tree::Query;
use quorate_proto::convert::{CheckpointParts, ItemParts};
use quorate_proto::v1;

use super::model::{Ledger, Op, Shown};
use super::*;

fn ground(ledger: &Ledger, notes: &Notes) -> Ground {
    let parts = CheckpointParts {
        note: ledger.note().to_string(),
        commit: ledger.leaf_proof(ledger.last_index()),
        consistency: Vec::new(),
    };
    let parts = CheckpointParts::try_from(v1::CheckpointProof::from(parts)).unwrap();
    Ground { certified: notes.open(&parts.note).unwrap(), commit: parts.commit }
}

fn notes(ledger: &Ledger) -> Notes {
    Notes::new(Arc::new(ledger.policy()))
}

fn item(ledger: &Ledger, key: &[u8]) -> Option<v1::Item> {
    let record = ledger.records.get(key)?.last()?;
    let item = ItemParts {
        key: key.to_vec(),
        index: Some(LogIndex::new(record.index)),
        operation: record.operation.encode(),
        contents: record.contents.clone(),
        ..ItemParts::default()
    };
    Some(item.into())
}

#[test]
fn a_transaction_shown_for_several_keys_is_proven_once() {
    let mut ledger = Ledger::new(5);
    let put = |key: &str| Op::Put(key.into(), "v".into(), None);
    ledger.block(2_000_000_000, &[vec![put("a"), put("b"), put("c"), put("d")]]);
    let ground = ground(&ledger, &notes(&ledger));
    let orders: [&[Shown<'_>]; 5] = [
        &[Shown::Key(b"c"), Shown::Key(b"a")],
        &[Shown::Key(b"a"), Shown::Key(b"a"), Shown::Key(b"d")],
        &[Shown::All, Shown::Key(b"b")],
        &[Shown::Key(b"b"), Shown::All],
        &[Shown::Key(b"a"), Shown::Key(b"b"), Shown::Key(b"c"), Shown::Key(b"d")],
    ];
    for order in orders {
        let mut parts = Parts::default();
        for shown in order {
            parts.add_transaction(ledger.transaction_proof(1, *shown));
        }
        let proven = ground.open(parts, None).unwrap();
        let included = proven.transaction(LogIndex::new(1)).unwrap();
        for shown in order {
            if let Shown::Key(key) = shown {
                assert!(included.operation_on(key).unwrap().contents().is_some());
            }
        }
        assert_eq!(
            included.is_complete(),
            order.iter().any(|shown| matches!(shown, Shown::All)) || order.len() == 4
        );
    }
}

#[test]
fn a_false_showing_of_a_transaction_does_not_hide_behind_a_true_one() {
    let mut ledger = Ledger::new(5);
    let put = |key: &str| Op::Put(key.into(), "v".into(), None);
    ledger.block(2_000_000_000, &[vec![put("a"), put("b")]]);
    let ground = ground(&ledger, &notes(&ledger));
    let mut wrong = ledger.transaction_proof(1, Shown::Key(b"b"));
    wrong.operations[0].contents = Some(Contents { value: b"w".to_vec(), ..Contents::default() });
    let mut parts = Parts::default();
    parts.add_transaction(ledger.transaction_proof(1, Shown::Key(b"a")));
    parts.add_transaction(wrong);
    ground.open(parts, None).unwrap_err();
}

#[test]
fn opened_notes_are_remembered_and_bounded() {
    let ledger = Ledger::new(6);
    let notes = notes(&ledger);
    let note = |time| ledger.sign(&ledger.head(), &[0, 1], time).to_string();
    let first = notes.open(&note(0)).unwrap();
    assert!(Arc::ptr_eq(&first, &notes.open(&note(0)).unwrap()));
    for time in 1..=1_024 {
        notes.open(&note(time)).unwrap();
    }
    assert!(!Arc::ptr_eq(&first, &notes.open(&note(0)).unwrap()), "the oldest gave way");
    let bad = note(0).replace("default", "other");
    assert!(notes.open(&bad).is_err() && notes.open(&bad).is_err());
}

/// The time one call takes, the best of several rounds: other work on the machine is not what is measured.
fn best_of(rounds: u32, calls: u32, mut call: impl FnMut()) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let mut round = || {
        let begun = Instant::now();
        (0..calls).for_each(|_| call());
        begun.elapsed() / calls
    };
    (0..rounds).map(|_| round()).min().unwrap()
}

#[test]
fn verifying_under_an_opened_checkpoint_is_cheap() {
    let mut ledger = Ledger::new(7);
    for block in 0..200_u64 {
        let puts =
            (0..50).map(|number| Op::Put(format!("key/{block}/{number}").into_bytes(), vec![7; 100], None));
        ledger.block(2_000_000_000 + block, &[puts.collect()]);
    }
    let notes = notes(&ledger);
    let ground = ground(&ledger, &notes);
    let note = ledger.note().to_string();
    let key = b"key/77/13";
    let proof = ledger.state.prove(&Query::Key(key.to_vec()));
    let item = item(&ledger, key);
    let once = best_of(20, 200, || {
        notes.open(&note).unwrap();
        get(&ground, None, key, proof.clone(), item.clone()).unwrap();
    });
    println!("a verified read of 10,000 keys under an opened checkpoint: {once:?}");
    assert!(once < Duration::from_micros(60), "{once:?}");

    let range = KeyRange::prefix(b"key/77/");
    let (bundle, covered) = ledger.answer_scan(&range, Direction::Ascending, 1_000);
    let keys = ledger.records.keys().filter(|key| covered.contains(key));
    let response = v1::ScanResponse {
        state_proof: bundle.state_proofs[0].clone().into(),
        covered: Some(covered.clone().into()),
        items: keys.filter_map(|key| super::tests::item(&ledger, key)).collect(),
        at: ledger.last_index(),
        ..v1::ScanResponse::default()
    };
    let page = best_of(5, 50, || {
        let mut place = ScanPlace::new(range.clone(), Direction::Ascending, None);
        assert_eq!(scan(&ground, None, &mut place, response.clone()).unwrap().len(), 50);
    });
    println!("a verified page of 50 keys: {page:?}");
    assert!(page < Duration::from_micros(1_000), "{page:?}");
}
