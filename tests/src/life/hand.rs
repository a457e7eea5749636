//! Writers that verify every answer, keep each receipt, and note how long they waited.
//!
//! Each writes one key, waits until it is certified, and goes on; the number of its write is all that its next key and
//! value depend on. Receipts go to a file: a life has more of them than memory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use quorate_client::{Client, Policy, Receipt, Transaction};
use tokio::task::JoinHandle;

use super::{
    account::{Open, per_second, percent},
    plan::Key,
};
use crate::clock::now;

/// How long a write may take: elections and changes of members are in it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A write that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    /// What was written.
    pub(crate) key: Key,
    /// Its log index.
    pub(crate) index: u64,
    /// The policy by which it was believed.
    policy: Arc<Policy>,
    began: Instant,
    ended: Instant,
    /// Where its receipt is.
    at: u64,
    len: usize,
}

/// Writers at work.
#[derive(Debug)]
pub(crate) struct Hands {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    kept: Mutex<Kept>,
    count: AtomicUsize,
    stop: AtomicBool,
}

/// What was acknowledged, in the order of the answers, with the receipts.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) writes: Vec<Acknowledged>,
    receipts: File,
    end: u64,
}

/// What writers saw in a span of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    writes: u64,
    span: Duration,
    /// The longest that one of them waited for an answer.
    pub(crate) pause: Duration,
    /// Of a hundred, 99 did not take longer.
    p99: Duration,
}

