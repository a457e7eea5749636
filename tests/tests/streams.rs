//! Commits that share a stream, against real nodes: each has an outcome of its own, and nothing acknowledged is lost or there
//! twice, whatever happens to the node that serves the stream.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use quorate_client::{Error, Precondition, Transaction};
use quorate_tests::{
    audit,
    cluster::Cluster,
    http,
    writer::{self, Writers},
};

const WRITERS: u64 = 64;
const KILLS: u64 = 3;

/// The sum of a metric's lines with all of these words in them, over all nodes that answer.
fn sum(cluster: &Cluster, metric: &str, word: &str) -> u64 {
    let text = |http| http::get(http, "/metrics").map(|answer| String::from_utf8(answer.body).unwrap());
    let texts = cluster.nodes.values().filter_map(|node| text(node.http).ok());
    let of = |text: String| {
        let lines = text.lines().filter(|line| line.starts_with(metric) && line.contains(word));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    texts.map(of).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_has_its_own_outcome() {
    let cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let ledger = client.ledger("default");
    ledger.commit(Transaction::new().put("there", "v")).await.unwrap();
    let asked = (0..400).map(|n| {
        let key = format!("key/{n}");
        let transaction = match n % 5 {
            0 | 1 => Transaction::new().put(key, "v"),
            2 => Transaction::new().put(key, "v").precondition(Precondition::Absent("there".into())),
            3 => Transaction::new().put(key, vec![7; (4 << 20) + 1]),
            _ => Transaction::new().put("same", "v").idempotency_key("the same request"),
        };
        let ledger = ledger.clone();
        // A few are too large, and each has to be sent before it is refused.
        tokio::spawn(async move {
            if n % 5 == 3 && n > 20 { None } else { Some((n, ledger.commit(transaction).await)) }
        })
    });
    let (mut own, mut same) = (BTreeSet::new(), BTreeSet::new());
    for task in join_all(asked).await {
        let Some((n, outcome)) = task.unwrap() else { continue };
        match (n % 5, outcome) {
            (0 | 1, Ok(committed)) => {
                assert!(!committed.known && committed.receipt().is_some());
                own.insert(committed.index);
            }
            (2, Err(Error::Rejected(rejection))) => assert_eq!(rejection.reason, "precondition_failed"),
            (3, Err(Error::InvalidArgument { field, .. })) => assert_eq!(field, "writes[0].put.value"),
            (4, Ok(committed)) => same.extend([committed.index]),
            (_, other) => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!((own.len(), same.len()), (160, 1));
    assert!(sum(&cluster, "quorate_calls_total", "\"CommitStream\"") > 0, "nothing was sent on a stream");
    audit::replicas(&cluster, &client, "default").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_stopped_leaders_lose_nothing_of_a_stream() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let writers = Writers::start(client.clone(), WRITERS);
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let leader = cluster.leader(&client).await;
        let before = writers.count();
        if kill == 0 {
            assert!(sum(&cluster, "quorate_commit_streams_at_work", "") > 0, "nobody uses a stream");
            assert_eq!(cluster.terminate(leader), Some(0), "streams kept it from ending");
        } else {
            cluster.kill(leader);
        }
        writers.wait_for_more(before + 200).await;
        cluster.start_node(leader);
        cluster.wait_ready();
    }
    let acknowledged = writers.stop().await;
    assert!(acknowledged.len() > 600, "only {} writes were acknowledged", acknowledged.len());
    writer::check(&client, &acknowledged).await;
    audit::replicas(&cluster, &client, "default").await;
}
