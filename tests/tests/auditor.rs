//! The auditor beside a cluster of real processes: it follows, survives kill -9, witnesses, and finds what is planted.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use quorate_client::{Client, Transaction};
use quorate_core::note::SignedNote;
use quorate_core::policy::Policy;
use quorate_tests::clock::now;
use quorate_tests::cluster::{Cluster, free_ports};
use quorate_tests::{http, process};

const LIMIT: Duration = Duration::from_secs(30);

async fn write(client: &Client, from: u64, to: u64) {
    let ledger = client.ledger("default");
    for number in from..to {
        let key = format!("k/{:03}", number * 37 % 100);
        ledger.commit(Transaction::new().put(key, format!("value {number}"))).await.unwrap();
    }
}

/// `audit --once` to its end: exit code, and what it says on both streams.
fn once(cluster: &Cluster, directory: &Path, more: &[&str]) -> (Option<i32>, serde_json::Value, String) {
    let mut command = cluster.command("auditor", &["audit", "--once", "-o", "json"]);
    let output = process::output(command.arg("--dir").arg(directory).args(more), LIMIT);
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), document, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn start(cluster: &Cluster, directory: &Path, listen: SocketAddr) -> Child {
    let mut command = cluster.command("auditor", &["audit", "--listen", &listen.to_string()]);
    command.arg("--dir").arg(directory).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until the auditor is up to date with a size.
fn wait_for(listen: SocketAddr, size: u64) {
    let start = now();
    loop {
        let ready = http::get(listen, "/readyz").is_ok_and(|answer| answer.status == 200);
        let metrics = http::get(listen, "/metrics").map(|answer| answer.body).unwrap_or_default();
        let metrics = String::from_utf8(metrics).unwrap();
        let value = |name: &str| {
            let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
            line.rsplit(' ').next()?.parse::<u64>().ok()
        };
        if ready
            && value("quorate_audit_size") >= Some(size)
            && value("quorate_audit_comparisons_total") > Some(0)
        {
            assert!(metrics.contains("standing=\"different\"} 0"), "{metrics}");
            return;
        }
        assert!(now() - start < LIMIT, "not at {size} after {LIMIT:?}: {metrics}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_follows_a_cluster_and_goes_on_after_it_was_killed() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("writer");
    let directory = cluster.path().join("audit");
    let [port, ..] = free_ports::<1>();
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let mut auditor = start(&cluster, &directory, listen);
    write(&client, 0, 100).await;
    wait_for(listen, 100);
    // Killed in the midst of writes, with a node killed besides.
    let (writing, ()) = tokio::join!(write(&client, 100, 250), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        auditor.kill().unwrap();
        auditor.wait().unwrap();
        cluster.kill(2);
    });
    let () = writing;
    auditor = start(&cluster, &directory, listen);
    wait_for(listen, 350);
    cluster.start_node(2);
    cluster.wait_ready();
    write(&client, 250, 300).await;
    let size = cluster.size("default");
    wait_for(listen, size);
    let ended = process::signal(&mut auditor, "TERM", LIMIT);
    assert_eq!(ended.code(), Some(0));
    // It begins where it was, and everything is as the cluster says.
    let (code, document, errors) = once(&cluster, &directory, &[]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(!errors.contains("from log index 0 on"), "{errors}");
    assert_eq!(document["ledgers"][0]["size"], size.to_string());
    assert_eq!(document["ledgers"][0]["log_root"], cluster.checkpoint(1, "default").root.to_string());
    // From the first leaf again, with the cluster's own ledger.
    let (code, document, errors) = once(&cluster, &cluster.path().join("audit-all"), &["--all-ledgers"]);
    assert_eq!((code, document["ledgers"].as_array().unwrap().len()), (Some(0), 2), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_with_a_key_is_a_witness_that_a_policy_can_ask_for() {
    let cluster = Cluster::start(3);
    let directory = cluster.path().join("audit");
    let mut key =
        cluster.command("auditor", &["audit", "key", "--name", "auditor.example/one", "-o", "json"]);
    let made = process::output(key.arg("--dir").arg(&directory), LIMIT);
    let document: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let vkey = document["vkey"].as_str().unwrap();
    let [port, ..] = free_ports::<1>();
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let mut auditor = start(&cluster, &directory, listen);
    write(&cluster.client("writer"), 0, 20).await;
    wait_for(listen, 20);
    // Three replicas and the auditor, all four.
    let lines: String = cluster
        .policy()
        .to_string()
        .lines()
        .filter(|line| line.starts_with("log") || line.starts_with("witness"))
        .map(|line| format!("{line}\n"))
        .collect();
    let rule = format!("witness auditor {vkey}\ngroup all 4 node-1 node-2 node-3 auditor\nquorum all\n");
    let policy = Policy::parse(lines + &rule).unwrap();
    let begin = now();
    let certified = loop {
        let answer = http::get(listen, "/default/checkpoint").unwrap();
        let note = String::from_utf8(answer.body).unwrap();
        if answer.status == 200
            && let Ok(certified) = policy.certify(SignedNote::parse(&note).unwrap())
        {
            break certified;
        }
        assert!(now() - begin < LIMIT, "no note of all four: {note}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(certified.cosigners().count(), 4);
    assert_eq!(process::signal(&mut auditor, "TERM", LIMIT).code(), Some(0));
}

#[test]
fn an_auditor_witnesses_logs_that_it_does_not_recompute() {
    let cluster = Cluster::start(3);
    let directory = cluster.path().join("audit");
    let mut key = cluster.command("auditor", &["audit", "key", "--name", "witness.example/w"]);
    assert!(process::output(key.arg("--dir").arg(&directory), LIMIT).status.success());
    let [port, ..] = free_ports::<1>();
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = cluster.command("auditor", &["audit", "--witness-listen", &listen.to_string()]);
    command.arg("--witness-logs").arg(cluster.path().join("client/_system.policy"));
    command.arg("--dir").arg(&directory).stdout(Stdio::null()).stderr(Stdio::null());
    let mut witness = command.spawn().unwrap();
    let note = http::get(cluster.nodes[&1].http, "/_system/checkpoint").unwrap().body;
    let note = String::from_utf8(note).unwrap();
    let begin = now();
    let answer = loop {
        if let Ok(answer) = http::post(listen, "/add-checkpoint", &format!("old 0\n\n{note}")) {
            break answer;
        }
        assert!(now() - begin < LIMIT, "the witness does not answer");
        std::thread::sleep(Duration::from_millis(100));
    };
    let line = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 200, "{line}");
    assert!(line.starts_with("— witness.example/w "), "{line}");
    let size = SignedNote::parse(&format!("{note}{line}")).unwrap().checkpoint().size;
    let again = http::post(listen, "/add-checkpoint", &format!("old 0\n\n{note}")).unwrap();
    assert_eq!((again.status, again.body), (409, format!("{size}\n").into_bytes()));
    assert_eq!(http::get(listen, "/add-checkpoint").unwrap().status, 405);
    assert_eq!(http::post(listen, "/elsewhere", "").unwrap().status, 404);
    assert_eq!(process::signal(&mut witness, "TERM", LIMIT).code(), Some(0));
}
