//! A node that was away so long that the others have removed the log it needs gets a snapshot: it ends equal, serves
//! verified reads, knows the requests it missed and can lead, even if it is killed while it receives one.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs, time::Duration};

use quorate_client::{Client, Micros, ReadOptions, Transaction};
use quorate_tests::{
    audit, clock,
    cluster::{Cluster, small_logs},
    http,
};

/// Writes while the node is away.
const WRITES: u64 = 4_000;
/// Writers at once: each write is a block of its own or shares one with at most this many.
const WRITERS: u64 = 16;
/// Kills while a snapshot is received.
const KILLS: u32 = 4;

async fn write(client: &Client, run: &str, writes: u64) {
    let ledger = client.ledger("default");
    let one = async |writer: u64| {
        for n in 0..writes / WRITERS {
            let transaction = Transaction::new()
                .put(format!("{run}/{writer}/{n}"), vec![b'v'; 512])
                .put(format!("hot/{writer}"), n.to_string());
            ledger.commit(transaction).await.unwrap();
        }
    };
    futures::future::join_all((0..WRITERS).map(one)).await;
}

/// Sends a request of this name; gives its index, and whether it was known.
async fn ask(client: &Client, name: &str) -> (u64, bool) {
    let not_after = Micros::new(clock::micros_from_now(Duration::from_secs(600)));
    let request = Transaction::new().put(name.to_owned(), "v").idempotency_key(name).not_after(not_after);
    let committed = client.ledger("default").commit(request).await.unwrap();
    (committed.index.get(), committed.known)
}

