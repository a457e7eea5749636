//! Lies of a node that was removed, and of nodes that keep their cosignatures to themselves.

use std::time::Duration;

use quorate_client::{CheckpointOptions, ReadOptions};
use quorate_liar::{
    lie::Lie,
    row::Row,
    stage::{Stage, believe, put},
};
use quorate_tests::{cluster::Cluster, shell::Shell};

use crate::{deceived, unsigned};

/// The node that is removed: its folder, with all of its keys, is still there.
const REMOVED: u64 = 3;

/// How long a client waits for cosignatures that do not come.
const WAIT: Duration = Duration::from_secs(2);

/// A founder is replaced by a new node, and goes on to sign what it likes, with another founder as its accomplice: by the
/// policy of the beginning, two of three, their note would do.
pub(crate) async fn told_by_former_members(liar: &str) -> Vec<Row> {
    let mut stage = Stage::with(Cluster::start(3), liar);
    put(&stage.honest("writer").ledger("default"), "k", "one").await;
    let new = stage.cluster.new_node();
    for (change, node) in [("promote", new), ("remove", REMOVED)] {
        let ran = Shell::of(&stage.cluster).operator().run(["member", change, &node.to_string()]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let former = stage.cluster.forget(REMOVED).expect("it was a node").config;
    put(&stage.honest("writer").ledger("default"), "k", "two").await;

    let liar = stage.lie_with(Lie::RemovedCosigner, &[stage.config(2), former]);
    let ledger = deceived(&stage, &liar, "removed").await;
    let refused = ledger.get("k", ReadOptions::new()).await.expect_err("a removed node counts for nothing");
    let removed = stage.refused("cosignature by a removed node", &refused);
    vec![unsigned(removed, "1 of its witnesses"), withheld(&mut stage).await]
}

/// One of three nodes does not answer any more: who waits for all of them is told whose cosignature is missing.
async fn withheld(stage: &mut Stage) -> Row {
    let client = stage.honest("withheld");
    believe(&client).await;
    let leader = stage.cluster.leader(&client).await;
    let silent = *stage.cluster.nodes.keys().find(|id| **id != leader).expect("a follower");
    stage.cluster.kill(silent);
    put(&client.ledger("default"), "k", "while it is silent").await;
    let all = CheckpointOptions::latest().min_cosigners(3).wait(WAIT);
    let error = client.ledger("default").checkpoint(all).await.expect_err("two of three signed");
    let said = error.to_string();
    assert!(said.contains(&format!("/node/{silent}")), "{said}");
    assert!(!error.is_untrusted(), "who says nothing says nothing wrong: {said}");
    Row { lie: "withheld cosignatures: waited for", said, evidence: None, named: Vec::new() }
}
