//! One ledger as of one size: the keys.
//!
//! The table `leaves` has the newest write of each key, which may be younger than the view. The table `revisions`
//! has all that were overwritten. So the write that was newest at the view's size is found: revisions of a key count
//! from 1 without gaps and their log indexes rise, so a binary search over point reads finds the last one before any
//! size. A younger newest write does not harm: it only costs that search.

use std::cmp::Ordering;

use quorate_core::{
    entry::Operation,
    position::{LogIndex, Revision, TreeSize},
    state_tree::{KeyRange, StateLeaf},
};
use quorate_ledger::view::{LeafCursor, LeafSource, LedgerId};

use super::{
    batch::parts,
    database::{Direction, Scan, after_prefix},
    ledger::LedgerView,
    options::Table,
    rows,
};
use crate::store::faults::StoreFault;

/// A key as of a log index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf {
    /// The newest write at or before the index: log index and operation.
    pub write: Option<StateLeaf>,
    /// The write after it, if this view has one.
    pub next: Option<StateLeaf>,
}

impl LedgerView {
    /// The newest write of a key: log index and operation. A delete is one.
    pub fn newest(&self, key: &[u8]) -> Result<Option<StateLeaf>, StoreFault> {
        self.newest_at(key, self.size())
    }

    /// The newest write of a key with a log index below `size`, at most this view's.
    pub fn newest_at(&self, key: &[u8], size: TreeSize) -> Result<Option<StateLeaf>, StoreFault> {
        match self.stored(key)? {
            Some((leaf, _)) => self.before(leaf, size.min(self.size())),
            None => Ok(None),
        }
    }

    /// The log index of a key's revision.
    pub fn revision_index(&self, key: &[u8], revision: Revision) -> Result<Option<LogIndex>, StoreFault> {
        // The newest write first: a revision that was the newest there has its row in `revisions` ever after.
        match self.stored(key)? {
            Some((newest, _)) => self.revision_below(&newest, revision),
            None => Ok(None),
        }
    }

    /// The log index of a revision of the key whose newest write this is.
    pub(super) fn revision_below(
        &self,
        newest: &StateLeaf,
        revision: Revision,
    ) -> Result<Option<LogIndex>, StoreFault> {
        let found = match revision.cmp(&self.revision_of(newest)?) {
            Ordering::Greater => None,
            Ordering::Equal => Some(newest.index()),
            Ordering::Less if revision < Revision::FIRST => None,
            Ordering::Less => Some(self.older_revision(newest.key(), revision)?),
        };
        Ok(found.filter(|index| self.size().contains(*index)))
    }

    /// A key's write with this revision.
    pub fn write(&self, key: &[u8], revision: Revision) -> Result<Option<StateLeaf>, StoreFault> {
        match self.revision_index(key, revision)? {
            Some(index) => self.write_at(key, revision, index).map(Some),
            None => Ok(None),
        }
    }

    /// The newest write of a key with a log index of at most `at`, and the one after it.
    pub fn as_of(&self, key: &[u8], at: LogIndex) -> Result<AsOf, StoreFault> {
        let size = at.size_through().unwrap_or(self.size());
        let write = self.newest_at(key, size)?;
        let next = match &write {
            Some(write) => self.revision_of(write)?.next(),
            None => Some(Revision::FIRST),
        };
        let next = match next {
            Some(revision) => self.write(key, revision)?,
            None => None,
        };
        Ok(AsOf { write, next })
    }

