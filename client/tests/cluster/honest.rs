//! What an honest cluster answers is believed, and is what was asked.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use quorate_client::{
    CheckpointOptions, Client, Error, KeyState, LogIndex, LogRecord, MemoryTrust, Micros, Precondition,
    PutOptions, Query, ReadOptions, Transaction, TransactionId, TrustError, TrustStore as _, VerifiedReceipt,
    Wait,
};
use quorate_core::answer::{Contents, Reading};
use quorate_core::entry::OpKind;

use crate::support::model::{Ask, cluster, policy};
use crate::support::{Cluster, client, client_with};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A few writes of every kind; `a` is written three times, and its first value erased.
fn story(cluster: &Cluster) {
    cluster.put("a", "one");
    cluster.put("b", "bee");
    cluster.put("a", "two");
    cluster.with(|ledger| {
        let contents = |value: &str| Contents { salt: [4; 16], attributes: Vec::new(), value: value.into() };
        let two = [
            Ask::Put { key: b"c".to_vec(), contents: contents("sea"), expires_at: None },
            Ask::Delete { key: b"b".to_vec() },
        ];
        ledger.commit(b"two", u64::MAX, &two);
        ledger.commit(b"erase", u64::MAX, &[Ask::Erase { key: b"a".to_vec(), revision: 1 }]);
        let expired = Ask::Put { key: b"e".to_vec(), contents: contents("gone"), expires_at: Some(1) };
        ledger.commit(b"expired", u64::MAX, &[expired]);
    });
    cluster.put("a", "three");
}

#[tokio::test]
async fn what_is_written_is_read_and_its_receipt_verifies_offline() {
    let cluster = Cluster::start().await;
    let client = client(&cluster.all());
    let ledger = client.ledger("default");
    let options = PutOptions::new().content_type("text/plain").attribute("who", "me");
    let transaction = Transaction::new().put_with("k", "value", options).put("other", "x");
    let committed = ledger.commit(transaction).await.unwrap();
    assert!(!committed.known);
    assert_eq!(committed.revisions.iter().map(|revision| revision.get()).collect::<Vec<_>>(), [1, 1]);
    let read = ledger.get("k", ReadOptions::new()).await.unwrap();
    let value = read.value.unwrap();
    assert_eq!((text(&value.value), value.index), ("value".to_owned(), committed.index));
    assert_eq!(value.content_type().as_deref(), Some("text/plain"));
    assert!(read.checkpoint.unwrap().cosigners().count() >= 2);

    let receipt = committed.receipt().unwrap();
    let receipt = quorate_client::Receipt::parse(&receipt.to_string()).unwrap();
    let policy = ledger.policy().await.unwrap();
    let VerifiedReceipt::Transaction(proven) = receipt.verify(&policy).unwrap() else {
        panic!("of a transaction")
    };
    assert_eq!(proven.author().as_deref(), Some("anonymous"));
    let shown = proven.transaction().operation_on(b"k").unwrap();
    assert_eq!(shown.contents().unwrap().value, b"value");
    let later = ledger.receipt_for(committed.index).await.unwrap();
    assert_eq!(later.extra(), receipt.extra());
}

