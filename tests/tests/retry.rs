//! A request that is sent again is not executed again: the same idempotency key gives the same index, the same leaf and
//! a receipt that verifies offline, whatever happened to the cluster in between. Another request under the same key
//! is refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use quorate_client::{
    Client, Committed, Error, Micros, Precondition, Receipt, Transaction, TransactionId, VerifiedReceipt,
};
use quorate_tests::{audit, clock, cluster::Cluster};

const NAME: &str = "build-4711";

/// The node that misses the request, and leads later.
const LATE: u64 = 3;

/// A request that would be refused if it were executed twice: it asks that its first key has no value.
fn request(not_after: Micros) -> Transaction {
    Transaction::new()
        .put("build/4711", "passed")
        .put("build/latest", "4711")
        .precondition(Precondition::Absent("build/4711".into()))
        .idempotency_key(NAME)
        .not_after(not_after)
}

/// What must be the same each time.
#[derive(Debug, PartialEq)]
struct Answer {
    index: u64,
    leaf: Vec<u8>,
    revisions: Vec<u64>,
}

/// The answer, with its receipt verified as somebody does who has but the file and the policy.
fn verified(cluster: &Cluster, committed: &Committed) -> Answer {
    let file = committed.receipt().unwrap().to_string();
    let receipt = Receipt::parse(&file).unwrap();
    let VerifiedReceipt::Transaction(proven) = receipt.verify(&cluster.policy()).unwrap() else {
        panic!("a receipt of a write proves a transaction");
    };
    assert_eq!(proven.transaction().index(), committed.index);
    let keys: Vec<_> = proven.transaction().operations().iter().map(|o| o.operation().key.clone()).collect();
    assert_eq!(keys, [b"build/4711".to_vec(), b"build/latest".to_vec()]);
    Answer {
        index: committed.index.get(),
        leaf: receipt.extra().leaf.clone(),
        revisions: committed.revisions.iter().map(|revision| revision.get()).collect(),
    }
}

/// Sends the request through this client and a new one, and checks that both get the first answer.
async fn ask_again(cluster: &Cluster, client: &Client, not_after: Micros, first: &Answer, when: &str) {
    let newcomer = cluster.client(&format!("trust {when}"));
    for client in [client, &newcomer] {
        let again = client.ledger("default").commit(request(not_after)).await;
        let again = again.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert!(again.known, "{when}: it was executed again");
        assert_eq!(verified(cluster, &again), *first, "{when}");
    }
    let id = TransactionId::Request { author: None, idempotency_key: NAME.into() };
    let record = client.ledger("default").transaction(id).await.unwrap();
    assert_eq!(record.index.get(), first.index, "{when}");
}

/// A cluster in which node 3 is by far the first to ask for an election.
fn cluster() -> Cluster {
    Cluster::start_with(3, |text| match text.contains("id = 3\n") {
        true => text,
        false => text
            .replace("election_min_ms = 400", "election_min_ms = 1500")
            .replace("election_max_ms = 800", "election_max_ms = 2000"),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_has_one_answer_for_ever() {
    let mut cluster = cluster();
    let client = cluster.client("trust");
    let not_after = Micros::new(clock::micros_from_now(Duration::from_secs(600)));
    cluster.kill(LATE);
    let ledger = client.ledger("default");
    let committed = ledger.commit(request(not_after).timeout(Duration::from_secs(30))).await.unwrap();
    assert!(!committed.known);
    let first = verified(&cluster, &committed);
    ask_again(&cluster, &client, not_after, &first, "before any failover").await;

    cluster.start_node(LATE);
    cluster.wait_ready();
    let leader = cluster.leader(&client).await;
    assert_ne!(leader, LATE, "the node that comes back does not depose the leader");
    cluster.kill(leader);
    let crowd = (0..8).map(|_| ledger.commit(request(not_after)));
    for again in futures::future::join_all(crowd).await {
        assert_eq!(verified(&cluster, &again.unwrap()), first, "while there was no leader");
    }
    assert_eq!(cluster.leader(&client).await, LATE, "the node that missed the request leads");
    ask_again(&cluster, &client, not_after, &first, "when the node leads that missed it").await;

    cluster.start_node(leader);
    cluster.wait_ready();
    for id in 1..=3 {
        cluster.kill(id);
    }
    for id in 1..=3 {
        cluster.start_node(id);
    }
    cluster.wait_ready();
    ask_again(&cluster, &client, not_after, &first, "after all nodes were killed and started").await;
    another_request_is_refused(&cluster, &client, &first).await;
    let log = audit::replicas(&cluster, &client, "default").await;
    assert_eq!(log.leaves.len(), 3, "one block of birth, one transaction and its commit");
}

/// Under the same key, anything that was not asked the first time is an error that names the first transaction.
async fn another_request_is_refused(cluster: &Cluster, client: &Client, first: &Answer) {
    let put = |key: &'static str, value: &'static str| Transaction::new().put(key, value);
    let others = [
        ("another value", put("build/4711", "failed").put("build/latest", "4711")),
        ("another key", put("build/4712", "passed").put("build/latest", "4711")),
        ("another order", put("build/latest", "4711").put("build/4711", "passed")),
        ("fewer writes", put("build/4711", "passed")),
        ("more writes", put("build/4711", "passed").put("build/latest", "4711").put("more", "")),
        ("a delete for a put", put("build/4711", "passed").delete("build/latest")),
    ];
    for (what, transaction) in others {
        match client.ledger("default").commit(transaction.idempotency_key(NAME)).await {
            Err(Error::IdempotencyKeyReused { index }) => assert_eq!(index.get(), first.index, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(cluster.size("default"), 3, "{what} wrote something");
    }
    let elsewhere = client.create_ledger("elsewhere").await.unwrap();
    let free = client.ledger(elsewhere.name).commit(put("build/4711", "other").idempotency_key(NAME)).await;
    assert!(!free.unwrap().known, "a key is known per ledger");
}
