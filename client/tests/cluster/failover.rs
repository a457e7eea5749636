//! Replicas fail; calls do not, as long as one of them can serve.

use std::time::{Duration, Instant};

use quorate_client::{Client, Error, Outcome, ReadOptions, Transaction};

use crate::support::model::policy;
use crate::support::{Cluster, Mode, client};

fn put() -> Transaction {
    Transaction::new().put("k", "v")
}

#[tokio::test]
async fn a_leader_hint_is_followed_even_to_a_replica_nobody_listed() {
    let cluster = Cluster::start().await;
    let client = client(&[&cluster.nodes[1]]);
    let committed = client.ledger("default").commit(put()).await.unwrap();
    assert!(committed.receipt().is_some());
    let before = cluster.nodes[1].calls();
    client.ledger("default").commit(put()).await.unwrap();
    assert_eq!(cluster.nodes[1].calls(), before, "the leader is remembered");
}

#[tokio::test]
async fn without_a_hint_every_replica_is_tried() {
    let cluster = Cluster::start().await;
    cluster.nodes[0].set_mode(Mode::Follower(0));
    cluster.nodes[1].set_mode(Mode::Follower(0));
    cluster.nodes[2].set_mode(Mode::Leader);
    client(&cluster.all()).ledger("default").commit(put()).await.unwrap();
}

#[tokio::test]
async fn an_election_is_waited_for() {
    let cluster = Cluster::start().await;
    cluster.nodes[0].set_mode(Mode::Follower(0));
    let next = cluster.nodes[2].clone();
    let election = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        next.set_mode(Mode::Leader);
    });
    client(&cluster.all()).ledger("default").commit(put()).await.unwrap();
    election.await.unwrap();
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done_once() {
    let cluster = Cluster::start().await;
    let client = client(&cluster.all());
    client.ledger("default").get("k", ReadOptions::new()).await.unwrap();
    cluster.nodes[0].set_mode(Mode::Hanging);
    cluster.nodes[1].set_mode(Mode::Leader);
    let committed = client.ledger("default").commit(put()).await.unwrap();
    assert!(committed.known, "the first attempt was executed, and the second answered with it");
    assert_eq!(cluster.with(|ledger| ledger.records(b"k").len()), 1);
}

#[tokio::test]
async fn reads_go_to_the_next_replica_when_one_fails() {
    let cluster = Cluster::start().await;
    cluster.put("k", "v");
    let ledger = client(&cluster.all()).ledger("default");
    for mode in [Mode::Unavailable { no_effect: false }, Mode::Busy, Mode::Broken, Mode::Hanging] {
        cluster.nodes[0].set_mode(mode);
        cluster.nodes[1].set_mode(mode);
        assert!(ledger.get("k", ReadOptions::new()).await.unwrap().value.is_some());
    }
}

#[tokio::test]
async fn a_full_queue_is_tried_again() {
    let cluster = Cluster::start().await;
    let busy = cluster.nodes[0].clone();
    busy.set_mode(Mode::Busy);
    let relief = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        busy.set_mode(Mode::Leader);
    });
    client(&cluster.all()).ledger("default").commit(put()).await.unwrap();
    relief.await.unwrap();
}

#[tokio::test]
async fn a_leader_that_is_busy_is_asked_again_and_the_others_are_left_alone() {
    let cluster = Cluster::start().await;
    let ledger = client(&cluster.all()).ledger("default");
    ledger.commit(put()).await.unwrap();
    let before: Vec<usize> = cluster.nodes.iter().map(|node| node.calls()).collect();
    cluster.nodes[0].set_mode(Mode::Busy);
    let error = ledger.commit(put().timeout(Duration::from_secs(1))).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { outcome: Outcome::NotDone, .. }), "{error}");
    let asked: Vec<usize> =
        cluster.nodes.iter().zip(before).map(|(node, before)| node.calls() - before).collect();
    assert!((3..=25).contains(&asked[0]), "pauses grow: {asked:?}");
    // They are asked for checkpoints in the background, once in a while.
    assert!(asked[1] + asked[2] < asked[0], "the others can only name the leader: {asked:?}");
}

#[tokio::test]
async fn when_time_is_up_the_outcome_is_told_apart() {
    let cluster = Cluster::start().await;
    let ledger = client(&cluster.all()).ledger("default");
    ledger.get("k", ReadOptions::new()).await.unwrap();
    let timeout = Duration::from_millis(500);
    for (mode, wanted) in [
        (Mode::Follower(0), Outcome::NotDone),
        (Mode::Unavailable { no_effect: true }, Outcome::NotDone),
        (Mode::Busy, Outcome::NotDone),
        (Mode::Unavailable { no_effect: false }, Outcome::Unknown),
        (Mode::Hanging, Outcome::Unknown),
    ] {
        cluster.nodes.iter().for_each(|node| node.set_mode(mode));
        let begun = started();
        let error = ledger.commit(put().timeout(timeout)).await.unwrap_err();
        let Error::Unavailable { outcome, attempts, ref last } = error else { panic!("{error}") };
        assert_eq!(outcome, wanted, "{last}");
        assert!(attempts > 0 && begun.elapsed() < timeout * 3, "{:?}", begun.elapsed());
    }
    cluster.nodes.iter().for_each(|node| node.set_mode(Mode::Broken));
    let error = ledger.commit(put().timeout(timeout)).await.unwrap_err();
    assert!(matches!(error, Error::Server { ref code, .. } if code == "Internal"), "{error}");
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_done() {
    let client = Client::builder()
        .endpoints(["http://127.0.0.1:1", "http://127.0.0.1:2"])
        .policy(policy(2))
        .timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let error = client.ledger("_system").commit(put()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { outcome: Outcome::NotDone, .. }), "{error}");
    let status = client.status().await;
    assert!(status.len() == 2 && status.iter().all(|(_, status)| status.is_err()));
}

/// Tests measure how long a call took.
#[expect(clippy::disallowed_methods, reason = "a test's own clock")]
fn started() -> Instant {
    Instant::now()
}
