//! A rolling upgrade as docs/operations/upgrade.md describes it, with real processes and clients that verify everything. The
//! program of the release before is `QUORATE_PREVIOUS_BIN`; without it the present one stands for both, and the procedure is
//! what is tested.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use quorate_client::{Client, Transaction};
use quorate_core::position::{Micros, NodeId};
use quorate_node::{
    chain::Chain,
    cluster::Cluster as ClusterFile,
    config::NodeConfig,
    consensus::Consensus,
    membership::Office,
    peer::{
        self, EnrollHandler, Enrolled, Gate, Handlers, Later, Life, Peers, SPOKEN, TurnedAway, Versions, Wire,
    },
    signer::Signer,
    tls::{self, Credentials, Limits, PeerIdentity, PeerSecurity, PeerTls, Roots},
    upkeep::Refused,
};
use quorate_tests::{
    audit, clock,
    cluster::{Cluster, binary, small_logs},
    drill::{Drill, Page},
    folder, http, newer,
    shell::Ran,
    writer::{self, Writers},
};

/// The program of the release before, and whether it is another one than the present.
fn previous() -> (PathBuf, bool) {
    match std::env::var_os("QUORATE_PREVIOUS_BIN") {
        Some(path) => (path.into(), true),
        None => (binary(), false),
    }
}

/// A running cluster that the older program made.
fn cluster_of(old: &Path) -> Cluster {
    let mut cluster = Cluster::made_by(3, |out| {
        let mut init = Command::new(old);
        init.args(["init", "--name", "test.example/cluster", "--out"]).arg(out);
        init
    });
    for id in 1..=3 {
        let config = &cluster.nodes[&id].config;
        fs::write(config, small_logs(fs::read_to_string(config).unwrap())).unwrap();
        cluster.start_node_by(id, &mut Command::new(old));
    }
    cluster.wait_ready();
    cluster
}

/// Commands of the page that have to succeed, about a node.
fn done(drill: &Drill, kind: &str, node: u64) -> String {
    let commands = Page::read("upgrade").blocks(kind);
    assert!(!commands.is_empty(), "the page has no {kind:?}");
    let mut said = String::new();
    for command in commands {
        let command = command.replace("drain 2", &format!("drain {node}"));
        let ran = drill.run(&command);
        assert_eq!(ran.code, 0, "{command}: {}", ran.stderr);
        said.push_str(&ran.stdout);
    }
    said
}

/// Takes a node out, as the page says, and starts it with another program; while it is off, more is written than the others
/// keep of their logs.
async fn replace(cluster: &mut Cluster, writers: &Writers, id: u64, program: &Path) {
    let drill = Drill::on(cluster).operator();
    done(&drill, "sh @out", id);
    assert_eq!(cluster.terminate(id), Some(0), "node {id} stops in good order");
    let before = writers.count();
    writers.wait_for_more(before + 80).await;
    cluster.start_node_by(id, &mut Command::new(program));
    cluster.wait_ready();
    done(&drill, "sh @machine", id);
    done(&drill, "sh @operator", id);
}

/// What `quorate status` says that the nodes speak, by node.
fn wires(cluster: &Cluster) -> Vec<String> {
    let ran = Drill::on(cluster).run("quorate status -o json");
    let status: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let replicas = status["replicas"].as_array().unwrap();
    assert!(replicas.iter().all(|one| one["version"].is_string()), "{status}");
    replicas.iter().map(|one| one["wire"].as_str().unwrap().to_owned()).collect()
}

