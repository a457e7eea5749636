//! kill -9 of the leader, ten times in turn, while clients write: nothing acknowledged is lost, nothing is there twice,
//! and all replicas have the same roots at every common size. Then the oracle recomputes all of it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
use quorate_client::{Client, LogRecord, ReadOptions, Transaction};
use quorate_core::position::LogIndex;
use quorate_tests::{cluster::Cluster, http, oracle};

const KILLS: u64 = 10;
const WRITERS: u64 = 4;

/// What was acknowledged: key → (index, value).
type Acknowledged = Arc<Mutex<BTreeMap<String, (u64, String)>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_killed_leaders_lose_nothing() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client("trust");
    let acknowledged = Acknowledged::default();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            tokio::spawn(write(client.clone(), writer, Arc::clone(&acknowledged), Arc::clone(&stop)))
        })
        .collect();
    let mut killed = Vec::new();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let leader = cluster.leader(&client).await;
        let before = acknowledged.lock().unwrap().len();
        cluster.kill(leader);
        killed.push(leader);
        wait_for_more(&acknowledged, before + 1).await;
        cluster.start_node(leader);
        cluster.wait_ready();
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 50, "only {} writes were acknowledged", acknowledged.len());
    println!("{} acknowledged writes, killed leaders {killed:?}", acknowledged.len());
    check_acknowledged(&client, &acknowledged).await;
    check_replicas(&cluster, &client).await;
}

async fn write(client: Client, writer: u64, acknowledged: Acknowledged, stop: Arc<AtomicBool>) {
    let ledger = client.ledger("default");
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (key, value) = (format!("writer-{writer}/{n}"), format!("value {n} of {writer}"));
        let transaction = Transaction::new().put(key.clone(), value.clone()).timeout(Duration::from_secs(30));
        let committed = ledger.commit(transaction).await.unwrap();
        acknowledged.lock().unwrap().insert(key, (committed.index.get(), value));
    }
}

async fn wait_for_more(acknowledged: &Acknowledged, count: usize) {
    for _ in 0..600 {
        if acknowledged.lock().unwrap().len() > count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no write was acknowledged within 30 s after the leader was killed");
}

/// Every acknowledged write is there, once, at its index, with its value.
async fn check_acknowledged(client: &Client, acknowledged: &BTreeMap<String, (u64, String)>) {
    let ledger = client.ledger("default");
    let records: Vec<LogRecord> =
        ledger.transactions(LogIndex::new(0), None, true).try_collect().await.unwrap();
    let mut found: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        assert_eq!(record.index().get(), at as u64, "the log has a gap");
        let LogRecord::Transaction(transaction) = record else {
            continue;
        };
        for operation in &transaction.operations {
            let value = operation.value.as_ref().map(|v| String::from_utf8_lossy(&v.value).into_owned());
            let key = String::from_utf8_lossy(&operation.key).into_owned();
            found.entry(key).or_default().push((transaction.index.get(), value.unwrap_or_default()));
        }
    }
    for (key, expected) in acknowledged {
        assert_eq!(found.get(key).map(Vec::as_slice), Some(std::slice::from_ref(expected)), "{key}");
    }
    let last = acknowledged.keys().last().unwrap();
    let read = ledger.get(last, ReadOptions::new()).await.unwrap();
    assert_eq!(read.value.unwrap().value, acknowledged[last].1.as_bytes());
}

/// The oracle recomputes all log roots from what each replica serves over HTTP, and all state roots from the operations.
async fn check_replicas(cluster: &Cluster, client: &Client) {
    let records: Vec<LogRecord> =
        client.ledger("default").transactions(LogIndex::new(0), None, false).try_collect().await.unwrap();
    let mut roots = Vec::new();
    for (id, node) in &cluster.nodes {
        let note = http::get(node.http, "/default/checkpoint").unwrap();
        assert_eq!(note.status, 200, "node {id}");
        let checkpoint = oracle::checkpoint_of(&String::from_utf8(note.body).unwrap()).unwrap();
        let leaves = fetch_leaves(node.http, checkpoint.size.get());
        let recomputed = oracle::log_roots(&oracle::leaf_hashes(&leaves));
        assert_eq!(recomputed[leaves.len()], checkpoint.root, "node {id} at size {}", leaves.len());
        check_tiles(node.http, &leaves);
        check_states(&leaves, &records);
        roots.push(recomputed);
    }
    let common = roots.iter().map(Vec::len).min().unwrap();
    assert!(common > 50, "the replicas have only {common} sizes in common");
    for pair in roots.windows(2) {
        assert_eq!(pair[0][..common], pair[1][..common], "one root per size, on all replicas");
    }
}

fn fetch_leaves(http: std::net::SocketAddr, size: u64) -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    for n in 0..size.div_ceil(256) {
        let width = (size - n * 256).min(256);
        let partial = if width == 256 { String::new() } else { format!(".p/{width}") };
        let answer = http::get(http, &format!("/default/tile/entries/{n:03}{partial}")).unwrap();
        assert_eq!(answer.status, 200, "bundle {n} of width {width}");
        leaves.extend(oracle::split_bundle(&answer.body).unwrap());
    }
    assert_eq!(leaves.len() as u64, size);
    leaves
}

fn check_tiles(http: std::net::SocketAddr, leaves: &[Vec<u8>]) {
    let hashes = oracle::leaf_hashes(leaves);
    for (n, expected) in hashes.chunks(256).enumerate() {
        let partial = if expected.len() == 256 { String::new() } else { format!(".p/{}", expected.len()) };
        let answer = http::get(http, &format!("/default/tile/0/{n:03}{partial}")).unwrap();
        let expected: Vec<u8> = expected.iter().flat_map(|hash| hash.as_bytes().to_vec()).collect();
        assert_eq!(answer.body, expected, "tile {n} of level 0");
    }
}

/// Every operation under its `ops_root`, every state root from the operations alone.
fn check_states(leaves: &[Vec<u8>], records: &[LogRecord]) {
    use quorate_core::entry::{Leaf, Operation};
    let mut state = oracle::State::default();
    for (index, leaf) in leaves.iter().enumerate() {
        match Leaf::decode(leaf).unwrap() {
            Leaf::Transaction(leaf) => {
                let LogRecord::Transaction(record) = &records[index] else { panic!("leaf {index} differs") };
                let operations: Vec<Vec<u8>> = record
                    .operations
                    .iter()
                    .map(|o| {
                        let operation = Operation {
                            kind: o.kind,
                            revision: o.revision,
                            prev_index: o.prev_index,
                            expires_at: o.expires_at,
                            value_len: o.value_len,
                            value_digest: o.value_digest,
                            key: o.key.to_vec(),
                        };
                        operation.encode()
                    })
                    .collect();
                assert_eq!(
                    oracle::log_root(&oracle::leaf_hashes(&operations)),
                    leaf.ops_root,
                    "ops of {index}"
                );
                operations.iter().for_each(|operation| state.write(index as u64, operation));
            }
            Leaf::Commit(leaf) => assert_eq!(state.root(), leaf.state_root, "state at {index}"),
            Leaf::Opaque(_) => panic!("leaf {index} is of an unknown kind"),
        }
    }
    assert!(!state.is_empty());
}
