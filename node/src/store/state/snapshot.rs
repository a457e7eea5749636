//! Snapshots: a copy of the whole state in plain files, made without stopping and installed without a gap.
//!
//! Made: a RocksDB checkpoint (hard links, no copying), in one of two ways. [`StateStore::snapshot`] flushes first and opens
//! the checkpoint to read its position, so files and position cannot part. [`StateStore::flushed_copy`] reads nothing: it
//! asks the open database what a crash would leave, before the files are linked and after; where the answers are equal,
//! that is what the files hold.
//!
//! Kept: of one copy the store notes that it stands, with what its owner wants to know of it; it is there after a start.
//!
//! Installed: the files are in a directory of their own. They are opened and every hash in them is recomputed
//! ([`mod@super::scrub`]) before anything changes: the sender is not believed. Then: sync the files, give the
//! directory its final name, flip the one pointer file, publish, remove the old database when its last reader is
//! gone. **If we crash** before the flip, the old database is there as it was and the new one is removed at the
//! next start; after it, the other way round.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_ledger::view::{LedgerHead, LedgerId};
use rocksdb::checkpoint::Checkpoint;

use super::{
    database::{Access, Database},
    directory::{sync_directory, sync_file},
    epochs,
    load::{heads, load, persisted, read_applied},
    meta::{self, Applied, AppliedRow},
    options::{StateOptions, Table},
    rows,
    scrub::scrub,
    store::{StateStore, Writer},
    view::ReadView,
};
use crate::{
    disk::{MIN_RESERVE, free_bytes},
    store::faults::{FaultKind, StoreFault},
};

/// What a cache is bounded by while a snapshot is only checked, bytes.
const CHECK_CACHE: usize = 8 << 20;

/// To RocksDB, a checkpoint with a flush before it, and one without.
const WITH_FLUSH: u64 = 0;
const WITHOUT_FLUSH: u64 = u64::MAX;

/// Why a received snapshot is not installed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SnapshotError {
    /// Its content is wrong: the sender's fault. Nothing here was changed.
    #[error("the snapshot is refused: {0}")]
    Refused(String),
    /// This node's disk failed.
    #[error(transparent)]
    Fault(#[from] StoreFault),
}

/// A copy of the state in plain files, which its owner removes.
#[derive(Debug)]
pub struct StateCopy {
    /// What it is the result of.
    pub applied: Applied,
    /// The heads of its ledgers.
    pub heads: Vec<Arc<LedgerHead>>,
    /// Its directory.
    pub path: PathBuf,
}

/// How often the files are linked again because the database wrote some meanwhile.
const LINKED_AGAIN: usize = 16;

impl StateStore {
    /// Makes durable what was applied before the call, and a copy of what is durable then. Takes the space of the files that
    /// are replaced while it exists. May run beside [`StateStore::apply`].
    ///
    /// # Errors
    /// A fault of the store.
    pub fn flushed_copy(&self) -> Result<StateCopy, StoreFault> {
        let view = self.view();
        let database = &view.database;
        database.flush(true)?;
        database.check_background()?;
        for _ in 0..LINKED_AGAIN {
            let before = persisted(database)?;
            let heads = persisted_heads(database, &before)?;
            let path = self.link_files(database, WITHOUT_FLUSH)?;
            if persisted(database)?.applied == before.applied {
                return Ok(StateCopy { applied: before.applied, heads, path });
            }
            // A flush came between. They come after many entries, so the next look will be between two of them.
            remove(&path)?;
        }
        // Then it is opened and read.
        drop(view);
        self.snapshot()
    }

    /// Hard links to the files of a database, in a directory of their own.
    fn link_files(&self, database: &Database, flush_above: u64) -> Result<PathBuf, StoreFault> {
        let _alone = self.naming.lock();
        let path = self.directory.new_snapshot()?;
        let place = || path.display().to_string();
        let checkpoint = Checkpoint::new(database.rocksdb());
        let checkpoint = checkpoint.map_err(|error| StoreFault::rocksdb(place(), &error))?;
        checkpoint
            .create_checkpoint_with_log_size(&path, flush_above)
            .map_err(|error| StoreFault::rocksdb(place(), &error))?;
        Ok(path)
    }

