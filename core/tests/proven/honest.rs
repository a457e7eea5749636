//! Whatever happened in a ledger, an honest answer verifies and says what the records say.

use proptest::prelude::*;
use quorate_core::answer::{Absent, Content, Direction, HistoryCursor, KeyRange, Proven, Reading, Scan};
use quorate_core::entry::OpKind;
use quorate_core::position::{LogIndex, Micros};

use crate::support::{Ledger, Op, Record, Shown};

const KEYS: [&str; 8] = ["a", "a/1", "a/2", "a/\u{ff}", "b", "b/long/er", "c", "zz"];
const START: u64 = 1_000_000_000;

fn any_op() -> impl Strategy<Value = Op> {
    let key = prop::sample::select(&KEYS[..]).prop_map(|key| key.as_bytes().to_vec());
    let expiry = prop::option::weighted(0.3, START..START + 40_000_000);
    prop_oneof![
        5 => (key.clone(), prop::collection::vec(any::<u8>(), 0..8), expiry)
            .prop_map(|(key, value, expires_at)| Op::Put(key, value, expires_at)),
        2 => key.clone().prop_map(Op::Delete),
        2 => (key, 1_u64..4).prop_map(|(key, revision)| Op::Erase(key, revision)),
    ]
}

fn any_ledger() -> impl Strategy<Value = Ledger> {
    let transaction = prop::collection::vec(any_op(), 1..4);
    let block = (0_u64..4_000_000, prop::collection::vec(transaction, 1..3));
    (prop::collection::vec(block, 0..9), 0_u64..20).prop_map(|(blocks, later)| {
        let mut ledger = Ledger::new(1);
        let mut time = START;
        for (step, transactions) in blocks {
            time += step;
            ledger.block(time, &transactions);
        }
        ledger.cosign_seconds += later;
        ledger
    })
}

/// What the records say a key reads as at a time.
fn check(ledger: &Ledger, key: &[u8], record: Option<&Record>, time: u64, reading: &Reading) {
    assert_eq!(reading.key(), key);
    let Some(record) = record else {
        assert!(matches!(reading, Reading::Absent(Absent::NeverWritten { .. })), "{reading:?}");
        return;
    };
    assert_eq!(reading.write().unwrap().index().get(), record.index);
    assert_eq!(reading.write().unwrap().operation(), &record.operation);
    let expired = record.operation.expires_at.is_some_and(|expires_at| expires_at <= Micros::new(time));
    match reading {
        Reading::Absent(Absent::Deleted(_)) => assert_eq!(record.operation.kind, OpKind::Delete),
        Reading::Absent(Absent::Expired(_)) => assert!(expired),
        Reading::Absent(Absent::NeverWritten { .. }) => panic!("{key:?} was written"),
        Reading::Erased(erased) => {
            assert!(!expired);
            assert_eq!(Some(erased.at().get()), record.erased_at);
        }
        Reading::Value(value) => {
            assert!(!expired);
            assert_eq!(Some(value.contents()), ledger.contents(key, record.index));
        }
    }
}

fn keys() -> Vec<&'static [u8]> {
    KEYS.iter().map(|key| key.as_bytes()).collect()
}

fn now(ledger: &Ledger) -> u64 {
    (ledger.cosign_seconds * 1_000_000).max(*ledger.times.last().unwrap())
}

