//! Scans and histories are complete while writes go on: of every page put together, no key and no write is missing, none
//! is of another moment, and what they show is what was acknowledged.
//!
//! `QUORATE_TEST_KEYS` sets how many keys there are (4,000); `make completeness` takes a million.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_client::{Client, Query, ReadOptions, Transaction};
use quorate_tests::clock::now;
use quorate_tests::cluster::Cluster;
use tokio::sync::watch;

/// From so many keys on, transactions and pages are larger, and a call may take longer.
const MANY: u64 = 100_000;
/// The key that every transaction writes.
const HOT: &str = "hot";

/// What was acknowledged: the keys of each transaction, by log index.
type Acknowledged = Arc<Mutex<BTreeMap<u64, Vec<Vec<u8>>>>>;

fn keys() -> u64 {
    std::env::var("QUORATE_TEST_KEYS").map_or(4_000, |keys| keys.parse().unwrap())
}

/// Between two transactions of the writer where there are many keys.
const REST: Duration = Duration::from_millis(500);

/// Keys that a transaction writes, besides the one that all of them write.
fn batch_keys() -> u64 {
    if keys() < MANY { 100 } else { 250 }
}

/// Keys or writes on a page: of a scan, and of a history.
fn page_sizes() -> (u32, u32) {
    if keys() < MANY { (250, 7) } else { (500, 100) }
}

/// A page with many keys that were written since takes its time where everything runs on one machine.
fn options() -> ReadOptions {
    if keys() < MANY { ReadOptions::new() } else { ReadOptions::new().timeout(Duration::from_secs(120)) }
}

/// In an order that is not theirs.
fn key(number: u64) -> Vec<u8> {
    format!("k/{:07}", number.wrapping_mul(7_919) % keys()).into_bytes()
}

async fn write(client: &Client, acknowledged: &Acknowledged, batch: u64) {
    let mut transaction = Transaction::new().put(HOT, batch.to_string());
    let mut written: Vec<Vec<u8>> = (0..batch_keys()).map(|n| key(batch * batch_keys() + n)).collect();
    written.sort();
    written.dedup();
    for key in &written {
        transaction = transaction.put(key.clone(), format!("batch {batch}"));
    }
    let index = client.ledger("default").commit(transaction).await.unwrap().index.get();
    written.push(HOT.into());
    acknowledged.lock().unwrap().insert(index, written);
}

/// The newest write of each key as of a log index.
fn state(acknowledged: &Acknowledged, at: u64) -> BTreeMap<Vec<u8>, u64> {
    let acknowledged = acknowledged.lock().unwrap();
    let writes = acknowledged.range(..=at);
    writes.flat_map(|(index, keys)| keys.iter().map(|key| (key.clone(), *index))).collect()
}

/// Scans in pages; what it shows must be the state as of one moment, not before `least`.
async fn scan(client: &Client, acknowledged: &Acknowledged, query: Query, reverse: bool) {
    let (begin, told) = (now(), format!("{query:?}"));
    let is_asked = |key: &[u8]| match &query {
        Query::Prefix(prefix) => key.starts_with(prefix),
        Query::Key(one) => key == one,
        Query::Range { first, end } => {
            key >= first.as_slice() && end.as_ref().is_none_or(|end| key < end.as_slice())
        }
    };
    let least = *acknowledged.lock().unwrap().last_key_value().unwrap().0;
    let scan = client.ledger("default").scan(query.clone(), options());
    let mut scan = if reverse { scan.reverse() } else { scan }.page_size(page_sizes().0);
    let (mut shown, mut pages) = (Vec::new(), 0);
    while let Some(page) = scan.next_page().await.unwrap() {
        assert!(page.checkpoint.is_some());
        shown.extend(
            page.entries.into_iter().map(|entry| (entry.key.to_vec(), entry.written.unwrap().index.get())),
        );
        pages += 1;
    }
    if reverse {
        shown.reverse();
    }
    assert!(pages > 3, "{pages} pages");
    // The last transaction that is shown is the moment: all its keys are newest.
    let at = shown.iter().map(|(_, index)| *index).max().unwrap();
    assert!(at >= least, "as of {at}, but {least} was acknowledged before");
    // It may have been acknowledged only now.
    while !acknowledged.lock().unwrap().contains_key(&at) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let state = state(acknowledged, at).into_iter();
    let expected: Vec<(Vec<u8>, u64)> = state.filter(|(key, _)| is_asked(key)).collect();
    assert_eq!(shown.len(), expected.len(), "keys as of {at}");
    assert!(shown == expected, "the scan is not the state as of {at}");
    eprintln!(
        "{told}: {} keys on {pages} pages, none missing, as of {at}, in {:?}",
        shown.len(),
        now() - begin
    );
}

