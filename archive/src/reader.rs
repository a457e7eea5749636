//! Reading an archive: what is there, and its blocks in log order.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::mpsc::{self, SyncSender},
    thread,
};

use quorate_core::{
    name::LedgerName,
    policy::{CertifiedCheckpoint, Policy, PolicyFileError},
};

use crate::{
    block::{Block, Blocks},
    error::ArchiveError,
    files,
    manifest::{ArchivedLedger, MANIFEST, Manifest},
    segment,
};

/// Blocks that are handed over at once, and how many such batches may wait: bounds memory beside the one segment.
const BATCH_BLOCKS: usize = 64;
const BATCHES: usize = 8;

/// An archive whose manifest was read and whose files are all there. Their contents are not checked yet.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    manifest: Manifest,
    unfinished: bool,
}

impl Archive {
    /// Opens the archive in `dir`. Changes nothing.
    ///
    /// # Errors
    /// [`ArchiveError`]: there is none, its manifest is not what was written, or a file is missing, has another length
    /// or does not belong there.
    pub fn open(dir: &Path) -> Result<Self, ArchiveError> {
        let path = dir.join(MANIFEST);
        let missing =
            || ArchiveError::file(&path, "there is no manifest: this is no archive, or none was completed");
        let manifest = Manifest::load(dir)?.ok_or_else(missing)?;
        let unfinished = files::names(dir)?.iter().any(|name| name == files::UNFINISHED);
        let archive = Self { dir: dir.to_owned(), manifest, unfinished };
        archive.check_files()?;
        Ok(archive)
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it holds.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether a backup into it runs, or was interrupted: there may be more files than the manifest names. They are
    /// not read.
    #[must_use]
    pub const fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// The policy that `policy` is for these ledgers: its cosigners and quorum, its logs, and the logs of the ledgers
    /// that it does not list from the manifest. (A log's key names the log; every replica holds it, so it carries no
    /// trust.)
    ///
    /// # Errors
    /// When the two together are no policy.
    pub fn policy_over(&self, policy: &Policy) -> Result<Policy, PolicyFileError> {
        let mut text = Vec::new();
        for log in self.manifest.policy.logs() {
            if policy.log(log.key().name()).is_none() {
                text.extend_from_slice(format!("log {}\n", log.key()).as_bytes());
            }
        }
        text.extend(policy.to_bytes());
        Policy::parse(text)
    }

    /// The checkpoint of each ledger, in the order of the manifest, if `policy` accepts all of them.
    ///
    /// # Errors
    /// [`ArchiveError::Policy`].
    pub fn certify(&self, policy: &Policy) -> Result<Vec<CertifiedCheckpoint>, ArchiveError> {
        let certify = |ledger: &ArchivedLedger| {
            policy.certify(ledger.note.clone()).map_err(|source| ArchiveError::Policy {
                path: self.dir.join(MANIFEST),
                ledger: ledger.name.clone(),
                source,
            })
        };
        self.manifest.ledgers.iter().map(certify).collect()
    }

    /// Hands every block of a ledger to `each`, in log order. Reading and hashing run on a thread of their own.
    ///
    /// # Errors
    /// The first thing that is wrong with a file, or what `each` says; nothing is handed over after it.
    pub fn walk<E: From<ArchiveError>>(
        &self,
        ledger: &ArchivedLedger,
        mut each: impl FnMut(Block) -> Result<(), E>,
    ) -> Result<(), E> {
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(BATCHES);
            scope.spawn(move || {
                let read = self.read_blocks(ledger, &sender);
                if let Err(error) = read {
                    // Nobody listens any more after an error of theirs.
                    sender.send(Err(error)).ok();
                }
            });
            for batch in receiver {
                batch?.into_iter().try_for_each(&mut each)?;
            }
            Ok(())
        })
    }

    /// Reads segment after segment; ends early, without an error, when nobody takes the blocks.
    fn read_blocks(
        &self,
        ledger: &ArchivedLedger,
        sender: &SyncSender<Result<Vec<Block>, ArchiveError>>,
    ) -> Result<(), ArchiveError> {
        let mut blocks = Blocks::default();
        let mut batch = Vec::new();
        for segment in &ledger.segments {
            for entry in segment::read(&self.dir, ledger, segment)? {
                let index = blocks.next();
                let pushed = blocks.push(entry).map_err(|problem| ArchiveError::Entry {
                    path: ledger.path(&self.dir, segment),
                    ledger: ledger.name.clone(),
                    index,
                    problem,
                });
                batch.extend(pushed?);
                if batch.len() >= BATCH_BLOCKS && sender.send(Ok(std::mem::take(&mut batch))).is_err() {
                    return Ok(());
                }
            }
        }
        if !blocks.is_between_blocks() {
            let problem = "the last leaf is not a commit leaf".to_owned();
            let (path, ledger) = (self.dir.join(MANIFEST), ledger.name.clone());
            return Err(ArchiveError::Ledger { path, ledger, problem });
        }
        sender.send(Ok(batch)).ok();
        Ok(())
    }

    /// That all files are there, with their lengths, and no others.
    fn check_files(&self) -> Result<(), ArchiveError> {
        for name in files::names(&self.dir)? {
            let known = [MANIFEST, files::LOCK, files::LEDGERS, files::UNFINISHED].contains(&name.as_str());
            let left_over = self.unfinished && name == files::NEW_MANIFEST;
            if !(known || left_over) {
                return Err(ArchiveError::file(self.dir.join(name), "it does not belong to the archive"));
            }
        }
        for ledger in &self.manifest.ledgers {
            self.check_segments(ledger)?;
        }
        let folders = self.dir.join(files::LEDGERS);
        for name in files::names(&folders)? {
            let ledger = LedgerName::new(&name).ok();
            let known = ledger.as_ref().is_some_and(|name| self.manifest.ledger(name).is_some());
            let left_over = self.unfinished && ledger.is_some();
            if !(known || left_over) {
                let problem = "the manifest names no such ledger";
                return Err(ArchiveError::file(folders.join(name), problem));
            }
        }
        Ok(())
    }

    fn check_segments(&self, ledger: &ArchivedLedger) -> Result<(), ArchiveError> {
        let folder = files::ledger_folder(&self.dir, &ledger.name);
        let mut wanted: BTreeSet<u64> = ledger.segments.iter().map(|segment| segment.first.get()).collect();
        for name in files::names(&folder)? {
            let first = files::first_of(&name);
            let known = first.is_some_and(|first| wanted.remove(&first.get()));
            let beyond = first.is_some_and(|first| first.get() >= ledger.checkpoint().size.get());
            let left_over = self.unfinished && beyond;
            if !(known || left_over) {
                let problem = "the manifest names no such segment";
                return Err(ArchiveError::file(folder.join(name), problem));
            }
        }
        for segment in &ledger.segments {
            let path = ledger.path(&self.dir, segment);
            if wanted.contains(&segment.first.get()) {
                return Err(ArchiveError::file(path, "the segment is missing"));
            }
            let found = std::fs::metadata(&path).map_err(ArchiveError::io("read", &path))?.len();
            if found != segment.bytes {
                let problem = format!("it has {found} bytes, and had {} when it was written", segment.bytes);
                return Err(ArchiveError::file(path, problem));
            }
        }
        Ok(())
    }
}