    /// The newest writes at `size` (at most this view's) of the keys in a range, in order of the keys.
    pub fn state_leaves(
        &self,
        range: &KeyRange,
        direction: Direction,
        size: TreeSize,
    ) -> Result<StateLeaves<'_>, StoreFault> {
        let first = rows::keyed(self.id(), &range.first);
        let end = match &range.end {
            Some(end) => Some(rows::keyed(self.id(), end)),
            None => after_prefix(&rows::ledger(self.id())),
        };
        // An inverted range would be an error of RocksDB; it has no keys.
        let end = end.map(|end| end.max(first.clone()));
        let rows = self.database.scan(Table::Leaves, &first, end.as_deref(), direction)?;
        Ok(StateLeaves { view: self, rows, size: size.min(self.size()), ended: false })
    }

    /// The row of a key: its newest write, and its position in the transaction.
    pub(super) fn stored(&self, key: &[u8]) -> Result<Option<(StateLeaf, u16)>, StoreFault> {
        let row_key = rows::keyed(self.id(), key);
        match self.database.get(Table::Leaves, &row_key)? {
            Some(row) => self.read_leaf(&row_key, &row).map(Some),
            None => Ok(None),
        }
    }

    /// A row of the table `leaves`: index u64 ‖ position u16 ‖ the operation's fixed part; its key is the row's.
    fn split_leaf<'r>(&self, row_key: &[u8], row: &'r [u8]) -> Result<(LogIndex, u16, &'r [u8]), StoreFault> {
        let split = || {
            let (index, rest) = row.split_first_chunk::<8>()?;
            let (position, fixed) = rest.split_first_chunk::<2>()?;
            let is_whole = fixed.len() == Operation::FIXED_LEN;
            is_whole.then(|| (LogIndex::from_be_bytes(*index), u16::from_be_bytes(*position), fixed))
        };
        split().ok_or_else(|| {
            let len = 10 + Operation::FIXED_LEN;
            self.database.damaged(Table::Leaves, row_key, format!("the row does not have {len} bytes"))
        })
    }

    fn read_leaf(&self, row_key: &[u8], row: &[u8]) -> Result<(StateLeaf, u16), StoreFault> {
        let (index, position, fixed) = self.split_leaf(row_key, row)?;
        let operation = [fixed, row_key.get(4..).unwrap_or_default()].concat();
        let leaf = StateLeaf::new(index, operation);
        let leaf = leaf.map_err(|error| self.database.damaged(Table::Leaves, row_key, error))?;
        Ok((leaf, position))
    }

    /// `leaf` itself or the newest older write of its key with a log index below `size`.
    fn before(&self, leaf: StateLeaf, size: TreeSize) -> Result<Option<StateLeaf>, StoreFault> {
        if size.contains(leaf.index()) {
            return Ok(Some(leaf));
        }
        let (mut low, mut high) = (0, self.revision_of(&leaf)?.get());
        let mut found = None;
        // Revision `low` (0: none) is below the size, revision `high` is not.
        while high - low > 1 {
            let middle = low.midpoint(high);
            let revision = Revision::new(middle);
            let index = self.older_revision(leaf.key(), revision)?;
            if size.contains(index) {
                (low, found) = (middle, Some((revision, index)));
            } else {
                high = middle;
            }
        }
        match found {
            Some((revision, index)) => self.write_at(leaf.key(), revision, index).map(Some),
            None => Ok(None),
        }
    }

    /// The log index of a revision before the newest, which has to be in the table.
    fn older_revision(&self, key: &[u8], revision: Revision) -> Result<LogIndex, StoreFault> {
        let row_key = rows::revision(self.id(), key, revision);
        let damaged = |problem| self.database.damaged(Table::Revisions, &row_key, problem);
        let row = self.database.get(Table::Revisions, &row_key)?;
        let row = row.ok_or_else(|| damaged("the revision is missing, a later one exists"))?;
        let index = row.as_ref().try_into().map_err(|_| damaged("the row does not have 8 bytes"))?;
        Ok(LogIndex::from_be_bytes(index))
    }

    /// The write of a key that is known to be at `index`.
    fn write_at(&self, key: &[u8], revision: Revision, index: LogIndex) -> Result<StateLeaf, StoreFault> {
        let operation = self.find_write(index, key)?.map(|(_, operation)| operation);
        let operation = operation.filter(|op| parts(op).is_some_and(|parts| parts.revision == revision));
        let operation = operation.ok_or_else(|| {
            let problem = format!("revision {revision} of key {} has to be written here", hex::encode(key));
            self.damaged_run(index, problem)
        })?;
        StateLeaf::new(index, operation).map_err(|error| self.damaged_run(index, error))
    }

    fn revision_of(&self, leaf: &StateLeaf) -> Result<Revision, StoreFault> {
        let parts =
            parts(leaf.op()).ok_or_else(|| self.damaged_run(leaf.index(), "an operation does not decode"))?;
        Ok(parts.revision)
    }
}

/// Newest writes in order of their keys.
pub struct StateLeaves<'v> {
    view: &'v LedgerView,
    rows: Scan<'v>,
    size: TreeSize,
    ended: bool,
}

impl Iterator for StateLeaves<'_> {
    type Item = Result<StateLeaf, StoreFault>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.step() {
                Ok(Some(Some(leaf))) => return Some(Ok(leaf)),
                // A key that was first written later.
                Ok(Some(None)) => {}
                Ok(None) => self.ended = true,
                Err(fault) => {
                    self.ended = true;
                    return Some(Err(fault));
                }
            }
        }
        None
    }
}

impl StateLeaves<'_> {
    fn step(&mut self) -> Result<Option<Option<StateLeaf>>, StoreFault> {
        let view = self.view;
        match self.rows.next(|key, row| view.read_leaf(key, row))? {
            Some((leaf, _)) => view.before(leaf, self.size).map(Some),
            None => Ok(None),
        }
    }
}

/// The leaves of this view: of its own ledger only.
impl LeafSource for LedgerView {
    type Error = StoreFault;
    type Leaves<'v> = ViewLeaves<'v>;

    fn leaves(&self, ledger: LedgerId) -> Result<ViewLeaves<'_>, StoreFault> {
        if ledger != self.id() {
            let place = format!("view of ledger {}", self.head.name);
            return Err(StoreFault::mismatch(place, self.id().0, ledger.0));
        }
        let rows = self.database.seeker(Table::Leaves, &rows::ledger(ledger))?;
        Ok(ViewLeaves { view: self, rows, sought: Vec::new() })
    }
}

/// Reads of the newest writes, many through one scan.
pub struct ViewLeaves<'v> {
    view: &'v LedgerView,
    rows: Scan<'v>,
    /// The key of the row that is sought.
    sought: Vec<u8>,
}

impl LeafCursor for ViewLeaves<'_> {
    type Error = StoreFault;

    fn read(
        &mut self,
        first: &[u8],
        count: usize,
        mut each: impl FnMut(LogIndex, &[u8], &[u8]),
    ) -> Result<(), StoreFault> {
        let view = self.view;
        self.sought.clear();
        self.sought.extend_from_slice(&rows::ledger(view.id()));
        self.sought.extend_from_slice(first);
        self.rows.seek(&self.sought);
        let mut left = count;
        while left > 0 {
            let read = self.rows.next(|row_key, row| {
                let (index, _, fixed) = view.split_leaf(row_key, row)?;
                if view.size().contains(index) {
                    each(index, fixed, row_key.get(4..).unwrap_or_default());
                    return Ok(true);
                }
                let older =
                    view.read_leaf(row_key, row).and_then(|(leaf, _)| view.before(leaf, view.size()))?;
                let Some(older) = older else { return Ok(false) };
                let (fixed, key) = older.op().split_at_checked(Operation::FIXED_LEN).unwrap_or_default();
                each(older.index(), fixed, key);
                Ok(true)
            })?;
            match read {
                Some(is_leaf) => left -= usize::from(is_leaf),
                None => break,
            }
        }
        Ok(())
    }
}