#[tokio::test]
async fn every_way_of_having_no_value_is_told_apart() {
    let cluster = Cluster::start().await;
    story(&cluster);
    let ledger = client(&cluster.all()).ledger("default");
    let keys = ["a", "b", "c", "e", "never"];
    let reads = ledger.get_many(&keys, ReadOptions::new()).await.unwrap();
    let states: Vec<KeyState> = reads.iter().map(|read| read.state).collect();
    use KeyState::{Deleted, Expired, NeverWritten, Present};
    assert_eq!(states, [Present, Deleted, Present, Expired, NeverWritten]);
    assert_eq!(text(&reads[0].value.as_ref().unwrap().value), "three");
    assert_eq!(reads[1].written.unwrap().revision.get(), 2);
    for (key, state) in keys.iter().zip(states) {
        assert_eq!(ledger.get(key, ReadOptions::new()).await.unwrap().state, state, "{key}");
        let unverified = ledger.get(key, ReadOptions::new().unverified()).await.unwrap();
        assert!(unverified.checkpoint.is_none());
    }
    let then = ledger.get("a", ReadOptions::new().at(LogIndex::new(1))).await.unwrap();
    assert!(matches!(then.state, KeyState::Erased { .. }));
    let receipt = ledger.state_receipt("never").await.unwrap();
    let VerifiedReceipt::State(proven) = receipt.verify(&ledger.policy().await.unwrap()).unwrap() else {
        panic!("of state")
    };
    assert!(matches!(proven.get(b"never").unwrap(), Reading::Absent(_)));
    let receipt = ledger.state_receipt("a").await.unwrap();
    let VerifiedReceipt::State(proven) = receipt.verify(&ledger.policy().await.unwrap()).unwrap() else {
        panic!("of state")
    };
    assert_eq!(proven.get(b"a").unwrap().value().unwrap().bytes(), b"three");
}

#[tokio::test]
async fn as_of_every_index_each_key_holds_what_it_held_then() {
    let cluster = Cluster::start().await;
    story(&cluster);
    let ledger = client(&cluster.all()).ledger("default");
    let (size, truth) = cluster.with(|ledger| (ledger.size(), ledger.records.clone()));
    for at in 0..size {
        let options = ReadOptions::new().at(LogIndex::new(at));
        let keys = ["a", "b", "c", "never"];
        let many = ledger.get_many(&keys, options).await.unwrap();
        for (key, of_many) in keys.iter().zip(many) {
            let read = ledger.get(key, options).await.unwrap();
            let records = truth.get(key.as_bytes()).map_or(&[][..], Vec::as_slice);
            let held = records.iter().rfind(|record| record.index <= at);
            assert_eq!(read.written.map(|written| written.index.get()), held.map(|record| record.index));
            let value =
                held.and_then(|record| record.contents.as_ref()).map(|contents| text(&contents.value));
            assert_eq!(read.value.map(|value| text(&value.value)), value, "{key} as of {at}");
            assert_eq!(of_many.state, read.state);
        }
        let scanned =
            ledger.scan(Query::everything(), options).page_size(2).with_absent().all().await.unwrap();
        let had = truth.iter().filter(|(_, records)| records[0].index <= at);
        let had: Vec<String> = had.map(|(key, _)| text(key)).collect();
        assert_eq!(scanned.iter().map(|entry| text(&entry.key)).collect::<Vec<_>>(), had, "as of {at}");
    }
    let beyond = ledger.get("a", ReadOptions::new().at(LogIndex::new(size))).await.unwrap_err();
    assert!(matches!(beyond, Error::NotFound { .. }), "{beyond}");
}

#[tokio::test]
async fn a_scan_shows_one_moment_while_the_ledger_moves_on() {
    let cluster = Cluster::start().await;
    for number in 0..10 {
        cluster.put(&format!("k/{number}"), "old");
    }
    cluster.put("other", "x");
    let ledger = client(&cluster.all()).ledger("default");
    for reverse in [false, true] {
        let mut scan = ledger.scan(Query::Prefix(b"k/".to_vec()), ReadOptions::new()).page_size(3);
        if reverse {
            scan = scan.reverse();
        }
        let mut shown = Vec::new();
        while let Some(page) = scan.next_page().await.unwrap() {
            shown.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value.unwrap().value)));
            cluster.put("k/5", "old");
            cluster.put(&format!("k/new{reverse}"), "new");
        }
        let mut numbers: Vec<usize> = (0..10).collect();
        if reverse {
            numbers.reverse();
        }
        let shown: Vec<String> =
            shown.iter().filter(|(key, _)| !key.starts_with(b"k/new")).map(|(key, _)| text(key)).collect();
        assert_eq!(shown, numbers.iter().map(|number| format!("k/{number}")).collect::<Vec<_>>());
    }
    let keys =
        ledger.scan(Query::Key(b"other".to_vec()), ReadOptions::new()).keys_only().all().await.unwrap();
    assert!(keys.len() == 1 && keys[0].value.is_none());
    let unverified = ledger.scan(Query::everything(), ReadOptions::new().unverified()).all().await.unwrap();
    assert_eq!(unverified.len(), 13);
}

