//! The log store itself: one owner writes, anybody reads.
//!
//! Consensus is the only writer of entries, vote and markers and calls one method at a time; the signer
//! writes records from its own task. A write returns when it is readable; it is durable when its
//! completion is called. Any failure to write stops the process: what follows would be built on sand.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use prost::Message;
use quorate_proto::peer::v1 as pb;
use rocksdb::{ColumnFamily, DB, ReadOptions, WriteBatch};
use tokio::sync::oneshot;

use super::{
    fault::LogFault,
    floor::Floor,
    flusher::{Completion, Flusher, Promised, Work},
    frame,
    identity::{Identity, sync_directory},
    options::{self, LogConfig},
    read,
    records::Records,
    recover::{next_index, recover, recover_records},
    rows,
    tail::Tail,
    types::{LogEntry, LogId, Vote},
};

/// Where the log begins and ends, and what is marked in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The last entry that was purged.
    pub purged: Option<LogId>,
    /// The last entry; the purged one when there is none after it.
    pub last: Option<LogId>,
    /// The commit marker as last saved.
    pub committed: Option<LogId>,
    /// The vote as last saved.
    pub vote: Option<Vote>,
}

pub(crate) struct State {
    pub(crate) bounds: Bounds,
    pub(crate) tail: Tail,
    /// Index of the first entry, if there is one: 0, or the one after the last purged entry. A log that was
    /// never written may begin anywhere until it is closed; `open` refuses it then.
    first_index: u64,
    /// Entries from this index on must not be purged; `None` = no limit was set yet.
    purge_below: Option<u64>,
    /// Bytes of all entries appended since the store was opened.
    appended_bytes: u64,
}

/// The Raft log, the vote and the durable records of one node, on disk. Clones share one store.
#[derive(Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    // Dropped first: finishes what is queued while the database is still open.
    flusher: Flusher,
    pub(crate) db: Arc<DB>,
    state: Mutex<State>,
    records: Mutex<Records>,
}

impl std::fmt::Debug for LogStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore").field("bounds", &self.bounds()).finish_non_exhaustive()
    }
}

fn database_path(dir: &Path) -> PathBuf {
    dir.join("db")
}

fn floor_path(dir: &Path) -> PathBuf {
    dir.join("FLOOR")
}

fn identity_path(dir: &Path) -> PathBuf {
    dir.join("IDENTITY")
}