    /// Notes that the copy in `path` stands, durably: it is there after a start, with `label`. The one that stood is not
    /// removed.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn keep_copy(&self, path: &Path, label: &[u8]) -> Result<(), StoreFault> {
        self.directory.keep_snapshot(path, label)
    }

    /// The copy that stands, with its label.
    pub fn kept_copy(&self) -> Option<(PathBuf, Vec<u8>)> {
        self.directory.kept_snapshot()
    }

    /// Makes a copy of a state that includes all that was applied before the call. Takes the space of the files that are
    /// replaced while it exists. May run beside [`StateStore::apply`].
    ///
    /// # Errors
    /// A fault of the store.
    pub fn snapshot(&self) -> Result<StateCopy, StoreFault> {
        let path = self.link_files(&self.view().database, WITH_FLUSH)?;
        match self.read_snapshot(&path) {
            Ok((applied, heads)) => Ok(StateCopy { applied, heads, path }),
            Err(fault) => {
                // The fault stops the node; what stays behind is removed at the next start.
                fs::remove_dir_all(&path).ok();
                Err(fault)
            }
        }
    }

    /// Position and heads of a copy, read from it; takes away what reading it left there.
    fn read_snapshot(&self, path: &Path) -> Result<(Applied, Vec<Arc<LedgerHead>>), StoreFault> {
        let database = Database::open(path, &self.checking(), Access::Read)?;
        let row = read_applied(&database)?;
        let heads = heads(&database, row.cluster.next_ledger)?;
        drop(database);
        for name in diary_files(path)? {
            let file = path.join(name);
            fs::remove_file(&file).map_err(|error| StoreFault::file(&file, "removing", &error))?;
        }
        Ok((row.applied, heads))
    }

    /// The directory for the files of a snapshot of so many bytes that is received, with what was received before.
    ///
    /// # Errors
    /// [`SnapshotError::Refused`] when there is no space for it; a fault of the disk.
    pub fn begin_install(&self, bytes: u64) -> Result<PathBuf, SnapshotError> {
        let path = self.directory.incoming();
        if !path.exists() {
            fs::create_dir(&path).map_err(|error| StoreFault::file(&path, "creating", &error))?;
        }
        let here = directory_bytes(&path)?;
        let free = free_bytes(&path).unwrap_or(u64::MAX);
        let needed = bytes.saturating_sub(here).saturating_add(MIN_RESERVE);
        if free < needed {
            let mib = |bytes: u64| bytes >> 20;
            return Err(SnapshotError::Refused(format!(
                "{} MiB are free on this node's disk, and the rest of the snapshot needs {} MiB: make space",
                mib(free),
                mib(needed)
            )));
        }
        Ok(path)
    }

    /// Removes what was received of a snapshot that is not needed any more. Not while one is received.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn discard_install(&self) -> Result<(), StoreFault> {
        let path = self.directory.incoming();
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreFault::file(&path, "removing", &error))
            }
            _ => Ok(()),
        }
    }

    /// Checks a received snapshot: that it is one of this cluster at this position, that every hash in it is right,
    /// and that each ledger of the present view is continued by it; then asks `accept`. Changes nothing. May run
    /// beside [`StateStore::apply`].
    ///
    /// # Errors
    /// [`SnapshotError::Refused`] for what is wrong with it.
    pub fn check_snapshot(
        &self,
        position: &Applied,
        path: &Path,
        accept: impl FnOnce(&ReadView) -> Result<(), String>,
    ) -> Result<(), SnapshotError> {
        let refused = |fault: StoreFault| match fault.kind() {
            // Not the sender's fault: this node cannot follow the others any more.
            FaultKind::Newer => SnapshotError::Fault(fault),
            _ => SnapshotError::Refused(fault.to_string()),
        };
        let database = Database::open(path, &self.checking(), Access::Read).map_err(refused)?;
        let (view, _) =
            load(Arc::new(database), self.identity.cluster_id, &self.checking()).map_err(refused)?;
        check_position(position, &view)?;
        scrub(&view).map_err(refused)?;
        epochs::check(&view).map_err(refused)?;
        self.check_continues(&view)?;
        accept(&view).map_err(SnapshotError::Refused)
    }

    /// Every ledger of the present view has to be a prefix of the snapshot's.
    fn check_continues(&self, snapshot: &ReadView) -> Result<(), SnapshotError> {
        for ledger in self.view().ledgers() {
            let name = &ledger.head().name;
            let (size, root) = (ledger.size(), ledger.head().frontier.root());
            let theirs = match snapshot.ledger(name) {
                Some(theirs) => {
                    theirs.root_at(size).map_err(|fault| SnapshotError::Refused(fault.to_string()))?
                }
                None => None,
            };
            if theirs != Some(root) {
                let theirs = theirs.map_or_else(|| "none".to_owned(), |root| root.to_string());
                return Err(SnapshotError::Refused(format!(
                    "ledger {name} has root {root} at size {size} here, and {theirs} in the snapshot"
                )));
            }
        }
        Ok(())
    }

    /// Replaces the state by a snapshot that [`StateStore::check_snapshot`] has passed; takes over its directory.
    /// Durable on return. On the apply thread only.
    ///
    /// # Errors
    /// A fault of the store: the old state stays the present one.
    pub fn install(&self, position: &Applied, path: &Path) -> Result<Arc<ReadView>, StoreFault> {
        let mut writer = self.writer.lock();
        for name in diary_files(path)? {
            let file = path.join(name);
            fs::remove_file(&file).map_err(|error| StoreFault::file(&file, "removing", &error))?;
        }
        for entry in fs::read_dir(path).map_err(|error| StoreFault::file(path, "listing", &error))? {
            let entry = entry.map_err(|error| StoreFault::file(path, "listing", &error))?;
            sync_file(&entry.path())?;
        }
        sync_directory(path)?;
        let current = {
            let _alone = self.naming.lock();
            self.directory.adopt(path)?
        };
        let database = Arc::new(Database::open(&current, &self.options, Access::Write)?);
        let (view, tries) = load(database, self.identity.cluster_id, &self.options)?;
        // Checked before, but the present state may have grown, and files may change.
        check_position(position, &view)
            .and_then(|()| self.check_continues(&view))
            .map_err(|error| StoreFault::damaged(current.display().to_string(), error))?;
        self.directory.make_current(&current)?;
        *writer = Writer::new(tries, &view.applied);
        let view = Arc::new(view);
        self.publish(Arc::clone(&view)).database.doom();
        Ok(view)
    }

    /// Bounds for a database that is only looked at.
    pub(super) fn checking(&self) -> StateOptions {
        StateOptions {
            block_cache_bytes: CHECK_CACHE,
            trie_cache_bytes: CHECK_CACHE,
            tile_cache_bytes: CHECK_CACHE,
            ..self.options.clone()
        }
    }
}

