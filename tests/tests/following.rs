//! A client that was away while the nodes of a cluster changed needs no new policy: it follows the chain of epochs.

use std::time::Duration;

use quorate_client::{ReadOptions, Transaction};
use quorate_tests::{cluster::Cluster, process, shell::Shell};

/// Runs a command of an operator that has to succeed.
#[track_caller]
fn done(cluster: &Cluster, arguments: &[&str]) {
    let ran = Shell::of(cluster).operator().run(arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_over_four_changes_goes_on_with_the_policy_of_the_beginning() {
    let mut cluster = Cluster::start(3);
    {
        let before = cluster.client("away");
        before.ledger("default").commit(Transaction::new().put("k", "before")).await.unwrap();
        before.flush().await.unwrap();
    }
    // From nodes 1, 2, 3 to nodes 3, 4, 5.
    for new in [cluster.new_node(), cluster.new_node()] {
        done(&cluster, &["member", "promote", &new.to_string()]);
    }
    for old in ["1", "2"] {
        done(&cluster, &["member", "remove", old]);
    }
    cluster.forget(1);
    cluster.forget(2);
    // With the same policy file and trust store: one key of the three is left in the set.
    let back = cluster.client("away");
    let read = back.ledger("default").get("k", ReadOptions::new()).await.unwrap();
    assert_eq!(read.value.unwrap().value, "before");
    back.ledger("default").commit(Transaction::new().put("k", "after")).await.unwrap();
    let names: Vec<String> =
        back.policy().witnesses().iter().map(|witness| witness.name().to_string()).collect();
    assert_eq!(names, ["node-3", "node-4", "node-5"]);
    // So does the command line, and one that never was here.
    for trust in ["away", "new"] {
        let ran = process::output(&mut cluster.command(trust, &["get", "k"]), Duration::from_secs(30));
        let (out, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success() && out.contains("after"), "{out}{errors}");
    }
}