fn ranges() -> Vec<KeyRange> {
    let range = |first: &str, end: &str| KeyRange::new(first.into(), Some(end.into())).unwrap();
    vec![
        KeyRange::all(),
        KeyRange::prefix(b""),
        KeyRange::prefix(b"a"),
        KeyRange::prefix(b"a/"),
        KeyRange::prefix(b"nothing"),
        KeyRange::prefix(b"\xff"),
        range("a/1", "b/"),
        range("", "a"),
        KeyRange::new(b"b".to_vec(), None).unwrap(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_keys_hold_now(ledger in any_ledger()) {
        let proven = Proven::open(ledger.certified(), ledger.answer_get(&keys())).unwrap();
        assert_eq!(proven.state().unwrap().time().get(), now(&ledger));
        let readings = proven.get_many(&keys()).unwrap();
        for (key, reading) in keys().into_iter().zip(&readings) {
            check(&ledger, key, ledger.as_of(key, u64::MAX), now(&ledger), reading);
            let one = Proven::open(ledger.certified(), ledger.answer_get(&[key])).unwrap();
            assert_eq!(&one.get(key).unwrap(), reading);
        }
    }

    #[test]
    fn scans_list_every_key_of_the_range_in_order(ledger in any_ledger(), limit in 1_usize..5) {
        for range in ranges() {
            for direction in [Direction::Ascending, Direction::Descending] {
                let mut scan = Scan::new(range.clone(), direction);
                let mut found = Vec::new();
                while let Some(asked) = scan.rest().cloned() {
                    let (bundle, covered) = ledger.answer_scan(&asked, direction, limit);
                    let proven = Proven::open(ledger.certified(), bundle).unwrap();
                    let page = scan.page(&proven, &covered).unwrap();
                    assert!(page.len() <= limit);
                    found.extend(page);
                }
                let mut wanted: Vec<&Vec<u8>> = ledger.records.keys().filter(|key| range.contains(key)).collect();
                if direction == Direction::Descending {
                    wanted.reverse();
                }
                assert_eq!(found.iter().map(Reading::key).collect::<Vec<_>>(), wanted);
                for reading in &found {
                    check(&ledger, reading.key(), ledger.as_of(reading.key(), u64::MAX), now(&ledger), reading);
                }
            }
        }
    }

    #[test]
    fn histories_hold_every_write(ledger in any_ledger(), limit in 1_usize..4) {
        for key in keys() {
            for direction in [Direction::Ascending, Direction::Descending] {
                let mut cursor = Some(HistoryCursor::new(key, direction));
                let mut found = Vec::new();
                while let Some(at) = cursor {
                    let proven = Proven::open(ledger.certified(), ledger.answer_history(&at, limit)).unwrap();
                    let page = proven.history(&at).unwrap();
                    assert!(page.entries().len() <= limit);
                    for entry in page.entries() {
                        let (write, content) = (entry.write(), entry.content());
                        let record = ledger.as_of(key, write.index().get()).unwrap();
                        assert_eq!((write.operation(), write.index().get()), (&record.operation, record.index));
                        match content {
                            Content::Value(contents) => assert_eq!(Some(contents), record.contents.as_ref()),
                            Content::Erased { at } => assert_eq!(Some(at.get()), record.erased_at),
                            Content::Deleted => assert_eq!(record.operation.kind, OpKind::Delete),
                        }
                        assert_eq!(entry.transaction().index(), write.index());
                        found.push(write.index().get());
                    }
                    cursor = page.next().cloned();
                }
                let records = ledger.records.get(key).map_or(&[][..], Vec::as_slice);
                let mut wanted: Vec<u64> = records.iter().map(|record| record.index).collect();
                if direction == Direction::Descending {
                    wanted.reverse();
                }
                assert_eq!(found, wanted);
            }
        }
    }

    #[test]
    fn what_keys_held_at_every_log_index(ledger in any_ledger(), limit in 1_usize..5) {
        for index in 0..ledger.size() {
            let at = LogIndex::new(index);
            let time = ledger.times[index as usize];
            let proven = Proven::open(ledger.certified(), ledger.answer_as_of(&keys(), index)).unwrap();
            let then = proven.as_of(at).unwrap();
            assert_eq!(then.time().get(), time);
            for (key, reading) in keys().into_iter().zip(then.get_many(&keys()).unwrap()) {
                check(&ledger, key, ledger.as_of(key, index), time, &reading);
                let written_later = ledger.as_of(key, u64::MAX).is_some_and(|record| record.index > index);
                if written_later {
                    let bundle = ledger.answer_as_of_from_log(key, index);
                    let proven = Proven::open(ledger.certified(), bundle).unwrap();
                    assert_eq!(proven.as_of(at).unwrap().get(key).unwrap(), reading);
                }
            }
            let mut rest = Some(KeyRange::all());
            let mut found = Vec::new();
            while let Some(asked) = rest {
                let (bundle, covered) = ledger.answer_scan_as_of(&asked, Direction::Ascending, limit, index);
                let proven = Proven::open(ledger.certified(), bundle).unwrap();
                let page = proven.as_of(at).unwrap().scan(&asked, Direction::Ascending, &covered).unwrap();
                rest = page.rest().cloned();
                found.extend(page.into_readings());
            }
            let wanted = ledger.records.keys().filter(|key| ledger.as_of(key, index).is_some());
            assert_eq!(found.iter().map(Reading::key).collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
            for reading in &found {
                check(&ledger, reading.key(), ledger.as_of(reading.key(), index), time, reading);
            }
        }
    }

    #[test]
    fn transactions_whole_and_in_part(ledger in any_ledger()) {
        for (index, stored) in &ledger.transactions {
            for operation in &stored.operations {
                for shown in [Shown::All, Shown::Key(&operation.key)] {
                    let mut bundle = ledger.answer_get(&[]);
                    bundle.transactions.push(ledger.transaction_proof(*index, shown));
                    let proven = Proven::open(ledger.certified(), bundle).unwrap();
                    let transaction = proven.transaction(LogIndex::new(*index)).unwrap();
                    assert_eq!(transaction.operation_on(&operation.key).unwrap().operation(), operation);
                    let whole = matches!(shown, Shown::All) || stored.operations.len() == 1;
                    assert_eq!(transaction.is_complete(), whole);
                    let by_request = proven.request(&transaction.leaf().request_id).unwrap();
                    assert_eq!(by_request.index().get(), *index);
                }
            }
        }
    }
}
