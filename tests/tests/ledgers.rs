//! Many named ledgers in one cluster, written all at once while a leader is killed: each keeps a history of its own that
//! follows from its entries on every replica, and the registry in `_system` lists them all.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, time::Duration};

use quorate_client::{Client, Error, LogRecord, ReadOptions, Transaction};
use quorate_tests::{audit, cluster::Cluster};

const LEDGERS: usize = 40;
/// Ledgers that share a client.
const PER_CLIENT: usize = 8;
/// Writes to each ledger, half of them after a leader was killed.
const WRITES: usize = 12;

fn name(number: usize) -> String {
    // Names of all lengths, and some that are the beginning of another.
    format!("team-{}{}", number, ".log".repeat(number % 4))
}

/// Creates and writes the ledgers of one client, all at once.
async fn write(client: &Client, numbers: std::ops::Range<usize>, first: usize, to: usize) {
    let one = async |number: usize| {
        let ledger = client.ledger(name(number));
        for n in first..to {
            let transaction = Transaction::new()
                .put(format!("entry/{n}"), format!("{n} of {number}"))
                .put("latest", n.to_string())
                .timeout(Duration::from_secs(40));
            let committed = ledger.commit(transaction).await.unwrap();
            assert_eq!(committed.revisions[0].get(), 1, "a key of another ledger has the same name");
        }
    };
    futures::future::join_all(numbers.map(one)).await;
}

async fn refusals(client: &Client) {
    for (bad, says) in [
        (name(0), "a name is never used twice"),
        ("_system".to_owned(), "belongs to the cluster itself"),
        ("default".to_owned(), "a name is never used twice"),
        (String::new(), "expected 1 to 64 characters"),
        ("Team".to_owned(), "expected 1 to 64 characters"),
        (".hidden".to_owned(), "the first a letter or a digit"),
        ("a/b".to_owned(), "expected 1 to 64 characters"),
        ("node".to_owned(), "not the word \"node\""),
        ("n".repeat(65), "expected 1 to 64 characters"),
    ] {
        let error = client.create_ledger(&bad).await.unwrap_err();
        assert!(error.to_string().contains(says), "{bad:?}: {error}");
        match error {
            Error::Rejected(rejection) => assert_eq!(rejection.reason, "ledger_exists", "{bad:?}"),
            Error::InvalidArgument { field, .. } => assert!(field.contains("ledger"), "{bad:?}: {field}"),
            Error::Denied { .. } => assert_eq!(bad, "_system"),
            other => panic!("{bad:?}: {other}"),
        }
    }
    let nowhere = client.ledger("nowhere").get("k", ReadOptions::new()).await.unwrap_err();
    assert!(
        matches!(nowhere, Error::NotFound { .. }) && nowhere.to_string().contains("nowhere"),
        "{nowhere}"
    );
}

/// That the registry lists exactly these, proven. It is a ledger itself, and does not list itself.
async fn check_registry(client: &Client) {
    let expected: BTreeSet<String> = (0..LEDGERS).map(name).chain(["default".to_owned()]).collect();
    let listed = client.list_ledgers().await.unwrap();
    assert!(listed.iter().all(|info| info.verified), "{listed:?}");
    let origins: BTreeSet<&str> = listed.iter().map(|info| info.origin.as_str()).collect();
    let keys: BTreeSet<&str> = listed.iter().map(|info| info.log_vkey.as_str()).collect();
    assert_eq!((origins.len(), keys.len()), (listed.len(), listed.len()), "each has an origin and a key");
    assert_eq!(listed.into_iter().map(|info| info.name).collect::<BTreeSet<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_ledgers_each_keep_a_history_of_their_own() {
    let mut cluster = Cluster::start(3);
    let clients: Vec<Client> =
        (0..LEDGERS / PER_CLIENT).map(|n| cluster.client(&format!("trust-{n}"))).collect();
    let of = |client: usize| client * PER_CLIENT..(client + 1) * PER_CLIENT;
    let create = async |client: usize| {
        for number in of(client) {
            clients[client].create_ledger(&name(number)).await.unwrap();
        }
        write(&clients[client], of(client), 0, WRITES / 2).await;
    };
    futures::future::join_all((0..clients.len()).map(create)).await;

    let leader = cluster.leader(&clients[0]).await;
    let writers = (0..clients.len()).map(|client| {
        let (own, client) = (clients[client].clone(), of(client));
        tokio::spawn(async move { write(&own, client, WRITES / 2, WRITES).await })
    });
    let writers: Vec<_> = writers.collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.kill(leader);
    for writer in writers {
        writer.await.unwrap();
    }
    cluster.start_node(leader);
    cluster.wait_ready();
    refusals(&clients[0]).await;
    check_registry(&cluster.client("trust of a newcomer")).await;
    for number in 0..LEDGERS {
        check_ledger(&cluster, &clients[number / PER_CLIENT], &name(number), number).await;
    }
    audit::replicas(&cluster, &clients[0], "_system").await;
    let untouched = audit::replicas(&cluster, &clients[0], "default").await;
    assert_eq!(untouched.leaves.len(), 1, "something was written to another ledger");
}

/// Every write once, in its own ledger, and all of it follows on all replicas.
async fn check_ledger(cluster: &Cluster, client: &Client, name: &str, number: usize) {
    use futures::TryStreamExt as _;
    audit::replicas(cluster, client, name).await;
    let ledger = client.ledger(name);
    let records: Vec<LogRecord> =
        ledger.transactions(quorate_client::LogIndex::new(0), None, true).try_collect().await.unwrap();
    let mut written = Vec::new();
    for record in &records {
        let LogRecord::Transaction(transaction) = record else { continue };
        written
            .extend(transaction.operations.iter().filter_map(|o| o.value.as_ref()).map(|v| v.value.clone()));
    }
    let expected = (0..WRITES).flat_map(|n| [format!("{n} of {number}"), n.to_string()]);
    assert_eq!(written, expected.collect::<Vec<_>>(), "{name}");
}
