//! The rows of a ledger that is being filled: a thread of its own writes them, block after block.
//!
//! Contract: rows are written in the order of the blocks; [`Rows::sync`] returns when all of them can be read, and
//! [`Rows::end`] when they are written and the thread is gone. What it fails with is said by every call after that. A few blocks
//! may be on their way: that bounds memory. Neither the newest writes of keys nor buckets are among the rows.

use std::{
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use quorate_ledger::{effects::LedgerEffects, trie::TrieSnapshot};

use super::{
    batch::{self, Absent},
    database::{Batch, Database},
    ledger::LedgerView,
    tiles::{Edge, TileCache},
};
use crate::store::faults::StoreFault;

/// Blocks on their way.
const BLOCKS: usize = 64;
/// Bytes of rows after which they are written.
const BATCH_BYTES: usize = 1 << 20;

/// What the thread is told.
enum Work {
    /// Rows of a block.
    Block(Box<LedgerEffects>),
    /// Say when everything before is written.
    Sync(SyncSender<()>),
}

/// Hands blocks to the thread that writes their rows.
#[derive(Debug)]
pub(super) struct Rows {
    work: Option<SyncSender<Work>>,
    fault: Arc<OnceLock<StoreFault>>,
    thread: Option<JoinHandle<()>>,
}

impl Rows {
    /// Begins with the first block of a ledger. `trie`: any state tree, which nobody reads.
    pub(super) fn start(
        database: &Arc<Database>,
        cache: &Arc<TileCache>,
        trie: TrieSnapshot,
    ) -> Result<Self, StoreFault> {
        let (work, tasks) = sync_channel(BLOCKS);
        let fault = Arc::<OnceLock<StoreFault>>::default();
        let writer = Writer {
            database: Arc::clone(database),
            cache: Arc::clone(cache),
            trie,
            before: None,
            edge: Edge::default(),
        };
        let said = Arc::clone(&fault);
        let thread = std::thread::Builder::new().name("fill".to_owned()).spawn(move || {
            if let Err(found) = writer.run(&tasks) {
                said.get_or_init(|| found);
            }
        });
        let thread = thread.map_err(|error| StoreFault::io("a thread that writes rows", error))?;
        Ok(Self { work: Some(work), fault, thread: Some(thread) })
    }

    /// Hands a block over; waits while too many are on their way.
    pub(super) fn block(&self, effects: LedgerEffects) -> Result<(), StoreFault> {
        self.tell(Work::Block(Box::new(effects)))
    }

    /// Returns when all rows of the blocks before can be read.
    pub(super) fn sync(&self) -> Result<(), StoreFault> {
        let (done, wait) = sync_channel(1);
        self.tell(Work::Sync(done))?;
        wait.recv().map_err(|_| self.stopped())
    }

    /// Returns when all rows are written and the thread has ended.
    pub(super) fn end(mut self) -> Result<(), StoreFault> {
        self.join();
        self.fault.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }

    fn tell(&self, work: Work) -> Result<(), StoreFault> {
        let told = self.work.as_ref().map(|sender| sender.send(work));
        if matches!(told, Some(Ok(()))) { Ok(()) } else { Err(self.stopped()) }
    }

    /// Why the thread does not listen any more.
    fn stopped(&self) -> StoreFault {
        let unknown = || StoreFault::io("a thread that writes rows", "it has stopped");
        self.fault.get().cloned().unwrap_or_else(unknown)
    }

    fn join(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.fault.get_or_init(|| StoreFault::io("a thread that writes rows", "it panicked"));
        }
    }
}

impl Drop for Rows {
    /// Nobody uses the database any more when this is gone.
    fn drop(&mut self) {
        self.join();
    }
}

/// The thread's own.
struct Writer {
    database: Arc<Database>,
    cache: Arc<TileCache>,
    trie: TrieSnapshot,
    /// The ledger before the next block, for what that erases.
    before: Option<LedgerView>,
    edge: Edge,
}

impl Writer {
    fn run(mut self, tasks: &Receiver<Work>) -> Result<(), StoreFault> {
        let database = Arc::clone(&self.database);
        let mut batch = database.batch(BATCH_BYTES);
        let mut bytes = 0;
        for work in tasks {
            match work {
                Work::Block(effects) => {
                    // What it reads again has to be readable.
                    let reads = !effects.erased.is_empty() || effects.requests.iter().any(|one| one.again);
                    if reads || bytes >= BATCH_BYTES {
                        database.write(std::mem::replace(&mut batch, database.batch(BATCH_BYTES)))?;
                        bytes = 0;
                    }
                    bytes += batch::weight(&effects);
                    self.put(&mut batch, *effects)?;
                }
                Work::Sync(done) => {
                    database.write(std::mem::replace(&mut batch, database.batch(BATCH_BYTES)))?;
                    bytes = 0;
                    // Whoever asked may have given up.
                    done.send(()).ok();
                }
            }
        }
        database.write(batch)
    }

    fn put(&mut self, batch: &mut Batch<'_>, effects: LedgerEffects) -> Result<(), StoreFault> {
        let before = self.before.as_ref();
        batch::put_ledger(batch, &self.database, before, &effects, &mut self.edge, Absent::ErasedLater)?;
        self.before = Some(LedgerView {
            database: Arc::clone(&self.database),
            cache: Arc::clone(&self.cache),
            head: Arc::new(effects.head),
            edge: Edge::default(),
            trie: self.trie.clone(),
        });
        Ok(())
    }
}
