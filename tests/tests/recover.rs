//! After the loss of a quorum: a new cluster from the best survivor, a mark in its history, and guards before it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    process::{Command, Output},
    time::Duration,
};

use quorate_client::{Client, Committed, Transaction};
use quorate_tests::{
    audit,
    cluster::{Cluster, binary},
    process,
};

const NAME: &str = "test.example/cluster";

fn recover(old: &Cluster, survivors: &[u64], understood: &str) -> Command {
    let mut command = Command::new(binary());
    command.args(["-o", "json", "recover", "--i-understand", understood]);
    for id in survivors {
        command.arg("--from").arg(&old.nodes[id].config);
    }
    command
}

fn refused(old: &Cluster, survivors: &[u64], understood: &str, words: &str) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new");
    let mut command = recover(old, survivors, understood);
    let output: Output =
        process::output(command.args(["--node", "1=127.0.0.1", "--out"]).arg(&out), Duration::from_secs(20));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(words), "{words}: {error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{words}: something was made");
}

async fn put(client: &Client, key: &str) -> Committed {
    let transaction = Transaction::new().put(key.to_owned(), "value").idempotency_key(key);
    client.ledger("default").commit(transaction.timeout(Duration::from_secs(20))).await.unwrap()
}

/// Everything below a folder, with its bytes.
fn contents(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_is_enough_to_go_on_and_the_history_says_so() {
    let mut old = Cluster::start(3);
    let client = old.client("trust");
    client.create_ledger("builds").await.unwrap();
    for number in 0..30 {
        put(&client, &format!("key/{number}")).await;
    }
    // Node 3 misses what comes now: it is a survivor, and not the best one.
    old.kill(3);
    let last = put(&client, "last").await;
    let before = audit::log(&old.nodes[&1].http, "default").unwrap();
    refused(&old, &[3], NAME, "the quorum is not lost");
    refused(&old, &[1], NAME, "node 1 runs");
    // Node 2 is lost for good; node 1 is stopped, with what it knows of signatures on its disk.
    old.kill(2);
    assert_eq!(old.terminate(1), Some(0));
    refused(&old, &[1, 3], "test.example/other", "--i-understand");

    let untouched = contents(&old.path().join("node-1"));
    let mut new = Cluster::made_by(3, |out| {
        let mut command = recover(&old, &[3, 1], NAME);
        command.arg("--out").arg(out);
        command
    });
    assert_eq!(contents(&old.path().join("node-1")), untouched, "the survivor was changed");
    for id in 1..=3 {
        new.start_node(id);
    }
    new.wait_ready();
    let client = new.client("trust");
    let again = put(&client, "last").await;
    assert!(again.known && again.index == last.index, "an acknowledged write is there: {again:?}");
    assert!(!put(&client, "after").await.known);
    let after = audit::replicas(&new, &client, "default").await;
    assert_eq!(after.roots[..before.roots.len()], before.roots[..], "one root per common size");
    audit::replicas(&new, &client, "builds").await;

    let lineage = client.lineage().await.unwrap();
    assert_eq!((lineage.len(), lineage[0].kind.as_str()), (1, "recovered"));
    assert!(lineage[0].loss.contains("that of node 1"));
    assert!(lineage[0].loss.starts_with("1 of 3 nodes were lost"), "{}", lineage[0].loss);
    let default = lineage[0].ledgers.iter().find(|ledger| ledger.name == "default").unwrap();
    assert!(old.policy().open(&default.note).is_ok(), "the old cosigned note is kept: {:?}", default.note);
    let old_checkpoint = last.checkpoint.unwrap().checkpoint().clone();
    let continued = client.ledger("default").continues(&old_checkpoint).await.unwrap();
    assert_eq!(continued.lineage.number, 1);
}
