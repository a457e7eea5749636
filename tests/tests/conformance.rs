//! Others check us with tools that we did not write: Tessera's fsck, Go's note and tlog, torchwood; and a verifier that was
//! written from docs/formats.md alone. They accept a live cluster of three nodes, and refuse each thing that has one
//! altered byte. The program is in `tests/conformance`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use quorate_client::{CertifiedCheckpoint, CheckpointOptions, Ledger, LogIndex, Transaction, TreeSize};
use quorate_tests::{clock::now, cluster::Cluster, go::Go, http};
use serde_json::{Value, json};

/// How long all of it may take once it is compiled.
const LIMIT: Duration = Duration::from_secs(60);

/// The note of a checkpoint that all three nodes have cosigned.
async fn note(ledger: &Ledger, options: CheckpointOptions) -> std::sync::Arc<CertifiedCheckpoint> {
    ledger.checkpoint(options.min_cosigners(3).wait(Duration::from_secs(10))).await.unwrap()
}

fn text(checkpoint: &CertifiedCheckpoint) -> String {
    checkpoint.note().to_string()
}

/// Enough for two levels of tiles, with deletes and several operations in a transaction.
async fn fill(ledger: &Ledger) {
    let writes = (0..400_u32).map(|n| {
        let write = Transaction::new().put(format!("key/{:03}", n % 97), format!("value {n}"));
        ledger.commit(if n % 5 == 0 { write.put(format!("other/{n}"), vec![7; 40]) } else { write })
    });
    stream::iter(writes).buffer_unordered(8).try_collect::<Vec<_>>().await.unwrap();
    ledger.commit(Transaction::new().put("gone", "soon")).await.unwrap();
    ledger.commit(Transaction::new().delete("gone")).await.unwrap();
}

/// Inclusion of leaves everywhere in the log, under its newest checkpoint.
async fn inclusion(ledger: &Ledger, newest: &CertifiedCheckpoint) -> Vec<Value> {
    let size = newest.checkpoint().size;
    let mut proofs = Vec::new();
    for index in [0, 1, 127, 128, 255, 256, size.get() - 1] {
        let proven = ledger.inclusion_proof(LogIndex::new(index), Some(size)).await.unwrap();
        let path: Vec<String> = proven.proof.path.iter().map(ToString::to_string).collect();
        let leaf = hex::encode(&proven.proof.leaf);
        proofs.push(json!({ "index": index, "leaf": leaf, "path": path, "note": text(newest) }));
    }
    proofs
}

/// Consistency from earlier checkpoints to the newest.
async fn consistency(ledger: &Ledger, old: &[TreeSize], newest: &CertifiedCheckpoint) -> Vec<Value> {
    let mut proofs = Vec::new();
    for size in old {
        let older = note(ledger, CheckpointOptions::at_size(*size)).await;
        let path = ledger.consistency_proof(*size, Some(newest.checkpoint().size)).await.unwrap();
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        proofs.push(json!({ "old": text(&older), "new": text(newest), "path": path }));
    }
    proofs
}

/// Receipts of a write with two operations, of a value, of a deletion and of an absence.
async fn receipts(ledger: &Ledger) -> Vec<Value> {
    let receipt = |name: &str, file: String, key: &str, value: Option<&[u8]>| json!({ "name": name, "file": file, "key": hex::encode(key), "value": value.map(hex::encode) });
    let two = Transaction::new().put("release/1", "first build").put("release/2", "second build");
    let committed = ledger.commit(two).await.unwrap();
    let write = committed.receipt().unwrap().to_string();
    let state = async |key: &str| ledger.state_receipt(key).await.unwrap().to_string();
    vec![
        receipt("a write", write.clone(), "release/1", Some(b"first build")),
        receipt("the same of its other key", write, "release/2", Some(b"second build")),
        receipt("a value", state("release/1").await, "release/1", Some(b"first build")),
        receipt("a deleted key", state("gone").await, "gone", None),
        receipt("a key never written", state("never").await, "never", None),
    ]
}

/// Waits until the newest checkpoint of every node carries the cosignatures of all three.
fn wait_all_signed(cluster: &Cluster) {
    let start = now();
    for node in cluster.nodes.values() {
        loop {
            let answer = http::get(node.http, "/default/checkpoint").unwrap();
            let note = String::from_utf8_lossy(&answer.body).into_owned();
            if (1..=3).all(|id| note.contains(&format!("/node/{id} "))) {
                break;
            }
            assert!(now() - start < Duration::from_secs(20), "not all nodes signed:\n{note}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_that_others_wrote_accept_us_and_refuse_one_altered_byte() {
    let Some(go) = Go::find("tools_that_others_wrote_accept_us_and_refuse_one_altered_byte") else {
        return;
    };
    let built = tempfile::tempdir().unwrap();
    let program = built.path().join("conformance");
    let (code, said) = go.run(["build", "-o", program.to_str().unwrap(), "."]);
    assert_eq!(code, 0, "{said}");

    let cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let ledger = client.ledger("default");
    let first = note(&ledger, CheckpointOptions::latest()).await.checkpoint().size;
    fill(&ledger).await;
    let middle = note(&ledger, CheckpointOptions::latest()).await.checkpoint().size;
    let receipts = receipts(&ledger).await;
    let newest = note(&ledger, CheckpointOptions::latest()).await;
    let nodes: Vec<String> = cluster.nodes.values().map(|node| format!("http://{}", node.http)).collect();
    let cases = json!({
        "ledger": "default",
        "nodes": nodes,
        "policy": fs::read_to_string(cluster.path().join("client/default.policy")).unwrap(),
        "inclusion": inclusion(&ledger, &newest).await,
        "consistency": consistency(&ledger, &[first, middle], &newest).await,
        "receipts": receipts,
    });
    wait_all_signed(&cluster);
    let file = built.path().join("cases.json");
    fs::write(&file, cases.to_string()).unwrap();
    let ran = quorate_tests::process::output(std::process::Command::new(&program).arg(&file), LIMIT);
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    println!("{said}");
    for tool in ["fsck", "note", "tlog", "torchwood", "formats", "both"] {
        let red = format!("red    {tool} ");
        assert!(said.contains(&red), "nothing altered was refused by {tool}:\n{said}");
    }
    assert!(said.contains(" 0 wrong"), "{said}");
}

#[test]
fn the_document_of_the_formats_is_enough_to_write_a_verifier() {
    let Some(go) = Go::find("the_document_of_the_formats_is_enough_to_write_a_verifier") else {
        return;
    };
    let (code, said) = go.run(["test", "-count=1", "-v", "./formats"]);
    assert_eq!(code, 0, "{said}");
    for test in ["TestBlocksGiveTheLeavesAndRoots", "TestStateProofs", "TestReceipts", "TestDeepTree"] {
        assert!(said.contains(&format!("--- PASS: {test} ")), "{test} did not run:\n{said}");
    }
}
