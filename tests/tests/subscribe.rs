//! The log as it grows, from real processes: nothing is missing and nothing twice, whichever of them is killed.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use futures::StreamExt as _;
use quorate_client::{Client, Delivery, LogIndex, Transaction};
use quorate_tests::cluster::Cluster;

/// Writes until told to stop; gives the indexes of what was acknowledged.
async fn write(client: Client, count: u64) -> Vec<u64> {
    let ledger = client.ledger("default");
    let mut indexes = Vec::new();
    for number in 0..count {
        let key = format!("{}/{number}", if number % 3 == 0 { "wanted" } else { "other" });
        let transaction = Transaction::new().put(key, format!("value {number}"));
        indexes.push(ledger.commit(transaction).await.unwrap().index.get());
    }
    indexes
}

/// Reads until a transaction writes `last`; gives the indexes.
async fn read(client: Client, prefix: &str, last: &str) -> Vec<u64> {
    let asked = client.ledger("default").subscribe(LogIndex::new(0)).prefix(prefix);
    let mut deliveries = asked.stream();
    let mut indexes = Vec::new();
    loop {
        let Delivery::Transaction(transaction) = deliveries.next().await.unwrap().unwrap() else { continue };
        indexes.push(transaction.index.get());
        if transaction.operations.iter().any(|operation| operation.key.as_ref() == last.as_bytes()) {
            return indexes;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_or_twice_while_nodes_are_killed() {
    const WRITES: u64 = 400;
    let mut cluster = Cluster::start(3);
    let writing = tokio::spawn(write(cluster.client("writer"), WRITES));
    let last = format!("other/{}", WRITES - 2);
    let reader = cluster.client("reader");
    let all = {
        let last = last.clone();
        tokio::spawn(async move { read(reader, "", &last).await })
    };
    let picking = cluster.client("picking");
    let picked = tokio::spawn(async move { read(picking, "wanted/", "wanted/399").await });
    // The reader's first replica, then the leader: each dies with the stream open, and comes back.
    for round in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let client = cluster.client("observer");
        let victim = if round == 0 { 1 } else { cluster.leader(&client).await };
        cluster.kill(victim);
        tokio::time::sleep(Duration::from_millis(700)).await;
        cluster.start_node(victim);
        cluster.wait_ready();
    }
    let written = writing.await.unwrap();
    let limit = Duration::from_secs(60);
    let all = tokio::time::timeout(limit, all).await.expect("the reader arrives").unwrap();
    let upto = written.iter().position(|index| all.last() == Some(index)).unwrap();
    assert_eq!(all, written[..=upto], "every acknowledged write, once, in order");
    let picked = tokio::time::timeout(limit, picked).await.expect("the picking reader arrives").unwrap();
    let wanted: Vec<u64> = written.iter().step_by(3).copied().collect();
    assert_eq!(picked, wanted);
}

#[test]
fn the_command_writes_lines_and_says_where_to_go_on() {
    let cluster = Cluster::start(3);
    let client = |args: &[&str]| cluster.command("trust", args);
    for value in ["1", "2", "3"] {
        assert!(client(&["put", "a", value]).output().unwrap().status.success());
    }
    let lines = |args: &[&str]| {
        let output = client(args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        (text.lines().map(parse).collect::<Vec<_>>(), errors)
    };
    let (first, errors) = lines(&["watch", "--from", "0", "--limit", "2", "-o", "json"]);
    let value = |line: &serde_json::Value| line["operations"][0]["value"]["utf8"].clone();
    assert_eq!(first.iter().map(value).collect::<Vec<_>>(), ["1", "2"]);
    let next = first[1]["next"].as_str().unwrap();
    assert!(errors.contains(&format!("--from {next}")), "{errors}");
    let (rest, _) = lines(&["watch", "--from", next, "--limit", "1", "-o", "json"]);
    assert_eq!(rest.iter().map(value).collect::<Vec<_>>(), ["3"]);
}
