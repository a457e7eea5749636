//! What consensus asks of the state that the log builds: apply committed entries, be durable now and
//! then, give and take snapshots.
//!
//! Contract. `apply` is called on one thread of its own, in log order, each entry once per start. State
//! need not be durable when `apply` returns; `applied` tells only what *is* durable, and after a crash
//! consensus applies again from there. It is made durable by taking a snapshot, and not otherwise. A
//! [`StoreFault`] from any method stops the node: a fault is never an answer.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use prost::Message;
use quorate_proto::peer::v1 as pb;

use super::codec::{decode_position, encode_position};

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

/// A snapshot on disk. Its directory is removed when the handle is dropped, unless it stays.
#[derive(Debug)]
pub struct SnapshotHandle {
    position: Position,
    notes: Vec<String>,
    dir: PathBuf,
    stays: AtomicBool,
}

impl SnapshotHandle {
    /// Takes over a directory of plain files (no directories in it) that hold exactly the state at `position`.
    /// `notes`: what certifies it.
    #[must_use]
    pub fn new(position: Position, notes: Vec<String>, dir: PathBuf) -> Self {
        Self { position, notes, dir, stays: AtomicBool::new(false) }
    }

    /// The same, certified by `notes`.
    #[must_use]
    pub fn certified(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
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

    /// What is noted of it where it is kept.
    #[must_use]
    pub fn label(&self) -> Vec<u8> {
        let (meta, notes) = (Some(encode_position(&self.position)), self.notes.clone());
        pb::SnapshotHeader { meta, notes, ..pb::SnapshotHeader::default() }.encode_to_vec()
    }

    /// The snapshot in `dir` of which this was noted; it stays.
    ///
    /// # Errors
    /// When it is no [`SnapshotHandle::label`].
    pub fn from_label(dir: PathBuf, label: &[u8]) -> Result<Self, prost::DecodeError> {
        let pb::SnapshotHeader { meta, notes, .. } = pb::SnapshotHeader::decode(label)?;
        let position = decode_position(&meta.unwrap_or_default());
        Ok(Self { position, notes, dir, stays: AtomicBool::new(true) })
    }

    /// Whether the files stay when the handle is dropped, for the next start.
    pub fn stay(&self, stays: bool) {
        self.stays.store(stays, Ordering::Release);
    }
}

impl Drop for SnapshotHandle {
    fn drop(&mut self) {
        if self.stays.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "a snapshot directory could not be removed");
        }
    }
}

/// A snapshot that was just made.
pub struct Copied {
    /// Its files.
    pub files: SnapshotHandle,
    /// The notes that certify its heads, when a majority has signed them; after a while, who has not.
    pub notes: BoxFuture<'static, Result<Vec<String>, String>>,
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

    /// Makes durable all that was applied before the call, and a snapshot of what is durable then. May run while `apply`
    /// runs, also of another call.
    ///
    /// # Errors
    /// A fault stops the node.
    fn snapshot(&self) -> Result<Copied, StoreFault>;

    /// Notes durably that a snapshot is the one that stands: [`Machine::kept`] finds it after a start.
    ///
    /// # Errors
    /// A fault stops the node.
    fn keep(&self, snapshot: &SnapshotHandle) -> Result<(), StoreFault>;

    /// The snapshot that an earlier run kept, if it is still there.
    fn kept(&self) -> Option<SnapshotHandle>;

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