async fn receipt(client: &Client, name: &str) -> (String, String) {
    let write = Transaction::new().put(format!("receipt of {name}"), name.to_owned());
    let committed = client.ledger("default").commit(write).await.unwrap();
    (name.to_owned(), committed.receipt().unwrap().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_loses_nothing_and_every_receipt_holds() {
    let ((old, is_older), new) = (previous(), binary());
    match is_older {
        true => println!("from {} to {}", old.display(), new.display()),
        false => println!("QUORATE_PREVIOUS_BIN is not set: the present program stands for both"),
    }
    let mut cluster = cluster_of(&old);
    let client = cluster.client("trust");
    let mut receipts = vec![receipt(&client, "old nodes alone").await];
    let writers = Writers::start(client.clone(), 2);
    writers.wait_for_more(60).await;
    done(&Drill::on(&cluster), "sh @before", 1);
    let leader = cluster.leader(&client).await;
    let order: Vec<u64> = (1..=3).filter(|id| *id != leader).chain([leader]).collect();
    for (step, id) in order.iter().enumerate() {
        replace(&mut cluster, &writers, *id, &new).await;
        receipts.push(receipt(&client, &format!("{} of 3 are new", step + 1)).await);
        assert_eq!(wires(&cluster), ["1", "1", "1"]);
        // Whoever leads may die in the middle of it.
        let leader = cluster.leader(&client).await;
        let program = if order[..=step].contains(&leader) { &new } else { &old };
        cluster.kill(leader);
        let before = writers.count();
        writers.wait_for_more(before + 1).await;
        cluster.start_node_by(leader, &mut Command::new(program));
        cluster.wait_ready();
    }
    // The formats on disk are the same: one goes back, and forward again.
    replace(&mut cluster, &writers, order[0], &old).await;
    receipts.push(receipt(&client, "one went back").await);
    replace(&mut cluster, &writers, order[0], &new).await;
    let acknowledged = writers.stop().await;
    println!("{} acknowledged writes, upgraded in the order {order:?}", acknowledged.len());
    writer::check(&client, &acknowledged).await;
    for ledger in ["default", "_system"] {
        audit::replicas(&cluster, &client, ledger).await;
    }
    verified(&cluster, &receipts, &[&old, &new]);
}

/// The receipts hold, without a network, by both programs.
fn verified(cluster: &Cluster, receipts: &[(String, String)], programs: &[&Path]) {
    for (name, text) in receipts {
        let file = cluster.path().join("receipt.json");
        fs::write(&file, text).unwrap();
        for program in programs {
            let mut verify = Command::new(program);
            verify.args(["verify", "--receipt"]).arg(&file);
            verify.arg("--policy").arg(cluster.path().join("client/default.policy")).env_clear();
            verify.env("HOME", cluster.path());
            let ran = Ran::from(verify.output().unwrap());
            assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_newer_format_is_refused_as_the_page_says_and_nothing_is_changed() {
    let mut cluster = Cluster::start(1);
    cluster.terminate(1);
    let (folder, good) = (cluster.path().join("node-1"), cluster.path().join("good"));
    folder::copy(&folder, &good).unwrap();
    for plant in [newer::state, newer::log] {
        fs::remove_dir_all(&folder).unwrap();
        folder::copy(&good, &folder).unwrap();
        plant(&folder);
        let before = folder::contents(&folder).unwrap();
        let ran = Ran::from(cluster.run_node(1));
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        Page::read("upgrade").shown_in(&ran.stderr);
        assert!(ran.stderr.contains("run the newer version") || ran.stderr.contains("newer version"));
        assert_eq!(folder::contents(&folder).unwrap(), before);
    }
}

/// Nobody, let in everywhere.
struct Open;

impl Gate for Open {
    fn admit(&self, _: NodeId) -> Result<(), TurnedAway> {
        Ok(())
    }
}

impl EnrollHandler for Open {
    async fn enroll(&self, _: NodeId, life: Life) -> Result<Enrolled, String> {
        Ok(Enrolled { life, takes_part: true })
    }
}

/// Node 3 as a release of a later day, with its keys, at its address.
struct Later3 {
    peers: Peers,
    refused: Refused,
    serving: tokio::task::JoinHandle<()>,
}

impl Later3 {
    async fn start(cluster: &Cluster, spoken: Versions) -> Self {
        let config = NodeConfig::load(&cluster.nodes[&3].config).unwrap();
        let file = ClusterFile::load(&config.node.cluster_file).unwrap();
        let files = config.tls.as_ref().unwrap();
        let credentials = Credentials::load(&files.peer_certificate, &files.peer_key).unwrap();
        let own = PeerIdentity { cluster: file.id, node: NodeId::new(3) };
        let now = Micros::new(clock::micros_from_now(Duration::ZERO));
        let roots = Roots::load(&files.authority).unwrap();
        let security = PeerSecurity::Tls(PeerTls::new(own, credentials, roots, now).unwrap());
        let refused = Refused::default();
        let wire = Wire::new(own.node, spoken, refused.clone());
        let peers = Peers::speaking(own, security.clone(), 1 << 20, wire.clone());
        for (id, member) in &file.members {
            peers.learn_address(*id, &member.peer);
        }
        let at = config.listen.peer.to_string();
        let port = tls::listen("peer", &at, security.listening(), Limits::default()).await.unwrap();
        let handlers = Handlers {
            raft: Later::<Consensus>::default(),
            cosign: Later::<Signer>::default(),
            enroll: Open,
            members: Later::<Office>::default(),
            blocks: Arc::new(Later::<Arc<Chain>>::default()),
            gate: Arc::new(Open),
            wire,
        };
        let serving = tokio::spawn(async move {
            peer::serve(port.incoming(), own, handlers, 1 << 20, std::future::pending()).await.unwrap();
        });
        Self { peers, refused, serving }
    }
}

/// Waits until `/readyz` of a node says these words, or does not.
fn wait_ready_says(cluster: &Cluster, id: u64, words: &str, says: bool) -> String {
    let start = clock::now();
    loop {
        let answer = http::get(cluster.nodes[&id].http, "/readyz").unwrap();
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        if body.contains(words) == says {
            assert_eq!(answer.status, 200, "a majority is there: {body}");
            return body;
        }
        assert!(clock::now() - start < Duration::from_secs(30), "node {id} says {body:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_wire_is_refused_in_both_directions_and_seen() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let ledger = client.ledger("default");
    let write = |key: &'static str| ledger.commit(Transaction::new().put(key, "v"));
    write("before").await.unwrap();
    cluster.kill(3);
    let later = Versions { oldest: SPOKEN.newest + 1, newest: SPOKEN.newest + 2 };
    let node = Later3::start(&cluster, later).await;
    let words = Page::read("upgrade").blocks("text @refused").remove(0);
    // It calls the others, and is told; they call it (the leader has to), and find out.
    let life = Life::from_bytes(&[1; 16]).unwrap();
    for id in [1, 2] {
        let told = node.peers.enroll(NodeId::new(id), life).await.unwrap_err().to_string();
        assert!(told.contains(&words) && told.contains("node 3"), "{told}");
        let said = wait_ready_says(&cluster, id, &words, true);
        assert!(said.contains(&format!("speaks version {later} of the wire")), "{said}");
    }
    assert_eq!(node.refused.now().len(), 2);
    write("two go on").await.unwrap();
    let drill = Drill::on(&cluster);
    let (status, doctor) = (drill.run("quorate status").stdout, drill.run("quorate doctor").stdout);
    assert!(status.contains(&words) && status.contains("does not talk to node 3"), "{status}");
    assert!(doctor.contains(&words) && doctor.contains("docs/operations/upgrade.md"), "{doctor}");
    let metrics = http::get(cluster.nodes[&1].http, "/metrics").unwrap();
    assert!(String::from_utf8_lossy(&metrics.body).contains("quorate_peers_refused 1"));
    // The release that the others run is put in its place.
    node.serving.abort();
    drop(node.serving.await);
    drop(node.peers);
    cluster.start_node(3);
    cluster.wait_ready();
    write("three again").await.unwrap();
    for id in [1, 2] {
        wait_ready_says(&cluster, id, &words, false);
    }
    audit::replicas(&cluster, &client, "default").await;
}