/// The value of a counter at a node; 0 before it counted.
fn count(cluster: &Cluster, id: u64, metric: &str) -> u64 {
    let metrics = http::get(cluster.nodes[&id].http, "/metrics").unwrap();
    let metrics = String::from_utf8(metrics.body).unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// The database that is the present one: a node that installed a snapshot has another one.
fn database(cluster: &Cluster, id: u64) -> String {
    fs::read_to_string(cluster.path().join(format!("node-{id}/data/state/CURRENT"))).unwrap()
}

/// Waits until all replicas applied the same, and gives the roots.
async fn wait_equal(cluster: &Cluster, client: &Client) {
    let start = clock::now();
    loop {
        let mut seen = BTreeSet::new();
        let statuses = client.status().await;
        let count = statuses.iter().filter(|(_, status)| status.is_ok()).count();
        for status in statuses.into_iter().filter_map(|(_, status)| status.ok()) {
            assert_eq!(status.fault, "", "node {}", status.node_id);
            let roots = status.ledgers.into_iter().map(|l| (l.name, l.size, l.log_root, l.state_root));
            seen.insert(roots.collect::<Vec<_>>());
        }
        if count == cluster.nodes.len() && seen.len() == 1 {
            return;
        }
        assert!(clock::now() - start < Duration::from_secs(60), "the replicas do not become equal");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Makes the node lead, by killing whoever else does.
async fn make_lead(cluster: &mut Cluster, client: &Client, id: u64) {
    for _ in 0..12 {
        let leader = cluster.leader(client).await;
        if leader == id {
            return;
        }
        cluster.kill(leader);
        let next = cluster.leader(client).await;
        cluster.start_node(leader);
        cluster.wait_ready();
        if next == id {
            return;
        }
        // A node keeps the election timeout it drew until it campaigns: an unlucky draw loses to all others. A restart
        // draws again.
        cluster.kill(id);
        cluster.start_node(id);
        cluster.wait_ready();
    }
    panic!("node {id} was never elected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_for_long_gets_a_snapshot() {
    let mut cluster = Cluster::start_with(3, small_logs);
    let client = cluster.client("trust");
    write(&client, "before", 160).await;
    let away = cluster.leader(&client).await % 3 + 1;
    let before = database(&cluster, away);
    let asked_before = ask(&client, "asked before").await;
    cluster.kill(away);
    let asked_while_away = ask(&client, "asked while away").await;
    write(&client, "while away", WRITES).await;
    cluster.start_node(away);
    cluster.wait_ready();
    wait_equal(&cluster, &client).await;
    assert_ne!(database(&cluster, away), before, "it caught up, but not by a snapshot");
    assert!(count(&cluster, away, "quorate_snapshots_installed_total") > 0, "{}", cluster.log(away));
    assert!(count(&cluster, away, "quorate_snapshot_bytes_total{direction=\"installed\"}") > 0);
    let sent = (1..=3).map(|id| count(&cluster, id, "quorate_snapshots_sent_total")).sum::<u64>();
    assert!(sent > 0, "nobody counted a snapshot that was sent");
    assert!(cluster.log(away).contains("a snapshot was received and installed"), "{}", cluster.log(away));

    make_lead(&mut cluster, &client, away).await;
    let only = only(&cluster, away);
    let read = only.ledger("default").get("hot/0", ReadOptions::new()).await.unwrap();
    assert_eq!(read.value.unwrap().value, (WRITES / WRITERS - 1).to_string());
    let absent = only.ledger("default").get("never", ReadOptions::new()).await.unwrap();
    assert!(absent.value.is_none() && absent.checkpoint.is_some());
    for (name, (index, _)) in [("asked before", asked_before), ("asked while away", asked_while_away)] {
        assert_eq!(ask(&only, name).await, (index, true), "{name}: the snapshot brings what is known");
    }
    write(&client, "after", 64).await;
    wait_equal(&cluster, &client).await;
    let log = audit::replicas(&cluster, &client, "default").await;
    assert!(log.leaves.len() as u64 > WRITES, "{} leaves", log.leaves.len());
}

/// A client that knows one node alone: whatever it verifies, that node served.
fn only(cluster: &Cluster, id: u64) -> Client {
    Client::builder()
        .endpoints([format!("https://{}", cluster.nodes[&id].client)])
        .policy(cluster.policy())
        .ca_pem(fs::read(cluster.path().join("client/authority.crt")).unwrap())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_it_receives_a_snapshot_ends_equal() {
    let mut cluster = Cluster::start_with(3, small_logs);
    let client = cluster.client("trust");
    let away = cluster.leader(&client).await % 3 + 1;
    cluster.kill(away);
    let before = database(&cluster, away);
    write(&client, "while away", WRITES / 2).await;
    let mut interrupted = 0;
    for round in 0..KILLS {
        cluster.start_node(away);
        interrupted += u32::from(wait_incoming(&cluster, away, &before).await);
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 7)).await;
        cluster.kill(away);
        write(&client, &format!("round {round}"), 320).await;
    }
    println!("{interrupted} of {KILLS} kills were while a snapshot came in");
    assert!(interrupted > 0, "no kill hit a snapshot on its way");
    cluster.start_node(away);
    cluster.wait_ready();
    wait_equal(&cluster, &client).await;
    assert_ne!(database(&cluster, away), before, "it caught up, but not by a snapshot");
    audit::replicas(&cluster, &client, "default").await;
    let left = incoming(&cluster, away);
    assert!(left.is_empty(), "left over: {left:?}");
}

/// Snapshots go so slowly that they can be cut on the way.
fn slow_snapshots(text: String) -> String {
    let text = small_logs(text);
    let changed = text.replace("busy_bytes_per_second = 33554432", "busy_bytes_per_second = 800000");
    let changed = changed.replace("\nbytes_per_second = 268435456", "\nbytes_per_second = 800000");
    assert!(changed.matches("= 800000").count() == 2, "{text}");
    changed
}

/// Waits until a node has so many bytes of a snapshot that it receives; gives how large it is.
async fn wait_received(cluster: &Cluster, id: u64, bytes: u64) -> u64 {
    let start = clock::now();
    while http::get(cluster.nodes[&id].http, "/metrics").is_err() {
        assert!(
            clock::now() - start < Duration::from_secs(20),
            "node {id} does not start: {}",
            cluster.log(id)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    loop {
        let done = count(cluster, id, "quorate_snapshot_done_bytes{direction=\"received\"}");
        if done >= bytes {
            return count(cluster, id, "quorate_snapshot_total_bytes{direction=\"received\"}");
        }
        let installed = count(cluster, id, "quorate_snapshots_installed_total");
        assert_eq!(installed, 0, "it was installed before it could be cut");
        assert!(clock::now() - start < Duration::from_secs(20), "{done} bytes: {}", cluster.log(id));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_goes_on_where_it_was_cut_whoever_is_killed() {
    let mut cluster = Cluster::start_with(3, slow_snapshots);
    let client = cluster.client("trust");
    let leader = cluster.leader(&client).await;
    let away = leader % 3 + 1;
    cluster.kill(away);
    write(&client, "while away", WRITES).await;
    cluster.start_node(away);
    let total = wait_received(&cluster, away, 400_000).await;
    assert!(total > 2_000_000, "a snapshot of {total} bytes is over too soon");
    // It is shown while it is on its way, and writes go on.
    let shown = client.status().await.into_iter().filter_map(|(_, status)| status.ok());
    let directions: BTreeSet<String> =
        shown.flat_map(|status| status.transfers).map(|transfer| transfer.direction).collect();
    assert_eq!(directions, BTreeSet::from(["received".to_owned(), "sent".to_owned()]));
    write(&client, "meanwhile", 160).await;

    cluster.kill(away);
    cluster.start_node(away);
    wait_received(&cluster, away, 800_000).await;
    let resumed = count(&cluster, away, "quorate_snapshot_resumed_bytes_total");
    assert!(resumed >= 300_000, "a restarted receiver has kept {resumed} bytes");

    // Another leader makes another copy: it is sent from its beginning, but for what is equal.
    cluster.kill(leader);
    cluster.leader(&client).await;
    cluster.start_node(leader);
    write(&client, "under another leader", 160).await;
    cluster.wait_ready();
    wait_equal(&cluster, &client).await;
    assert_eq!(count(&cluster, away, "quorate_snapshots_installed_total"), 1, "{}", cluster.log(away));
    assert_eq!(count(&cluster, away, "quorate_snapshots_refused_total"), 0);
    audit::replicas(&cluster, &client, "default").await;
}

/// The folders of snapshots that are being received.
fn incoming(cluster: &Cluster, id: u64) -> Vec<String> {
    let state = cluster.path().join(format!("node-{id}/data/state"));
    let names = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("incoming"))
        .collect()
}

/// Waits until a snapshot comes in; `false` if it was installed before that could be seen.
async fn wait_incoming(cluster: &Cluster, id: u64, before: &str) -> bool {
    let start = clock::now();
    loop {
        if !incoming(cluster, id).is_empty() {
            return true;
        }
        if database(cluster, id) != before {
            return false;
        }
        assert!(clock::now() - start < Duration::from_secs(20), "no snapshot came in:\n{}", cluster.log(id));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