/// The heads of all ledgers as a crash would leave them.
fn persisted_heads(database: &Database, row: &AppliedRow) -> Result<Vec<Arc<LedgerHead>>, StoreFault> {
    let head = |id| {
        let key = rows::head(LedgerId(id));
        let damaged = |problem: &dyn std::fmt::Display| database.damaged(Table::Meta, &key, problem);
        let stored =
            database.get_persisted(Table::Meta, &key)?.ok_or_else(|| damaged(&"the row is missing"))?;
        let head = meta::decode_head(&stored).map_err(|error| damaged(&error))?;
        if head.id == LedgerId(id) { Ok(head) } else { Err(damaged(&"it holds the head of another ledger")) }
    };
    (0..row.cluster.next_ledger.0).map(head).collect()
}

fn remove(path: &Path) -> Result<(), StoreFault> {
    fs::remove_dir_all(path).map_err(|error| StoreFault::file(path, "removing", &error))
}

fn check_position(expected: &Applied, view: &ReadView) -> Result<(), SnapshotError> {
    if view.applied() == expected {
        return Ok(());
    }
    let show = |applied: &Applied| applied.last.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let (expected, found) = (show(expected), show(view.applied()));
    Err(SnapshotError::Refused(format!(
        "it was announced for entry {expected} and holds the state of {found}"
    )))
}

/// Bytes of the files of a directory.
fn directory_bytes(path: &Path) -> Result<u64, StoreFault> {
    let fault = |error: std::io::Error| StoreFault::file(path, "listing", &error);
    let sizes = fs::read_dir(path).map_err(fault)?.map(|entry| entry.and_then(|entry| entry.metadata()));
    sizes.map(|metadata| metadata.map(|metadata| metadata.len()).map_err(fault)).sum()
}

/// RocksDB's diary and lock in a database that was opened: no part of the state.
fn diary_files(path: &Path) -> Result<Vec<String>, StoreFault> {
    let entries = fs::read_dir(path).map_err(|error| StoreFault::file(path, "listing", &error))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let names =
        names.collect::<Result<Vec<_>, _>>().map_err(|error| StoreFault::file(path, "listing", &error))?;
    Ok(names
        .into_iter()
        .filter(|name| name == "LOCK" || name == "LOG" || name.starts_with("LOG.old."))
        .collect())
}
