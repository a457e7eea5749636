//! Commits that are under way together share a stream: they stay requests of their own, and every lie that only a stream
//! can tell is found.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use quorate_client::{Committed, Distrust, Error, Ledger, Outcome, Precondition, Transaction};
use quorate_proto::v1;

use crate::support::{Cluster, Mode, Node, client};

const MANY: usize = 40;

fn put(n: usize) -> Transaction {
    Transaction::new().put(format!("key/{n}"), format!("value {n}"))
}

/// Commits at the same time; the first of them alone is no company, and so is a call.
async fn commit(ledger: &Ledger, transactions: Vec<Transaction>) -> Vec<Result<Committed, Error>> {
    join_all(transactions.into_iter().map(|transaction| ledger.commit(transaction))).await
}

fn streamed(node: &Node) -> usize {
    node.streamed.load(Ordering::Relaxed)
}

/// That each of the keys was written once, and nothing else is believed.
fn written_once(cluster: &Cluster, count: usize) {
    for n in 0..count {
        let key = format!("key/{n}");
        assert_eq!(cluster.with(|ledger| ledger.records(key.as_bytes()).len()), 1, "{key}");
    }
}

#[tokio::test]
async fn many_commits_share_messages_and_each_is_proven() {
    let cluster = Cluster::start().await;
    let ledger = client(&cluster.all()).ledger("default");
    ledger.commit(Transaction::new().put("alone", "v")).await.unwrap();
    assert_eq!(streamed(&cluster.nodes[0]), 0, "a lone commit is a call");
    let policy = ledger.policy().await.unwrap();
    let mut indices = BTreeSet::new();
    for committed in commit(&ledger, (0..MANY).map(put).collect()).await {
        let committed = committed.unwrap();
        committed.receipt().unwrap().verify(&policy).unwrap();
        indices.insert(committed.index);
    }
    assert_eq!(indices.len(), MANY, "each has a place of its own");
    let messages = streamed(&cluster.nodes[0]);
    assert!((1..MANY / 2).contains(&messages), "{messages} messages for {MANY} commits");
    written_once(&cluster, MANY);
}

#[tokio::test]
async fn single_commits_are_calls_and_so_are_large_ones() {
    let cluster = Cluster::start().await;
    let single = quorate_client::Client::builder()
        .endpoints(cluster.nodes.iter().map(Node::endpoint))
        .policy(crate::support::model::policy(2))
        .single_commits()
        .build()
        .unwrap();
    commit(&single.ledger("default"), (0..10).map(put).collect())
        .await
        .into_iter()
        .for_each(|one| drop(one.unwrap()));
    let large = |n: usize| Transaction::new().put(format!("large/{n}"), vec![7; 20_000]);
    let ledger = client(&cluster.all()).ledger("default");
    commit(&ledger, (0..10).map(large).collect()).await.into_iter().for_each(|one| drop(one.unwrap()));
    assert_eq!(streamed(&cluster.nodes[0]), 0);
}

#[tokio::test]
async fn each_has_an_outcome_of_its_own() {
    let cluster = Cluster::start().await;
    cluster.put("there", "v");
    let ledger = client(&cluster.all()).ledger("default");
    let transactions = (0..MANY).map(|n| match n % 4 {
        0 => put(n),
        1 => put(n).precondition(Precondition::Absent("never".into())),
        2 => put(n).precondition(Precondition::Absent("there".into())),
        _ => Transaction::new().put("same", "v").idempotency_key("the same request"),
    });
    let outcomes = commit(&ledger, transactions.collect()).await;
    let mut same = BTreeSet::new();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match (n % 4, outcome) {
            (0 | 1, Ok(committed)) => assert!(!committed.known),
            (2, Err(Error::Rejected(rejection))) => assert_eq!(rejection.reason, "precondition_failed"),
            (3, Ok(committed)) => same.extend([committed.index]),
            (_, other) => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(same.len(), 1, "asked ten times, written once");
    assert!(streamed(&cluster.nodes[0]) > 0);
}

#[tokio::test]
async fn a_replica_without_such_streams_is_sent_calls() {
    let cluster = Cluster::start().await;
    cluster.nodes.iter().for_each(|node| node.state().has_no_streams = true);
    let ledger = client(&cluster.all()).ledger("default");
    for committed in commit(&ledger, (0..MANY).map(put).collect()).await {
        assert!(!committed.unwrap().known, "nothing was sent twice");
    }
    written_once(&cluster, MANY);
}

#[tokio::test]
async fn a_follower_says_who_leads_and_an_election_is_waited_for() {
    let cluster = Cluster::start().await;
    let ledger = client(&cluster.all()).ledger("default");
    cluster.nodes[0].set_mode(Mode::Follower(0));
    let next = cluster.nodes[2].clone();
    let election = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        next.set_mode(Mode::Leader);
    });
    commit(&ledger, (0..MANY).map(put).collect()).await.into_iter().for_each(|one| drop(one.unwrap()));
    election.await.unwrap();
    written_once(&cluster, MANY);
}

