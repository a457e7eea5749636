//! Writing an archive: new, or behind what is there.
//!
//! Order, and what a crash leaves: the mark `UNFINISHED`, segments with their bytes synced, their names synced, the
//! manifest by rename, the mark removed. Until the rename the archive is the old one.

use std::{fmt, path::Path, sync::Arc};

use quorate_core::{
    hash::leaf_hash,
    name::{ClusterOrigin, LedgerName},
    note::SignedNote,
    policy::Policy,
    position::LogIndex,
    tree::Frontier,
};
use quorate_proto::v1::LogEntry;

use crate::{
    error::ArchiveError,
    files::NEW,
    folder::Folder,
    manifest::{ArchivedLedger, MANIFEST, Manifest, Segment},
    reader::Archive,
    segment::SegmentWriter,
    storage::{self, Storage},
};

/// An archive that is being written. Dropping it before [`Writer::publish`] leaves the archive as it was.
pub struct Writer {
    storage: Arc<dyn Storage>,
    cluster: ClusterOrigin,
    before: Option<Manifest>,
    ledgers: Vec<ArchivedLedger>,
    added: u64,
    // Released when the writer is dropped.
    _lock: Box<dyn Send + Sync>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("storage", &self.storage)
            .field("added", &self.added)
            .finish_non_exhaustive()
    }
}

/// What a run made of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Leaves that were added.
    pub added: u64,
    /// Whether there was an archive before.
    pub continued: bool,
}

impl Writer {
    /// Begins a run in a directory.
    ///
    /// # Errors
    /// As [`Writer::open_in`].
    pub fn open(dir: &Path, cluster: &ClusterOrigin) -> Result<Self, ArchiveError> {
        Self::open_in(Arc::new(Folder::new(dir)), cluster)
    }

    /// Begins a run: takes the lock, and removes what an interrupted run left beyond the manifest.
    ///
    /// # Errors
    /// [`ArchiveError::NotAnArchive`], [`ArchiveError::OtherCluster`], [`ArchiveError::Busy`]; an archive that is
    /// damaged as far as its manifest and the lengths of its files show.
    pub fn open_in(storage: Arc<dyn Storage>, cluster: &ClusterOrigin) -> Result<Self, ArchiveError> {
        let before = Manifest::load(&*storage)?;
        if before.is_none() {
            refuse_foreign(&*storage)?;
        }
        if let Some(before) = before.as_ref().filter(|before| before.cluster != *cluster) {
            let (archived, cluster) = (before.cluster.to_string(), cluster.to_string());
            return Err(ArchiveError::OtherCluster { path: storage.path(""), archived, cluster });
        }
        let lock = storage.lock(storage::LOCK)?;
        // Read again under the lock: another run may have ended in between.
        let before = Manifest::load(&*storage)?;
        if before.is_some() {
            Archive::open_in(Arc::clone(&storage))?;
        }
        storage.remove(storage::UNFINISHED)?;
        storage.write(storage::UNFINISHED, b"")?;
        remove_leftovers(&*storage, before.as_ref())?;
        Ok(Self { storage, cluster: cluster.clone(), before, ledgers: Vec::new(), added: 0, _lock: lock })
    }

    /// What the archive held before this run.
    #[must_use]
    pub const fn before(&self) -> Option<&Manifest> {
        self.before.as_ref()
    }

    /// Goes on with a ledger, behind what the archive has of it. `_system` first, the others by name.
    pub fn ledger(&mut self, name: &LedgerName) -> LedgerWriter<'_> {
        let before = self.before.as_ref().and_then(|manifest| manifest.ledger(name));
        let (edge, segments) =
            before.map_or_else(Default::default, |before| (before.edge.clone(), before.segments.clone()));
        LedgerWriter { writer: self, name: name.clone(), edge, segments, open: None }
    }

    /// Makes what was written the archive. `policy`: by which every checkpoint was believed.
    ///
    /// # Errors
    /// [`ArchiveError::Ledger`] when a ledger of the archive was left out; a failing disk. The archive is the old one.
    pub fn publish(self, policy: &Policy) -> Result<Published, ArchiveError> {
        let before = self.before.iter().flat_map(|manifest| &manifest.ledgers);
        let lost =
            before.map(|old| &old.name).find(|name| !self.ledgers.iter().any(|new| new.name == **name));
        if let Some(lost) = lost {
            let problem = "the archive has it, and the cluster does not show it any more".to_owned();
            let (path, ledger) = (self.storage.path(MANIFEST), lost.clone());
            return Err(ArchiveError::Ledger { path, ledger, problem });
        }
        let path = || self.storage.path(MANIFEST);
        let wrong = |problem: String| ArchiveError::file(path(), problem);
        let old = self.before.as_ref().map(Manifest::encode).transpose().map_err(wrong)?;
        let manifest = Manifest { cluster: self.cluster, policy: policy.clone(), ledgers: self.ledgers };
        self.storage.replace(MANIFEST, old.as_deref(), &manifest.encode().map_err(wrong)?)?;
        self.storage.remove(storage::UNFINISHED)?;
        Ok(Published { added: self.added, continued: self.before.is_some() })
    }
}

