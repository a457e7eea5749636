//! Power cuts under writes: disks that lose whatever was not synced, again and again. No write that was acknowledged is lost,
//! with one of three nodes cut and with all three at once.
//!
//! `QUORATE_POWER_CUTS` sets how many rounds there are.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_client::{Client, ReadOptions, Transaction};
use quorate_tests::{
    audit,
    cluster::{Cluster, small_logs},
    disk::{self, Disk},
};

/// Writers at once.
const WRITERS: u64 = 6;

fn rounds(default: u64) -> u64 {
    std::env::var("QUORATE_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What was acknowledged: key and index.
type Acknowledged = Arc<Mutex<BTreeMap<String, u64>>>;

/// Clients that write until they are stopped. A write without an answer is repeated under the same name, so each key is
/// written once.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Acknowledged,
    writers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Acknowledged::default());
        let number = Arc::new(AtomicU64::new(0));
        let writers = (0..WRITERS).map(|_| {
            let (client, stop, acknowledged) = (client.clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
            let number = Arc::clone(&number);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("key {}", number.fetch_add(1, Ordering::Relaxed));
                    write(&client, &key, &acknowledged).await;
                }
            })
        });
        let writers = writers.collect();
        Self { stop, acknowledged, writers }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until so many more writes were acknowledged.
    async fn advance(&self, more: usize) {
        let wanted = self.count() + more;
        for _ in 0..600 {
            if self.count() >= wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} writes, {wanted} expected: the cluster does not go on", self.count());
    }

    async fn end(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        futures::future::join_all(self.writers).await;
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

async fn write(client: &Client, key: &str, acknowledged: &Acknowledged) {
    let value = vec![b'v'; 300];
    for _ in 0..30 {
        let write = Transaction::new().put(key.to_owned(), value.clone()).idempotency_key(key);
        let write = write.timeout(Duration::from_secs(10));
        if let Ok(committed) = client.ledger("default").commit(write).await {
            acknowledged.lock().unwrap().insert(key.to_owned(), committed.index.get());
            return;
        }
    }
    panic!("{key} was never acknowledged");
}

/// A cluster whose nodes have disks that can be cut.
fn cluster() -> (Cluster, BTreeMap<u64, Disk>) {
    let mut disks = BTreeMap::new();
    let cluster = Cluster::start_after(3, small_logs, |cluster| {
        disks = (1..=3).map(|id| (id, Disk::of(cluster, id, 1_000))).collect();
    });
    (cluster, disks)
}

/// All that was acknowledged is there, once, where it was said to be; all replicas are right to the byte.
async fn check(cluster: &Cluster, client: &Client, acknowledged: &BTreeMap<String, u64>) {
    let ledger = client.ledger("default");
    for (key, index) in acknowledged {
        let read = ledger.get(key, ReadOptions::new()).await.unwrap().value;
        let read = read.unwrap_or_else(|| panic!("{key} was acknowledged at {index} and is gone"));
        assert_eq!((read.index.get(), read.revision.get()), (*index, 1), "{key}");
    }
    audit::replicas(cluster, client, "default").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_one_node_loses_power() {
    if !disk::available("nothing_acknowledged_is_lost_when_one_node_loses_power") {
        return;
    }
    let (mut cluster, disks) = cluster();
    let client = cluster.client("trust");
    let load = Load::start(&client);
    for round in 0..rounds(3) {
        load.advance(60).await;
        let leader = cluster.leader(&client).await;
        // The leader and the others in turn.
        let victim = if round % 2 == 0 { leader } else { leader % 3 + 1 };
        disks[&victim].cut_power();
        cluster.kill(victim);
        load.advance(20).await;
        disks[&victim].power_up();
        cluster.start_node(victim);
        cluster.wait_ready();
    }
    load.advance(20).await;
    let acknowledged = load.end().await;
    check(&cluster, &client, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_all_nodes_lose_power_at_once() {
    if !disk::available("nothing_acknowledged_is_lost_when_all_nodes_lose_power_at_once") {
        return;
    }
    let (mut cluster, disks) = cluster();
    let client = cluster.client("trust");
    let load = Load::start(&client);
    for _ in 0..rounds(3) {
        load.advance(60).await;
        for disk in disks.values() {
            disk.cut_power();
        }
        for id in 1..=3 {
            cluster.kill(id);
        }
        for (id, disk) in &disks {
            disk.power_up();
            cluster.start_node(*id);
        }
        cluster.wait_ready();
    }
    load.advance(20).await;
    let acknowledged = load.end().await;
    check(&cluster, &client, &acknowledged).await;
}
