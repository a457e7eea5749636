//! The log as it grows: every transaction once and in order, whatever replicas do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use quorate_client::{Client, Delivery, Distrust, Error, LogIndex, MemoryTrust, Subscription};
use quorate_core::answer::AnswerError;
use quorate_core::policy::PolicyError;
use quorate_proto::v1;

use crate::support::{Cluster, Mode, Node, client, model};

type Deliveries = BoxStream<'static, Result<Delivery, Error>>;

fn subscribe(client: &Client, from: u64) -> Subscription {
    client.ledger("default").subscribe(LogIndex::new(from))
}

/// The next transaction: its index, and the values it wrote.
async fn next(deliveries: &mut Deliveries) -> (u64, Vec<String>) {
    let wait = async {
        loop {
            match deliveries.next().await.unwrap().unwrap() {
                Delivery::Transaction(transaction) => {
                    let values = transaction.operations.iter().filter_map(|operation| {
                        Some(String::from_utf8(operation.value.as_ref()?.value.to_vec()).unwrap())
                    });
                    return (transaction.index.get(), values.collect());
                }
                Delivery::UpTo { .. } => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("a transaction in time")
}

/// What ends the subscription.
async fn end(mut deliveries: Deliveries) -> Error {
    let wait = async {
        loop {
            if let Err(error) = deliveries.next().await.expect("it does not end by itself") {
                assert!(deliveries.next().await.is_none(), "nothing comes after an error");
                return error;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("an end in time")
}

fn distrust(error: Error) -> Distrust {
    match error {
        Error::Untrusted { what, .. } => *what,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn what_is_there_comes_first_and_then_each_as_it_is_certified() {
    let cluster = Cluster::start().await;
    let before: Vec<u64> = (0..5).map(|number| cluster.put("a", &number.to_string())).collect();
    let mut deliveries = subscribe(&client(&cluster.all()), 0).stream();
    for (number, index) in before.iter().enumerate() {
        assert_eq!(next(&mut deliveries).await, (*index, vec![number.to_string()]));
    }
    for number in 0..3 {
        let index = cluster.put("b", &number.to_string());
        assert_eq!(next(&mut deliveries).await, (index, vec![number.to_string()]));
    }
}

#[tokio::test]
async fn a_subscription_goes_on_where_another_ended() {
    let cluster = Cluster::start().await;
    let written: Vec<u64> = (0..8).map(|number| cluster.put("a", &number.to_string())).collect();
    for from in 0..=cluster.with(|ledger| ledger.size()) {
        // As a new process with nothing but the position, and as one that believes something.
        for known in [false, true] {
            let client = client(&cluster.all());
            if known {
                client.ledger("default").get("a", quorate_client::ReadOptions::new()).await.unwrap();
            }
            let mut deliveries = subscribe(&client, from).stream();
            for index in written.iter().filter(|index| **index >= from) {
                assert_eq!(next(&mut deliveries).await.0, *index);
            }
        }
    }
    let error = end(subscribe(&client(&cluster.all()), 1_000).stream()).await;
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_prefix_picks_and_positions_tell_of_the_rest() {
    let cluster = Cluster::start().await;
    for number in 0..4 {
        cluster.put("a/1", &number.to_string());
        cluster.put("b/1", &number.to_string());
    }
    let client = client(&cluster.all());
    let mut deliveries = subscribe(&client, 0).prefix("b/").stream();
    for number in 0..4 {
        assert_eq!(next(&mut deliveries).await.1, vec![number.to_string()]);
    }
    let size = cluster.with(|ledger| ledger.size());
    let mut deliveries = subscribe(&client, 0).prefix("none").stream();
    loop {
        match deliveries.next().await.unwrap().unwrap() {
            Delivery::Transaction(transaction) => panic!("{transaction:?}"),
            Delivery::UpTo { next, checkpoint } if next.get() == size => {
                assert_eq!(checkpoint.checkpoint().size.get(), size);
                break;
            }
            Delivery::UpTo { next, .. } => assert!(next.get() < size),
        }
    }
}

#[tokio::test]
async fn segments_are_the_log_byte_for_byte() {
    let cluster = Cluster::start().await;
    for number in 0..4 {
        cluster.put("a", &number.to_string());
    }
    let wanted = cluster.with(|ledger| ledger.leaves.clone());
    let mut segments = subscribe(&client(&cluster.all()), 0).segments();
    let mut leaves = Vec::new();
    while leaves.len() < wanted.len() {
        leaves.extend(segments.next().await.unwrap().unwrap().leaves);
    }
    assert!(leaves.iter().zip(0..).all(|(leaf, index)| leaf.index.get() == index));
    assert_eq!(leaves.into_iter().map(|leaf| leaf.leaf).collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn nothing_is_missing_or_repeated_over_any_failure_of_replicas() {
    let cluster = Cluster::start().await;
    for mode in [Mode::Unavailable { no_effect: true }, Mode::Hanging, Mode::CutOff] {
        let client = client(&cluster.all());
        let size = cluster.with(|ledger| ledger.size());
        let asked = subscribe(&client, size).silence(Duration::from_millis(300));
        let mut deliveries = asked.stream();
        for round in 0..4 {
            // The replica that tells just now fails; the others are well.
            let first = cluster.put("a", "1");
            assert_eq!(next(&mut deliveries).await.0, first);
            let failing = &cluster.nodes[round % 3];
            failing.set_mode(mode);
            let indexes: Vec<u64> = (0..3).map(|number| cluster.put("a", &number.to_string())).collect();
            for index in indexes {
                assert_eq!(next(&mut deliveries).await.0, index);
            }
            failing.set_mode(Mode::Leader);
        }
    }
}

#[tokio::test]
async fn replicas_with_nothing_newer_to_show_are_not_listened_to_for_ever() {
    let cluster = Cluster::start().await;
    for node in &cluster.nodes {
        node.set_mode(Mode::CutOff);
    }
    let asked = subscribe(&client(&cluster.all()), 0);
    let asked = asked.silence(Duration::from_millis(150)).patience(Duration::from_millis(700));
    let error = end(asked.stream()).await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("signed lately"), "{error}");
}

#[tokio::test]
async fn old_signatures_are_refused_where_freshness_is_asked_for() {
    let cluster = Cluster::start().await;
    let fresh = Client::builder()
        .endpoints(cluster.nodes.iter().map(Node::endpoint))
        .policy(model::policy(2))
        .freshness(Duration::from_secs(5))
        .build()
        .unwrap();
    next_position(&mut subscribe(&fresh, 0).stream()).await;
    for node in &cluster.nodes {
        node.state().cosign_time = 1_000;
    }
    let asked = subscribe(&fresh, 0).patience(Duration::from_millis(500));
    let what = distrust(end(asked.stream()).await);
    assert!(matches!(what, Distrust::NotFresh { .. }), "{what}");
}

async fn next_position(deliveries: &mut Deliveries) {
    assert!(matches!(deliveries.next().await.unwrap().unwrap(), Delivery::UpTo { .. }));
}

#[tokio::test]
async fn a_replica_that_takes_over_must_continue_what_was_read() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let client = client(&cluster.all());
    let mut deliveries = subscribe(&client, 0).stream();
    next(&mut deliveries).await;
    // The others have another transaction in the place of the next one.
    let fork = Arc::new(Mutex::new(cluster.model.lock().unwrap().clone()));
    let seen = cluster.put("a", "2");
    assert_eq!(next(&mut deliveries).await.0, seen);
    for node in &cluster.nodes[1..] {
        node.state().model = Arc::clone(&fork);
    }
    for _ in 0..3 {
        let contents =
            quorate_core::answer::Contents { salt: [3; 16], attributes: Vec::new(), value: b"3".to_vec() };
        let ask = model::Ask::Put { key: b"a".to_vec(), contents, expires_at: None };
        let name = crate::support::server::rand_name();
        fork.lock().unwrap().ledgers.get_mut("default").unwrap().commit(&name, u64::MAX, &[ask]);
    }
    cluster.nodes[0].set_mode(Mode::Unavailable { no_effect: true });
    let error = end(deliveries).await;
    assert!(error.is_untrusted(), "{error}");
}

/// What a lying replica does to its messages.
type Alter = fn(&mut v1::SubscribeResponse);

/// That a replica which alters its messages so is found out for this reason.
async fn caught(name: &str, alter: Alter, expected: fn(&Distrust) -> bool) {
    let cluster = Cluster::start().await;
    for value in ["1", "2", "3", "4"] {
        cluster.put("a", value);
        cluster.put("b", value);
    }
    let node = &cluster.nodes[0];
    node.alter(|alterations| alterations.feed = Some(Arc::new(alter)));
    let what = distrust(end(subscribe(&client(&[node]), 2).prefix("a").stream()).await);
    assert!(expected(&what), "{name}: {what}");
}

#[tokio::test]
async fn every_leaf_is_proven() {
    fn flip(message: &mut v1::SubscribeResponse) {
        if let Some(entry) = message.entries.last_mut() {
            let mut leaf = entry.leaf.to_vec();
            leaf[9] ^= 1;
            entry.leaf = leaf.into();
        }
    }
    fn is_wrong(what: &Distrust) -> bool {
        matches!(what, Distrust::WrongLeaves { .. } | Distrust::NotAsked { .. } | Distrust::Proof(_))
    }
    caught("altered", flip, is_wrong).await;
    caught("left out", |message| drop(message.entries.pop()), is_wrong).await;
    caught("no path", |message| message.path.clear(), is_wrong).await;
    let other_edge: Alter = |message| {
        if let Some(peak) = message.edge.first_mut() {
            *peak = vec![9; 32].into();
        }
    };
    caught("another edge", other_edge, is_wrong).await;
    let missing = |what: &Distrust| matches!(what, Distrust::Missing { .. });
    caught("no checkpoint", |message| message.checkpoint = None, missing).await;
}

#[tokio::test]
async fn operations_are_proven_of_transactions_that_the_caller_is_not_about_too() {
    fn other_keys(message: &mut v1::SubscribeResponse) {
        for entry in &mut message.entries {
            let operations = entry.operations.iter_mut();
            for operation in operations.filter(|operation| operation.ends_with(b"a")) {
                // A transaction about a key that the caller asked for is shown as one about another.
                *operation = [&operation[..operation.len() - 1], b"c"].concat().into();
            }
            entry.contents.clear();
        }
    }
    fn none(message: &mut v1::SubscribeResponse) {
        for entry in &mut message.entries {
            entry.operations.clear();
            entry.contents.clear();
        }
    }
    fn other_values(message: &mut v1::SubscribeResponse) {
        for content in message.entries.iter_mut().flat_map(|entry| &mut entry.contents) {
            content.value = "x".into();
        }
    }
    let root = |what: &Distrust| matches!(what, Distrust::Answer(AnswerError::OperationsRoot { .. }));
    caught("other keys", other_keys, root).await;
    caught("no operations", none, root).await;
    let contents = |what: &Distrust| matches!(what, Distrust::Answer(AnswerError::WrongContents { .. }));
    caught("other values", other_values, contents).await;
}

#[tokio::test]
async fn a_checkpoint_without_a_quorum_proves_nothing() {
    let cluster = Cluster::start().await;
    let node = &cluster.nodes[0];
    node.state().cosigners = vec![1];
    let trust = Arc::new(MemoryTrust::new());
    let client = crate::support::client_with(&[node], trust);
    let what = distrust(end(client.ledger("_system").subscribe(LogIndex::new(0)).stream()).await);
    assert!(matches!(what, Distrust::Policy(PolicyError::NotMet { .. })), "{what}");
}
