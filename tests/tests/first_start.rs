//! A node with an empty data directory: it takes part if it never did, and never again if it lost what it had.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, time::Duration};

use quorate_client::{Client, ReadOptions, Transaction};
use quorate_tests::{cluster::Cluster, http, shell::Shell};

/// What a node says that lost its directory, and one that waits for the others.
const LOST: &str = "must not take part again";
const WAITS: &str = "this node waits until the other nodes";

async fn write(client: &Client, key: &str) {
    client.ledger("default").commit(Transaction::new().put(key.to_owned(), "value")).await.unwrap();
}

/// The role of a node, as `quorate status` shows it, and why it is limited.
fn role(cluster: &Cluster, id: u64) -> (String, String) {
    let status = Shell::of(cluster).run(["status", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    let replicas = status["replicas"].as_array().unwrap();
    let id = id.to_string();
    let node = replicas.iter().find(|one| one["node"].as_str() == Some(&*id)).unwrap();
    let text = |field: &str| node[field].as_str().unwrap_or_default().to_owned();
    (text("role"), text("limitation"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_data_never_takes_part_again() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    write(&client, "before").await;
    let data = cluster.path().join("node-2/data");
    let aside = data.with_extension("aside");
    cluster.kill(2);
    fs::rename(&data, &aside).unwrap();

    // The first start on the empty directory, and the second, which finds what the first one made.
    for _ in 0..2 {
        cluster.start_node(2);
        let said = cluster.wait_unready(2, LOST);
        assert!(said.contains("replace this node by a new one under a new id"), "{said}");
        assert_eq!(role(&cluster, 2).0, "stopped");
        assert_eq!(cluster.terminate(2), Some(0), "it stops in good order");
    }
    cluster.start_node(2);
    cluster.wait_unready(2, LOST);
    write(&client, "two of three").await;
    cluster.kill(1);
    let alone = Transaction::new().put("no", "majority").timeout(Duration::from_secs(4));
    assert!(client.ledger("default").commit(alone).await.is_err(), "it voted or acknowledged");
    cluster.start_node(1);
    write(&client, "two again").await;

    cluster.kill(2);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&aside, &data).unwrap();
    cluster.start_node(2);
    cluster.wait_ready();
    write(&client, "with what it had, it takes part").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_ran_joins_a_cluster_that_two_have_founded() {
    let mut cluster = Cluster::prepare(3);
    cluster.start_node(1);
    cluster.start_node(2);
    cluster.wait_ready();
    let client = cluster.client("trust");
    write(&client, "founded by two").await;

    // Node 1 may be the only one that knows whether node 3 took part before.
    cluster.kill(1);
    cluster.start_node(3);
    cluster.wait_unready(3, WAITS);
    let (role, limitation) = role(&cluster, 3);
    assert_eq!(role, "waiting");
    assert!(limitation.contains(WAITS), "{limitation}");
    let metrics = http::get(cluster.nodes[&3].http, "/metrics").unwrap();
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("quorate_fault 0") && metrics.contains("quorate_ready 0"), "{metrics}");
    let alone = Transaction::new().put("no", "majority").timeout(Duration::from_secs(4));
    assert!(client.ledger("default").commit(alone).await.is_err(), "it voted or acknowledged");

    cluster.start_node(1);
    cluster.wait_ready();
    cluster.kill(2);
    write(&client, "by the founder and the late one").await;
    let read = client.ledger("default").get("founded by two", ReadOptions::new()).await.unwrap();
    assert_eq!(read.value.unwrap().value, "value");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_was_killed_while_it_waited_is_made_again() {
    let mut cluster = Cluster::prepare(3);
    cluster.start_node(3);
    cluster.wait_unready(3, WAITS);
    assert_eq!(cluster.terminate(3), Some(0), "it stops in good order while it waits");
    cluster.start_node(3);
    cluster.wait_unready(3, WAITS);
    cluster.kill(3);
    for id in 1..=3 {
        cluster.start_node(id);
    }
    cluster.wait_ready();
    write(&cluster.client("trust"), "founded by three").await;
}

#[test]
fn a_cluster_of_one_asks_nobody() {
    let mut cluster = Cluster::start(1);
    let size = cluster.size("default");
    cluster.kill(1);
    cluster.start_node(1);
    cluster.wait_ready();
    assert_eq!(cluster.size("default"), size);
}
