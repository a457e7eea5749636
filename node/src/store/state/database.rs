//! One RocksDB directory, wrapped so that a failed read is a fault and never an absence.
//!
//! Every iterator's status is checked where it ends: RocksDB ends a scan early at a damaged block, and says so
//! only when asked. A database that was replaced by a snapshot is removed from the disk when the last reader lets
//! go of it.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rocksdb::{ColumnFamily, DB, DBPinnableSlice, DBRawIterator, ReadOptions, WriteBatch};

use super::options::{self, StateOptions, Table};
use crate::{disk::free_bytes, store::faults::StoreFault};

/// An open database. Shared by the writer and all views.
pub(crate) struct Database {
    // Dropped (closed) before `files`, which may then remove the directory.
    db: DB,
    /// What was read since somebody asked last; see [`Database::take_read_bytes`].
    read_bytes: AtomicU64,
    files: Files,
}

/// What finding one row reads at least: a block.
const SEEK_BYTES: usize = 4_096;

/// The directory of a database.
struct Files {
    path: PathBuf,
    doomed: AtomicBool,
}

impl Drop for Files {
    fn drop(&mut self) {
        if !self.doomed.load(Ordering::Acquire) {
            return;
        }
        // Nothing depends on it: what stays behind is removed at the next start.
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a replaced state database was not removed");
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.files.path).finish_non_exhaustive()
    }
}

/// A row: its key and its bytes.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// Whether a database is read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Makes a new one; the directory must not exist.
    Create,
    /// Opens one that exists.
    Write,
    /// Reads one that exists and changes nothing in it.
    Read,
}

impl Database {
    /// Opens the database in `path`.
    pub(crate) fn open(path: &Path, bounds: &StateOptions, access: Access) -> Result<Self, StoreFault> {
        let mut options = options::database(bounds);
        let fault = |error: rocksdb::Error| StoreFault::rocksdb(path.display().to_string(), &error);
        let tables = options::tables(bounds).map_err(fault)?;
        let opened = match access {
            Access::Read => DB::open_cf_descriptors_read_only(&options, path, tables, false),
            Access::Write => DB::open_cf_descriptors(&options, path, tables),
            Access::Create => {
                options.create_if_missing(true);
                options.create_missing_column_families(true);
                options.set_error_if_exists(true);
                DB::open_cf_descriptors(&options, path, tables)
            }
        };
        let db = opened.map_err(fault)?;
        let read_bytes = AtomicU64::new(0);
        Ok(Self { db, read_bytes, files: Files { path: path.to_owned(), doomed: AtomicBool::new(false) } })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.files.path
    }

    /// The directory is removed once nobody has the database open any more.
    pub(crate) fn doom(&self) {
        self.files.doomed.store(true, Ordering::Release);
    }

    /// RocksDB itself, for what is done with a database as a whole.
    pub(crate) fn rocksdb(&self) -> &DB {
        &self.db
    }

