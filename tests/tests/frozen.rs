//! Frozen ledgers in clusters of real processes: frozen under writes while the leader is killed, on every node, after restarts, in
//! a snapshot, in a restored cluster; archived and verified offline; thawed.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../../core/examples/verify_export.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod verify_export;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use quorate_client::{Client, Error, Micros, ReadOptions, Transaction};
use quorate_tests::{
    audit, clock,
    cluster::{Cluster, binary, small_logs},
    process,
    shell::{Ran, Shell},
};

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(40);

fn operator(cluster: &Cluster, arguments: &[&str]) -> Ran {
    Shell::of(cluster).operator().run(arguments)
}

/// Runs a command of an operator that has to succeed, and gives its document.
#[track_caller]
fn done(cluster: &Cluster, arguments: &[&str]) -> serde_json::Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
    let ran = operator(cluster, &arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// A command ends with this code and these words.
#[track_caller]
fn ends(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, code, "{} {}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(words), "{words:?} is not in: {}", ran.stderr);
}

/// A write whose answer can be had again for ten minutes.
fn write(key: &str) -> Transaction {
    let not_after = Micros::new(clock::micros_from_now(Duration::from_secs(600)));
    Transaction::new().put(key.to_owned(), "value").idempotency_key(key).not_after(not_after)
}

/// What one writer saw until its ledger was frozen.
#[derive(Default)]
struct Seen {
    /// Key → index.
    acknowledged: BTreeMap<String, u64>,
    rejected: Vec<String>,
}

/// Writes one key after the other until one is rejected because the ledger is frozen.
async fn until_frozen(client: Client, writer: u64) -> Seen {
    let mut seen = Seen::default();
    let start = clock::now();
    for number in 0.. {
        let key = format!("writer {writer} number {number}");
        loop {
            match client.ledger("default").commit(write(&key)).await {
                Ok(committed) => {
                    seen.acknowledged.insert(key, committed.index.get());
                    break;
                }
                Err(Error::Frozen { message }) => {
                    assert!(message.contains("the disk is full"), "{message}");
                    seen.rejected.push(key);
                    return seen;
                }
                Err(Error::Unavailable { .. }) if clock::now() - start < Duration::from_secs(90) => {}
                Err(error) => panic!("{key}: {error}"),
            }
        }
    }
    seen
}

async fn rejected(client: &Client, key: &str) {
    let outcome = client.ledger("default").commit(write(key)).await;
    assert!(matches!(outcome, Err(Error::Frozen { .. })), "{key}: {outcome:?}");
}

/// What was acknowledged is there, and what was rejected is not.
async fn check(client: &Client, seen: &[Seen]) {
    for one in seen {
        for (key, index) in &one.acknowledged {
            let read = client.ledger("default").get(key, ReadOptions::new()).await.unwrap().value.unwrap();
            assert_eq!((read.index.get(), read.revision.get()), (*index, 1), "{key}");
        }
        for key in &one.rejected {
            let read = client.ledger("default").get(key, ReadOptions::new()).await.unwrap();
            assert!(read.value.is_none(), "{key} was rejected and is there");
        }
    }
}

/// Whether every node that answers says that the ledger is frozen, and how many answer.
async fn frozen_on(client: &Client) -> usize {
    let answers = client.status().await.into_iter().filter_map(|(_, status)| status.ok());
    let on = |status: &quorate_client::Status| {
        status.ledgers.iter().any(|ledger| ledger.name == "default" && ledger.frozen)
    };
    answers.map(|status| assert!(on(&status), "node {} takes writes", status.node_id)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_is_frozen_under_writes_while_the_leader_is_killed() {
    let mut cluster = Cluster::start_with(3, small_logs);
    let client = cluster.client("trust");
    let writers: Vec<_> =
        (0..3).map(|writer| tokio::spawn(until_frozen(cluster.client("trust of writers"), writer))).collect();
    while cluster.size("default") < 60 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Not by whoever reaches the port.
    let freeze = ["ledger", "freeze", "default", "--reason", "the disk is full"];
    ends(&Shell::of(&cluster).run(freeze), 1, "Freeze is for operators");
    // The leader is killed while it is asked; asked again, it is frozen once.
    let shell = Shell::of(&cluster).operator();
    let mut asking = Command::new(binary());
    asking.args(freeze).envs(shell.variables()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut asking = asking.spawn().unwrap();
    let leader = cluster.leader(&client).await;
    cluster.kill(leader);
    assert!(process::wait(&mut asking, LIMIT));
    let mut tries = 0;
    while operator(&cluster, &freeze).code != 0 {
        tries += 1;
        assert!(tries < 10, "it is never frozen");
    }
    let mut seen = Vec::new();
    for writer in writers {
        seen.push(writer.await.unwrap());
    }
    let size = cluster_size(&client).await;
    cluster.start_node(leader);
    cluster.wait_ready();
    assert_eq!(
        done(&cluster, &freeze)["ledgers"][0]["freeze"]["revision"],
        "1",
        "asked again, nothing is written"
    );

    check(&client, &seen).await;
    let acknowledged: usize = seen.iter().map(|one| one.acknowledged.len()).sum();
    assert!(acknowledged > 20 && seen.iter().all(|one| one.rejected.len() == 1), "{acknowledged}");
    // A retry of what was acknowledged gets the first answer, with its receipt.
    let (key, index) = seen[0].acknowledged.first_key_value().unwrap();
    let again = client.ledger("default").commit(write(key)).await.unwrap();
    assert!(again.known && again.index.get() == *index);
    again.receipt().unwrap().verify(&cluster.policy()).unwrap();
    let put = Shell::of(&cluster).run(["put", "a", "b", "-o", "json"]);
    ends(&put, 5, "the disk is full");
    let error: serde_json::Value = serde_json::from_str(put.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((&error["kind"], &error["exit"]), (&"error".into(), &5.into()));

    // After a restart of all of them, and on a node that got the state as a snapshot and leads.
    (1..=3).for_each(|id| cluster.kill(id));
    (1..=3).for_each(|id| cluster.start_node(id));
    cluster.wait_ready();
    for number in 0..120 {
        rejected(&client, &format!("after the freeze {number}")).await;
    }
    let new = cluster.new_node_with(small_logs).to_string();
    let client = cluster.client_by(cluster.policy_of_all(2), "trust of four");
    done(&cluster, &["member", "promote", &new]);
    done(&cluster, &["member", "transfer", &new]);
    rejected(&client, "led by the new node").await;
    assert_eq!(frozen_on(&cluster.client("trust of all")).await, cluster.nodes.len());
    assert_eq!(cluster_size(&client).await, size, "a frozen ledger does not grow");
    // Others are not touched, and the cluster's own cannot be frozen.
    client.create_ledger("other").await.unwrap();
    client.ledger("other").commit(write("k")).await.unwrap();
    ends(&operator(&cluster, &["ledger", "freeze", "_system"]), 2, "cannot be frozen");
    ends(&operator(&cluster, &["ledger", "freeze", "missing"]), 4, "does not exist");
    two_at_once(&cluster, &client).await;
    audit::replicas(&cluster, &client, "default").await;
    audit::replicas(&cluster, &client, "_system").await;
}

async fn cluster_size(client: &Client) -> u64 {
    let ledgers = client.list_ledgers().await.unwrap();
    ledgers.iter().find(|ledger| ledger.name == "default").unwrap().size.unwrap().get()
}

/// Of operators who decide on the same picture, one is refused.
async fn two_at_once(cluster: &Cluster, client: &Client) {
    done(cluster, &["ledger", "thaw", "default", "--expect-revision", "1"]);
    ends(&operator(cluster, &["ledger", "thaw", "default", "--expect-revision", "1"]), 1, "somebody else");
    client.ledger("default").commit(write("after the thaw")).await.unwrap();
    let shell = Shell::of(cluster).operator();
    let both = ["one", "other"].map(|reason| {
        let mut command = Command::new(binary());
        command.args(["ledger", "freeze", "default", "--expect-revision", "2", "--reason", reason]);
        command.envs(shell.variables()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    });
    let codes = both.map(|mut command| {
        assert!(process::wait(&mut command, LIMIT));
        command.wait().unwrap().code().unwrap()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    rejected(client, "frozen again").await;
    let shown = done(cluster, &["ledger", "show", "default"]);
    assert_eq!((&shown["verified"], &shown["ledgers"][0]["freeze"]["revision"]), (&true.into(), &"3".into()));
    done(cluster, &["ledger", "thaw", "default"]);
    client.ledger("default").commit(write("in the end")).await.unwrap();
}

/// The policies of a cluster, as the command line takes them.
fn policies(cluster: &Cluster) -> String {
    let client = cluster.path().join("client");
    format!("{},{}", client.join("default.policy").display(), client.join("_system.policy").display())
}

/// A command that needs no cluster.
fn offline(cluster: &Cluster, arguments: &[&str]) -> Ran {
    let mut command = Command::new(binary());
    command.env_clear().env("HOME", cluster.path()).current_dir(cluster.path()).args(arguments);
    process::output(command.args(["--policy", &policies(cluster), "-o", "json"]), LIMIT).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_ledger_is_archived_and_stays_frozen_in_a_restored_cluster() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    client.create_ledger("kept").await.unwrap();
    let mut last = None;
    for number in 0..300 {
        let write = write(&format!("key {}", number % 120)).idempotency_key(format!("{number}"));
        last = Some(client.ledger("kept").commit(write).await.unwrap());
    }
    client.ledger("kept").commit(Transaction::new().delete("key 7")).await.unwrap();
    client.ledger("default").commit(write("another ledger")).await.unwrap();
    let receipt = cluster.path().join("old.tlog-proof");
    fs::write(&receipt, last.unwrap().receipt().unwrap().to_string()).unwrap();
    let other = client.ledger("default").commit(write("of another ledger")).await.unwrap();
    fs::write(cluster.path().join("other.tlog-proof"), other.receipt().unwrap().to_string()).unwrap();

    let archive = ["ledger", "archive", "kept", "--to", "archive"];
    ends(&operator(&cluster, &archive), 2, "it still grows");
    done(&cluster, &["ledger", "freeze", "kept", "--reason", "the year is over"]);
    let made = done(&cluster, &archive);
    ends(&operator(&cluster, &archive), 2, "not empty");
    fs::create_dir(cluster.path().join("occupied")).unwrap();
    fs::write(cluster.path().join("occupied/mine"), "").unwrap();
    ends(&operator(&cluster, &["ledger", "archive", "kept", "--to", "occupied"]), 2, "mine is in it");
    assert!(!cluster.path().join("archive.unfinished").exists());
    check_archive(&cluster, &made);

    // What a killed run left is gone on with.
    let left = cluster.path().join("again.unfinished");
    fs::create_dir_all(left.join("export/kept")).unwrap();
    fs::write(left.join("export/kept/checkpoint"), "half of it").unwrap();
    done(&cluster, &["ledger", "archive", "kept", "--to", "again"]);
    let same = |file: &str| {
        let read = |dir: &str| fs::read(cluster.path().join(dir).join(file)).unwrap();
        assert_eq!(read("again"), read("archive"), "{file}");
    };
    same("kept/leaves.jsonl");

    // The auditor recomputes a cluster with a frozen ledger like any other.
    let mut auditing = cluster.command("auditor", &["audit", "--once"]);
    let audited = process::output(auditing.arg("--dir").arg(cluster.path().join("audit")), LIMIT);
    assert!(audited.status.success(), "{}", String::from_utf8_lossy(&audited.stderr));

    done(&cluster, &["backup", "create", "--to", "backup"]);
    ends(&offline(&cluster, &["backup", "verify", "backup"]), 0, "");
    let new = restored(&mut cluster);
    let client = new.client("trust");
    let outcome = client.ledger("kept").commit(write("in the new cluster")).await;
    assert!(matches!(outcome, Err(Error::Frozen { .. })), "{outcome:?}");
    client.ledger("default").commit(write("in the new cluster")).await.unwrap();
    let shown = done(&new, &["ledger", "show", "kept"]);
    assert_eq!(shown["ledgers"][0]["freeze"]["reason"], "the year is over");
    done(&new, &["ledger", "thaw", "kept"]);
    client.ledger("kept").commit(write("in the new cluster")).await.unwrap();
    audit::replicas(&new, &client, "kept").await;
}

/// The cluster that is made of the backup; the old one ends.
fn restored(old: &mut Cluster) -> Cluster {
    (1..=3).for_each(|id| old.kill(id));
    let mut new = Cluster::made_by(3, |out| {
        let mut command = Command::new(binary());
        command.args(["backup", "restore", "--policy", &policies(old), "--out"]).arg(out);
        command.arg(old.path().join("backup"));
        command
    });
    (1..=3).for_each(|id| new.start_node(id));
    new.wait_ready();
    new
}

/// The archive is what the ledger was, is read offline, and is refused with a byte altered anywhere.
fn check_archive(cluster: &Cluster, made: &serde_json::Value) {
    let verify = |more: &[&str]| {
        let arguments: Vec<&str> = ["ledger", "verify", "archive"].iter().chain(more).copied().collect();
        offline(cluster, &arguments)
    };
    let document = |ran: &Ran| serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap();
    let verified = document(&verify(&[]));
    assert_eq!((&verified["policy"], &verified["reason"]), (&"given".into(), &"the year is over".into()));
    for field in ["size", "log_root", "state_root", "transactions"] {
        let of = |document: &serde_json::Value| {
            let at = |value: &serde_json::Value| value.get(field).cloned();
            at(document).or_else(|| at(&document["checkpoint"]))
        };
        assert_eq!(of(&verified), of(made), "{field}");
    }
    let found = verify(&["--key", "key 3", "--receipt", "old.tlog-proof"]);
    assert_eq!(document(&found)["value"]["value"]["utf8"], "value", "{}", found.stderr);
    assert_eq!(document(&found)["value"]["revision"], "3");
    assert_eq!(document(&verify(&["--key", "key 7"]))["value"]["state"], "deleted");
    assert_eq!(verify(&["--key", "key 7"]).code, 4);
    assert_eq!(verify(&["--key", "never"]).code, 4);
    ends(&verify(&["--receipt", "other.tlog-proof"]), 10, "not of the history");
    // By the independent verifier too.
    let dir = cluster.path().join("archive");
    verify_export::export(&dir, &cluster.path().join("client/default.policy")).unwrap();
    for file in [
        "statement.json",
        "kept/checkpoint",
        "kept/leaves.jsonl",
        "kept/tile/0/000",
        "kept/tile/entries/001",
        "_system/leaves.jsonl",
    ] {
        flipped(&dir.join(file), || {
            let refused = verify(&[]);
            assert_eq!(refused.code, 10, "{file}: {} {}", refused.stdout, refused.stderr);
        });
    }
    ends(&verify(&[]), 0, "");
}

/// Flips a bit in the middle of a file while `check` looks.
fn flipped(path: &Path, check: impl FnOnce()) {
    let good = fs::read(path).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(path, &bad).unwrap();
    check();
    fs::write(path, &good).unwrap();
}
