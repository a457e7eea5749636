//! Outside witnesses and a cluster of real processes: what they cosign is in what nodes serve, clients whose policy takes one
//! get their answers through, whatever a witness says wrong is named, and the cluster goes on without.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quorate_client::{CertifiedCheckpoint, CheckpointOptions, Client, Query, ReadOptions, Transaction};
use quorate_core::note::SignedNote;
use quorate_core::policy::Policy;
use quorate_tests::clock::now;
use quorate_tests::cluster::{Cluster, binary, free_ports};
use quorate_tests::shell::Shell;
use quorate_tests::witness::{Mood, NaiveWitness};
use quorate_tests::{http, process};

const LIMIT: Duration = Duration::from_secs(40);

/// The cluster's policy with another rule, in which the key `vkey` is called `outside`.
fn policy(cluster: &Cluster, vkey: &str, rule: &str) -> Policy {
    let lines: String = cluster
        .policy()
        .to_string()
        .lines()
        .filter(|line| line.starts_with("log") || line.starts_with("witness"))
        .map(|line| format!("{line}\n"))
        .collect();
    Policy::parse(format!("{lines}witness outside {vkey}\n{rule}")).unwrap()
}

/// A majority of the replicas, and the witness.
fn and_witness(cluster: &Cluster, vkey: &str) -> Policy {
    let rule = "group replicas 2 node-1 node-2 node-3\ngroup all 2 replicas outside\nquorum all\n";
    policy(cluster, vkey, rule)
}

