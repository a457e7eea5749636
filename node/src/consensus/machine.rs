//! What consensus asks of the state that the log builds: apply committed entries, be durable now and
//! then, give and take snapshots.
//!
//! Contract. `apply` is called on one thread of its own, in log order, each entry once per start. State
//! need not be durable when `apply` returns; `applied` tells only what *is* durable, and after a crash
//! consensus applies again from there. A [`StoreFault`] from any method stops the node: a fault is never
//! an answer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::store::{
    faults::StoreFault,
    log::{LogEntry, LogId},
};

/// A committed entry, ready to be applied.
pub type CommittedEntry = LogEntry;

/// What applying one block gave; handed to whoever proposed it.
pub type Outcome = std::sync::Arc<quorate_ledger::outcome::BlockOutcome>;

/// A position in the log that a state stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last entry applied.
    pub last: Option<LogId>,
    /// The newest applied entry of kind `Membership`: its id and the bytes it carried.
    pub membership: Option<(LogId, Bytes)>,
}

/// A snapshot on disk. Its directory is removed when the handle is dropped.
#[derive(Debug)]
pub struct SnapshotHandle {
    position: Position,
    notes: Vec<String>,
    dir: PathBuf,
}

impl SnapshotHandle {
    /// Takes over a directory of plain files (no directories in it) that hold the state at `position`,
    /// which must have been read from those very files. `notes`: what certifies it.
    #[must_use]
    pub fn new(position: Position, notes: Vec<String>, dir: PathBuf) -> Self {
        Self { position, notes, dir }
    }

    /// For each ledger the cosigned note of its head in these files.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The position the files stand for.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for SnapshotHandle {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "a snapshot directory could not be removed");
        }
    }
}

/// Why no snapshot can be made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// What is in it is not certified by a majority yet: nobody would take it.
    #[error("its heads are not certified: {0}")]
    Uncertified(String),
    /// This node failed: it stops.
    #[error(transparent)]
    Fault(#[from] StoreFault),
}

/// Why a received snapshot is not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Its content is wrong: the sender's fault. Nothing here was changed.
    #[error("the snapshot is refused: {0}")]
    Refused(String),
    /// This node failed: it stops.
    #[error(transparent)]
    Fault(#[from] StoreFault),
}

/// The replicated state machine. All methods may block.
pub trait Machine: Send + Sync + 'static {
    /// The position that is durable: what a start after a crash at this moment would find.
    ///
    /// # Errors
    /// A fault stops the node.
    fn applied(&self) -> Result<Position, StoreFault>;

    /// Applies entries in order; the first follows the last one applied. Gives one outcome per `Block`
    /// entry, in order, and none for other entries. Stores the id of the last entry, and id and bytes of
    /// each `Membership` entry, in the same atomic write as its effects.
    ///
    /// # Errors
    /// A fault stops the node.
    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<Vec<Outcome>, StoreFault>;

    /// Makes all that was applied before the call durable. May run while `apply` runs.
    ///
    /// # Errors
    /// A fault stops the node.
    fn flush(&self) -> Result<(), StoreFault>;

    /// A snapshot of a state that includes all that was durable before the call, with its position read
    /// from the snapshot itself. Waits a while until it is certified. May run while `apply` runs.
    ///
    /// # Errors
    /// [`SnapshotError::Uncertified`]: perhaps later; a fault stops the node.
    fn snapshot(&self) -> Result<SnapshotHandle, SnapshotError>;

    /// A directory on the file system of the state, for the files of a snapshot of so many bytes. What was received of
    /// one that was not installed is still in it, also after a start.
    ///
    /// # Errors
    /// [`InstallError::Refused`]: there is no space for it; a fault stops the node.
    fn begin_install(&self, bytes: u64) -> Result<PathBuf, InstallError>;

    /// Removes what was received of a snapshot that is not needed any more. Not while one is received.
    ///
    /// # Errors
    /// A fault stops the node.
    fn discard_install(&self) -> Result<(), StoreFault>;

    /// Checks a complete snapshot (roots, position, that `notes` certify it, and that it continues what this node
    /// signed) without changing the present state. May run while `apply` runs.
    ///
    /// # Errors
    /// [`InstallError::Refused`] refuses the snapshot; a fault stops the node.
    fn check_install(&self, position: &Position, notes: &[String], dir: &Path) -> Result<(), InstallError>;

    /// Replaces the state by a checked snapshot, durably, before it returns; takes over `dir`. Called on the
    /// apply thread.
    ///
    /// # Errors
    /// A fault stops the node.
    fn install(&self, position: &Position, dir: &Path) -> Result<(), StoreFault>;
}
