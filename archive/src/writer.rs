//! Writing an archive: new, or behind what is there.
//!
//! Order, and what a crash leaves: the mark `UNFINISHED`, segments with their bytes synced, their names synced, the
//! manifest by rename, the mark removed. Until the rename the archive is the old one.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

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
    files,
    manifest::{ArchivedLedger, MANIFEST, Manifest, Segment},
    reader::Archive,
    segment::SegmentWriter,
};

/// An archive that is being written. Dropping it before [`Writer::publish`] leaves the archive as it was.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    cluster: ClusterOrigin,
    before: Option<Manifest>,
    ledgers: Vec<ArchivedLedger>,
    added: u64,
    // Released when the writer is dropped.
    _lock: File,
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
    /// Begins a run: takes the lock, and removes what an interrupted run left beyond the manifest.
    ///
    /// # Errors
    /// [`ArchiveError::NotAnArchive`], [`ArchiveError::OtherCluster`], [`ArchiveError::Busy`]; an archive that is
    /// damaged as far as its manifest and the lengths of its files show.
    pub fn open(dir: &Path, cluster: &ClusterOrigin) -> Result<Self, ArchiveError> {
        let before = Manifest::load(dir)?;
        let ours = [files::LOCK, files::LEDGERS, files::UNFINISHED, files::NEW_MANIFEST];
        let names = files::names(dir)?;
        let unfinished = names.iter().any(|name| name == files::UNFINISHED);
        let foreign = names.into_iter().find(|name| {
            before.is_none() && !(unfinished && ours.contains(&name.as_str())) && name != files::LOCK
        });
        if let Some(found) = foreign {
            return Err(ArchiveError::NotAnArchive { path: dir.to_owned(), found });
        }
        if let Some(before) = before.as_ref().filter(|before| before.cluster != *cluster) {
            let (archived, cluster) = (before.cluster.to_string(), cluster.to_string());
            return Err(ArchiveError::OtherCluster { path: dir.to_owned(), archived, cluster });
        }
        files::create_dir(dir)?;
        let lock = files::lock(dir)?;
        // Read again under the lock: another run may have ended in between.
        let before = Manifest::load(dir)?;
        if before.is_some() {
            Archive::open(dir)?;
        }
        files::write(&dir.join(files::UNFINISHED), b"")?;
        files::sync_dir(dir)?;
        remove_leftovers(dir, before.as_ref())?;
        Ok(Self {
            dir: dir.to_owned(),
            cluster: cluster.clone(),
            before,
            ledgers: Vec::new(),
            added: 0,
            _lock: lock,
        })
    }

    /// What the archive held before this run.
    #[must_use]
    pub const fn before(&self) -> Option<&Manifest> {
        self.before.as_ref()
    }

    /// Goes on with a ledger, behind what the archive has of it. `_system` first, the others by name.
    ///
    /// # Errors
    /// A failing disk.
    pub fn ledger(&mut self, name: &LedgerName) -> Result<LedgerWriter<'_>, ArchiveError> {
        let before = self.before.as_ref().and_then(|manifest| manifest.ledger(name));
        let (edge, segments) =
            before.map_or_else(Default::default, |before| (before.edge.clone(), before.segments.clone()));
        files::create_dir(&self.dir.join(files::LEDGERS))?;
        files::create_dir(&files::ledger_folder(&self.dir, name))?;
        Ok(LedgerWriter { writer: self, name: name.clone(), edge, segments, open: None })
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
            let (path, ledger) = (self.dir.join(MANIFEST), lost.clone());
            return Err(ArchiveError::Ledger { path, ledger, problem });
        }
        for ledger in &self.ledgers {
            files::sync_dir(&files::ledger_folder(&self.dir, &ledger.name))?;
        }
        files::sync_dir(&self.dir.join(files::LEDGERS))?;
        let manifest = Manifest { cluster: self.cluster, policy: policy.clone(), ledgers: self.ledgers };
        let bytes =
            manifest.encode().map_err(|problem| ArchiveError::file(self.dir.join(MANIFEST), problem))?;
        files::replace_manifest(&self.dir, &bytes)?;
        files::remove(&self.dir.join(files::UNFINISHED))?;
        files::sync_dir(&self.dir)?;
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
        let folder = files::ledger_folder(&self.writer.dir, &self.name);
        if entry.index != index.get() {
            let problem = format!("leaf {} was to be written, and {} comes next", entry.index, index);
            return Err(ArchiveError::file(folder, problem));
        }
        let mut segment = match self.open.take() {
            Some(segment) => segment,
            None => SegmentWriter::begin(&self.writer.dir, &self.name, index)?,
        };
        let is_full = segment.push(entry)?;
        self.edge.push(leaf_hash(&entry.leaf));
        self.writer.added = self.writer.added.saturating_add(1);
        if is_full {
            self.segments.push(segment.finish()?);
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
            self.segments.push(segment.finish()?);
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

/// Removes files that the manifest does not name. Only names of our own making are touched.
fn remove_leftovers(dir: &Path, manifest: Option<&Manifest>) -> Result<(), ArchiveError> {
    files::remove(&dir.join(files::NEW_MANIFEST))?;
    let folders = dir.join(files::LEDGERS);
    for name in files::names(&folders)? {
        let Ok(ledger) = LedgerName::new(&name) else { continue };
        let archived = manifest.and_then(|manifest| manifest.ledger(&ledger));
        let folder = folders.join(&name);
        for file in files::names(&folder)? {
            let Some(first) = files::first_of(&file) else { continue };
            let known =
                archived.is_some_and(|ledger| ledger.segments.iter().any(|segment| segment.first == first));
            if !known {
                files::remove(&folder.join(file))?;
            }
        }
    }
    Ok(())
}
