//! Two histories under the same keys, made by the real program: the nodes are stopped, copied, and run on from both.

use std::fs;

use quorate_client::ReadOptions;
use quorate_liar::{
    row::Row,
    stage::{Stage, believe, put},
};
use quorate_tests::{cluster::Cluster, folder};

fn stop(cluster: &mut Cluster) {
    for id in 1..=3 {
        assert_eq!(cluster.terminate(id), Some(0), "node {id} stops in good order");
    }
}

fn start(cluster: &mut Cluster) {
    (1..=3).for_each(|id| cluster.start_node(id));
    cluster.wait_ready();
}

/// Puts the copy in the place of the nodes' folder.
fn swap(stage: &Stage) {
    let (nodes, copy) = (stage.cluster.path(), stage.folder("copy"));
    fs::rename(&nodes, stage.folder("nodes of the left")).unwrap();
    fs::rename(copy, &nodes).unwrap();
}

fn names_keys(row: Row, kind: &str) -> Row {
    assert_eq!(row.evidence.as_deref(), Some(kind), "{row:?}");
    assert_eq!(row.named.first().map(String::as_str), Some("guilty"), "{row:?}");
    assert!(row.named.len() > 2, "all who signed both: {row:?}");
    row
}

/// Two clients are shown different histories; then the first one meets the second history, at the same size and further on.
pub(crate) async fn told_by_copies(liar: &str) -> Vec<Row> {
    let mut stage = Stage::start(liar);
    let size = {
        let client = stage.honest("left");
        put(&client.ledger("default"), "k", "common").await;
        believe(&client).await
    };
    // The size that the first client believes is not to be a power of two: see docs/formats.md, 4.2, rewrite.
    if (size + 2).is_power_of_two() {
        put(&stage.honest("left").ledger("default"), "k", "common, too").await;
    }
    stop(&mut stage.cluster);
    folder::copy(&stage.cluster.path(), &stage.folder("copy")).unwrap();
    start(&mut stage.cluster);
    let left = stage.honest("left");
    put(&left.ledger("default"), "balance", "1").await;
    believe(&left).await;
    stop(&mut stage.cluster);
    swap(&stage);
    start(&mut stage.cluster);

    let right = stage.honest("right");
    put(&right.ledger("default"), "balance", "2").await;
    believe(&right).await;
    let read = right.ledger("default").get("balance", ReadOptions::new()).await.unwrap();
    assert_eq!(read.value.unwrap().value, "2", "each client alone sees nothing wrong");
    let lie = left.ledger("default").get("balance", ReadOptions::new()).await.unwrap_err();
    let fork = names_keys(stage.refused("different answers to different clients", &lie), "fork");

    put(&right.ledger("default"), "balance", "3").await;
    believe(&right).await;
    let lie = left.ledger("default").get("balance", ReadOptions::new()).await.unwrap_err();
    let rewrite = names_keys(stage.refused("forked history", &lie), "rewrite");
    vec![fork, rewrite]
}