#[tokio::test]
async fn a_history_has_every_write_in_both_directions_and_as_of_then() {
    let cluster = Cluster::start().await;
    story(&cluster);
    let ledger = client(&cluster.all()).ledger("default");
    for key in ["a", "b", "c", "never"] {
        let (truth, size) = cluster.with(|ledger| (ledger.records(key.as_bytes()).to_vec(), ledger.size()));
        for at in (0..size).map(Some).chain([None]) {
            let options = at.map_or(ReadOptions::new(), |at| ReadOptions::new().at(LogIndex::new(at)));
            let wanted: Vec<u64> = truth
                .iter()
                .filter(|record| at.is_none_or(|at| record.index <= at))
                .map(|record| record.index)
                .collect();
            for page_size in [1, 2, 100] {
                let up = ledger.history(key).oldest_first().page_size(page_size).options(options);
                let up = up.all().await.unwrap();
                assert_eq!(
                    up.iter().map(|entry| entry.index.get()).collect::<Vec<_>>(),
                    wanted,
                    "{key} {at:?}"
                );
                let mut down = ledger.history(key).page_size(page_size).options(options).all().await.unwrap();
                down.reverse();
                assert_eq!(down, up, "{key} as of {at:?}");
            }
        }
    }
    let history = ledger.history("a").oldest_first().all().await.unwrap();
    assert!(history[0].value.is_none() && history[0].erased_at.is_some() && history[0].time.is_some());
    let deleted = ledger.history("b").all().await.unwrap();
    assert_eq!(deleted[0].kind, OpKind::Delete);
}

#[tokio::test]
async fn the_log_is_read_leaf_by_leaf_and_proven() {
    let cluster = Cluster::start().await;
    story(&cluster);
    let ledger = client(&cluster.all()).ledger("default");
    let size = cluster.with(|ledger| ledger.size());
    for from in 0..=size {
        let all: Vec<LogRecord> =
            ledger.transactions(LogIndex::new(from), None, true).try_collect().await.unwrap();
        let indexes: Vec<u64> = all.iter().map(|record| record.index().get()).collect();
        assert_eq!(indexes, (from..size).collect::<Vec<_>>());
    }
    let some: Vec<LogRecord> =
        ledger.transactions(LogIndex::new(1), Some(LogIndex::new(4)), true).try_collect().await.unwrap();
    let LogRecord::Transaction(first) = &some[0] else { panic!("the first transaction") };
    assert_eq!((some.len(), first.author.as_deref(), first.operations.len()), (3, Some("anonymous"), 1));
    let beyond = ledger.transactions(LogIndex::new(size + 1), None, false).try_next().await.unwrap_err();
    assert!(matches!(beyond, Error::NotFound { .. }));
}

