//! Reading an archive: what is there, and its blocks in log order.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, SyncSender},
    },
    thread,
};

use quorate_core::{
    name::LedgerName,
    policy::{CertifiedCheckpoint, Policy, PolicyFileError},
    position::LogIndex,
};

use crate::{
    block::{Block, Blocks},
    error::ArchiveError,
    files::NEW,
    folder::Folder,
    manifest::{ArchivedLedger, MANIFEST, Manifest, Segment},
    segment,
    storage::{self, Item, Storage},
};

/// Blocks that are handed over at once, and how many such batches may wait: bounds memory beside the one segment.
const BATCH_BLOCKS: usize = 64;
const BATCHES: usize = 8;

/// An archive whose manifest was read and whose files are all there. Their contents are not checked yet.
#[derive(Debug)]
pub struct Archive {
    storage: Arc<dyn Storage>,
    manifest: Manifest,
    unfinished: bool,
}

impl Archive {
    /// Opens the archive in a directory. Changes nothing.
    ///
    /// # Errors
    /// As [`Archive::open_in`].
    pub fn open(dir: &Path) -> Result<Self, ArchiveError> {
        Self::open_in(Arc::new(Folder::new(dir)))
    }

    /// Opens the archive that lies in a place. Changes nothing.
    ///
    /// # Errors
    /// [`ArchiveError`]: there is none, its manifest is not what was written, or a file is missing, has another length
    /// or does not belong there.
    pub fn open_in(storage: Arc<dyn Storage>) -> Result<Self, ArchiveError> {
        let missing = || {
            let problem = "there is no manifest: this is no archive, or none was completed";
            ArchiveError::file(storage.path(MANIFEST), problem)
        };
        let manifest = Manifest::load(&*storage)?.ok_or_else(missing)?;
        let top = storage.list("")?;
        let unfinished = top.iter().any(|item| item.name == storage::UNFINISHED);
        let archive = Self { storage, manifest, unfinished };
        archive.check_files(&top)?;
        Ok(archive)
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        self.storage.path("")
    }

    /// What a file of it is called in messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.storage.path(name)
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
                path: self.path(MANIFEST),
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
            for entry in segment::read(&*self.storage, ledger, segment)? {
                let index = blocks.next();
                let pushed = blocks.push(entry).map_err(|problem| ArchiveError::Entry {
                    path: self.path(&ledger.file(segment)),
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
            let (path, ledger) = (self.path(MANIFEST), ledger.name.clone());
            return Err(ArchiveError::Ledger { path, ledger, problem });
        }
        sender.send(Ok(batch)).ok();
        Ok(())
    }

    /// That all files are there, with their lengths, and no others.
    fn check_files(&self, top: &[Item]) -> Result<(), ArchiveError> {
        let known = [MANIFEST, storage::LOCK, storage::LEDGERS, storage::UNFINISHED];
        for Item { name, .. } in top {
            let left_over = self.unfinished && name.strip_suffix(NEW) == Some(MANIFEST);
            if !(known.contains(&name.as_str()) || left_over) {
                return Err(ArchiveError::file(self.path(name), "it does not belong to the archive"));
            }
        }
        for ledger in &self.manifest.ledgers {
            self.check_segments(ledger)?;
        }
        for Item { name, .. } in self.storage.list(storage::LEDGERS)? {
            let ledger = LedgerName::new(&name).ok();
            let known = ledger.as_ref().is_some_and(|name| self.manifest.ledger(name).is_some());
            let left_over = self.unfinished && ledger.is_some();
            if !(known || left_over) {
                let path = self.path(&format!("{}/{name}", storage::LEDGERS));
                return Err(ArchiveError::file(path, "the manifest names no such ledger"));
            }
        }
        Ok(())
    }

    fn check_segments(&self, ledger: &ArchivedLedger) -> Result<(), ArchiveError> {
        let folder = storage::folder_of(&ledger.name);
        let mut wanted: BTreeMap<LogIndex, &Segment> =
            ledger.segments.iter().map(|segment| (segment.first, segment)).collect();
        for Item { name, bytes } in self.storage.list(&folder)? {
            let path = self.path(&format!("{folder}/{name}"));
            let first = storage::first_of(&name);
            let Some(segment) = first.and_then(|first| wanted.remove(&first)) else {
                let beyond = first.is_some_and(|first| first.get() >= ledger.checkpoint().size.get());
                if self.unfinished && beyond {
                    continue;
                }
                return Err(ArchiveError::file(path, "the manifest names no such segment"));
            };
            let found = bytes.unwrap_or_default();
            if found != segment.bytes {
                let problem = format!("it has {found} bytes, and had {} when it was written", segment.bytes);
                return Err(ArchiveError::file(path, problem));
            }
        }
        match wanted.into_values().next() {
            Some(missing) => {
                Err(ArchiveError::file(self.path(&ledger.file(missing)), "the segment is missing"))
            }
            None => Ok(()),
        }
    }
}
