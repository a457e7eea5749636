//! The one thread that makes writes durable and tells those who wait.
//!
//! Writers put their batch into RocksDB without sync and queue a [`Work`]. The thread takes everything
//! queued, syncs the write-ahead log once, raises the floor, and only then completes the work, in order:
//! under load many appends, votes and records share one sync. *Crash here:* between the sync and the
//! floor, the disk holds more than was promised, which is always allowed; nobody was told yet.
//!
//! An error of a sync is never retried: after it the kernel may have dropped the pages and report the
//! next sync as good. The process stops ([`crate::abort::fatal`]).

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::JoinHandle,
};

use rocksdb::{DB, WriteBatch};

use crate::clock::Clock;

use super::{
    fault::LogFault,
    floor::{Floor, Promise},
    records::RecordsState,
    rows,
    types::{LogId, Vote},
};

/// Called on the flush thread when the work is durable. Must not block.
pub(crate) type Completion = Box<dyn FnOnce() + Send>;

/// What a write adds to the promise.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Promised {
    /// Entries up to this one.
    Last(LogId),
    /// This vote.
    Vote(Vote),
    /// The records as of this write.
    Records(RecordsState),
}

/// One thing to make durable.
pub(crate) enum Work {
    /// Written to the write-ahead log, not synced.
    Written {
        /// What is promised once it is durable.
        promised: Promised,
        /// Whom to tell.
        done: Option<Completion>,
    },
    /// Entries after `last` are to be removed; nothing is written yet. The floor is lowered first.
    Truncate {
        /// The last entry to keep.
        last: Option<LogId>,
        /// Whom to tell when they are gone.
        done: Completion,
    },
}

/// Handle of the flush thread. Dropping it finishes all queued work first.
pub(crate) struct Flusher {
    queue: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts the thread.
    pub(crate) fn start(db: Arc<DB>, floor: Floor) -> Result<Self, LogFault> {
        let (queue, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("log-flush".to_owned())
            .spawn(move || run(&db, floor, &receiver))
            .map_err(LogFault::io("log-flush thread"))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues work. The queue is as long as what consensus has in flight, which is bounded there.
    pub(crate) fn queue(&self, work: Work) {
        let sent = self.queue.as_ref().is_some_and(|queue| queue.send(work).is_ok());
        if !sent {
            crate::abort::fatal("log store", "the flush thread is gone");
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        drop(self.queue.take());
        // The last handle may be dropped by a completion, on the thread itself: it cannot wait for itself.
        let Some(thread) = self.thread.take() else { return };
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the log flush thread panicked");
        }
    }
}

fn run(db: &DB, mut floor: Floor, queue: &Receiver<Work>) {
    while let Ok(first) = queue.recv() {
        let group = std::iter::once(first).chain(queue.try_iter());
        // Lives until the process has stopped: whoever waits must not hear of it as a channel that closed, and stop the
        // process first with that for a reason.
        let mut waiting = Vec::new();
        if let Err(fault) = run_group(db, &mut floor, group, &mut waiting) {
            crate::abort::fatal("log store", fault);
        }
    }
}

/// Makes a group durable and tells those who wait; after an error the others are still in `waiting`.
fn run_group(
    db: &DB,
    floor: &mut Floor,
    group: impl Iterator<Item = Work>,
    waiting: &mut Vec<Completion>,
) -> Result<(), LogFault> {
    let mut promise = floor.promise();
    for work in group {
        match work {
            Work::Written { promised, done } => {
                add(&mut promise, promised);
                waiting.extend(done);
            }
            Work::Truncate { last, done } => {
                let settled = settle(db, floor, promise, waiting);
                promise.last = promise.last.min(last);
                if let Err(fault) = settled.and_then(|()| truncate(db, floor, promise, last)) {
                    waiting.push(done);
                    return Err(fault);
                }
                done();
            }
        }
    }
    settle(db, floor, promise, waiting)
}

fn add(promise: &mut Promise, promised: Promised) {
    match promised {
        Promised::Last(id) => promise.last = promise.last.max(Some(id)),
        Promised::Vote(vote) => promise.vote = Some(vote),
        Promised::Records(records) => promise.records = records,
    }
}

/// Sync, floor, tell: in this order.
fn settle(
    db: &DB,
    floor: &mut Floor,
    promise: Promise,
    waiting: &mut Vec<Completion>,
) -> Result<(), LogFault> {
    if waiting.is_empty() && promise == floor.promise() {
        return Ok(());
    }
    let (clock, begun) = (Clock::system(), Clock::system().monotonic());
    db.flush_wal(true)?;
    floor.raise(promise)?;
    let took = clock.monotonic().saturating_sub(begun);
    metrics::histogram!("quorate_log_sync_seconds").record(took.as_secs_f64());
    waiting.drain(..).for_each(|done| done());
    Ok(())
}

/// Lowers the floor, and only then removes the entries: the other way round a crash would leave a log
/// that is shorter than promised.
fn truncate(db: &DB, floor: &mut Floor, promise: Promise, last: Option<LogId>) -> Result<(), LogFault> {
    floor.raise(promise)?;
    let from = last.map_or(0, |id| id.index.saturating_add(1));
    let log = super::store::family(db, rows::LOG)?;
    let mut batch = WriteBatch::default();
    batch.delete_range_cf(log, rows::entry_key(from), rows::entry_key(u64::MAX));
    db.write(batch)?;
    Ok(())
}