#[tokio::test]
async fn transactions_checkpoints_and_proofs_are_found() {
    let cluster = Cluster::start().await;
    let trust = Arc::new(MemoryTrust::new());
    let ledger = client_with(&cluster.all(), trust.clone()).ledger("default");
    let transaction = Transaction::new().put("k", "v").idempotency_key("build-4711");
    let committed = ledger.commit(transaction).await.unwrap();
    let by_index = ledger.transaction(committed.index).await.unwrap();
    let request = TransactionId::Request { author: None, idempotency_key: b"build-4711".to_vec() };
    assert_eq!(ledger.transaction(request).await.unwrap(), by_index);
    assert_eq!(by_index.operations[0].value.as_ref().unwrap().value, "v");
    cluster.put("k", "v2");
    let latest = ledger.checkpoint(CheckpointOptions::latest()).await.unwrap();
    let stored = trust.load(&latest.checkpoint().origin).unwrap().unwrap();
    assert_eq!(stored.checkpoint(), latest.checkpoint());
    let older = ledger.checkpoint(CheckpointOptions::at_size(committed.size)).await.unwrap();
    assert_eq!(older.checkpoint().size, committed.size);
    let proof = ledger.inclusion_proof(committed.index, Some(committed.size)).await.unwrap();
    assert_eq!(proof.checkpoint.checkpoint().size, committed.size);
    assert!(!ledger.consistency_proof(committed.size, None).await.unwrap().is_empty());
    let missing = ledger.transaction(LogIndex::new(0)).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }));
    assert!(ledger.compare_replicas().await.unwrap().agree);
}

#[tokio::test]
async fn ledgers_are_created_and_listed_as_the_registry_proves_them() {
    let cluster = Cluster::start().await;
    let client = client(&cluster.all());
    let info = client.create_ledger("invoices").await.unwrap();
    assert!(info.verified && info.origin == format!("{}/invoices", client.cluster()));
    let names: Vec<String> = client.list_ledgers().await.unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["default", "invoices"]);
    client.ledger("invoices").commit(Transaction::new().put("k", "v")).await.unwrap();
    let unknown = client.ledger("nowhere").get("k", ReadOptions::new()).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { ref reason, .. } if reason == "unknown_ledger"), "{unknown}");
    let invalid = client.ledger("Not A Name").get("k", ReadOptions::new()).await.unwrap_err();
    assert!(matches!(invalid, Error::InvalidArgument { .. }));
    assert_eq!(client.cluster(), &cluster_name());
    assert_eq!(client.status().await.len(), 3);
}

fn cluster_name() -> quorate_core::name::ClusterOrigin {
    cluster()
}

#[tokio::test]
async fn a_known_request_is_answered_with_the_first_answer() {
    let cluster = Cluster::start().await;
    let ledger = client(&cluster.all()).ledger("default");
    let build =
        |value: &'static str| Transaction::new().put("k", value).delete("gone").idempotency_key("build-1");
    cluster.put("gone", "x");
    let first = ledger.commit(build("v")).await.unwrap();
    // Another process: other salts, the same request.
    let again = ledger.commit(build("v")).await.unwrap();
    assert!(again.known && again.index == first.index);
    assert!(again.receipt().unwrap().verify(&ledger.policy().await.unwrap()).is_ok());
    let other = ledger.commit(build("something else")).await.unwrap_err();
    assert!(matches!(other, Error::IdempotencyKeyReused { index } if index == first.index), "{other}");
}

#[tokio::test]
async fn rejections_and_bad_arguments_have_their_details() {
    let cluster = Cluster::start().await;
    let ledger = client(&cluster.all()).ledger("default");
    cluster.put("k", "v");
    let conditional = Transaction::new()
        .put("k", "w")
        .precondition(Precondition::RevisionEquals("k".into(), Some(quorate_client::Revision::new(1))))
        .precondition(Precondition::Absent("k".into()));
    let Error::Rejected(rejection) = ledger.commit(conditional).await.unwrap_err() else {
        panic!("rejected")
    };
    let found = rejection.precondition.unwrap();
    assert_eq!((found.number, found.exists, found.revision.unwrap().get()), (1, true, 1));
    for (transaction, field) in [
        (Transaction::new(), "writes"),
        (Transaction::new().put("", "v"), "writes[0].put.key"),
        (Transaction::new().put("a", "v").delete("a"), "writes[1].delete.key"),
        (Transaction::new().put("a", "v").idempotency_key(""), "idempotency_key"),
    ] {
        let error = ledger.commit(transaction).await.unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { field: ref got, .. } if got == field), "{error}");
    }
}

