//! A node whose log ends before what it promised: it is not started, stays up to say so, and the others go on.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs::{self, OpenOptions},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use quorate_client::Transaction;
use quorate_tests::{cluster::Cluster, http, shell::Shell};

/// The node that loses entries.
const LOSER: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_acknowledged_entries_says_so_and_takes_no_part() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let ledger = client.ledger("default");
    for n in 0..20 {
        ledger.commit(Transaction::new().put(format!("key-{n}"), "value")).await.unwrap();
    }
    cluster.kill(LOSER);
    cut(&cluster.path().join(format!("node-{LOSER}/data/log/db")));
    cluster.start_node(LOSER);

    let fault = wait_for_fault(&cluster, LOSER);
    assert!(fault.contains("acknowledged entries were lost") && fault.contains("new node id"), "{fault}");
    assert!(cluster.runs(LOSER), "it stays up");
    let get = |path| http::get(cluster.nodes[&LOSER].http, path).unwrap();
    assert_eq!(get("/livez").status, 200);
    assert_eq!(get("/default/checkpoint").status, 503);
    let metrics = String::from_utf8(get("/metrics").body).unwrap();
    assert!(metrics.contains("quorate_fault 1") && metrics.contains("quorate_ready 0"), "{metrics}");

    let config = fs::read_to_string(&cluster.nodes[&LOSER].config).unwrap();
    let peer = config.lines().find_map(|line| line.strip_prefix("peer = \"")).unwrap().trim_end_matches('"');
    assert!(TcpStream::connect(peer).is_err(), "nobody listens on its peer port {peer}");

    // It cannot vote: with one more node gone, nobody can be elected.
    ledger.commit(Transaction::new().put("still", "written")).await.unwrap();
    let status = Shell::of(&cluster).run(["status", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    let node = status["replicas"].as_array().unwrap().iter().find(|one| one["node"] == "2").unwrap();
    assert_eq!(node["role"], "stopped");
    assert!(node["fault"].as_str().unwrap().contains("acknowledged entries were lost"), "{node}");
    cluster.kill(1);
    let write = Transaction::new().put("no", "majority").timeout(Duration::from_secs(4));
    assert!(ledger.commit(write).await.is_err(), "it voted or acknowledged");

    let loser = format!("https://{}", cluster.nodes[&LOSER].client);
    let only = Shell::of(&cluster).with("QUORATE_ENDPOINTS", loser);
    let refused = only.run(["get", "still", "--timeout", "3s"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("was not started: the log ends at"), "{}", refused.stderr);
    cluster.start_node(1);
    let write = Transaction::new().put("majority", "again");
    ledger.commit(write).await.unwrap();
    assert_eq!(cluster.terminate(LOSER), Some(0), "it stops in good order");
}

/// Cuts the end off the newest write-ahead log: what was synced is gone, and RocksDB does not notice.
fn cut(database: &Path) {
    let logs = fs::read_dir(database).unwrap().map(|entry| entry.unwrap().path());
    let logs = logs.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    let newest = logs.max().unwrap();
    let length = fs::metadata(&newest).unwrap().len();
    OpenOptions::new().write(true).open(newest).unwrap().set_len(length / 2).unwrap();
}

#[test]
fn a_node_whose_state_is_gone_says_so_until_it_is_put_back() {
    let mut cluster = Cluster::start(1);
    cluster.kill(1);
    let state = cluster.path().join("node-1/data/state");
    let aside = state.with_extension("aside");
    fs::rename(&state, &aside).unwrap();
    cluster.start_node(1);
    let fault = wait_for_fault(&cluster, 1);
    assert!(fault.contains("this node's data is incomplete"), "{fault}");
    assert_eq!(cluster.terminate(1), Some(0), "it stops in good order");
    assert!(!state.exists(), "nothing was made in its place");
    fs::rename(&aside, &state).unwrap();
    cluster.start_node(1);
    cluster.wait_ready();
}

/// Why a node is not ready, once it says so.
fn wait_for_fault(cluster: &Cluster, id: u64) -> String {
    for _ in 0..600 {
        if let Ok(answer) = http::get(cluster.nodes[&id].http, "/readyz") {
            assert_eq!(answer.status, 503);
            return String::from_utf8(answer.body).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("node {id} does not answer:\n{}", cluster.log(id));
}
