//! Backups of real clusters: full, then incremental under writes; altered, interrupted and misplaced ones are refused;
//! a restored cluster continues the same history, and old receipts are in it.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../../archive/s3/tests/store/mod.rs"]
mod store;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use quorate_client::{Client, Error, Micros, PutOptions, Receipt, Transaction};
use quorate_tests::{
    audit, clock,
    cluster::{Cluster, binary},
    process,
};
use store::{ACCESS_KEY, BUCKET, SECRET_KEY, Store};

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The command line, as a client of a cluster that trusts what `trust` holds.
fn quorate(cluster: &Cluster, trust: &str) -> Command {
    let client = cluster.path().join("client");
    let endpoints: Vec<String> =
        cluster.nodes.values().map(|node| format!("https://{}", node.client)).collect();
    let mut command = Command::new(binary());
    command
        .env("QUORATE_ENDPOINTS", endpoints.join(","))
        .env("QUORATE_POLICY", policies(cluster))
        .env("QUORATE_CACERT", client.join("authority.crt"))
        .env("QUORATE_TRUST_DIR", cluster.path().join(trust))
        .env("XDG_CONFIG_HOME", cluster.path().join("config"))
        .args(["-o", "json"]);
    command
}

fn policies(cluster: &Cluster) -> String {
    let client = cluster.path().join("client");
    format!("{},{}", client.join("default.policy").display(), client.join("_system.policy").display())
}

fn run(command: &mut Command) -> Output {
    process::output(command.stdin(Stdio::null()), LIMIT)
}