#[tokio::test]
async fn wherever_a_stream_is_cut_nothing_is_lost_or_done_twice() {
    for cut in 0..6 {
        let cluster = Cluster::start().await;
        cluster.nodes[0].state().cut_after = Some(cut);
        let ledger = client(&cluster.all()).ledger("default");
        for committed in commit(&ledger, (0..MANY).map(put).collect()).await {
            committed.unwrap_or_else(|error| panic!("cut after {cut} messages: {error}"));
        }
        written_once(&cluster, MANY);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_breaks_no_other() {
    let cluster = Cluster::start().await;
    let ledger = client(&cluster.all()).ledger("default");
    ledger.commit(Transaction::new().put("first", "v")).await.unwrap();
    let tasks: Vec<_> = (0..MANY)
        .map(|n| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.commit(put(n)).await })
        })
        .collect();
    for task in tasks.iter().step_by(3) {
        task.abort();
        tokio::task::yield_now().await;
    }
    for (n, task) in tasks.into_iter().enumerate() {
        match task.await {
            Ok(committed) => drop(committed.unwrap()),
            Err(_) => assert_eq!(n % 3, 0),
        }
    }
    ledger.commit(Transaction::new().put("last", "v")).await.unwrap();
}

type Lie = fn(&mut v1::CommitStreamResponse);

/// What those say whose answers are not believed, of a replica that lies to all who share its stream.
async fn doubts(lie: Lie) -> Vec<Distrust> {
    let cluster = Cluster::start().await;
    let node = &cluster.nodes[0];
    node.alter(|alter| alter.answers = Some(Arc::new(lie)));
    let ledger = client(&[node]).ledger("default");
    // Not known to the client: it would go on elsewhere.
    node.peers_are_unknown();
    let outcomes = commit(&ledger, (0..MANY).map(|n| put(n).timeout(Duration::from_secs(3))).collect()).await;
    let mut doubts = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(committed) => drop(committed),
            Err(Error::Untrusted { what, .. }) => doubts.push(*what),
            Err(Error::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!doubts.is_empty(), "nobody noticed");
    doubts
}

#[tokio::test]
async fn the_answer_to_another_request_is_not_believed() {
    let doubts = doubts(|message| {
        if let [first, second, ..] = &mut message.answers[..] {
            std::mem::swap(&mut first.number, &mut second.number);
        }
    });
    let mut doubts = doubts.await.into_iter();
    assert!(doubts.all(|what| matches!(what, Distrust::Answer(_))), "{doubts:?}");
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_ends_the_stream() {
    let twice = |message: &mut v1::CommitStreamResponse| {
        if let Some(first) = message.answers.first().cloned() {
            message.answers.insert(1, first);
        }
    };
    let unasked = |message: &mut v1::CommitStreamResponse| {
        message.answers.insert(0, v1::StreamedAnswer { number: 1_000_000, ..v1::StreamedAnswer::default() });
    };
    for lie in [twice as Lie, unasked] {
        for what in doubts(lie).await {
            assert!(matches!(what, Distrust::NotAsked { .. }), "{what}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_its_parts_is_not_believed() {
    let without_checkpoint = |message: &mut v1::CommitStreamResponse| {
        message.answers.iter_mut().for_each(|answer| answer.checkpoint = 0);
    };
    let beyond = |message: &mut v1::CommitStreamResponse| {
        message.answers.iter_mut().for_each(|answer| answer.checkpoint = u32::MAX);
    };
    let nothing = |message: &mut v1::CommitStreamResponse| {
        message.answers.iter_mut().for_each(|answer| answer.outcome = None);
    };
    for lie in [without_checkpoint as Lie, beyond, nothing] {
        for what in doubts(lie).await {
            assert!(matches!(what, Distrust::Missing { .. }), "{what}");
        }
    }
}

#[tokio::test]
async fn a_checkpoint_of_another_answer_is_no_proof() {
    // Each answer says that the first one's checkpoint is its own.
    let other = |message: &mut v1::CommitStreamResponse| {
        message.answers.iter_mut().for_each(|answer| answer.checkpoint = 1);
    };
    let cluster = Cluster::start().await;
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    ledger.commit(Transaction::new().put("first", "v")).await.unwrap();
    node.alter(|alter| alter.answers = Some(Arc::new(other)));
    for outcome in commit(&ledger, (0..MANY).map(put).collect()).await {
        match outcome {
            Ok(committed) => {
                drop(committed.receipt().unwrap().verify(&ledger.policy().await.unwrap()).unwrap())
            }
            Err(error) => assert!(error.is_untrusted(), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_request_without_an_answer_has_an_unknown_outcome_and_the_next_ones_are_calls() {
    let cluster = Cluster::start().await;
    let node = &cluster.nodes[0];
    node.peers_are_unknown();
    node.alter(|alter| {
        alter.answers = Some(Arc::new(|message: &mut v1::CommitStreamResponse| message.answers.clear()));
    });
    let ledger = client(&[node]).ledger("default");
    ledger.commit(Transaction::new().put("first", "v")).await.unwrap();
    let timeout = Duration::from_millis(700);
    let outcomes = commit(&ledger, (0..MANY).map(|n| put(n).timeout(timeout)).collect()).await;
    let unknown = |outcome: &&Result<Committed, Error>| {
        matches!(outcome, Err(Error::Unavailable { outcome: Outcome::Unknown, .. }))
    };
    // The first one is no company, and so is a call.
    assert!(outcomes.iter().filter(unknown).count() > MANY / 2);
    for outcome in &outcomes {
        assert!(outcome.is_ok() || unknown(&outcome), "{outcome:?}");
    }
    written_once(&cluster, MANY);
    for n in 0..MANY {
        let again = Transaction::new().put(format!("again/{n}"), "v").timeout(timeout);
        ledger.commit(again).await.unwrap();
    }
}
