//! One ledger as of one size: the log.
//!
//! A view needs no snapshot of the database. What is stored is history, which only grows; so a view is a size, and
//! everything at or beyond it is passed over. The one thing that is overwritten, the newest write of a key, leads
//! back to the older ones (see [`keys`](super::keys)). So a view costs nothing, may live as long as its reader
//! likes, and all reads through it agree with each other and with its head.
//!
//! `None` means: not in the ledger at this size. What has to be there and cannot be read is a fault.

use std::sync::Arc;

use quorate_core::{
    entry::{CommitLeaf, Leaf, TransactionLeaf},
    hash::Hash,
    position::{LogIndex, TreeSize},
};
use quorate_ledger::{
    trie::TrieSnapshot,
    view::{KnownRequest, LedgerHead, LedgerId},
};

use super::{
    batch::parts,
    database::{Database, Direction, Scan},
    options::Table,
    rows,
    runs::{LogRecord, NotARun, Run},
    tiles::{Edge, TileCache},
};
use crate::store::faults::StoreFault;

/// A ledger as of the head of a view.
#[derive(Debug)]
pub struct LedgerView {
    pub(super) database: Arc<Database>,
    pub(super) cache: Arc<TileCache>,
    pub(super) head: Arc<LedgerHead>,
    pub(super) edge: Edge,
    pub(super) trie: TrieSnapshot,
}

impl LedgerView {
    /// Its size, roots and time.
    pub fn head(&self) -> &Arc<LedgerHead> {
        &self.head
    }

    /// Its number in this store.
    pub fn id(&self) -> LedgerId {
        self.head.id
    }

    /// Its size: always that of a checkpoint.
    pub fn size(&self) -> TreeSize {
        self.head.frontier.size()
    }

    /// The leaf at `index` with its operations.
    pub fn record(&self, index: LogIndex) -> Result<Option<LogRecord>, StoreFault> {
        if !self.size().contains(index) {
            return Ok(None);
        }
        self.with_run(index, |run| run.entry(index)?.ok_or(NotARun)?.to_record()).map(Some)
    }

    /// The leaf at `index` without its operations.
    pub fn leaf(&self, index: LogIndex) -> Result<Option<Vec<u8>>, StoreFault> {
        if !self.size().contains(index) {
            return Ok(None);
        }
        self.with_run(index, |run| Ok(run.entry(index)?.ok_or(NotARun)?.leaf().to_vec())).map(Some)
    }

    /// The transaction leaf at `index`; `None` too where there is a leaf of another kind.
    pub fn transaction_leaf(&self, index: LogIndex) -> Result<Option<TransactionLeaf>, StoreFault> {
        let Some(bytes) = self.leaf(index)? else {
            return Ok(None);
        };
        match Leaf::decode(&bytes).map_err(|error| self.damaged_run(index, error))? {
            Leaf::Transaction(leaf) => Ok(Some(leaf)),
            Leaf::Commit(_) | Leaf::Opaque(_) => Ok(None),
        }
    }

    /// The leaves from `first` to the head, in order.
    pub fn records(&self, first: LogIndex) -> Result<Records<'_>, StoreFault> {
        let start = if self.size().contains(first) {
            self.with_run(first, |run| Ok(run.first()))?
        } else {
            self.size().next_index()
        };
        let end = rows::run(self.id(), self.size().next_index());
        let runs = self.database.scan(
            Table::Blocks,
            &rows::run(self.id(), start),
            Some(&end),
            Direction::Ascending,
        )?;
        let block = BlockBounds::default();
        Ok(Records { view: self, runs, next: first, block, read: Vec::new().into_iter() })
    }

    /// The commit leaf that is the last leaf at `size`; `None` if `size` is not that of a checkpoint.
    pub fn commit_leaf(&self, size: TreeSize) -> Result<Option<CommitLeaf>, StoreFault> {
        let Some(index) = size.last_index().filter(|_| size <= self.size()) else {
            return Ok(None);
        };
        let (commit, leaf) = self
            .with_run(index, |run| Ok((run.commit(), run.entry(index)?.ok_or(NotARun)?.leaf().to_vec())))?;
        if commit != index {
            return Ok(None);
        }
        match Leaf::decode(&leaf).map_err(|error| self.damaged_run(index, error))? {
            Leaf::Commit(leaf) => Ok(Some(leaf)),
            Leaf::Transaction(_) | Leaf::Opaque(_) => {
                Err(self.damaged_run(index, "a commit leaf has to be here, and another leaf is"))
            }
        }
    }

    /// Whether there is a checkpoint of this size: its last leaf is a commit leaf.
    pub fn is_checkpoint(&self, size: TreeSize) -> Result<bool, StoreFault> {
        Ok(self.checkpoint_up_to(size)? == Some(size))
    }

    /// The smallest size of a checkpoint that has the leaf `index`.
    pub fn checkpoint_with(&self, index: LogIndex) -> Result<Option<TreeSize>, StoreFault> {
        if !self.size().contains(index) {
            return Ok(None);
        }
        self.with_run(index, |run| run.commit().size_through().ok_or(NotARun)).map(Some)
    }

    /// The greatest size of a checkpoint that is at most `size`; `None` before the first.
    pub fn checkpoint_up_to(&self, size: TreeSize) -> Result<Option<TreeSize>, StoreFault> {
        let Some(last) = size.min(self.size()).last_index() else {
            return Ok(None);
        };
        let (first, commit) = self.with_run(last, |run| Ok((run.block_first(), run.commit())))?;
        let found = if commit == last { size.min(self.size()) } else { TreeSize::new(first.get()) };
        Ok(Some(found).filter(|size| *size > TreeSize::ZERO))
    }

    /// The newest transaction of this view with this request id, known by now or not.
    pub fn request(&self, request_id: &Hash) -> Result<Option<KnownRequest>, StoreFault> {
        known_request(&self.database, self.id(), request_id, self.size())
    }

    /// Position and bytes of the write of `key` in the transaction at `index`, which is within the view's size.
    pub(super) fn find_write(
        &self,
        index: LogIndex,
        key: &[u8],
    ) -> Result<Option<(usize, Vec<u8>)>, StoreFault> {
        self.with_run(index, |run| {
            let Some(entry) = run.entry(index)? else {
                return Ok(None);
            };
            for (position, operation) in entry.operations().enumerate() {
                let operation = operation?;
                if parts(operation).is_some_and(|parts| parts.kind.is_write() && parts.key == key) {
                    return Ok(Some((position, operation.to_vec())));
                }
            }
            Ok(None)
        })
    }

    /// Hands the run that has `index` to `read`. The index is within the view's size.
    pub(super) fn with_run<T>(
        &self,
        index: LogIndex,
        read: impl FnOnce(&Run<'_>) -> Result<T, NotARun>,
    ) -> Result<T, StoreFault> {
        let wanted = rows::run(self.id(), index);
        let found = self.database.last_up_to(Table::Blocks, &rows::ledger(self.id()), &wanted)?;
        let (key, row) = found.ok_or_else(|| self.damaged_run(index, "the leaf is missing"))?;
        let run = parse_run(&key, &row).map_err(|error| self.database.damaged(Table::Blocks, &key, error))?;
        if run.entry(index).map_err(|error| self.damaged_run(index, error))?.is_none() {
            return Err(self.damaged_run(index, "the leaf is missing"));
        }
        read(&run).map_err(|error| self.database.damaged(Table::Blocks, &key, error))
    }

    pub(super) fn damaged_run(&self, index: LogIndex, problem: impl std::fmt::Display) -> StoreFault {
        self.database.damaged(Table::Blocks, &rows::run(self.id(), index), problem)
    }
}

