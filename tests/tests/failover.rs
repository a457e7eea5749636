//! kill -9 of the leader, ten times in turn, while clients write: nothing acknowledged is lost, nothing is there twice,
//! and all replicas have the same roots at every common size. Then the audit recomputes all of it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
use quorate_client::{Client, LogRecord, ReadOptions, Transaction};
use quorate_core::position::LogIndex;
use quorate_tests::{audit, cluster::Cluster};

const KILLS: u64 = 10;
const WRITERS: u64 = 4;

/// What was acknowledged: key → (index, value).
type Acknowledged = Arc<Mutex<BTreeMap<String, (u64, String)>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_killed_leaders_lose_nothing() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let acknowledged = Acknowledged::default();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            tokio::spawn(write(client.clone(), writer, Arc::clone(&acknowledged), Arc::clone(&stop)))
        })
        .collect();
    let mut killed = Vec::new();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let leader = cluster.leader(&client).await;
        let before = acknowledged.lock().unwrap().len();
        cluster.kill(leader);
        killed.push(leader);
        wait_for_more(&acknowledged, before + 1).await;
        cluster.start_node(leader);
        cluster.wait_ready();
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 50, "only {} writes were acknowledged", acknowledged.len());
    println!("{} acknowledged writes, killed leaders {killed:?}", acknowledged.len());
    check_acknowledged(&client, &acknowledged).await;
    let log = audit::replicas(&cluster, &client, "default").await;
    assert!(log.leaves.len() > acknowledged.len(), "only {} leaves", log.leaves.len());
}

async fn write(client: Client, writer: u64, acknowledged: Acknowledged, stop: Arc<AtomicBool>) {
    let ledger = client.ledger("default");
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (key, value) = (format!("writer-{writer}/{n}"), format!("value {n} of {writer}"));
        let transaction = Transaction::new().put(key.clone(), value.clone()).timeout(Duration::from_secs(30));
        let committed = ledger.commit(transaction).await.unwrap();
        acknowledged.lock().unwrap().insert(key, (committed.index.get(), value));
    }
}

async fn wait_for_more(acknowledged: &Acknowledged, count: usize) {
    for _ in 0..600 {
        if acknowledged.lock().unwrap().len() > count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no write was acknowledged within 30 s after the leader was killed");
}

/// Every acknowledged write is there, once, at its index, with its value.
async fn check_acknowledged(client: &Client, acknowledged: &BTreeMap<String, (u64, String)>) {
    let ledger = client.ledger("default");
    let records: Vec<LogRecord> =
        ledger.transactions(LogIndex::new(0), None, true).try_collect().await.unwrap();
    let mut found: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        assert_eq!(record.index().get(), at as u64, "the log has a gap");
        let LogRecord::Transaction(transaction) = record else {
            continue;
        };
        for operation in &transaction.operations {
            let value = operation.value.as_ref().map(|v| String::from_utf8_lossy(&v.value).into_owned());
            let key = String::from_utf8_lossy(&operation.key).into_owned();
            found.entry(key).or_default().push((transaction.index.get(), value.unwrap_or_default()));
        }
    }
    for (key, expected) in acknowledged {
        assert_eq!(found.get(key).map(Vec::as_slice), Some(std::slice::from_ref(expected)), "{key}");
    }
    let last = acknowledged.keys().last().unwrap();
    let read = ledger.get(last, ReadOptions::new()).await.unwrap();
    assert_eq!(read.value.unwrap().value, acknowledged[last].1.as_bytes());
}
