//! The nodes of a cluster change while it runs and is written to: nothing acknowledged is lost, and no wrong answer given.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, time::Duration};

use quorate_client::{Client, Transaction};
use quorate_tests::{
    audit, clock,
    cluster::{Cluster, small_logs},
    shell::{Ran, Shell},
    writer::{self, Writers},
};

fn operator(cluster: &Cluster, arguments: &[&str]) -> Ran {
    Shell::of(cluster).operator().run(arguments)
}

/// Runs a command of an operator that has to succeed.
#[track_caller]
fn done(cluster: &Cluster, arguments: &[&str]) {
    let ran = operator(cluster, arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
}

/// A command is refused for a reason with these words.
#[track_caller]
fn refused(ran: &Ran, words: &str) {
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    assert!(ran.stderr.contains(words), "{words:?} is not in: {}", ran.stderr);
}

/// State and vote of a node, as an operator sees them.
fn state(cluster: &Cluster, id: u64) -> (String, bool) {
    let members = cluster.members();
    let id = id.to_string();
    let member =
        members["members"].as_array().unwrap().iter().find(|one| one["node"] == *id).unwrap().clone();
    (member["state"].as_str().unwrap().to_owned(), member["voter"].as_bool().unwrap())
}

fn epoch(cluster: &Cluster) -> u64 {
    cluster.members()["epoch"].as_str().unwrap().parse().unwrap()
}

async fn write(client: &Client, key: &str) {
    client.ledger("default").commit(Transaction::new().put(key.to_owned(), "value")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_become_five_and_three_again_while_clients_write() {
    // Small logs: the new nodes get the state as a snapshot.
    let mut cluster = Cluster::start_with(3, small_logs);
    let writers = Writers::start(cluster.client("trust"), 2);
    writers.wait_for_more(60).await;
    let new = [cluster.new_node_with(small_logs), cluster.new_node_with(small_logs)];
    assert_eq!(new, [4, 5]);
    assert_eq!(state(&cluster, 4), ("joining".to_owned(), false));
    // The clients are told of the new keys before these count.
    let client = cluster.client_by(cluster.policy_of_all(2), "trust-of-five");
    writers.switch(client.clone());
    for node in ["4", "5"] {
        done(&cluster, &["member", "promote", node]);
    }
    assert_eq!((state(&cluster, 5), epoch(&cluster)), (("member".to_owned(), true), 3));
    let before = writers.count();
    // Leadership goes to a new node; then the old ones go, two of them, and whoever leads hands over.
    done(&cluster, &["member", "transfer", "4"]);
    for node in ["1", "2"] {
        done(&cluster, &["member", "remove", node]);
    }
    writers.wait_for_more(before + 20).await;
    assert_eq!((state(&cluster, 1).0.as_str(), epoch(&cluster)), ("removed", 5));
    cluster.wait_unready(1, "this node was removed from the cluster in epoch 4");
    // Starting a removed node again does not bring it back.
    assert_eq!(cluster.terminate(1), Some(0));
    cluster.start_node(1);
    cluster.wait_unready(1, "this node was removed from the cluster in epoch 4");
    cluster.forget(1);
    cluster.forget(2);
    // Three are left, and one of them may fail.
    cluster.kill(3);
    let before = writers.count();
    writers.wait_for_more(before + 5).await;
    cluster.start_node(3);
    cluster.wait_ready();
    let acknowledged = writers.stop().await;
    println!("{} acknowledged writes", acknowledged.len());
    writer::check(&client, &acknowledged).await;
    audit::replicas(&cluster, &client, "default").await;
    audit::replicas(&cluster, &client, "_system").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_replaced_and_never_comes_back() {
    let mut cluster = Cluster::start(3);
    write(&cluster.client("trust"), "before").await;
    cluster.kill(3);
    let new = cluster.new_node();
    let client = cluster.client_by(cluster.policy_of_all(2), "trust-of-four");
    done(&cluster, &["member", "replace", "3", "--by", &new.to_string()]);
    assert_eq!((state(&cluster, new).1, state(&cluster, 3).0.as_str()), (true, "removed"));
    // The same command again finds that it is done.
    done(&cluster, &["member", "replace", "3", "--by", &new.to_string()]);

    // The dead one was away when it was removed: the others tell it.
    cluster.start_node(3);
    let said = cluster.wait_unready(3, "was removed from the cluster in epoch 3");
    assert!(said.contains("destroy its keys"), "{said}");
    let status = Shell::of(&cluster).run(["status"]);
    assert!(status.stdout.contains("stopped"), "{}", status.stdout);
    // It is no voter: with one of the three gone and the removed one up, two write; with two gone, nobody does.
    cluster.kill(1);
    write(&client, "two of three").await;
    cluster.kill(2);
    let alone = Transaction::new().put("no", "majority").timeout(Duration::from_secs(4));
    assert!(client.ledger("default").commit(alone).await.is_err(), "the removed node voted or acknowledged");
    cluster.start_node(1);
    cluster.forget(3);
    cluster.wait_ready();
    write(&client, "two again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_goes_on_when_its_leader_is_killed_at_any_step() {
    let mut cluster = Cluster::start(3);
    let first = cluster.client("trust");
    write(&first, "before").await;
    let new = cluster.new_node();
    let id = new.to_string();
    let client = cluster.client_by(cluster.policy_of_all(2), "trust-of-four");
    let writers = Writers::start(client.clone(), 1);
    // The same command, whatever became of the one before.
    for (step, millis) in [0, 60, 150, 400].into_iter().enumerate() {
        let leader = cluster.leader(&client).await;
        let shell = Shell::of(&cluster).operator();
        // Node 1 goes and `new` comes, or the other way round for what is possible: removed nodes do not come back.
        let command: Vec<String> = match step {
            0 => vec!["member".into(), "promote".into(), id.clone()],
            _ => vec!["member".into(), "transfer".into()],
        };
        let asking = std::thread::spawn(move || shell.run(command));
        tokio::time::sleep(Duration::from_millis(millis)).await;
        cluster.kill(leader);
        let before = writers.count();
        writers.wait_for_more(before + 1).await;
        asking.join().unwrap();
        cluster.start_node(leader);
        cluster.wait_ready();
        done(&cluster, &["member", "promote", &id]);
        assert_eq!(state(&cluster, new), ("member".to_owned(), true), "killed after {millis} ms");
    }
    // Removing: the leader is killed after it was asked, and the others finish it.
    for millis in [0, 200] {
        let leader = cluster.leader(&client).await;
        let goes = cluster.nodes.keys().copied().find(|id| *id != leader && *id != new).unwrap().to_string();
        let shell = Shell::of(&cluster).operator();
        let asked = goes.clone();
        let asking = std::thread::spawn(move || shell.run(["member", "remove", &asked]));
        tokio::time::sleep(Duration::from_millis(millis)).await;
        cluster.kill(leader);
        // Of the last two voters, it is one: without it nothing can be finished.
        cluster.start_node(leader);
        asking.join().unwrap();
        done(&cluster, &["member", "remove", &goes]);
        assert_eq!(state(&cluster, goes.parse().unwrap()).0, "removed");
        cluster.forget(goes.parse().unwrap());
        cluster.wait_ready();
    }
    let acknowledged = writers.stop().await;
    writer::check(&client, &acknowledged).await;
    audit::replicas(&cluster, &client, "default").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_do_harm_is_refused_with_the_reason() {
    let mut cluster = Cluster::start(3);
    write(&cluster.client("trust"), "before").await;
    let as_client = Shell::of(&cluster);
    refused(&as_client.run(["member", "list"]), "for operators");
    refused(&as_client.run(["member", "remove", "2"]), "for operators");
    let ask = |arguments: &[&str]| operator(&cluster, arguments);
    refused(&ask(&["member", "promote", "9"]), "node 9 is no node of this cluster");
    refused(&ask(&["member", "remove", "9"]), "node 9 is no node of this cluster");
    refused(&ask(&["member", "transfer", "9"]), "node 9 is no node of this cluster");
    refused(&ask(&["member", "add", "9"]), "no open invitation");
    refused(
        &ask(&["member", "remove", "2", "--expect-epoch", "7"]),
        "epoch 7 was expected, and epoch 1 is in force",
    );
    refused(&ask(&["member", "replace", "1", "--by", "2"]), "a joining node replaces a member");

    // Registered and not started: it cannot vote on what it does not know.
    let (id, invited) = cluster.invite();
    assert_eq!(cluster.join(id, &invited).code, 0);
    refused(&operator(&cluster, &["member", "promote", &id.to_string()]), "has not caught up");
    // One that never became a member is given up at once, and its id with it.
    done(&cluster, &["member", "remove", &id.to_string()]);
    refused(&operator(&cluster, &["member", "promote", &id.to_string()]), "never comes back");
    cluster.start_node(id);
    cluster.wait_unready(id, "was removed");
    cluster.forget(id);

    cluster.kill(3);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let leader = cluster.leader(&cluster.client("trust-2")).await;
    let other = 3 - leader;
    refused(&operator(&cluster, &["member", "remove", &other.to_string()]), "would lose the quorum");
    assert_eq!(epoch(&cluster), 1);
    cluster.start_node(3);
    cluster.wait_ready();
}

#[test]
fn of_two_operators_at_once_one_is_refused() {
    let cluster = Cluster::start(5);
    let ask = |node: &'static str| {
        let shell = Shell::of(&cluster).operator();
        std::thread::spawn(move || shell.run(["member", "remove", node, "--expect-epoch", "1"]))
    };
    let start = clock::now();
    let (one, two) = loop {
        let (one, two) = (ask("4"), ask("5"));
        let both = (one.join().unwrap(), two.join().unwrap());
        // Nobody changes anything before a majority has signed the founding, which was a moment ago.
        let too_early = |ran: &Ran| ran.stderr.contains("have signed the beginning of epoch 1");
        if !(too_early(&both.0) && too_early(&both.1)) {
            break both;
        }
        assert!(clock::now() - start < Duration::from_secs(30), "the founding is never certified");
    };
    let (won, lost) = if one.code == 0 { (one, two) } else { (two, one) };
    assert_eq!(won.code, 0, "{}", won.stderr);
    assert_ne!(lost.code, 0, "both were carried out");
    let clear = lost.stderr.contains("another change of the members is under way")
        || lost.stderr.contains("somebody else changed the members");
    assert!(clear, "{}", lost.stderr);
    let removed = [4, 5].map(|id| state(&cluster, id).0);
    assert!(removed.contains(&"removed".to_owned()) && removed.contains(&"member".to_owned()), "{removed:?}");
}

#[test]
fn an_invitation_lets_one_node_in_once() {
    let mut cluster = Cluster::start(3);
    let (id, invited) = cluster.invite();
    let text = fs::read_to_string(&invited.file).unwrap();
    let dir = cluster.path().join(format!("node-{id}"));
    let shell = Shell::of(&cluster);
    let join = |file: &str, dir: &str| shell.run(["join", "--invite", file, "--dir", dir]);

    // Another secret: the cluster refuses, and nothing stays behind.
    let at = text.find("secret = \"").unwrap() + 10;
    let mut other = text.clone();
    other.replace_range(at..at + 2, if &text[at..at + 2] == "00" { "11" } else { "00" });
    fs::write(cluster.path().join("other"), other).unwrap();
    refused(&join("other", "elsewhere"), "not that of the invitation");
    assert!(!cluster.path().join("elsewhere").exists());
    // Not an invitation at all, and a folder with something in it.
    refused(&join("client/default.policy", "elsewhere"), "no invitation");
    fs::create_dir(cluster.path().join("occupied")).unwrap();
    fs::write(cluster.path().join("occupied/thesis"), "years of work").unwrap();
    refused(&join(&invited.file.display().to_string(), "occupied"), "nothing was written");
    assert!(!dir.exists());

    // It is used.
    assert_eq!(cluster.join(id, &invited).code, 0);
    assert!(dir.join("keys/log.secret").exists() && !dir.join("joining").exists());
    let again = join(&invited.file.display().to_string(), "elsewhere");
    refused(&again, "an invitation is for one node, once");
    assert!(!cluster.path().join("elsewhere").exists());
    refused(&join(&invited.file.display().to_string(), &dir.display().to_string()), "nothing was written");

    // One that has ended, by the time of the log.
    let ran = Shell::of(&cluster).operator().run([
        "member",
        "invite",
        "--authority",
        "authority",
        "--host",
        "127.0.0.1:1:2:3",
        "--valid",
        "1s",
        "--out",
        "short",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    std::thread::sleep(Duration::from_millis(1_500));
    refused(&join("short", "elsewhere"), "has ended");
    assert!(!cluster.path().join("elsewhere").exists());
}

#[test]
fn a_join_that_was_killed_goes_on_with_the_same_keys() {
    let mut cluster = Cluster::start(3);
    for millis in [0, 80, 250] {
        let (id, invited) = cluster.invite();
        let dir = cluster.path().join(format!("node-{id}"));
        let mut join = std::process::Command::new(quorate_tests::cluster::binary());
        join.args(["join", "--invite"]).arg(&invited.file).arg("--dir").arg(&dir);
        let mut killed = join.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        killed.kill().unwrap();
        killed.wait().unwrap();
        let key = || fs::read(dir.join("keys/cosigner.key")).ok();
        let before = key();
        // Where it was done in time, the folder is complete and left alone.
        let is_complete = dir.exists() && !dir.join("joining").exists();
        let ran = cluster.join(id, &invited);
        if is_complete {
            refused(&ran, "nothing was written");
            continue;
        }
        assert_eq!(ran.code, 0, "killed after {millis} ms: {}", ran.stderr);
        assert!(before.is_none() || before == key(), "other keys");
        assert_eq!(state(&cluster, id), ("joining".to_owned(), false));
        let leftover = fs::read_dir(cluster.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(leftover.into_iter().all(|name| !name.to_string_lossy().ends_with(".joining")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_learns_of_a_new_leader_from_that_leader() {
    let mut cluster = Cluster::start(3);
    write(&cluster.client("trust"), "before").await;
    cluster.kill(3);
    let new = cluster.new_node();
    done(&cluster, &["member", "promote", &new.to_string()]);
    done(&cluster, &["member", "transfer", &new.to_string()]);
    let client = cluster.client_by(cluster.policy_of_all(2), "trust-of-four");
    write(&client, "by the new leader").await;
    // It does not know that there is a node 4, and gets the registration and blocks of node 4 from node 4.
    cluster.start_node(3);
    cluster.wait_ready();
    assert_eq!(cluster.leader(&client).await, new);
    // So does a node that joins now and gets the whole log.
    let another = cluster.new_node();
    done(&cluster, &["member", "promote", &another.to_string()]);
    let client = cluster.client_by(cluster.policy_of_all(3), "trust-of-five");
    write(&client, "with five").await;
    audit::replicas(&cluster, &client, "default").await;
}

#[test]
fn a_node_that_joined_and_lost_its_data_never_takes_part_again() {
    let mut cluster = Cluster::start(3);
    let id = cluster.new_node();
    done(&cluster, &["member", "promote", &id.to_string()]);
    cluster.kill(id);
    fs::remove_dir_all(cluster.path().join(format!("node-{id}/data"))).unwrap();
    cluster.start_node(id);
    cluster.wait_unready(id, "must not take part again");
}

#[test]
fn a_drained_node_hands_over_and_is_not_ready_until_that_is_undone() {
    let cluster = Cluster::start(3);
    let leader = cluster.members()["leader"].as_str().unwrap().to_owned();
    done(&cluster, &["member", "drain", &leader]);
    cluster.wait_unready(leader.parse().unwrap(), "drained");
    assert_ne!(cluster.members()["leader"].as_str().unwrap(), leader);
    done(&cluster, &["member", "drain", &leader, "--undo"]);
    cluster.wait_ready();
}