    /// The row `key`, or `None` where there is none.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StoreFault> {
        let handle = self.handle(table)?;
        let found = self.db.get_pinned_cf(handle, key).map_err(|error| self.fault(table, key, &error))?;
        self.count(found.as_ref().map_or(0, |row| row.len()).max(SEEK_BYTES));
        Ok(found)
    }

    /// Bytes read since the last call, about: each row that was looked up counts as a block, those of a scan as long as
    /// they are. What a cache held counts too.
    pub(crate) fn take_read_bytes(&self) -> u64 {
        self.read_bytes.swap(0, Ordering::Relaxed)
    }

    fn count(&self, bytes: usize) {
        self.read_bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The row `key` as a crash would leave it.
    pub(crate) fn get_persisted(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        let handle = self.handle(table)?;
        let found = self.db.get_pinned_cf_opt(handle, key, &options::persisted_reads());
        let found = found.map_err(|error| self.fault(table, key, &error))?;
        Ok(found.map(|row| row.to_vec()))
    }

    /// The last row at or before `key`, if its key starts with `prefix`: key and row.
    pub(crate) fn last_up_to(
        &self,
        table: Table,
        prefix: &[u8],
        key: &[u8],
    ) -> Result<Option<Row>, StoreFault> {
        let mut reads = ReadOptions::default();
        reads.set_iterate_lower_bound(prefix);
        let mut rows = self.db.raw_iterator_cf_opt(self.handle(table)?, reads);
        rows.seek_for_prev(key);
        rows.status().map_err(|error| self.fault(table, key, &error))?;
        let Some((found, row)) = rows.item() else {
            return Ok(None);
        };
        self.count(row.len().max(SEEK_BYTES));
        Ok(found.starts_with(prefix).then(|| (found.to_vec(), row.to_vec())))
    }

    /// The rows with `first` ≤ key < `end`, ascending or descending.
    pub(crate) fn scan(
        &self,
        table: Table,
        first: &[u8],
        end: Option<&[u8]>,
        direction: Direction,
    ) -> Result<Scan<'_>, StoreFault> {
        let mut reads = ReadOptions::default();
        reads.set_iterate_lower_bound(first);
        if let Some(end) = end {
            reads.set_iterate_upper_bound(end);
        }
        let mut rows = self.db.raw_iterator_cf_opt(self.handle(table)?, reads);
        match direction {
            Direction::Ascending => rows.seek_to_first(),
            Direction::Descending => rows.seek_to_last(),
        }
        Ok(Scan { database: self, table, rows, direction })
    }

    /// All rows whose keys start with `prefix`, ascending.
    pub(crate) fn scan_prefix(&self, table: Table, prefix: &[u8]) -> Result<Scan<'_>, StoreFault> {
        let end = after_prefix(prefix);
        self.scan(table, prefix, end.as_deref(), Direction::Ascending)
    }

    /// All rows whose keys start with `prefix`, to be sought again and again: at none of them yet.
    pub(crate) fn seeker(&self, table: Table, prefix: &[u8]) -> Result<Scan<'_>, StoreFault> {
        let mut reads = ReadOptions::default();
        reads.set_iterate_lower_bound(prefix);
        if let Some(end) = after_prefix(prefix) {
            reads.set_iterate_upper_bound(end);
        }
        let rows = self.db.raw_iterator_cf_opt(self.handle(table)?, reads);
        Ok(Scan { database: self, table, rows, direction: Direction::Ascending })
    }

    /// A batch for [`Database::write`], with room for about this many bytes.
    pub(crate) fn batch(&self, bytes: usize) -> Batch<'_> {
        Batch { database: self, rows: WriteBatch::with_capacity_bytes(bytes) }
    }

    /// Writes a batch: all of it or nothing, and readable on return; on disk only after a flush.
    pub(crate) fn write(&self, batch: Batch<'_>) -> Result<(), StoreFault> {
        self.db
            .write_opt(batch.rows, &options::writes())
            .map_err(|error| StoreFault::rocksdb(self.path().display().to_string(), &error))
    }

    /// Flushes all tables as one; `wait`: until what was written before is on disk.
    pub(crate) fn flush(&self, wait: bool) -> Result<(), StoreFault> {
        let handles = Table::ALL.map(|table| self.handle(table));
        let handles = handles.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.db
            .flush_cfs_opt(&handles, &options::flushes(wait))
            .map_err(|error| StoreFault::rocksdb(self.path().display().to_string(), &error))
    }

    /// Fails once a flush or a compaction has failed. RocksDB would try again for ever; what a disk lost once is not
    /// trusted again.
    pub(crate) fn check_background(&self) -> Result<(), StoreFault> {
        let place = || self.path().display().to_string();
        let errors = self.db.property_int_value(rocksdb::properties::BACKGROUND_ERRORS);
        match errors.map_err(|error| StoreFault::rocksdb(place(), &error))? {
            Some(0) => Ok(()),
            Some(errors) => {
                let why = self.why_it_stopped().unwrap_or_else(|| self.where_it_may_say_why());
                Err(StoreFault::io(place(), format!("{errors} flushes or compactions failed: {why}")))
            }
            None => Err(StoreFault::io(place(), "RocksDB does not say whether flushes failed")),
        }
    }

    /// The error for which RocksDB takes no writes any more; `None` while it takes them.
    fn why_it_stopped(&self) -> Option<String> {
        let nothing = WriteBatch::default();
        let stopped = self.db.write_opt(nothing, &options::writes_at_once()).err()?;
        // That only says that a write would wait.
        (stopped.kind() != rocksdb::ErrorKind::Incomplete).then(|| stopped.to_string())
    }

    /// What is left to say of a compaction that found no space: RocksDB goes on, and tells that error to nobody but its LOG, if
    /// there is space for that.
    fn where_it_may_say_why(&self) -> String {
        let free = free_bytes(self.path()).map(|free| format!("{free} bytes are free on its disk, and "));
        format!("{}RocksDB's file LOG may say why", free.unwrap_or_default())
    }

    /// What a fault calls a row.
    pub(crate) fn place(&self, table: Table, key: &[u8]) -> String {
        format!("{}, table {}, row {}", self.path().display(), table.name(), hex::encode(key))
    }

    /// A row that cannot be what was written.
    pub(crate) fn damaged(&self, table: Table, key: &[u8], problem: impl std::fmt::Display) -> StoreFault {
        StoreFault::damaged(self.place(table, key), problem)
    }

    fn fault(&self, table: Table, key: &[u8], error: &rocksdb::Error) -> StoreFault {
        StoreFault::rocksdb(self.place(table, key), error)
    }

    fn handle(&self, table: Table) -> Result<&ColumnFamily, StoreFault> {
        let handle = self.db.cf_handle(table.name());
        handle.ok_or_else(|| {
            StoreFault::damaged(
                self.path().display().to_string(),
                format!("there is no table {}", table.name()),
            )
        })
    }
}

