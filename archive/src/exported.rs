//! Verifying an export where it lies: the lines, the tiles and the checkpoints, with nothing beside them.
//!
//! Contract: as for an archive ([`Archive::verify`](crate::Archive::verify)), and that each tile follows from the leaves. Which
//! ledgers an export has, it says itself: one of a single ledger is as good as one of all.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use quorate_core::{
    name::{ClusterOrigin, LedgerName},
    note::SignedNote,
    policy::{Policy, PolicyFileError},
};

use crate::{
    block::{Block, Blocks},
    error::ArchiveError,
    export::{CHECKPOINT, LEAVES, Line, must_read, read_index},
    tiles::Tiles,
    verify::{State, Verified, VerifiedLedger},
};

/// An export whose index was read. Its contents are not checked yet.
#[derive(Debug)]
pub struct Export {
    folder: PathBuf,
    cluster: ClusterOrigin,
    policy: Policy,
    ledgers: Vec<LedgerName>,
}

impl Export {
    /// Opens the export in a folder. Changes nothing.
    ///
    /// # Errors
    /// [`ArchiveError`]: there is none, or its index is not one.
    pub fn open(folder: &Path) -> Result<Self, ArchiveError> {
        let (path, index, cluster, policy) = read_index(folder)?;
        let names = index.ledgers.iter().map(|name| LedgerName::new(name));
        let ledgers = names.collect::<Result<_, _>>().map_err(|error| ArchiveError::file(path, error))?;
        Ok(Self { folder: folder.to_owned(), cluster, policy, ledgers })
    }

    /// A file of it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The cluster that it is of.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterOrigin {
        &self.cluster
    }

    /// Its ledgers, in order.
    #[must_use]
    pub fn ledgers(&self) -> &[LedgerName] {
        &self.ledgers
    }

    /// The policy inside: that of who made it.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy that `policy` is for these ledgers, as for an archive.
    ///
    /// # Errors
    /// When the two together are no policy.
    pub fn policy_over(&self, policy: &Policy) -> Result<Policy, PolicyFileError> {
        let mut text = Vec::new();
        for log in self.policy.logs().iter().filter(|log| policy.log(log.key().name()).is_none()) {
            text.extend_from_slice(format!("log {}\n", log.key()).as_bytes());
        }
        text.extend(policy.to_bytes());
        Policy::parse(text)
    }

    /// Recomputes everything, and holds it against the checkpoints, which `policy` must accept. `each` is told of every block,
    /// in order, before what follows it is checked: what it keeps is worth something when this has ended well.
    ///
    /// # Errors
    /// [`ArchiveError`]: the first thing that is wrong, with its file.
    pub fn verify(
        &self,
        policy: &Policy,
        mut each: impl FnMut(&LedgerName, &Block),
    ) -> Result<Verified, ArchiveError> {
        let ledgers = self.ledgers.iter().map(|name| self.verify_ledger(name, policy, &mut each));
        Ok(Verified { cluster: self.cluster.clone(), ledgers: ledgers.collect::<Result<_, _>>()? })
    }

    fn verify_ledger(
        &self,
        name: &LedgerName,
        policy: &Policy,
        each: &mut impl FnMut(&LedgerName, &Block),
    ) -> Result<VerifiedLedger, ArchiveError> {
        let folder = self.folder.join(name.as_str());
        let path = folder.join(CHECKPOINT);
        let note = String::from_utf8_lossy(&must_read(&path)?).into_owned();
        let note = SignedNote::parse(&note).map_err(|error| ArchiveError::file(&path, error))?;
        if note.checkpoint().origin != self.cluster.ledger(name).as_str() {
            let problem = format!("it is of {}, and not of ledger {name}", note.checkpoint().origin);
            return Err(ArchiveError::file(path, problem));
        }
        let certified = policy.certify(note);
        let certified =
            certified.map_err(|source| ArchiveError::Policy { path, ledger: name.clone(), source })?;
        let path = folder.join(LEAVES);
        let wrong =
            |problem: String| ArchiveError::Ledger { path: path.clone(), ledger: name.clone(), problem };
        let (mut blocks, mut state) = (Blocks::default(), State::default());
        let mut tiles = Tiles::compared(folder.join("tile"));
        let file = File::open(&path).map_err(ArchiveError::io("open", &path))?;
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(ArchiveError::io("read", &path))?;
            let index = blocks.next();
            let at = |problem: String| ArchiveError::Entry {
                path: path.clone(),
                ledger: name.clone(),
                index,
                problem,
            };
            let line: Line = serde_json::from_slice(&line).map_err(|error| at(error.to_string()))?;
            let entry = line.into_entry().map_err(at)?;
            tiles.push(&entry.leaf)?;
            let Some(block) = blocks.push(entry).map_err(at)? else { continue };
            state.push(&block).map_err(|(index, problem)| ArchiveError::Entry {
                path: path.clone(),
                ledger: name.clone(),
                index,
                problem,
            })?;
            each(name, &block);
        }
        if !blocks.is_between_blocks() {
            return Err(wrong("the last block has no commit leaf".to_owned()));
        }
        tiles.finish()?;
        let bytes = fs::metadata(&path).map_err(ArchiveError::io("look at", &path))?.len();
        state.finish(name, certified, bytes).map_err(wrong)
    }
}
