//! Honest faults: a killed leader, nodes that are stopped, fall behind, and get a snapshot. None of it is evidence.

use std::fs;

use quorate_liar::stage::{Stage, believe, evidence_of, put};
use quorate_tests::cluster::{Cluster, small_logs};

/// All evidence that any node keeps.
pub(crate) fn evidence_anywhere(stage: &Stage) -> Vec<String> {
    let folders = (1..=3).map(|id| stage.cluster.path().join(format!("node-{id}")));
    let files = folders.flat_map(|folder| evidence_of(&folder));
    files.map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_honest_nodes_are_no_evidence() {
    let mut stage = Stage::with(Cluster::start_with(3, small_logs), super::LIAR);
    let client = stage.honest("writer");
    let ledger = client.ledger("default");
    for n in 0..20 {
        put(&ledger, "k", &n.to_string()).await;
    }
    let leader = stage.cluster.leader(&client).await;
    stage.cluster.kill(leader);
    for n in 0..150 {
        put(&ledger, "k", &format!("without {leader}: {n}")).await;
    }
    // Behind the others' logs by now: it gets a snapshot, or it replays; both are as good as any.
    stage.cluster.start_node(leader);
    stage.cluster.wait_ready();
    believe(&client).await;
    let another = (1..=3).find(|id| *id != leader).unwrap();
    assert_eq!(stage.cluster.terminate(another), Some(0));
    put(&ledger, "k", "without another").await;
    stage.cluster.start_node(another);
    stage.cluster.wait_ready();
    put(&ledger, "k", "with all").await;
    believe(&client).await;
    let compared = ledger.compare_replicas().await.unwrap();
    assert!(compared.agree && compared.evidence.is_none(), "{compared:?}");
    assert_eq!(evidence_anywhere(&stage), Vec::<String>::new());
}