/// A column family by name.
pub(crate) fn family<'a>(db: &'a DB, name: &str) -> Result<&'a ColumnFamily, LogFault> {
    db.cf_handle(name).ok_or_else(|| LogFault::undecodable(name, "the column family does not exist"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops the process when a write failed.
fn must<T>(result: Result<T, impl std::fmt::Display>) -> T {
    result.unwrap_or_else(|error| crate::abort::fatal("log store", error))
}

impl LogStore {
    /// True when `dir` holds a log store.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.exists()
    }

    /// Makes an empty log store at `dir`, which must not exist; its parent must. Appears complete or not at all.
    ///
    /// # Errors
    /// [`LogFault::Exists`], [`LogFault::Io`], [`LogFault::Database`].
    pub fn create(dir: &Path, identity: Identity) -> Result<(), LogFault> {
        if dir.exists() {
            return Err(LogFault::Exists { path: dir.to_owned() });
        }
        let new = dir.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(LogFault::io(&new))?;
        }
        fs::create_dir_all(&new).map_err(LogFault::io(&new))?;
        Floor::create(&floor_path(&new))?;
        let config = LogConfig::default();
        let options = options::database(&config, true);
        let db = DB::open_cf_descriptors(&options, database_path(&new), options::families(&config))?;
        db.flush_wal(true)?;
        drop(db);
        identity.write(&identity_path(&new))?;
        fs::rename(&new, dir).map_err(LogFault::io(dir))?;
        sync_directory(dir.parent().unwrap_or(Path::new(".")))
    }

    /// Checks who the log store at `dir` belongs to. Only reads.
    ///
    /// # Errors
    /// [`LogFault::Missing`], [`LogFault::IdentityUnreadable`], [`LogFault::OtherCluster`], [`LogFault::OtherNode`],
    /// [`LogFault::NewerFormat`], [`LogFault::Io`].
    pub fn check_owner(dir: &Path, identity: Identity) -> Result<(), LogFault> {
        if !dir.exists() {
            return Err(LogFault::Missing { path: dir.to_owned() });
        }
        if !identity_path(dir).exists() {
            return Err(LogFault::IdentityUnreadable { path: identity_path(dir) });
        }
        identity.check(&identity_path(dir))
    }

    /// Opens the log store at `dir`, checks who it belongs to, and that it keeps every promise of its floor.
    ///
    /// # Errors
    /// Any [`LogFault`]; with one, consensus must not be started on this directory.
    pub fn open(dir: &Path, identity: Identity, config: LogConfig) -> Result<Self, LogFault> {
        Self::check_owner(dir, identity)?;
        let floor = Floor::open(&floor_path(dir))?;
        let options = options::database(&config, false);
        let db = DB::open_cf_descriptors(&options, database_path(dir), options::families(&config))?;
        let tail = Tail::new(config.tail_bytes, config.tail_entries);
        let found = recover(&db, &floor.promise(), tail)?;
        // What was read may have been written but not synced before a crash: from here on it is acted on.
        db.flush_wal(true)?;
        let db = Arc::new(db);
        let flusher = Flusher::start(Arc::clone(&db), floor)?;
        let first_index = next_index(found.bounds.purged);
        let state = State {
            bounds: found.bounds,
            tail: found.tail,
            first_index,
            purge_below: None,
            appended_bytes: 0,
        };
        let inner = Inner { flusher, db, state: Mutex::new(state), records: Mutex::new(found.records) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The present bounds.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        lock(&self.inner.state).bounds
    }

    /// Bytes of all entries appended since the store was opened.
    #[must_use]
    pub fn appended_bytes(&self) -> u64 {
        lock(&self.inner.state).appended_bytes
    }

    /// Appends consecutive entries. They are readable on return; `done` is called when they are durable.
    ///
    /// # Errors
    /// [`LogFault::Refused`] when the first entry does not follow the last one, or indexes or terms go astray.
    pub(crate) fn append(&self, entries: Vec<LogEntry>, done: Completion) -> Result<(), LogFault> {
        let (Some(first), Some(last)) = (entries.first().map(|e| e.id), entries.last().map(|e| e.id)) else {
            done();
            return Ok(());
        };
        check_order(self.bounds().last, &entries)?;
        let mut batch = WriteBatch::default();
        let mut bytes = 0_u64;
        let log = family(&self.inner.db, rows::LOG)?;
        for entry in &entries {
            let row = rows::encode_entry(entry);
            bytes = bytes.saturating_add(u64::try_from(row.len()).unwrap_or(u64::MAX));
            batch.put_cf(log, rows::entry_key(entry.id.index), row);
        }
        must(self.inner.db.write(batch));
        {
            let mut state = lock(&self.inner.state);
            if state.bounds.last.is_none() {
                state.first_index = first.index;
            }
            state.bounds.last = Some(last);
            state.appended_bytes = state.appended_bytes.saturating_add(bytes);
            entries.into_iter().for_each(|entry| state.tail.push(entry));
        }
        self.inner.flusher.queue(Work::Written { promised: Promised::Last(last), done: Some(done) });
        Ok(())
    }

    /// Removes all entries after `last`. The future resolves when they are gone.
    ///
    /// # Errors
    /// [`LogFault::Refused`] when a committed entry would go: no correct leader asks for that.
    pub(crate) async fn truncate_after(&self, last: Option<LogId>) -> Result<(), LogFault> {
        let bounds = self.bounds();
        if bounds.committed.is_some_and(|committed| next_index(last) <= committed.index) {
            return Err(LogFault::Refused(format!(
                "truncating to {} would remove the committed entry {}",
                super::types::show(last),
                super::types::show(bounds.committed)
            )));
        }
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move || {
            sender.send(()).ok();
        });
        self.inner.flusher.queue(Work::Truncate { last, done });
        must(receiver.await);
        let mut state = lock(&self.inner.state);
        state.tail.truncate_after(last.map(|id| id.index));
        state.bounds.last = state.bounds.last.min(last.max(state.bounds.purged));
        Ok(())
    }

    /// From now on purging is allowed below this index only: entries that are needed to rebuild the state
    /// after a crash must stay.
    pub(crate) fn limit_purge(&self, index: u64) {
        lock(&self.inner.state).purge_below = Some(index);
    }

    /// Raises the limit, if there is one: the state below `index` is durable.
    pub(crate) fn raise_purge_limit(&self, index: u64) {
        let mut state = lock(&self.inner.state);
        state.purge_below = state.purge_below.map(|limit| limit.max(index));
    }

    /// Removes the entries up to and with `upto`, which may lie behind the end of the log (after a snapshot).
    ///
    /// # Errors
    /// [`LogFault::Refused`] past the limit of [`LogStore::limit_purge`].
    pub(crate) fn purge(&self, upto: LogId) -> Result<(), LogFault> {
        let (from, beyond) = {
            let state = lock(&self.inner.state);
            if state.purge_below.is_some_and(|limit| upto.index >= limit) {
                return Err(LogFault::Refused(format!(
                    "purging up to {upto}, but the state on disk needs the log from index {} on",
                    state.purge_below.unwrap_or(0)
                )));
            }
            (next_index(state.bounds.purged), state.bounds.last.is_none_or(|last| last.index < upto.index))
        };
        let mut batch = WriteBatch::default();
        let end = upto.index.saturating_add(1);
        batch.delete_range_cf(
            family(&self.inner.db, rows::LOG)?,
            rows::entry_key(from),
            rows::entry_key(end.max(from)),
        );
        batch.put_cf(
            family(&self.inner.db, rows::META)?,
            rows::PURGED,
            rows::encode_log_id(rows::PURGED, upto),
        );
        must(self.inner.db.write(batch));
        let mut state = lock(&self.inner.state);
        state.bounds.purged = state.bounds.purged.max(Some(upto));
        state.first_index = state.first_index.max(end);
        state.tail.purge(upto.index);
        if beyond {
            state.bounds.last = Some(upto);
            self.inner.flusher.queue(Work::Written { promised: Promised::Last(upto), done: None });
        }
        Ok(())
    }

    /// Saves the vote. The future resolves when it is durable and part of the floor.
    pub(crate) async fn save_vote(&self, vote: Vote) -> Result<(), LogFault> {
        must(self.inner.db.put_cf(family(&self.inner.db, rows::META)?, rows::VOTE, rows::encode_vote(vote)));
        lock(&self.inner.state).bounds.vote = Some(vote);
        let (sender, receiver) = oneshot::channel();
        let done: Completion = Box::new(move || {
            sender.send(()).ok();
        });
        self.inner.flusher.queue(Work::Written { promised: Promised::Vote(vote), done: Some(done) });
        must(receiver.await);
        Ok(())
    }

    /// Saves the commit marker, without waiting for the disk: a lost one only means more is asked from peers.
    pub(crate) fn save_committed(&self, committed: LogId) -> Result<(), LogFault> {
        let row = rows::encode_log_id(rows::COMMITTED, committed);
        must(self.inner.db.put_cf(family(&self.inner.db, rows::META)?, rows::COMMITTED, row));
        lock(&self.inner.state).bounds.committed = Some(committed);
        Ok(())
    }

    /// Entries from `start` on, before `end`, of at most about `max_bytes` (but at least one if there is one),
    /// if all of them are held in memory. `None`: ask [`LogStore::read`], which may block on the disk.
    pub(crate) fn read_memory(&self, start: u64, end: u64, max_bytes: usize) -> Option<Vec<LogEntry>> {
        let state = lock(&self.inner.state);
        let (start, end) = (start.max(state.first_index), end.min(next_index(state.bounds.last)));
        if start >= end {
            return Some(Vec::new());
        }
        state
            .tail
            .first_index()
            .is_some_and(|first| first <= start)
            .then(|| state.tail.read(start, end, max_bytes))
    }

    /// Like [`LogStore::read_memory`], from the database where needed. Entries that were purged are left out;
    /// entries inside the range are never.
    ///
    /// # Errors
    /// A gap, a checksum, or an error of the database.
    pub fn read(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<LogEntry>, LogFault> {
        if let Some(entries) = self.read_memory(start, end, max_bytes) {
            return Ok(entries);
        }
        let (first, after) = {
            let state = lock(&self.inner.state);
            (state.first_index, next_index(state.bounds.last))
        };
        let reads = ReadOptions::default();
        read::from_database(&self.inner.db, start.max(first), end.min(after), max_bytes, reads)
    }

    /// Index of the first entry, and the one after the last.
    pub(super) fn range(&self) -> (u64, u64) {
        let state = lock(&self.inner.state);
        (state.first_index, next_index(state.bounds.last))
    }

    /// The database, for reading it as a whole.
    pub(super) fn database(&self) -> &DB {
        &self.inner.db
    }

    /// Compares the durable records with their rows. Nobody writes records meanwhile.
    pub(super) fn check_records(&self) -> Result<(), LogFault> {
        let records = lock(&self.inner.records);
        let (here, found) = (records.state(), recover_records(&self.inner.db)?.state());
        if here == found { Ok(()) } else { Err(LogFault::RecordsDamaged { sequence: here.sequence }) }
    }

    /// The id of the entry at `index`; `None` when the log does not hold it (purged, or not yet there).
    ///
    /// # Errors
    /// A checksum, or an error of the database.
    pub fn id_at(&self, index: u64) -> Result<Option<LogId>, LogFault> {
        {
            let state = lock(&self.inner.state);
            if let Some(purged) = state.bounds.purged.filter(|purged| index <= purged.index) {
                return Ok((purged.index == index).then_some(purged));
            }
            if index >= next_index(state.bounds.last) {
                return Ok(None);
            }
            if let Some(id) = state.tail.id_at(index) {
                return Ok(Some(id));
            }
        }
        Ok(self.read(index, index.saturating_add(1), 0)?.first().map(|entry| entry.id))
    }

    /// Writes durable records: each key gets its value, all or none. The write is done in the order of calls;
    /// the future resolves when it is durable and part of the floor.
    ///
    /// # Errors
    /// None besides a store without its column families; a failed write stops the process.
    pub fn put_records(
        &self,
        changes: Vec<(Vec<u8>, Bytes)>,
    ) -> Result<impl Future<Output = ()> + Send + use<>, LogFault> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut records = lock(&self.inner.records);
            let (after, row_changes) = records.plan(&changes);
            let meta = family(&self.inner.db, rows::META)?;
            let mut batch = WriteBatch::default();
            for (key, row) in row_changes {
                batch.put_cf(meta, key, row);
            }
            let state_row = frame::seal(rows::RECORDS, pb::RecordsState::from(after).encode_to_vec());
            batch.put_cf(meta, rows::RECORDS, state_row);
            must(self.inner.db.write(batch));
            records.commit(after, changes);
            let done: Completion = Box::new(move || {
                sender.send(()).ok();
            });
            self.inner.flusher.queue(Work::Written { promised: Promised::Records(after), done: Some(done) });
        }
        Ok(async move { must(receiver.await) })
    }

    /// One durable record, as last written (durable or about to be).
    #[must_use]
    pub fn record(&self, key: &[u8]) -> Option<Bytes> {
        lock(&self.inner.records).get(key)
    }

    /// The durable records whose key starts with `prefix`, by ascending key.
    #[must_use]
    pub fn records_with_prefix(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Bytes)> {
        lock(&self.inner.records).with_prefix(prefix)
    }
}

/// Entries must follow `last`, and each other, by one in index and without a falling term.
fn check_order(last: Option<LogId>, entries: &[LogEntry]) -> Result<(), LogFault> {
    let mut before = last;
    for entry in entries {
        let wrong = before
            .is_some_and(|before| entry.id.index != next_index(Some(before)) || entry.id.term < before.term);
        if wrong {
            return Err(LogFault::Refused(format!(
                "appending {} after {}",
                entry.id,
                super::types::show(before)
            )));
        }
        before = Some(entry.id);
    }
    Ok(())
}