/// The first key after all keys that start with `prefix`; `None` when there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

/// Rows to write together.
pub(crate) struct Batch<'d> {
    database: &'d Database,
    rows: WriteBatch,
}

impl Batch<'_> {
    /// Adds a row, in place of one with the same key.
    pub(crate) fn put(&mut self, table: Table, key: &[u8], row: &[u8]) -> Result<(), StoreFault> {
        self.rows.put_cf(self.database.handle(table)?, key, row);
        Ok(())
    }

    /// Takes a row away.
    pub(crate) fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreFault> {
        self.rows.delete_cf(self.database.handle(table)?, key);
        Ok(())
    }
}

/// The order of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key.
    Ascending,
    /// From the greatest key.
    Descending,
}

/// A scan under way. [`Scan::next`] says `None` only where the rows really end.
pub(crate) struct Scan<'d> {
    database: &'d Database,
    table: Table,
    rows: DBRawIterator<'d>,
    direction: Direction,
}

impl Scan<'_> {
    /// Goes to the first row at or behind `key`. All rows are those of the moment when the scan was made.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.rows.seek(key);
    }

    /// Hands the next row to `read`, and steps on.
    pub(crate) fn next<T>(
        &mut self,
        read: impl FnOnce(&[u8], &[u8]) -> Result<T, StoreFault>,
    ) -> Result<Option<T>, StoreFault> {
        let Some((key, row)) = self.rows.item() else {
            let status = self.rows.status();
            return status.map(|()| None).map_err(|error| self.database.fault(self.table, &[], &error));
        };
        self.database.count(key.len() + row.len());
        let result = read(key, row)?;
        match self.direction {
            Direction::Ascending => self.rows.next(),
            Direction::Descending => self.rows.prev(),
        }
        Ok(Some(result))
    }
}