#[tokio::test]
async fn a_committed_write_needs_no_checkpoint_and_gives_no_receipt() {
    let cluster = Cluster::start().await;
    let ledger = client(&cluster.all()).ledger("default");
    let committed = ledger.commit(Transaction::new().put("k", "v").wait(Wait::Committed)).await.unwrap();
    assert!(committed.receipt().is_none() && committed.checkpoint.is_none());
    let expired = PutOptions::new().expires_at(Micros::new(1));
    ledger
        .commit(Transaction::new().put_with("k", "v", expired).timeout(Duration::from_secs(2)))
        .await
        .unwrap();
    assert_eq!(ledger.get("k", ReadOptions::new()).await.unwrap().state, KeyState::Expired);
}

#[tokio::test]
async fn many_calls_at_once_are_all_believed_and_end_on_one_line() {
    let cluster = Cluster::start().await;
    let trust = Arc::new(MemoryTrust::new());
    let client = client_with(&cluster.all(), trust.clone());
    let ledger = client.ledger("default");
    let calls = (0..200).map(|number| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let key = format!("k/{number}");
            let committed = ledger.commit(Transaction::new().put(key.clone(), "v")).await?;
            let read = ledger.get(key, ReadOptions::new()).await?;
            assert_eq!(read.value.unwrap().index, committed.index);
            Ok::<_, Error>(())
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    client.flush().await.unwrap();
    let origin = cluster.with(|ledger| ledger.checkpoint(ledger.size()).origin);
    let size = cluster.with(|ledger| ledger.size());
    assert_eq!(trust.load(&origin).unwrap().unwrap().checkpoint().size.get(), size);
}

#[test]
fn a_policy_of_two_clusters_or_none_is_refused() {
    let none = quorate_client::Policy::parse("quorum none\n").unwrap();
    let error = quorate_client::Client::builder().endpoints(["http://a:1"]).policy(none).build().unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    let error = quorate_client::Client::builder().policy(policy(2)).build().unwrap_err();
    assert!(error.to_string().contains("endpoints"));
}

#[tokio::test]
async fn a_first_contact_is_told_and_can_be_refused() {
    let cluster = Cluster::start().await;
    cluster.put("k", "v");
    let folder = tempfile::tempdir().unwrap();
    let builder = |known_only: bool| {
        let trust = Arc::new(quorate_client::FileTrust::open(folder.path()).unwrap());
        let builder = Client::builder()
            .endpoints(cluster.nodes.iter().map(|node| node.endpoint()))
            .policy(crate::support::model::policy(2))
            .trust(trust);
        if known_only { builder.known_only() } else { builder }.build().unwrap()
    };
    let refused = builder(true).ledger("default").get("k", ReadOptions::new()).await.unwrap_err();
    assert!(matches!(refused, Error::TrustStore(TrustError::FirstContact { .. })), "{refused}");
    let first = builder(false);
    first.ledger("default").get("k", ReadOptions::new()).await.unwrap();
    let met: Vec<String> = first.first_contacts().into_iter().map(|met| met.origin).collect();
    assert_eq!(met.len(), 2, "the ledger, and _system where its key was looked up: {met:?}");
    let again = builder(true);
    again.ledger("default").get("k", ReadOptions::new()).await.unwrap();
    assert!(again.first_contacts().is_empty());
}

#[tokio::test]
async fn nothing_is_frozen_while_a_replica_is_older_than_frozen_ledgers() {
    // The replicas of these tests do not say which documents they know, like versions before there were any.
    let cluster = Cluster::start().await;
    let refused = client(&cluster.all()).admin().freeze("default", "", None).await.unwrap_err();
    let Error::Rejected(rejection) = refused else { panic!("{refused}") };
    assert_eq!(rejection.reason, "older_version");
    assert!(rejection.message.contains("upgrade every node first"), "{}", rejection.message);
}
