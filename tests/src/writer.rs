//! Writers that verify every answer, and what was acknowledged to them: all of it has to be there, once, at its index.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
use quorate_client::{Client, LogRecord, ReadOptions, Transaction};
use quorate_core::position::LogIndex;
use tokio::task::JoinHandle;

/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Key → (index, value) of what was acknowledged.
pub type Acknowledged = BTreeMap<String, (u64, String)>;

/// Writers at work.
#[derive(Debug)]
pub struct Writers {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    client: Mutex<Client>,
    acknowledged: Mutex<Acknowledged>,
    stop: AtomicBool,
}

impl Writers {
    /// So many writers, each writing one key after the other to the ledger `default`.
    pub fn start(client: Client, count: u64) -> Self {
        let shared = Arc::new(Shared {
            client: Mutex::new(client),
            acknowledged: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let tasks = (0..count).map(|writer| tokio::spawn(write(Arc::clone(&shared), writer))).collect();
        Self { shared, tasks }
    }

    /// From its next write on, every writer uses this client.
    pub fn switch(&self, client: Client) {
        *self.shared.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// How many writes were acknowledged so far.
    pub fn count(&self) -> usize {
        self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until more than `count` writes were acknowledged.
    ///
    /// # Panics
    /// If that takes longer than a write may take.
    pub async fn wait_for_more(&self, count: usize) {
        for _ in 0..600 {
            if self.count() > count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no write was acknowledged within {PATIENCE:?}");
    }

    /// Stops the writers; gives what was acknowledged to them.
    ///
    /// # Panics
    /// If a writer was refused, did not believe an answer, or waited for too long.
    pub async fn stop(self) -> Acknowledged {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("every write is acknowledged in the end, and believed");
        }
        self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn write(shared: Arc<Shared>, writer: u64) {
    for n in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let ledger = shared.client.lock().unwrap_or_else(PoisonError::into_inner).ledger("default");
        let (key, value) = (format!("writer-{writer}/{n}"), format!("value {n} of {writer}"));
        let transaction = Transaction::new().put(key.clone(), value.clone()).timeout(PATIENCE);
        let committed = ledger.commit(transaction).await.expect("a write is acknowledged and believed");
        let mut acknowledged = shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.insert(key, (committed.index.get(), value));
    }
}

/// Checks that every acknowledged write is there, once, at its index, with its value.
///
/// # Panics
/// If one is not.
pub async fn check(client: &Client, acknowledged: &Acknowledged) {
    let ledger = client.ledger("default");
    let records = ledger.transactions(LogIndex::new(0), None, true).try_collect::<Vec<LogRecord>>().await;
    let mut found: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for (at, record) in (0..).zip(records.expect("the log can be read and is believed")) {
        assert_eq!(record.index().get(), at, "the log has a gap");
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
    if let Some((last, (_, value))) = acknowledged.last_key_value() {
        let read = ledger.get(last, ReadOptions::new()).await.expect("a read that is believed");
        assert_eq!(read.value.map(|value| value.value.to_vec()), Some(value.clone().into_bytes()));
    }
}
