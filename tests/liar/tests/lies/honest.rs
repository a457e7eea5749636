//! Honest faults: a killed leader, nodes that are stopped, fall behind, and get a snapshot, all of them killed at once, a head
//! that is signed again later, a change of members. None of it is evidence.

use std::{fs, time::Duration};

use quorate_client::ReadOptions;
use quorate_liar::stage::{Stage, believe, evidence_of, put};
use quorate_tests::{
    cluster::{Cluster, small_logs},
    shell::Shell,
};

/// A head that is older than this is signed again when somebody asks.
const SIGNED_AGAIN: Duration = Duration::from_secs(11);

/// All evidence that any node keeps.
pub(crate) fn evidence_anywhere(stage: &Stage) -> Vec<String> {
    let folders = (1..=4).map(|id| stage.cluster.path().join(format!("node-{id}")));
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
    for id in 1..=3 {
        stage.cluster.kill(id);
    }
    for id in 1..=3 {
        stage.cluster.start_node(id);
    }
    stage.cluster.wait_ready();
    put(&ledger, "k", "after all were killed").await;
    // Whoever asks now has the head signed again, by all.
    tokio::time::sleep(SIGNED_AGAIN).await;
    ledger.get("k", ReadOptions::new()).await.unwrap();
    believe(&client).await;
    let new = stage.cluster.new_node_with(small_logs);
    for (change, node) in [("promote", new), ("remove", another)] {
        let ran = Shell::of(&stage.cluster).operator().run(["member", change, &node.to_string()]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    stage.cluster.forget(another);
    let client = stage.honest("of the new members");
    let ledger = client.ledger("default");
    put(&ledger, "k", "with other members").await;
    believe(&client).await;
    let compared = ledger.compare_replicas().await.unwrap();
    assert!(compared.agree && compared.evidence.is_none(), "{compared:?}");
    assert_eq!(evidence_anywhere(&stage), Vec::<String>::new());
}