/// One ledger of an archive that is being written.
pub struct LedgerWriter<'w> {
    writer: &'w mut Writer,
    name: LedgerName,
    edge: Frontier,
    segments: Vec<Segment>,
    open: Option<SegmentWriter>,
}

impl LedgerWriter<'_> {
    /// Log index of the next leaf.
    #[must_use]
    pub fn next(&self) -> LogIndex {
        self.edge.size().next_index()
    }

    /// Adds the next leaf, with its contents.
    ///
    /// # Errors
    /// A leaf out of order, a failing disk.
    pub fn push(&mut self, entry: &LogEntry) -> Result<(), ArchiveError> {
        let index = self.next();
        if entry.index != index.get() {
            let problem = format!("leaf {} was to be written, and {} comes next", entry.index, index);
            let folder = self.writer.storage.path(&storage::folder_of(&self.name));
            return Err(ArchiveError::file(folder, problem));
        }
        let mut segment = match self.open.take() {
            Some(segment) => segment,
            None => SegmentWriter::begin(&self.name, index),
        };
        let is_full = segment.push(entry)?;
        self.edge.push(leaf_hash(&entry.leaf));
        self.writer.added = self.writer.added.saturating_add(1);
        if is_full {
            self.segments.push(segment.finish(&*self.writer.storage)?);
        } else {
            self.open = Some(segment);
        }
        Ok(())
    }

    /// Ends the ledger at its certified checkpoint, to which the leaves must lead.
    ///
    /// # Errors
    /// [`ArchiveError::OtherHistory`], [`ArchiveError::Behind`]; a failing disk.
    pub fn finish(mut self, note: SignedNote) -> Result<(), ArchiveError> {
        if let Some(segment) = self.open.take() {
            self.segments.push(segment.finish(&*self.writer.storage)?);
        }
        let checkpoint = note.checkpoint();
        let (size, ledger) = (checkpoint.size, self.name.clone());
        if self.edge.size() > size {
            return Err(ArchiveError::Behind { ledger, archived: self.edge.size(), size });
        }
        if self.edge.size() < size || self.edge.root() != checkpoint.root {
            let (expected, found) = (checkpoint.root, self.edge.root());
            return Err(ArchiveError::OtherHistory { ledger, size, expected, found });
        }
        self.writer.ledgers.push(ArchivedLedger {
            name: self.name,
            note,
            edge: self.edge,
            segments: self.segments,
        });
        Ok(())
    }
}

/// A place without a manifest must be empty, or hold what an interrupted first run left.
fn refuse_foreign(storage: &dyn Storage) -> Result<(), ArchiveError> {
    let names: Vec<String> = storage.list("")?.into_iter().map(|item| item.name).collect();
    let unfinished = names.iter().any(|name| name == storage::UNFINISHED);
    let ours = |name: &String| {
        let left = [storage::LEDGERS, storage::UNFINISHED].contains(&name.as_str())
            || name.strip_suffix(NEW) == Some(MANIFEST);
        name == storage::LOCK || (unfinished && left)
    };
    match names.into_iter().find(|name| !ours(name)) {
        Some(found) => Err(ArchiveError::NotAnArchive { path: storage.path(""), found }),
        None => Ok(()),
    }
}

/// Removes files that the manifest does not name. Only names of our own making are touched.
fn remove_leftovers(storage: &dyn Storage, manifest: Option<&Manifest>) -> Result<(), ArchiveError> {
    storage.remove(&format!("{MANIFEST}{NEW}"))?;
    for item in storage.list(storage::LEDGERS)? {
        let Ok(ledger) = LedgerName::new(&item.name) else { continue };
        let archived = manifest.and_then(|manifest| manifest.ledger(&ledger));
        for file in storage.list(&storage::folder_of(&ledger))? {
            let Some(first) = storage::first_of(&file.name) else { continue };
            let known =
                archived.is_some_and(|ledger| ledger.segments.iter().any(|segment| segment.first == first));
            if !known {
                storage.remove(&storage::segment_of(&ledger, first))?;
            }
        }
    }
    Ok(())
}