impl Hands {
    /// So many writers, who write until they are stopped.
    pub(crate) fn start(client: Client, count: u64, receipts: &Path) -> Self {
        let receipts = File::options().create_new(true).read(true).write(true).open(receipts);
        let receipts = receipts.expect("a file for receipts");
        let shared = Arc::new(Shared {
            client,
            kept: Mutex::new(Kept { writes: Vec::new(), receipts, end: 0 }),
            count: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let tasks = (0..count).map(|writer| tokio::spawn(write(Arc::clone(&shared), writer))).collect();
        Self { shared, tasks }
    }

    /// How many writes were acknowledged so far.
    pub(crate) fn count(&self) -> usize {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Waits until `more` writes were acknowledged from now on.
    pub(crate) async fn wait_for(&self, more: usize) {
        let wanted = self.count() + more;
        let start = now();
        while self.count() < wanted {
            assert!(now() - start < PATIENCE, "no {more} writes were acknowledged within {PATIENCE:?}");
            assert!(self.tasks.iter().all(|task| !task.is_finished()), "a writer stopped: see above");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the writers saw from then until now. A write that is not answered yet counts with the time it has waited,
    /// once it is answered: ask when there was an answer since.
    pub(crate) fn seen(&self, from: Instant, to: Instant) -> Seen {
        let kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Seen::of(&kept.writes, from, to)
    }

    /// Stops the writers; gives what was acknowledged.
    pub(crate) async fn stop(self) -> Kept {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("every write is acknowledged in the end, and believed");
        }
        Arc::into_inner(self.shared)
            .map(|shared| shared.kept.into_inner().unwrap_or_else(PoisonError::into_inner))
            .expect("nobody writes any more")
    }
}

impl Seen {
    fn of(writes: &[Acknowledged], from: Instant, to: Instant) -> Self {
        // Answers come in the order in which they are kept, but for moments.
        let recent = writes.iter().rev().take_while(|write| write.ended + PATIENCE > from);
        let within: Vec<&Acknowledged> =
            recent.filter(|write| write.ended >= from && write.began <= to).collect();
        let mut waits: Vec<Duration> = within.iter().map(|write| write.ended - write.began).collect();
        waits.sort_unstable();
        let answered = within.iter().filter(|write| write.ended <= to).count();
        Self {
            writes: u64::try_from(answered).unwrap_or(u64::MAX),
            span: to - from,
            pause: waits.last().copied().unwrap_or_default(),
            p99: waits.get(waits.len() * 99 / 100).copied().unwrap_or_default(),
        }
    }

    /// Writes a second.
    pub(crate) fn rate(&self) -> u64 {
        per_second(self.writes, self.span)
    }

    /// Tells it.
    pub(crate) fn tell(&self, step: &mut Open) {
        step.note("verified_writes", self.writes);
        step.note("verified_writes_per_second", self.rate());
        step.note("p99_of_a_write_ms", self.p99.as_millis());
        step.note("longest_pause_of_a_writer_ms", self.pause.as_millis());
    }

    /// Tells it, beside what they saw when nothing else happened.
    pub(crate) fn tell_beside(&self, step: &mut Open, quiet: &Self) {
        self.tell(step);
        step.note("percent_of_the_quiet_rate", percent(self.rate(), quiet.rate()));
    }
}

impl Kept {
    /// The receipt of a write.
    pub(crate) fn receipt(&self, write: &Acknowledged) -> String {
        let mut bytes = vec![0; write.len];
        self.receipts.read_exact_at(&mut bytes, write.at).expect("receipts can be read again");
        String::from_utf8(bytes).expect("receipts are text")
    }

    /// Verifies every receipt offline, by the policy that was in force; gives the policies, and how many receipts were
    /// verified by each.
    pub(crate) fn verify_receipts(&self) -> Vec<(Arc<Policy>, usize)> {
        let mut policies: BTreeMap<String, (Arc<Policy>, usize)> = BTreeMap::new();
        for write in &self.writes {
            let known = policies.entry(write.policy.to_string());
            known.or_insert_with(|| (Arc::clone(&write.policy), 0)).1 += 1;
        }
        let middle = self.writes.len() / 2;
        std::thread::scope(|scope| {
            for half in [&self.writes[..middle], &self.writes[middle..]] {
                scope.spawn(move || half.iter().for_each(|write| self.verify(write)));
            }
        });
        policies.into_values().collect()
    }

    fn verify(&self, write: &Acknowledged) {
        let receipt = Receipt::parse(&self.receipt(write)).expect("a receipt that was kept is one");
        let verified = receipt.verify(&write.policy);
        assert!(verified.is_ok(), "the receipt of {}: {:?}", write.key.name(), verified.err());
    }

    /// Some of the writes, from the first to the last, evenly spread.
    pub(crate) fn some(&self, count: usize) -> Vec<&Acknowledged> {
        let step = (self.writes.len() / count.max(1)).max(1);
        self.writes.iter().step_by(step).chain(self.writes.last()).collect()
    }
}

impl Acknowledged {
    /// The policy by which it was believed.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }
}

async fn write(shared: Arc<Shared>, writer: u64) {
    let ledger = shared.client.ledger("default");
    for number in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let key = Key::Written { writer, number };
        let transaction = Transaction::new().put(key.name(), key.value()).timeout(PATIENCE);
        let before = shared.client.policy();
        let began = now();
        let committed = ledger.commit(transaction).await.expect("a write is acknowledged and believed");
        let ended = now();
        let receipt = committed.receipt().expect("a certified write has a receipt");
        let after = shared.client.policy();
        // While the answer came, the client may have followed a change of the replicas: one of the two was it believed by.
        let policy =
            if Arc::ptr_eq(&before, &after) || receipt.verify(&after).is_ok() { after } else { before };
        let receipt = receipt.to_string();
        let mut kept = shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.end;
        kept.receipts.seek(SeekFrom::Start(at)).expect("receipts can be kept");
        kept.receipts.write_all(receipt.as_bytes()).expect("receipts can be kept");
        kept.end = at + u64::try_from(receipt.len()).unwrap_or_default();
        let index = committed.index.get();
        kept.writes.push(Acknowledged { key, index, policy, began, ended, at, len: receipt.len() });
        shared.count.fetch_add(1, Ordering::Relaxed);
    }
}