fn done(command: &mut Command) -> serde_json::Value {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The error of a command that must fail with this exit code.
fn fails(command: &mut Command, code: i32) -> String {
    let output = run(command);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {error}");
    error
}

fn create(cluster: &Cluster, to: &Path) -> Command {
    let mut command = quorate(cluster, "trust of backups");
    command.args(["backup", "create", "--to"]).arg(to);
    command
}

fn verify(cluster: &Cluster, dir: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(["-o", "json", "backup", "verify", "--policy", &policies(cluster)]).arg(dir);
    command
}

/// A cluster of three that is made of a backup.
fn restore(old: &Cluster, from: &Path) -> Cluster {
    Cluster::made_by(3, |out| {
        let mut command = Command::new(binary());
        command.args(["backup", "restore", "--policy", &policies(old), "--out"]).arg(out).arg(from);
        command
    })
}

fn start(cluster: &mut Cluster) {
    for id in 1..=3 {
        cluster.start_node(id);
    }
    cluster.wait_ready();
}

/// Something of everything: deletes, expiry, several ledgers.
async fn write_some(client: &Client, round: u64) {
    for name in ["default", "builds"] {
        let ledger = client.ledger(name);
        for number in 0..20 {
            let expires = Micros::new(clock::micros_from_now(Duration::from_secs(1)));
            let transaction =
                Transaction::new().put(format!("key/{number}"), format!("value {round}")).put_with(
                    format!("short/{round}/{number}"),
                    "gone soon",
                    PutOptions::new().expires_at(expires),
                );
            ledger.commit(transaction).await.unwrap();
        }
        ledger.commit(Transaction::new().delete("key/0")).await.unwrap();
    }
}

const NAME: &str = "build-4711";

fn request(not_after: Micros) -> Transaction {
    Transaction::new().put("build/4711", "passed").idempotency_key(NAME).not_after(not_after)
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("ledgers/default/00000000000000000000.segment")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_cluster_continues_the_history_of_the_backup() {
    let mut old = Cluster::start(3);
    let client = old.client("trust");
    client.create_ledger("builds").await.unwrap();
    write_some(&client, 1).await;
    let not_after = Micros::new(clock::micros_from_now(Duration::from_secs(600)));
    let first = client.ledger("default").commit(request(not_after)).await.unwrap();
    let receipt = old.path().join("old.tlog-proof");
    fs::write(&receipt, first.receipt().unwrap().to_string()).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup");
    let (full, more) = grow(&old, &client, &backup).await;
    assert!(full > 80 && more > 80, "{full} leaves, then {more}");
    altered_backups_are_refused(&old, &backup);
    let late = client.ledger("default").commit(Transaction::new().put("late", "too late")).await.unwrap();
    let lost = old.path().join("lost.tlog-proof");
    fs::write(&lost, late.receipt().unwrap().to_string()).unwrap();
    let before = audit::replicas(&old, &client, "default").await;
    (1..=3).for_each(|id| old.kill(id));

    let mut new = restore(&old, &backup);
    start(&mut new);
    let client = new.client("trust");
    let again = client.ledger("default").commit(request(not_after)).await.unwrap();
    assert!(again.known && again.index == first.index, "{again:?}");
    write_some(&client, 3).await;
    for ledger in ["_system", "default", "builds"] {
        let after = audit::replicas(&new, &client, ledger).await;
        if ledger == "default" {
            let common = usize::try_from(archived_size(&old, &backup)).unwrap();
            assert_eq!(after.roots[..=common], before.roots[..=common], "one root per common size");
            assert!(after.leaves.len() > common && before.leaves.len() > common);
        }
    }
    old_receipts(&old, &new, &receipt, &lost);
    misplaced(&old, &new, &backup);
    old_clients_say_so(&old, &new).await;
    // A restart changes nothing, and what the first transaction said stays.
    (1..=3).for_each(|id| new.kill(id));
    start(&mut new);
    let lineage = new.client("another trust").lineage().await.unwrap();
    assert_eq!((lineage.len(), lineage[0].kind.as_str(), lineage[0].number), (1, "restored", 1));
    assert_eq!(lineage[0].ledgers.len(), 3);
}

/// A full backup, then an incremental one while somebody writes; how many leaves each had.
async fn grow(old: &Cluster, client: &Client, backup: &Path) -> (u64, u64) {
    let number = |document: &serde_json::Value| document["added"].as_str().unwrap().parse::<u64>().unwrap();
    let full = done(&mut create(old, backup));
    assert_eq!(full["incremental"], false);
    assert_eq!(done(&mut verify(old, backup))["policy"], "given");
    let mut incremental =
        create(old, backup).args(["--replica", "2"]).stdout(Stdio::piped()).spawn().unwrap();
    write_some(client, 2).await;
    assert!(process::wait(&mut incremental, LIMIT));
    assert!(incremental.wait().unwrap().success());
    let last = done(&mut create(old, backup));
    assert_eq!(last["incremental"], true);
    let verified = done(&mut verify(old, backup));
    assert_eq!(verified["ledgers"].as_array().unwrap().len(), 3);
    let leaves: u64 = verified["leaves"].as_str().unwrap().parse().unwrap();
    (number(&full), leaves - number(&full))
}

fn archived_size(old: &Cluster, backup: &Path) -> u64 {
    let verified = done(&mut verify(old, backup));
    let ledgers = verified["ledgers"].as_array().unwrap();
    let default = ledgers.iter().find(|ledger| ledger["ledger"] == "default").unwrap();
    default["size"].as_str().unwrap().parse().unwrap()
}

fn altered_backups_are_refused(old: &Cluster, backup: &Path) {
    let path = segment(backup);
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&path, &bad).unwrap();
    assert!(fails(&mut verify(old, backup), 10).contains("00000000000000000000.segment"));
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("cluster");
    let mut restore = Command::new(binary());
    restore.args(["backup", "restore", "--node", "1=127.0.0.1", "--policy", &policies(old), "--out"]);
    assert!(fails(restore.arg(&out).arg(backup), 10).contains("00000000000000000000.segment"));
    assert!(!out.exists(), "a cluster was made of an altered backup");
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(fails(&mut verify(old, backup), 10).contains("00000000000000000000.segment"));
    fs::write(&path, &good).unwrap();
    done(&mut verify(old, backup));
}

/// An old receipt is in the new history; one of what the backup does not have is not.
fn old_receipts(old: &Cluster, new: &Cluster, receipt: &Path, lost: &Path) {
    let verify = |file: &Path| {
        let mut command = quorate(new, "trust of receipts");
        command.args(["verify", "--old-policy", &policies(old), "--receipt"]).arg(file);
        command
    };
    let verified = done(&mut verify(receipt));
    assert_eq!(verified["continued_by"]["lineage"], "1");
    assert_eq!(verified["continued_by"]["lineage_kind"], "restored");
    assert!(fails(&mut verify(lost), 4).contains("not in its history"));
    // The new policy alone does not believe it, and offline the old one still does.
    let mut by_new = quorate(new, "trust of receipts");
    fails(by_new.args(["verify", "--receipt"]).arg(receipt), 10);
    Receipt::parse(&fs::read_to_string(receipt).unwrap()).unwrap().verify(&old.policy()).unwrap();
}

/// A backup is neither continued by another cluster nor restored over anything.
fn misplaced(old: &Cluster, new: &Cluster, backup: &Path) {
    assert!(fails(&mut create(new, backup), 2).contains("holds a backup of the cluster"));
    let mut over = Command::new(binary());
    over.args(["backup", "restore", "--node", "1=127.0.0.1", "--policy", &policies(old), "--out"]);
    assert!(fails(over.arg(new.path()).arg(backup), 2).contains("not empty"));
    done(&mut verify(old, backup));
}

/// A client of the old cluster that reaches the new one is told what has happened.
async fn old_clients_say_so(old: &Cluster, new: &Cluster) {
    let authority = fs::read(new.path().join("client/authority.crt")).unwrap();
    let confused = Client::builder()
        .endpoints(new.nodes.values().map(|node| format!("https://{}", node.client)))
        .policy(old.policy())
        .ca_pem(authority)
        .build()
        .unwrap();
    let error = confused.ledger("default").get("key/1", Default::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Untrusted { .. }), "{error}");
    assert!(error.to_string().contains("restored or recovered"), "{error}");
}

