//! Disks that are filled for real, under writes: writes are refused before a disk is full, everything else goes on, and it
//! heals by itself when there is space again; a disk that is full in spite of that ends a process cleanly. What was
//! acknowledged is there in the end, whatever happened.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, time::Duration};

use quorate_client::{Client, Error, ReadOptions, Transaction};
use quorate_tests::{
    audit, clock,
    cluster::{Cluster, small_logs},
    disk::{self, Disk},
    http,
    shell::Shell,
};

/// Size of each disk, and the reserve on it, MiB.
const DISK: u64 = 400;
const RESERVE: u64 = 64;

fn small_reserve(text: String) -> String {
    let text = small_logs(text);
    let changed = text.replace("disk_reserve_bytes = 536870912", "disk_reserve_bytes = 67108864");
    assert_ne!(changed, text, "the default reserve is another one");
    changed
}

fn cluster() -> (Cluster, BTreeMap<u64, Disk>) {
    let mut disks = BTreeMap::new();
    let cluster = Cluster::start_after(3, small_reserve, |cluster| {
        disks = (1..=3).map(|id| (id, Disk::of(cluster, id, DISK))).collect();
    });
    (cluster, disks)
}

/// Keys that were acknowledged, with their indexes.
#[derive(Default)]
struct Written(Vec<(String, u64)>);

impl Written {
    async fn write(&mut self, client: &Client, key: &str, timeout: u64) -> Result<(), Error> {
        let write = Transaction::new().put(key.to_owned(), vec![b'v'; 50_000]).idempotency_key(key);
        let write = write.timeout(Duration::from_secs(timeout));
        let index = client.ledger("default").commit(write).await?.index.get();
        self.0.push((key.to_owned(), index));
        Ok(())
    }

    /// Writes until one is acknowledged.
    async fn until_taken(&mut self, client: &Client, key: &str) {
        let start = clock::now();
        while let Err(error) = self.write(client, key, 5).await {
            assert!(clock::now() - start < Duration::from_secs(30), "{key} is never taken: {error}");
        }
    }

    /// Everything acknowledged is there, and all replicas are right to the byte.
    async fn check(&self, cluster: &Cluster, client: &Client) {
        for (key, index) in &self.0 {
            let read = client.ledger("default").get(key, ReadOptions::new()).await.unwrap().value.unwrap();
            assert_eq!((read.index.get(), read.revision.get()), (*index, 1), "{key}");
        }
        audit::replicas(cluster, client, "default").await;
    }
}

/// A client that knows one node alone.
fn only(cluster: &Cluster, id: u64) -> Client {
    Client::builder()
        .endpoints([format!("https://{}", cluster.nodes[&id].client)])
        .policy(cluster.policy())
        .ca_pem(std::fs::read(cluster.path().join("client/authority.crt")).unwrap())
        .build()
        .unwrap()
}

