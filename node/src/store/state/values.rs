//! One ledger as of one size: contents, that is, what can be erased.
//!
//! Contents are read as they are now, whatever the size of the view: what was erased does not come back.

use quorate_core::position::LogIndex;

use super::{
    contents::{self, Part, StoredContent, StoredMeta, TransactionContents},
    database::Scan,
    ledger::LedgerView,
    options::Table,
    rows,
};
use crate::store::faults::StoreFault;

impl LedgerView {
    /// All stored contents of the transaction at `index`; `None` if there is no transaction.
    pub fn contents(&self, index: LogIndex) -> Result<Option<TransactionContents>, StoreFault> {
        let Some(record) = self.record(index)? else {
            return Ok(None);
        };
        if record.operations.is_empty() {
            return Ok(None);
        }
        self.contents_of(index, record.operations.len()).map(Some)
    }

    /// The contents of the transaction at `index` with so many operations.
    fn contents_of(&self, index: LogIndex, operations: usize) -> Result<TransactionContents, StoreFault> {
        let prefix = rows::contents(self.id(), index);
        let rows = self.database.scan_prefix(Table::Contents, &prefix)?;
        ContentsScan { view: self, rows, ahead: None }.take(index, operations)
    }

    /// All contents of the ledger, to be taken in log order.
    pub(super) fn all_contents(&self) -> Result<ContentsScan<'_>, StoreFault> {
        let rows = self.database.scan_prefix(Table::Contents, &rows::ledger(self.id()))?;
        Ok(ContentsScan { view: self, rows, ahead: None })
    }

    /// What the operation at `position` of the transaction at `index` wrote, without reading the others. The
    /// operation has to exist.
    pub fn content(&self, index: LogIndex, position: u16) -> Result<StoredContent, StoreFault> {
        let (_, at, mut part) = self.part_at(index, position)?;
        Ok(part.slots.swap_remove(at))
    }

    /// The meta of the transaction at `index`, which has to exist.
    pub fn meta(&self, index: LogIndex) -> Result<StoredMeta, StoreFault> {
        let (key, _, part) = self.part_at(index, 0)?;
        part.meta.ok_or_else(|| self.database.damaged(Table::Contents, &key, "the meta is missing"))
    }

    /// What the write of `key` at `index` wrote. The write has to exist.
    pub fn written(&self, index: LogIndex, key: &[u8]) -> Result<StoredContent, StoreFault> {
        // For the newest write of a key its place is known.
        if let Some((leaf, position)) = self.stored(key)?
            && leaf.index() == index
        {
            return self.content(index, position);
        }
        let (_, at, mut part) = self.part_of_write(index, key)?;
        Ok(part.slots.swap_remove(at))
    }

    /// The part with what the write of `key` at `index` wrote: its row's key, the write's place in it, and the part.
    pub(super) fn part_of_write(
        &self,
        index: LogIndex,
        key: &[u8],
    ) -> Result<(Vec<u8>, usize, Part), StoreFault> {
        let unwritten =
            || self.damaged_run(index, format!("key {} has to be written here", hex::encode(key)));
        if !self.size().contains(index) {
            return Err(unwritten());
        }
        let (position, _) = self.find_write(index, key)?.ok_or_else(unwritten)?;
        let position = u16::try_from(position).map_err(|error| self.damaged_run(index, error))?;
        self.part_at(index, position)
    }

    /// The part that has the slot of an operation: its row's key, the operation's place in it, and the part.
    fn part_at(&self, index: LogIndex, position: u16) -> Result<(Vec<u8>, usize, Part), StoreFault> {
        let wanted = rows::contents_part(self.id(), index, position);
        let missing = || self.database.damaged(Table::Contents, &wanted, "these contents are missing");
        let found = if position == 0 {
            self.database.get(Table::Contents, &wanted)?.map(|row| (wanted.to_vec(), row.to_vec()))
        } else {
            self.database.last_up_to(Table::Contents, &rows::contents(self.id(), index), &wanted)?
        };
        let (key, row) = found.ok_or_else(missing)?;
        let (first, part) = self.part(&key, row)?;
        let at = usize::from(position.checked_sub(first).ok_or_else(missing)?);
        if at >= part.slots.len() {
            return Err(missing());
        }
        Ok((key, at, part))
    }

    fn part(&self, key: &[u8], row: Vec<u8>) -> Result<(u16, Part), StoreFault> {
        let position = key.last_chunk::<2>().copied().unwrap_or_default();
        let first = u16::from_be_bytes(position);
        let part = contents::decode(first, row);
        Ok((first, part.map_err(|error| self.database.damaged(Table::Contents, key, error))?))
    }
}

/// Contents of transactions in log order.
pub(super) struct ContentsScan<'v> {
    view: &'v LedgerView,
    rows: Scan<'v>,
    /// The row that is next, if it was looked at already.
    ahead: Option<(LogIndex, u16, Part)>,
}

impl ContentsScan<'_> {
    /// The contents of the transaction at `index` with so many operations; it has to be the next one.
    pub(super) fn take(
        &mut self,
        index: LogIndex,
        operations: usize,
    ) -> Result<TransactionContents, StoreFault> {
        let view = self.view;
        let prefix = rows::contents(view.id(), index);
        let damaged = |problem: &str| view.database.damaged(Table::Contents, &prefix, problem);
        let (mut meta, mut slots) = (None, Vec::with_capacity(operations));
        while let Some((of, first, part)) = self.next()? {
            if of != index {
                self.ahead = Some((of, first, part));
                break;
            }
            if usize::from(first) != slots.len() {
                return Err(damaged("its rows do not follow each other"));
            }
            meta = meta.or(part.meta);
            slots.extend(part.slots);
        }
        if slots.len() != operations {
            let place = view.database.place(Table::Contents, &prefix);
            let found = format!("contents of {}", slots.len());
            return Err(StoreFault::mismatch(place, format!("contents of {operations} operations"), found));
        }
        let meta = meta.ok_or_else(|| damaged("the meta is missing"))?;
        Ok(TransactionContents { meta, operations: slots })
    }

    /// The log index of the next contents, `None` behind the last.
    pub(super) fn peek(&mut self) -> Result<Option<LogIndex>, StoreFault> {
        self.ahead = self.next()?;
        Ok(self.ahead.as_ref().map(|(index, _, _)| *index))
    }

    fn next(&mut self) -> Result<Option<(LogIndex, u16, Part)>, StoreFault> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        let view = self.view;
        self.rows.next(|key, row| {
            let index = key.get(4..).and_then(|rest| rest.first_chunk::<8>()).copied().unwrap_or_default();
            let (first, part) = view.part(key, row.to_vec())?;
            Ok((LogIndex::from_be_bytes(index), first, part))
        })
    }
}