/// `backup create` is killed again and again at any moment: what was there before stays, and the next run finishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_backup_changes_nothing_and_is_finished_by_the_next() {
    let cluster = Cluster::start(1);
    let client = cluster.client("trust");
    let ledger = client.ledger("default");
    for round in 0..40 {
        let put = |number: i32| {
            ledger.commit(Transaction::new().put(format!("{round}/{number}"), vec![b'v'; 4_096]))
        };
        for written in futures::future::join_all((0..50).map(put)).await {
            written.unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut interrupted = 0;
    for milliseconds in [0, 1, 2, 4, 8, 16, 32, 64] {
        let backup = dir.path().join(format!("killed-after-{milliseconds}"));
        let mark = backup.join("UNFINISHED");
        let mut child =
            create(&cluster, &backup).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !mark.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        // It has begun; how far it gets from here is chance.
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        interrupted += i32::from(mark.exists());
        if backup.join("manifest.json").exists() {
            done(&mut verify(&cluster, &backup));
        }
        done(&mut create(&cluster, &backup));
        let verified = done(&mut verify(&cluster, &backup));
        assert_eq!(verified["unfinished"], false);
        assert!(verified["leaves"].as_str().unwrap().parse::<u64>().unwrap() > 2_000);
    }
    assert!(interrupted > 2, "only {interrupted} were interrupted");
}

/// A node whose data is not the history that its cluster file names does not take part, and says so.
fn another_history_is_refused(cluster: &mut Cluster) {
    cluster.kill(1);
    let path = cluster.path().join("node-1/cluster.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, root) = text.split_once("root = \"").unwrap();
    fs::write(&path, format!("{before}root = \"{}{}", "00".repeat(32), &root[64..])).unwrap();
    cluster.start_node(1);
    let said = cluster.wait_unready(1, "the history of ledger _system that this cluster continues");
    assert!(said.contains("as in the cluster file"), "{said}");
}

/// A node of a restored cluster that has nothing gets the history as a snapshot, never a replay on an empty state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_history_gets_it_as_a_snapshot() {
    let mut old = Cluster::start(1);
    let client = old.client("trust");
    for number in 0..5 {
        client.ledger("default").commit(Transaction::new().put("k", format!("{number}"))).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    done(&mut create(&old, dir.path()));
    old.kill(1);
    let mut new = restore(&old, dir.path());
    fs::remove_dir_all(new.path().join("node-3/data")).unwrap();
    start(&mut new);
    let client = new.client("trust");
    client.ledger("default").commit(Transaction::new().put("k", "new")).await.unwrap();
    let log = audit::replicas(&new, &client, "default").await;
    assert!(log.leaves.len() > 10);
    another_history_is_refused(&mut new);
}

/// The same commands with a place in an object store: full, incremental, altered, restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_in_an_object_store_is_made_verified_refused_and_restored() {
    let store = Store::start();
    let in_store = |command: &mut Command| {
        command
            .env("AWS_ENDPOINT_URL", &store.endpoint)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_DEFAULT_REGION", "us-east-1");
    };
    let place = PathBuf::from(format!("s3://{BUCKET}/prod"));
    let old = Cluster::start(3);
    let client = old.client("trust");
    client.create_ledger("builds").await.unwrap();
    for round in 0..2 {
        write_some(&client, round).await;
        let mut command = create(&old, &place);
        in_store(&mut command);
        let made = done(&mut command);
        assert_eq!(made["incremental"], round == 1, "{made}");
        assert_eq!(made["directory"], place.to_str().unwrap());
    }
    let verify_there = || {
        let mut command = verify(&old, &place);
        in_store(&mut command);
        command
    };
    done(&mut verify_there());

    let segment = store.file("prod/ledgers/default/00000000000000000000.segment");
    let good = fs::read(&segment).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&segment, bad).unwrap();
    let error = fails(&mut verify_there(), 10);
    assert!(error.contains("s3://backups/prod/ledgers/default/00000000000000000000.segment"), "{error}");
    fs::write(&segment, good).unwrap();

    let mut new = Cluster::made_by(3, |out| {
        let mut command = Command::new(binary());
        command.args(["backup", "restore", "--policy", &policies(&old), "--out"]).arg(out).arg(&place);
        in_store(&mut command);
        command
    });
    start(&mut new);
    let mut command = create(&new, &place);
    in_store(&mut command);
    let error = fails(&mut command, 2);
    assert!(error.contains("s3://backups/prod holds a backup of the cluster"), "{error}");
}
