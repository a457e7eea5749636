//! The drills of the runbook that need a fault made from outside: a slow disk, a wrong clock, a leader that stands still, too much
//! load, certificates that end. The fault is there when the page's commands are run, what the page says one sees is seen, and what
//! it says to do helps.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quorate_client::{Client, Error, Transaction};
use quorate_core::{
    name::ClusterId,
    position::{Micros, NodeId},
};
use quorate_node::{
    cluster::Cluster as ClusterFile,
    config::NodeConfig,
    tls::{Authority, Issued, PeerIdentity},
};
use quorate_tests::{
    audit, clock,
    cluster::{Cluster, binary},
    drill::{Drill, Page},
    house::root,
    http, process,
    shell::Ran,
    strace::{self, Faulty},
    writer::{self, Writers},
};

/// How long something may take to show.
const SOON: Duration = Duration::from_secs(40);

async fn write(client: &Client, key: &str, timeout: Duration) -> Result<(), Error> {
    let write = Transaction::new().put(key.to_owned(), "v").timeout(timeout);
    client.ledger("default").commit(write).await.map(drop)
}

/// The sum of the metrics with this name whose lines contain these words.
#[track_caller]
fn metric(cluster: &Cluster, id: u64, name: &str, words: &str) -> u64 {
    http::metrics(cluster.nodes[&id].http, &[name, words]).unwrap()
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = clock::now();
    while !is_so() {
        assert!(clock::now() - start < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(cluster: &Cluster, id: u64, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), cluster.pid(id).to_string()]).status();
    assert!(sent.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_slow() {
    if !strace::available("a_disk_is_slow") {
        return;
    }
    const SLOW: &str = "delay_exit=60000";
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let slow = cluster.leader(&client).await;
    let disk = Faulty::attach(&cluster, slow, "fdatasync", SLOW);
    for n in 0..20 {
        write(&client, &format!("slow {n}"), SOON).await.unwrap();
    }
    // "`quorate_log_sync_seconds` of a node has a high 99th percentile": more than one in a hundred is over 0.05 s.
    let bucket = "quorate_log_sync_seconds_bucket";
    let (all, fast) =
        (metric(&cluster, slow, bucket, "le=\"+Inf\""), metric(&cluster, slow, bucket, "le=\"0.05\""));
    assert!((all - fast) * 100 > all, "{fast} of {all} syncs are fast");
    // On that machine everything that is synced takes long.
    let drill = Drill::on(&cluster);
    let inject = format!("-e trace=fdatasync,fsync -e inject=fdatasync,fsync:{SLOW}");
    drill.program(&format!("exec strace -f -o /dev/null {inject} \"$QUORATE\" \"$@\""));
    let seen = drill.page("slow-disk");
    assert!(seen.contains("docs/operations/runbook/slow-disk.md"), "{seen}");
    // "Restart that node: another one leads, and the slow one follows."
    cluster.terminate(slow);
    drop(disk);
    write(&client, "without it", SOON).await.unwrap();
    cluster.start_node(slow);
    cluster.wait_ready();
    let disk = Faulty::attach(&cluster, slow, "fdatasync", SLOW);
    let leader = cluster.leader(&client).await;
    assert_ne!(leader, slow);
    let of_leader = || metric(&cluster, leader, bucket, "le=\"+Inf\"");
    let before = of_leader();
    for n in 0..20 {
        write(&client, &format!("after {n}"), SOON).await.unwrap();
    }
    assert!(of_leader() > before, "the new leader syncs");
    drop(disk);
    drill.program("exec \"$QUORATE\" \"$@\"");
    assert!(!drill.commands("slow-disk").contains("fail  sync latency"));
    audit::replicas(&cluster, &client, "default").await;
}

/// The library that moves the wall clock of a process.
fn skew(cluster: &Cluster) -> PathBuf {
    let library = cluster.path().join("skew.so");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(root().join("tests/clock/skew.c"));
    let made = Ran::from(process::output(&mut cc, SOON));
    assert_eq!(made.code, 0, "{}", made.stderr);
    library
}

/// How far ahead the clock is. Blocks that are dated more than 60 s ahead are refused.
const AHEAD: &str = "120";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_is_wrong() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    write(&client, "before", SOON).await.unwrap();
    let library = skew(&cluster);
    let wrong = cluster.leader(&client).await % 3 + 1;
    cluster.terminate(wrong);
    let mut skewed = Command::new(binary());
    skewed.env("LD_PRELOAD", &library).env("QUORATE_SKEW_S", AHEAD);
    cluster.start_node_by(wrong, &mut skewed);
    cluster.wait_ready();
    // As a follower it does no harm. Then it leads.
    write(&client, "as a follower", SOON).await.unwrap();
    let transfer = format!("quorate member transfer {wrong} --timeout 5s");
    Drill::on(&cluster).operator().run(&transfer);
    assert!(
        write(&client, "ahead", Duration::from_secs(4)).await.is_err(),
        "a block from the future is taken"
    );
    let follower = wrong % 3 + 1;
    let log = || fs::read_to_string(cluster.path().join(format!("node-{follower}.log"))).unwrap();
    until("the follower says why", || log().contains("and the clock here says"));
    let drill = Drill::on(&cluster);
    let seen = drill.page("clock-wrong");
    assert!(seen.contains("docs/operations/runbook/clock-wrong.md"), "{seen}");
    // "Correct the clock of the one that is wrong. If it is the leader and nothing is committed, restart that node."
    cluster.terminate(wrong);
    write(&client, "another one leads", SOON).await.unwrap();
    cluster.start_node(wrong);
    cluster.wait_ready();
    assert!(!Drill::on(&cluster).commands("clock-wrong").contains("fail  clock"));
    write(&client, "after", SOON).await.unwrap();
    audit::replicas(&cluster, &client, "default").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_changes_often() {
    const TIMES: u64 = 4;
    let cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let writers = Writers::start(client.clone(), 2);
    writers.wait_for_more(10).await;
    let term = || (1..=3).map(|id| metric(&cluster, id, "quorate_raft_term ", "")).max().unwrap();
    let before = term();
    for _ in 0..TIMES {
        // The machine of the leader stands still, longer than an election timeout.
        let leader = cluster.leader(&client).await;
        signal(&cluster, leader, "STOP");
        let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
        let led = |id: &u64| metric(&cluster, *id, "quorate_is_leader ", "") == 1;
        until("another one leads", || others.iter().any(led));
        signal(&cluster, leader, "CONT");
        let count = writers.count();
        writers.wait_for_more(count + 1).await;
    }
    // "`quorate_raft_term` rises."
    assert!(term() >= before + TIMES, "from term {before} to {}", term());
    Drill::on(&cluster).page("leader-flapping");
    // The machine is well again: the term stays.
    cluster.wait_ready();
    let (calm, count) = (term(), writers.count());
    writers.wait_for_more(count + 200).await;
    assert_eq!(term(), calm, "nothing stands still any more");
    let acknowledged = writers.stop().await;
    writer::check(&client, &acknowledged).await;
    audit::replicas(&cluster, &client, "default").await;
}

/// A queue into which few requests fit.
fn small_queue(text: String) -> String {
    let changed = text.replace("queued_bytes = 134217728", "queued_bytes = 8192");
    assert_ne!(changed, text, "the default bound is another one");
    changed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_arrives_than_can_be_written() {
    let cluster = Cluster::start_with(1, small_queue);
    let client = cluster.client("trust");
    write(&client, "before", SOON).await.unwrap();
    let refused = || metric(&cluster, 1, "quorate_calls_total", "RESOURCE_EXHAUSTED");
    // An open loop: requests come whether the ones before were answered or not.
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (client, stop) = (client.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut sent = Vec::new();
            while !stop.load(Ordering::Relaxed) && sent.len() < 6_000 {
                // More at once than the queue has bytes for.
                for _ in 0..8 {
                    let (client, n) = (client.clone(), sent.len());
                    sent.push(tokio::spawn(async move {
                        let write = Transaction::new().put(format!("load {n}"), vec![b'v'; 3_000]);
                        client.ledger("default").commit(write.timeout(Duration::from_secs(8))).await.map(drop)
                    }));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            sent
        })
    };
    // Few are: the client has less under way from the first refusal on.
    until("clients are refused", || refused() > 2);
    let drill = Drill::on(&cluster);
    fs::write(cluster.path().join("large"), vec![b'v'; 20_000]).unwrap();
    let told = drill.run("quorate put large --file large --timeout 2s");
    assert_eq!(told.code, 3, "{}", told.stderr);
    assert!(told.stderr.contains("too many requests are waiting"), "{}", told.stderr);
    drill.page("overload");
    let during = refused();
    // "Write in batches": what was many requests is one, and fits.
    stop.store(true, Ordering::Relaxed);
    for task in load.await.unwrap() {
        if let Err(error) = task.await.unwrap() {
            assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        }
    }
    assert!(refused() >= during);
    let calm = refused();
    for batch in 0..10 {
        let mut write = Transaction::new();
        for n in 0..20 {
            write = write.put(format!("batch {batch}/{n}"), "value");
        }
        client.ledger("default").commit(write).await.unwrap();
    }
    assert_eq!(refused(), calm, "nothing is refused any more");
    audit::replicas(&cluster, &client, "default").await;
}

/// Certificates are valid for this long.
const LIFETIME_S: u64 = 825 * 24 * 60 * 60;

/// How long those of the drill are valid still.
const LEFT: Duration = Duration::from_secs(20);

/// Gives a node certificates that end soon.
fn nearly_ended(cluster: &Cluster, id: u64) {
    let authority = Authority::load(&cluster.path().join("authority")).unwrap();
    let config = NodeConfig::load(&cluster.nodes[&id].config).unwrap();
    let file = ClusterFile::load(&config.node.cluster_file).unwrap();
    let cluster_id: ClusterId = file.id;
    let then = Micros::new(clock::micros_from_now(LEFT) - LIFETIME_S * 1_000_000);
    let own = PeerIdentity { cluster: cluster_id, node: NodeId::new(id) };
    let files = config.tls.unwrap();
    let server = authority.issue_server(&["127.0.0.1".to_owned()], then).unwrap();
    let peer = authority.issue_peer(own, then).unwrap();
    let put = |certificate: &PathBuf, key: &PathBuf, issued: Issued| {
        fs::write(certificate, &issued.certificate).unwrap();
        // Its mode stays.
        fs::write(key, issued.key.as_bytes()).unwrap();
    };
    put(&files.server_certificate, &files.server_key, server);
    put(&files.peer_certificate, &files.peer_key, peer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_end() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    write(&client, "before", SOON).await.unwrap();
    nearly_ended(&cluster, 1);
    signal(&cluster, 1, "HUP");
    let taken = |cluster: &Cluster, name: &str| {
        let words = format!("certificate=\"{name}\",result=\"taken\"");
        metric(cluster, 1, "quorate_certificate_reloads_total", &words)
    };
    until("the node takes them", || taken(&cluster, "server") == 1 && taken(&cluster, "peer") == 1);
    let drill = Drill::on(&cluster);
    let page = Page::read("runbook/certificate-expired");
    page.shown_in(&drill.run("quorate status").stdout);
    // They end: clients refuse the node, the others go on with the connections that they have.
    until("a client refuses it", || drill.run("quorate status").stdout.contains("expired"));
    write(&client, "two are enough", SOON).await.unwrap();
    cluster.terminate(1);
    let refused = Ran::from(cluster.run_node(1));
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("this node's own peer certificate"), "{}", refused.stderr);
    // What the page says to do.
    let said = drill.commands("certificate-expired");
    assert!(said.contains("new"), "{said}");
    cluster.start_node(1);
    cluster.wait_ready();
    let status = drill.run("quorate status");
    assert_eq!(status.code, 0, "{}{}", status.stdout, status.stderr);
    assert!(!status.stdout.contains("a certificate ends"), "{}", status.stdout);
    write(&client, "after", SOON).await.unwrap();
    audit::replicas(&cluster, &client, "default").await;
}