/// Three of the four, whichever they are.
fn three_of_four(cluster: &Cluster, vkey: &str) -> Policy {
    policy(cluster, vkey, "group four 3 node-1 node-2 node-3 outside\nquorum four\n")
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = now();
    while !holds() {
        assert!(now() - begin < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

async fn put(client: &Client, key: &str, value: &str) -> Result<(), quorate_client::Error> {
    let transaction =
        Transaction::new().put(key.to_owned(), value.to_owned()).timeout(Duration::from_secs(20));
    client.ledger("default").commit(transaction).await.map(drop)
}

/// What a client that waits for three seconds is told.
async fn refusal(client: &Client, key: &str) -> String {
    let transaction = Transaction::new().put(key.to_owned(), "x").timeout(Duration::from_secs(3));
    let error = client.ledger("default").commit(transaction).await.map(drop).unwrap_err();
    error.to_string()
}

/// Every verified call, under checkpoints that the witness signed too.
async fn everything_is_proven(client: &Client, vkey: &str) {
    let ledger = client.ledger("default");
    let signed =
        |certified: &CertifiedCheckpoint| certified.cosigners().any(|(key, _)| key.to_string() == vkey);
    for number in 0..10 {
        let key = format!("k/{}", number % 5);
        let transaction = Transaction::new().put(key, format!("value {number}"));
        let committed = ledger.commit(transaction).await.unwrap();
        assert!(signed(committed.checkpoint.as_ref().unwrap()), "a write");
    }
    let read = ledger.get("k/3", ReadOptions::new()).await.unwrap();
    assert_eq!(read.value.unwrap().value.as_ref(), b"value 8");
    assert!(signed(read.checkpoint.as_ref().unwrap()), "a read");
    let absent = ledger.get("nothing", ReadOptions::new()).await.unwrap();
    assert!(absent.value.is_none() && signed(absent.checkpoint.as_ref().unwrap()), "an absence");
    let page =
        ledger.scan(Query::Prefix("k/".into()), ReadOptions::new()).next_page().await.unwrap().unwrap();
    assert!(page.entries.len() == 5 && signed(page.checkpoint.as_ref().unwrap()), "a scan");
    let page = ledger.history("k/3").next_page().await.unwrap().unwrap();
    assert!(page.entries.len() >= 2 && signed(&page.checkpoint), "a history");
    let latest = ledger.checkpoint(CheckpointOptions::latest()).await.unwrap();
    assert!(signed(&latest), "a checkpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_witness_answers_the_cluster_goes_on_and_says_what_is_wrong() {
    let naive = NaiveWitness::start("witness.example/naive");
    let cluster = Cluster::start_with(3, |config| config + &naive.settings());
    let (plain, strict) =
        (cluster.client("plain"), cluster.client_by(and_witness(&cluster, &naive.vkey), "strict"));
    everything_is_proven(&strict, &naive.vkey).await;
    // The leader's witness signatures go to the others: the notes for tools have them on every node.
    for node in cluster.nodes.values() {
        until("the cosignature is in the note of every node", || {
            let answer = http::get(node.http, "/default/checkpoint").unwrap();
            let note = String::from_utf8(answer.body).unwrap();
            SignedNote::parse(&note).is_ok() && note.contains("witness.example/naive")
        });
    }
    // It was asked from size 0 on by every node that asked, and said what it has.
    assert!(naive.answered().0 > 0);
    let accepted = |cluster: &Cluster| {
        cluster
            .nodes
            .values()
            .filter_map(|node| http::metrics(node.http, &["submissions_total", "\"accepted\""]))
            .sum::<u64>()
    };
    for (mood, result) in [
        (Mood::Refuses(404, "no such log"), "unknown_log"),
        (Mood::Refuses(403, "who is that"), "not_signed"),
        (Mood::Refuses(409, "another root"), "other_root"),
        (Mood::Refuses(422, "no"), "not_consistent"),
        (Mood::Refuses(500, "tired"), "status"),
        (Mood::WrongKey, "bad_answer"),
        (Mood::OtherSize, "bad_answer"),
        (Mood::Garbage, "bad_answer"),
        (Mood::Endless, "bad_answer"),
        (Mood::Ahead, "ahead"),
        (Mood::Silent, "timeout"),
    ] {
        naive.becomes(mood);
        let labels = ["submissions_total", &format!("result=\"{result}\"")];
        let named =
            || cluster.nodes.values().filter_map(|node| http::metrics(node.http, &labels)).sum::<u64>();
        let before = named();
        put(&plain, "other", "for those who ask no witness").await.unwrap();
        until(&format!("{mood:?} is counted as {result}"), || named() > before);
        naive.becomes(Mood::Honest);
        let before = accepted(&cluster);
        until(&format!("it cosigns again after {mood:?}"), || accepted(&cluster) > before);
    }
    naive.becomes(Mood::Refuses(404, "no such log"));
    let told = refusal(&strict, "k/1").await;
    assert!(told.contains("witness.example/naive"), "{told}");
    put(&plain, "k/1", "y").await.unwrap();
    let shown = Shell::of(&cluster).run(["status"]);
    assert!(
        shown.code == 0 && shown.stdout.contains("it does not witness this log (404): no such log"),
        "{shown:?}"
    );
    naive.becomes(Mood::Honest);
    everything_is_proven(&strict, &naive.vkey).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_takes_a_witness_nobody_asks_is_refused_with_advice() {
    let naive = NaiveWitness::start("witness.example/naive");
    let cluster = Cluster::start(3);
    let strict = cluster.client_by(and_witness(&cluster, &naive.vkey), "strict");
    let told = refusal(&strict, "k/1").await;
    assert!(told.contains("[[witness]]") && told.contains("it asks: none"), "{told}");
    // Three of four are there without it.
    put(&cluster.client_by(three_of_four(&cluster, &naive.vkey), "four"), "k/1", "x").await.unwrap();
}

/// The auditor with a key: recomputes both ledgers of the cluster, and answers what is submitted of them.
struct Auditor {
    directory: std::path::PathBuf,
    listen: SocketAddr,
    vkey: String,
}

impl Auditor {
    fn new(directory: &Path) -> Self {
        let mut key = Command::new(binary());
        key.args(["audit", "key", "--name", "auditor.example/one", "-o", "json", "--dir"]).arg(directory);
        let made = process::output(&mut key, LIMIT);
        let document: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        let [port, ..] = free_ports::<1>();
        let listen = SocketAddr::from(([127, 0, 0, 1], port));
        Self { directory: directory.to_owned(), listen, vkey: document["vkey"].as_str().unwrap().to_owned() }
    }

    fn settings(&self) -> String {
        let Self { listen, vkey, .. } = self;
        format!("\n[[witness]]\nname = \"auditor\"\nurl = \"http://{listen}\"\nvkey = \"{vkey}\"\n")
    }

    fn start(&self, cluster: &Cluster) -> Child {
        let mut command = cluster.command("auditor", &["audit", "--all-ledgers"]);
        for policy in ["default.policy", "_system.policy"] {
            command.arg("--witness-logs").arg(cluster.path().join("client").join(policy));
        }
        command.arg("--witness-listen").arg(self.listen.to_string()).arg("--dir").arg(&self.directory);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_and_an_auditor_as_the_fourth() {
    let home = tempfile::tempdir().unwrap();
    let auditor = Auditor::new(home.path());
    let mut cluster = Cluster::start_with(3, |config| config + &auditor.settings());
    let mut process = auditor.start(&cluster);
    let four = cluster.client_by(three_of_four(&cluster, &auditor.vkey), "four");
    everything_is_proven(&cluster.client_by(and_witness(&cluster, &auditor.vkey), "and"), &auditor.vkey)
        .await;
    put(&four, "k/0", "with everybody").await.unwrap();
    // One replica is gone: from now on it takes the witness. Reads are asked of both that are left, while writes go on.
    let leader = cluster.leader(&four).await;
    cluster.kill(if leader == 3 { 2 } else { 3 });
    everything_is_proven(&four, &auditor.vkey).await;
    let writing = {
        let writer = cluster.client_by(three_of_four(&cluster, &auditor.vkey), "writer");
        tokio::spawn(async move {
            for number in 0..20 {
                put(&writer, "busy", &number.to_string()).await.unwrap();
            }
        })
    };
    let follower = (1..=2).find(|id| *id != leader).unwrap_or(3);
    for id in [leader, follower] {
        let endpoint = format!("https://{}", cluster.nodes[&id].client);
        let shell = Shell::of(&cluster).with("QUORATE_ENDPOINTS", endpoint);
        let file = home.path().join("four.policy");
        std::fs::write(&file, three_of_four(&cluster, &auditor.vkey).to_string()).unwrap();
        for _ in 0..5 {
            let read = shell.clone().with("QUORATE_POLICY", file.clone()).run(["get", "k/3"]);
            assert_eq!((read.code, read.stdout.trim()), (0, "value 8"), "node {id}: {read:?}");
        }
    }
    writing.await.unwrap();
    // Without it nothing of that policy is certified, and the answer says whose signatures are missing.
    assert_eq!(process::signal(&mut process, "TERM", LIMIT).code(), Some(0), "it found something");
    let told = refusal(&four, "k/4").await;
    assert!(told.contains("auditor.example/one") && told.contains("/node/"), "{told}");
    assert!(told.contains("2 of 3"), "{told}");
    put(&cluster.client("plain"), "k/4", "a majority of the replicas").await.unwrap();
    let mut process = auditor.start(&cluster);
    everything_is_proven(&four, &auditor.vkey).await;
    assert_eq!(process::signal(&mut process, "TERM", LIMIT).code(), Some(0), "it found something");
}
