//! The keys: written in batches, listed with proofs, and found in the log, each write once.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use quorate_client::{Client, LogIndex, LogRecord, Query, ReadOptions, Transaction, TransactionRecord};

use super::{
    hand::Kept,
    plan::{Key, Plan},
};

/// Batches that are under way at once.
const AT_ONCE: usize = 4;
/// Keys of a page.
const PAGE: u32 = 1_000;

/// The keys that the transaction at each log index wrote.
type Expected = BTreeMap<u64, Vec<Key>>;

/// Writes all keys, each batch certified and verified; gives the index of each batch, by its first number.
pub(crate) async fn load(client: &Client, plan: Plan) -> BTreeMap<u64, u64> {
    let ledger = client.ledger("default");
    let one = async |numbers: std::ops::Range<u64>| {
        let first = numbers.start;
        let keys = numbers.map(Key::Loaded);
        let batch = keys.fold(Transaction::new(), |batch, key| batch.put(key.name(), key.value()));
        let committed = ledger.commit(batch).await.expect("a batch is acknowledged and believed");
        (committed.index.get(), first)
    };
    stream::iter(plan.batches()).map(one).buffer_unordered(AT_ONCE).collect().await
}

/// Lists every key with its value, proven complete; gives how many there are.
///
/// # Panics
/// If a key is missing, is not ours, or has another value than was written.
pub(crate) async fn list(client: &Client, plan: Plan, kept: &Kept) -> u64 {
    let ledger = client.ledger("default");
    let mut scan = ledger.scan(Query::Prefix(Vec::new()), ReadOptions::new()).page_size(PAGE);
    let mut written: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut loaded, mut count) = (0, 0);
    while let Some(page) = scan.next_page().await.expect("a page that is believed") {
        for entry in page.entries {
            let name = String::from_utf8_lossy(&entry.key).into_owned();
            let key = Key::parse(&entry.key).unwrap_or_else(|| panic!("{name:?} was never written"));
            let value = entry.value.unwrap_or_else(|| panic!("{name} has no value"));
            assert_eq!(value.value, key.value(), "{name} has another value");
            match key {
                Key::Loaded(number) => {
                    assert!(number < plan.keys, "{name} was never written");
                    loaded += 1;
                }
                Key::Written { writer, .. } => *written.entry(writer).or_default() += 1,
            }
            count += 1;
        }
    }
    // Every key is listed once, so as many as were written are all of them.
    assert_eq!(loaded, plan.keys, "keys that were loaded");
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    for write in &kept.writes {
        if let Key::Written { writer, .. } = write.key {
            *acknowledged.entry(writer).or_default() += 1;
        }
    }
    assert_eq!(written, acknowledged, "keys of each writer");
    count
}

/// Reads the whole log, each leaf proven, and finds every acknowledged write once, at its index, with its value; gives how
/// many leaves there are.
///
/// # Panics
/// If one is missing, is there twice, or there is one that nobody made.
pub(crate) async fn find_in_log(
    client: &Client,
    batches: &BTreeMap<u64, u64>,
    plan: Plan,
    kept: &Kept,
) -> u64 {
    let mut expected: Expected = kept.writes.iter().map(|write| (write.index, vec![write.key])).collect();
    let ranges: BTreeMap<u64, std::ops::Range<u64>> =
        plan.batches().map(|numbers| (numbers.start, numbers)).collect();
    for (index, first) in batches {
        let keys = ranges[first].clone().map(Key::Loaded).collect();
        assert_eq!(expected.insert(*index, keys), None, "two transactions were acknowledged at {index}");
    }
    assert_eq!(expected.len(), kept.writes.len() + batches.len(), "two were acknowledged at one index");
    let mut leaves = client.ledger("default").transactions(LogIndex::new(0), None, true);
    let mut count = 0;
    while let Some(record) = leaves.try_next().await.expect("the log can be read and is believed") {
        assert_eq!(record.index().get(), count, "the log has a gap");
        count += 1;
        if let LogRecord::Transaction(transaction) = record {
            let keys = expected.remove(&transaction.index.get());
            let keys = keys.unwrap_or_else(|| panic!("nobody made the transaction {}", transaction.index));
            check(&transaction, &keys);
        }
    }
    let lost: Vec<u64> = expected.into_keys().take(10).collect();
    assert!(lost.is_empty(), "acknowledged at these indexes and not in the log: {lost:?}");
    count
}

fn check(transaction: &TransactionRecord, keys: &[Key]) {
    assert_eq!(transaction.operations.len(), keys.len(), "operations of {}", transaction.index);
    for (operation, key) in transaction.operations.iter().zip(keys) {
        let value = operation.value.as_ref().map(|value| &value.value[..]);
        assert_eq!(operation.key, key.name(), "at {}", transaction.index);
        assert_eq!(value, Some(&key.value()[..]), "the value of {}", key.name());
    }
}