/// The history of the key that every transaction writes: all of them, numbered without gaps.
async fn history(client: &Client, acknowledged: &Acknowledged, oldest_first: bool) {
    let begin = now();
    let least = *acknowledged.lock().unwrap().last_key_value().unwrap().0;
    let history = client.ledger("default").history(HOT);
    let mut history = if oldest_first { history.oldest_first() } else { history }.page_size(page_sizes().1);
    let mut shown = Vec::new();
    while let Some(page) = history.next_page().await.unwrap() {
        shown.extend(page.entries.into_iter().map(|entry| (entry.revision.get(), entry.index.get())));
    }
    if !oldest_first {
        shown.reverse();
    }
    let newest = shown.last().unwrap().1;
    assert!(newest >= least, "{newest}, but {least} was acknowledged before");
    while !acknowledged.lock().unwrap().contains_key(&newest) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let expected: Vec<(u64, u64)> =
        (1..).zip(acknowledged.lock().unwrap().range(..=newest).map(|(index, _)| *index)).collect();
    assert_eq!(shown, expected);
    eprintln!("history: {} writes, none missing, in {:?}", shown.len(), now() - begin);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_and_no_write_is_missing_while_writes_go_on() {
    let mut cluster = Cluster::start(3);
    let acknowledged = Acknowledged::default();
    let writer = cluster.client("writer");
    let load = keys() / batch_keys();
    for batch in 0..load {
        write(&writer, &acknowledged, batch).await;
    }
    let (stop, stopped) = watch::channel(false);
    let writing = {
        let acknowledged = Arc::clone(&acknowledged);
        tokio::spawn(async move {
            let mut batch = load;
            while !*stopped.borrow() {
                write(&writer, &acknowledged, batch).await;
                batch += 1;
                if keys() >= MANY {
                    // So that a scan of many pages meets keys that were written since, and not only those.
                    tokio::time::sleep(REST).await;
                }
            }
            batch - load
        })
    };
    let reader = cluster.client("reader");
    let all = || Query::Prefix(Vec::new());
    scan(&reader, &acknowledged, all(), false).await;
    let at = |share: u64| format!("k/{:07}", keys() * share / 8).into_bytes();
    let inner = || Query::Range { first: at(1), end: Some(at(7)) };
    scan(&reader, &acknowledged, inner(), true).await;
    if keys() < MANY {
        scan(&reader, &acknowledged, all(), true).await;
        scan(&reader, &acknowledged, Query::Prefix("k/".into()), false).await;
        scan(&reader, &acknowledged, inner(), false).await;
    }
    history(&reader, &acknowledged, false).await;
    history(&reader, &acknowledged, true).await;
    // The replica that answers is killed between two pages' worth of questions.
    cluster.kill(1);
    if keys() < MANY {
        scan(&reader, &acknowledged, all(), false).await;
    }
    history(&reader, &acknowledged, false).await;
    stop.send_replace(true);
    let went_on = writing.await.unwrap();
    assert!(went_on > 3, "only {went_on} transactions were written meanwhile");
}