fn parse_run<'r>(key: &[u8], row: &'r [u8]) -> Result<Run<'r>, NotARun> {
    let first = key.last_chunk::<8>().ok_or(NotARun)?;
    Run::parse(LogIndex::from_be_bytes(*first), row)
}

/// The newest entry of a request before `size`.
pub(super) fn known_request(
    database: &Database,
    ledger: LedgerId,
    request_id: &Hash,
    size: TreeSize,
) -> Result<Option<KnownRequest>, StoreFault> {
    let key = rows::request(ledger, request_id);
    let Some(row) = database.get(Table::Requests, &key)? else {
        return Ok(None);
    };
    let entries =
        read_requests(&row).ok_or_else(|| database.damaged(Table::Requests, &key, "the row is cut short"))?;
    Ok(entries.into_iter().rfind(|known| size.contains(known.index)))
}

/// The entries of a row of the table `requests`, oldest first.
pub(super) fn read_requests(row: &[u8]) -> Option<Vec<KnownRequest>> {
    let (entries, rest) = row.as_chunks::<16>();
    let entries = entries.iter().map(|entry| {
        let (index, not_after) = entry.split_first_chunk::<8>()?;
        Some(KnownRequest {
            index: LogIndex::from_be_bytes(*index),
            not_after: quorate_core::position::Micros::from_be_bytes(*not_after.first_chunk::<8>()?),
        })
    });
    if rest.is_empty() { entries.collect() } else { None }
}

/// Leaves of a ledger in order: a run is read at a time.
pub struct Records<'v> {
    view: &'v LedgerView,
    runs: Scan<'v>,
    next: LogIndex,
    block: BlockBounds,
    read: std::vec::IntoIter<LogRecord>,
}

/// Log indexes of the first leaf and the commit leaf of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct BlockBounds {
    pub(super) first: LogIndex,
    pub(super) commit: LogIndex,
}

impl Iterator for Records<'_> {
    type Item = Result<LogRecord, StoreFault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.read.next() {
                return Some(Ok(record));
            }
            if !self.view.size().contains(self.next) {
                return None;
            }
            if let Err(fault) = self.read_run() {
                // A scan that failed has ended.
                self.next = self.view.size().next_index();
                return Some(Err(fault));
            }
        }
    }
}

impl Records<'_> {
    /// The block of the leaf that was given last.
    pub(super) fn block(&self) -> BlockBounds {
        self.block
    }

    /// Reads the next run from `next` on; there has to be one.
    fn read_run(&mut self) -> Result<(), StoreFault> {
        let (view, wanted) = (self.view, self.next);
        let read = self.runs.next(|key, row| {
            let run =
                parse_run(key, row).map_err(|error| view.database.damaged(Table::Blocks, key, error))?;
            let records = run_records(&run, wanted);
            let records = records.map_err(|error| view.database.damaged(Table::Blocks, key, error))?;
            Ok((BlockBounds { first: run.block_first(), commit: run.commit() }, records))
        })?;
        let (block, records) = read.ok_or_else(|| view.damaged_run(wanted, "the leaf is missing"))?;
        let after = records.last().and_then(|record| record.index.next());
        self.next = after.ok_or_else(|| view.damaged_run(wanted, "the leaf is missing"))?;
        (self.block, self.read) = (block, records.into_iter());
        Ok(())
    }
}

/// The records of a run from `wanted` on, which is in it.
fn run_records(run: &Run<'_>, wanted: LogIndex) -> Result<Vec<LogRecord>, NotARun> {
    (wanted.get()..run.end()?)
        .map(|index| run.entry(LogIndex::new(index))?.ok_or(NotARun)?.to_record())
        .collect()
}
