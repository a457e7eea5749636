//! kill -9 at each named step of a change of members, and of `quorate join`: the change goes on with the next leader, or with the same
//! command, and nothing acknowledged is lost.
//!
//! The leader says in its log which step it is about to take. It is stopped at every line that it writes, and killed at the one
//! that a test waits for: the step is announced, and not taken.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use quorate_client::Client;
use quorate_tests::{
    audit, clock,
    cluster::{Cluster, Invited, binary},
    process,
    shell::Shell,
    strace::{self, Stepped},
    writer::{self, Writers},
};

/// How long a step may take to be announced.
const SOON: Duration = Duration::from_secs(30);

/// How long the others are left alone with the command that asked: they have elected a leader by then, if they can.
const ALONE: Duration = Duration::from_secs(3);

/// Runs a command of an operator that has to succeed, whatever became of it before.
#[track_caller]
fn done(cluster: &Cluster, arguments: &[&str]) {
    let ran = Shell::of(cluster).operator().run(arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
}

/// Waits until a node is in this state, and votes or not. Whoever is asked may just have been started, and behind.
#[track_caller]
fn reached(cluster: &Cluster, id: u64, state: &str, votes: bool) {
    let start = clock::now();
    loop {
        let members = cluster.members();
        let one = members["members"].as_array().unwrap().iter().find(|one| one["node"] == *id.to_string());
        if one.is_some_and(|one| one["state"] == state && one["voter"] == votes) {
            return;
        }
        assert!(clock::now() - start < SOON, "node {id} is not {state}: {members}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asks for something, and kills the leader when it announces a step with these words. It is started again when somebody else
/// was elected. Gives the line.
async fn killed_at(
    cluster: &mut Cluster,
    client: &Client,
    words: &str,
    ask: impl FnOnce(&Cluster) -> Option<Vec<String>>,
) -> String {
    let leader = cluster.leader(client).await;
    let mut stepped = Stepped::attach(cluster, leader);
    let asking = ask(cluster).map(|command| {
        let shell = Shell::of(cluster).operator();
        std::thread::spawn(move || shell.run(command))
    });
    let line = stepped.until(SOON, |line| line.contains("members: ") && line.contains(words));
    cluster.kill(leader);
    drop(stepped);
    // The others go on, where they are enough for that.
    let start = clock::now();
    while clock::now() - start < ALONE && asking.as_ref().is_some_and(|asking| !asking.is_finished()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who goes on is not ready before somebody leads; who was removed meanwhile never is again.
    cluster.start_node(leader);
    cluster.leader(client).await;
    // What became of the command that asked does not matter.
    if let Some(asking) = asking {
        asking.join().unwrap();
    }
    line
}

fn command(words: &str) -> Option<Vec<String>> {
    Some(words.split(' ').map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_members_goes_on_from_every_step() {
    if !strace::available("a_change_of_members_goes_on_from_every_step") {
        return;
    }
    let mut cluster = Cluster::start(3);
    let founders = cluster.client("trust");
    let writers = Writers::start(founders.clone(), 1);
    writers.wait_for_more(10).await;
    let mut lines = Vec::new();

    // Adding: registered, and the log is not sent yet.
    let (four, invited) = cluster.invite();
    assert_eq!(four, 4);
    lines.push(joining_killed_at(&mut cluster, &founders, four, &invited).await);
    cluster.start_node(four);
    done(&cluster, &["member", "add", "4", "--wait", "30s"]);
    reached(&cluster, four, "joining", false);

    // Promoting: in the cosigner set, and no voter yet.
    let (words, ask) = ("making the nodes 1, 2, 3, 4 the voters", "member promote 4");
    lines.push(killed_at(&mut cluster, &founders, words, |_| command(ask)).await);
    done(&cluster, &["member", "promote", "4"]);
    reached(&cluster, four, "member", true);
    let client = cluster.client_by(cluster.policy_of_all(2), "trust-of-four");
    writers.switch(client.clone());

    // Removing: still a voter; no voter and still in the set; out of it and still sent the log. Each with a node of its own.
    for (words, new) in [("the voters", 5), ("out of the cosigner set", 6), ("is told that it is removed", 7)]
    {
        assert_eq!(cluster.new_node(), new);
        done(&cluster, &["member", "promote", &new.to_string()]);
        let leader = cluster.leader(&client).await;
        if leader == new {
            done(&cluster, &["member", "transfer", "1"]);
        }
        let ask = format!("member remove {new}");
        lines.push(killed_at(&mut cluster, &client, words, |_| command(&ask)).await);
        done(&cluster, &["member", "remove", &new.to_string()]);
        reached(&cluster, new, "removed", false);
        cluster.forget(new);
    }

    // Removing the leader: leadership is not handed over yet.
    let leader = cluster.leader(&client).await;
    let ask = format!("member remove {leader}");
    lines.push(killed_at(&mut cluster, &client, "handing leadership over to node", |_| command(&ask)).await);
    done(&cluster, &["member", "remove", &leader.to_string()]);
    reached(&cluster, leader, "removed", false);
    cluster.forget(leader);

    // Replacing a dead node: of the three voters one is gone, and the leader dies.
    let new = cluster.new_node();
    let leader = cluster.leader(&client).await;
    let dead = *cluster.nodes.keys().find(|id| **id != leader && **id != new).unwrap();
    cluster.kill(dead);
    let ask = format!("member replace {dead} --by {new}");
    let config = cluster.forget(dead).unwrap();
    lines.push(killed_at(&mut cluster, &client, "the voters", |_| command(&ask)).await);
    done(&cluster, &["member", "replace", &dead.to_string(), "--by", &new.to_string()]);
    reached(&cluster, dead, "removed", false);
    reached(&cluster, new, "member", true);
    drop(config);

    let acknowledged = writers.stop().await;
    println!("{} acknowledged writes; killed at:\n{}", acknowledged.len(), lines.join("\n"));
    let last = cluster.client_by(cluster.policy_of_all(2), "trust-of-the-last");
    writer::check(&last, &acknowledged).await;
    for ledger in ["default", "_system"] {
        audit::replicas(&cluster, &last, ledger).await;
    }
}

/// A node registers, and the leader is killed when it is about to send it the log.
async fn joining_killed_at(cluster: &mut Cluster, client: &Client, id: u64, invited: &Invited) -> String {
    let dir = cluster.path().join(format!("node-{id}"));
    let mut join = Command::new(binary());
    join.args(["join", "--invite"]).arg(&invited.file).arg("--dir").arg(&dir);
    let mut join = join.stdout(Stdio::null()).spawn().unwrap();
    let line = killed_at(cluster, client, &format!("sending the log to node {id}"), |_| None).await;
    // It waits for an answer, or got one.
    assert!(process::wait(&mut join, Duration::from_secs(90)), "it does not end");
    if dir.join("joining").exists() {
        let ran = cluster.join(id, invited);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    } else {
        cluster.joined(id, invited);
    }
    line
}

/// A step of `quorate join`: the first call of this kind about this file (for a rename: the one that has the name now) is never
/// made.
struct Point {
    what: &'static str,
    call: &'static str,
    file: fn(&Path) -> PathBuf,
    /// Whether the folder has its name by then, so that its keys are kept.
    is_named: bool,
}

fn secret_in_writing(dir: &Path) -> PathBuf {
    dir.join("keys/log.joining")
}

const POINTS: [Point; 6] = [
    Point {
        what: "the folder is complete, and has not its name yet",
        call: "rename",
        file: |dir| dir.with_extension("joining"),
        is_named: false,
    },
    Point {
        what: "the folder has its name, and no data directory",
        call: "mkdir",
        file: |dir| dir.join("data"),
        is_named: true,
    },
    Point {
        what: "the node is registered, and has no log secret",
        call: "openat",
        file: secret_in_writing,
        is_named: true,
    },
    Point {
        what: "the log secret is in writing, and empty",
        call: "write",
        file: secret_in_writing,
        is_named: true,
    },
    Point {
        what: "the log secret is written, and has not its name yet",
        call: "rename",
        file: secret_in_writing,
        is_named: true,
    },
    Point {
        what: "everything is there, and the folder is still marked",
        call: "unlink",
        file: |dir| dir.join("joining"),
        is_named: true,
    },
];

#[test]
fn a_join_that_is_killed_at_any_step_goes_on_with_the_same_command() {
    if !strace::available("a_join_that_is_killed_at_any_step_goes_on_with_the_same_command") {
        return;
    }
    let mut cluster = Cluster::start(3);
    for point in POINTS {
        let (id, invited) = cluster.invite();
        let dir = cluster.path().join(format!("node-{id}"));
        let mut join = Command::new("strace");
        join.args(["-f", "-o", "/dev/null", "-P"]).arg((point.file)(&dir));
        join.args(["-e", &format!("trace={}", point.call)]);
        join.args(["-e", &format!("inject={}:signal=KILL:when=1", point.call)]);
        join.arg(binary()).args(["join", "--invite"]).arg(&invited.file).arg("--dir").arg(&dir);
        let ran = process::output(&mut join, Duration::from_secs(60));
        assert!(!ran.status.success(), "{}: it was not killed", point.what);
        assert_eq!(dir.exists(), point.is_named, "{}", point.what);
        let key = || fs::read(dir.join("keys/cosigner.key")).ok();
        let before = key();
        let ran = cluster.join(id, &invited);
        assert_eq!(ran.code, 0, "{}: {}", point.what, ran.stderr);
        assert!(before.is_none() || before == key(), "{}: other keys", point.what);
        let secret = |id: u64| fs::read(cluster.path().join(format!("node-{id}/keys/log.secret"))).unwrap();
        assert_eq!(secret(id), secret(1), "{}", point.what);
        let left = fs::read_dir(dir.join("keys")).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".joining")), "{}", point.what);
        // It is a node: it starts, gets the log, and is ready.
        cluster.start_node(id);
        done(&cluster, &["member", "add", &id.to_string(), "--wait", "30s"]);
        reached(&cluster, id, "joining", false);
        done(&cluster, &["member", "remove", &id.to_string()]);
        cluster.forget(id);
    }
}