fn metric(cluster: &Cluster, id: u64, name: &str) -> Option<u64> {
    http::metric(cluster.nodes[&id].http, name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_stop_before_the_disks_are_full_and_go_on_when_there_is_space() {
    if !disk::available("writes_stop_before_the_disks_are_full_and_go_on_when_there_is_space") {
        return;
    }
    let (cluster, disks) = cluster();
    let client = cluster.client("trust");
    let mut written = Written::default();
    for n in 0..20 {
        written.write(&client, &format!("before {n}"), 20).await.unwrap();
    }
    for disk in disks.values() {
        disk.fill(RESERVE - 4);
    }
    let start = clock::now();
    let refused = loop {
        // A refused write is tried at all replicas, and the others only say who leads: the leader alone is asked.
        let leader = only(&cluster, cluster.leader(&client).await);
        let key = format!("filling {}", written.0.len());
        match written.write(&leader, &key, 2).await {
            Err(error) if error.to_string().contains("read-only") => break error,
            _ => {}
        }
        assert!(clock::now() - start < Duration::from_secs(30), "nothing is ever refused");
    };
    let said = refused.to_string();
    for words in ["wrote nothing", "storage.disk_reserve_bytes", "64 MiB"] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    for (id, disk) in &disks {
        assert!(disk.free_mib() > 20, "the disk of node {id} is nearly full: {} MiB", disk.free_mib());
    }
    // Reads go on, and everybody says what is wrong.
    let read = client.ledger("default").get("before 3", ReadOptions::new()).await.unwrap();
    assert!(read.value.is_some());
    let leader = cluster.leader(&client).await;
    assert_eq!(metric(&cluster, leader, "quorate_read_only"), Some(1));
    for (_, status) in client.status().await {
        let status = status.unwrap();
        assert!(status.fault.is_empty() && status.disk_free_bytes < 100 << 20, "{status:?}");
    }
    frozen_while_full(&cluster, &client).await;
    for disk in disks.values() {
        disk.empty();
    }
    // There is space, and still nobody writes to it until it is thawed.
    let start = clock::now();
    while !matches!(written.write(&client, "frozen", 5).await, Err(Error::Frozen { .. })) {
        assert!(clock::now() - start < Duration::from_secs(30), "a frozen ledger is written to");
    }
    let thawed = Shell::of(&cluster).operator().run(["ledger", "thaw", "default"]);
    assert_eq!(thawed.code, 0, "{}", thawed.stderr);
    written.until_taken(&client, "after").await;
    written.check(&cluster, &client).await;
}

/// An operator freezes the ledger although no writes are taken, and every node goes on serving it.
async fn frozen_while_full(cluster: &Cluster, client: &Client) {
    let freeze = ["ledger", "freeze", "default", "--reason", "the disks are full"];
    let frozen = Shell::of(cluster).operator().run(freeze);
    assert_eq!(frozen.code, 0, "{}", frozen.stderr);
    for id in 1..=3 {
        let read = only(cluster, id).ledger("default").get("before 3", ReadOptions::new()).await.unwrap();
        assert!(read.value.is_some(), "node {id}");
        assert_eq!(metric(cluster, id, "quorate_ledger_frozen{ledger=\"default\"}"), Some(1), "node {id}");
    }
    let archive = ["ledger", "archive", "default", "--to", "archived"];
    let archived = Shell::of(cluster).run(archive);
    assert_eq!(archived.code, 0, "{}", archived.stderr);
    assert!(client.ledger("default").get("never", ReadOptions::new()).await.unwrap().value.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_space_hands_over_to_a_node_that_has_some() {
    if !disk::available("a_leader_without_space_hands_over_to_a_node_that_has_some") {
        return;
    }
    let (cluster, disks) = cluster();
    let client = cluster.client("trust");
    let mut written = Written::default();
    written.write(&client, "before", 20).await.unwrap();
    let full = cluster.leader(&client).await;
    disks[&full].fill(RESERVE - 10);
    let start = clock::now();
    while cluster.leader(&client).await == full {
        assert!(
            clock::now() - start < Duration::from_secs(20),
            "node {full} keeps the lead:\n{}",
            cluster.log(full)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for n in 0..10 {
        written.until_taken(&client, &format!("led by another {n}")).await;
    }
    assert_eq!(metric(&cluster, full, "quorate_read_only"), Some(1), "a follower says so too");
    let limited = client.status().await.into_iter().filter_map(|(_, status)| status.ok());
    let limited: Vec<u64> = limited.filter(|one| !one.limitation.is_empty()).map(|one| one.node_id).collect();
    assert_eq!(limited, [full]);
    disks[&full].empty();
    written.check(&cluster, &client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_in_spite_of_it_ends_the_node_and_loses_nothing() {
    if !disk::available("a_disk_that_is_full_in_spite_of_it_ends_the_node_and_loses_nothing") {
        return;
    }
    let (mut cluster, disks) = cluster();
    let client = cluster.client("trust");
    let mut written = Written::default();
    for n in 0..10 {
        written.write(&client, &format!("before {n}"), 20).await.unwrap();
    }
    let victim = cluster.leader(&client).await % 3 + 1;
    // Somebody else takes everything: the guard can only look on.
    disks[&victim].fill(0);
    let start = clock::now();
    let mut number = 0;
    loop {
        written.until_taken(&client, &format!("during {number}")).await;
        number += 1;
        let ready =
            http::get(cluster.nodes[&victim].http, "/readyz").is_ok_and(|answer| answer.status == 200);
        if !cluster.runs(victim) || !ready {
            break;
        }
        assert!(clock::now() - start < Duration::from_secs(60), "node {victim} writes to a full disk");
    }
    // The others have gone on all along.
    for n in 0..5 {
        written.until_taken(&client, &format!("without {n}")).await;
    }
    let log = cluster.log(victim);
    // A compaction without space frees what it had written, and then RocksDB says only that it failed.
    let words = ["No space left", "no space left", "bytes are free on its disk"];
    assert!(words.iter().any(|words| log.contains(words)), "{log}");
    cluster.kill(victim);
    disks[&victim].empty();
    cluster.start_node(victim);
    cluster.wait_ready();
    written.until_taken(&client, "after").await;
    written.check(&cluster, &client).await;
}
