//! A disk that refuses to sync: the node stops by itself and says why, and what it could not sync it never calls
//! committed. The cluster goes on, and the node catches up after a start, to the same roots.
//!
//! The error comes from the kernel's side: strace is attached to the running node and fails the system call.

use std::time::Duration;

use quorate_client::{Client, Error, Outcome, ReadOptions, Transaction};
use quorate_tests::{
    audit, clock,
    cluster::{Cluster, small_logs},
    http,
    strace::{self, Faulty},
};

/// Every call from the nth one on.
fn failing(nth: u32) -> String {
    format!("error=EIO:when={nth}+")
}

/// The node ends by itself, not in good order, and its last words name the disk.
fn assert_stopped(cluster: &mut Cluster, id: u64) {
    let status = cluster.wait_end(id, Duration::from_secs(20));
    let status = status.unwrap_or_else(|| panic!("node {id} goes on:\n{}", cluster.log(id)));
    assert!(!status.success(), "node {id} ended with {status}");
    let log = cluster.log(id);
    for word in ["quorate: fatal: log store: ", "Input/output error", "the process stops now"] {
        assert!(log.contains(word), "node {id} does not say {word:?}:\n{log}");
    }
}

async fn write(client: &Client, key: &str, timeout: Duration) -> Result<u64, Error> {
    let transaction = Transaction::new().put(key.to_owned(), "v").idempotency_key(key).timeout(timeout);
    client.ledger("default").commit(transaction).await.map(|committed| committed.index.get())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_synced_is_never_called_committed() {
    if !strace::available("what_cannot_be_synced_is_never_called_committed") {
        return;
    }
    // Each call that syncs an entry fails once: that of the log, that of the floor, and one later on.
    for nth in 1..=4 {
        let mut cluster = Cluster::start(1);
        let client = cluster.client("trust");
        let index = write(&client, "before", Duration::from_secs(10)).await.unwrap();
        let faulty = Faulty::attach(&cluster, 1, "fdatasync", &failing(nth));
        let mut acknowledged = vec![("before".to_owned(), index)];
        let mut unknown = None;
        for n in 0..8 {
            let key = format!("during {n}");
            match write(&client, &key, Duration::from_secs(3)).await {
                Ok(index) => acknowledged.push((key, index)),
                Err(Error::Unavailable { outcome: Outcome::Unknown, .. }) => {
                    unknown = Some(key);
                    break;
                }
                Err(error) => panic!("{key}, call {nth}: {error}"),
            }
        }
        let unknown = unknown.unwrap_or_else(|| panic!("call {nth} never failed"));
        assert!(acknowledged.len() <= usize::try_from(nth).unwrap(), "{acknowledged:?} with {nth} syncs");
        assert_stopped(&mut cluster, 1);
        drop(faulty);
        cluster.start_node(1);
        cluster.wait_ready();
        for (key, index) in &acknowledged {
            let read = client.ledger("default").get(key, ReadOptions::new()).await.unwrap();
            assert_eq!(read.value.unwrap().index.get(), *index, "{key} was acknowledged, call {nth}");
        }
        let again = write(&client, &unknown, Duration::from_secs(10)).await.unwrap();
        assert!(again > acknowledged.last().unwrap().1, "{unknown} at {again}, call {nth}");
        audit::replicas(&cluster, &client, "default").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_on_without_the_node_whose_disk_fails() {
    if !strace::available("a_cluster_goes_on_without_the_node_whose_disk_fails") {
        return;
    }
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let mut acknowledged = Vec::new();
    for round in 0..4_u32 {
        let leader = cluster.leader(&client).await;
        let victim = if round % 2 == 0 { leader } else { leader % 3 + 1 };
        let faulty = Faulty::attach(&cluster, victim, "fdatasync", &failing(3 + round));
        for n in 0..20 {
            let key = format!("{round}/{n}");
            let index = write(&client, &key, Duration::from_secs(30)).await.unwrap();
            acknowledged.push((key, index));
        }
        assert_stopped(&mut cluster, victim);
        drop(faulty);
        cluster.start_node(victim);
        cluster.wait_ready();
    }
    let ledger = client.ledger("default");
    for (key, index) in &acknowledged {
        let read = ledger.get(key, ReadOptions::new()).await.unwrap().value.unwrap();
        assert_eq!((read.index.get(), read.revision.get()), (*index, 1), "{key}");
    }
    audit::replicas(&cluster, &client, "default").await;
}

/// The state store is not what a promise rests on, so its error does not end the process: the node stays to say what is
/// wrong, and takes part in nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_flush_its_state_stops_serving_and_says_so() {
    if !strace::available("a_node_that_cannot_flush_its_state_stops_serving_and_says_so") {
        return;
    }
    let mut cluster = Cluster::start_with(3, small_logs);
    let client = cluster.client("trust");
    let victim = cluster.leader(&client).await % 3 + 1;
    let faulty = Faulty::attach(&cluster, victim, "fsync", &failing(1));
    let at = cluster.nodes[&victim].http;
    let start = clock::now();
    let mut written = 0;
    let reason = loop {
        write(&client, &format!("key {written}"), Duration::from_secs(30)).await.unwrap();
        written += 1;
        let ready = http::get(at, "/readyz").unwrap();
        let reason = String::from_utf8(ready.body).unwrap();
        if ready.status != 200 && reason.contains("Input/output error") {
            break reason;
        }
        assert!(
            clock::now() - start < Duration::from_secs(30),
            "{written} writes, no flush failed: {reason}"
        );
    };
    for word in ["data/state", "fsync", "check the disk, its free space and permissions"] {
        assert!(reason.contains(word), "{word:?} is not in: {reason}");
    }
    assert_eq!(http::get(at, "/livez").unwrap().status, 200, "it stays to say what is wrong");
    for n in 0..60 {
        write(&client, &format!("later {n}"), Duration::from_secs(30)).await.unwrap();
    }
    assert!(cluster.runs(victim));
    cluster.kill(victim);
    drop(faulty);
    cluster.start_node(victim);
    cluster.wait_ready();
    let log = audit::replicas(&cluster, &client, "default").await;
    assert!(log.leaves.len() > written + 60, "{} leaves", log.leaves.len());
}
