//! The snapshot that followers fetch: made once, hashed once, and kept while somebody fetches it.
//!
//! Contract. There is at most one. It is used for every follower and for every attempt, so that a transfer that was cut
//! goes on with the same files. It is given up when nobody has taken a piece for a while, after some hours whatever
//! happens, and when a receiver found it wrong. From the moment when one is begun, the log behind it is kept for those who
//! fetch it ([`Outgoing::holds_log`]): otherwise a follower would find, each time, that the log it needs next is gone. To
//! copy and hash a large state takes many seconds, and so does checking it at the receiver: both count.
//!
//! To openraft the present snapshot is the one that is kept ([`Outgoing::position`]); it assumes of a follower exactly
//! what was sent.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use quorate_proto::peer::v1 as pb;
use sha2::{Digest, Sha256};

use crate::{
    clock::Clock,
    pace::{Load, Pace},
    store::log::LogId,
};

use super::{
    machine::{Machine, Position, SnapshotHandle},
    settings::SnapshotSettings,
};

/// The longest time for which one snapshot is kept.
const OLDEST: Duration = Duration::from_secs(6 * 60 * 60);

/// Bytes hashed at once.
const PIECE: usize = 1 << 20;

/// A snapshot that can be sent.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) snapshot: SnapshotHandle,
    /// Its files with their hashes, by name.
    pub(crate) files: Vec<pb::SnapshotFile>,
    made_at: Duration,
    /// When a piece of it was taken last, monotonic milliseconds.
    used_ms: AtomicU64,
    /// Transfers of it that have not ended.
    transfers: AtomicUsize,
}

/// A transfer of a snapshot: while there is one it is used, although the receiver takes no piece and checks what it has.
pub(crate) struct Transfer {
    outgoing: Outgoing,
    kept: Arc<Kept>,
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.outgoing.touch(&self.kept);
        self.kept.transfers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A snapshot that is being made.
struct Begun<'a>(&'a Inner);

impl<'a> Begun<'a> {
    fn on(outgoing: &'a Outgoing) -> Self {
        outgoing.0.begun.fetch_add(1, Ordering::Relaxed);
        Self(&outgoing.0)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.begun.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The snapshot that this node sends. Clones share it.
#[derive(Clone)]
pub(crate) struct Outgoing(Arc<Inner>);

struct Inner {
    machine: Arc<dyn Machine>,
    settings: SnapshotSettings,
    load: Load,
    clock: Clock,
    kept: Mutex<Option<Arc<Kept>>>,
    /// Held while one is made.
    making: tokio::sync::Mutex<()>,
    /// How many are being made: none or one.
    begun: AtomicUsize,
}

impl Outgoing {
    pub(crate) fn new(machine: Arc<dyn Machine>, settings: SnapshotSettings, load: Load) -> Self {
        let (kept, making) = (Mutex::default(), tokio::sync::Mutex::default());
        let (clock, begun) = (Clock::system(), AtomicUsize::new(0));
        Self(Arc::new(Inner { machine, settings, load, clock, kept, making, begun }))
    }

    /// The machine whose snapshots these are.
    #[cfg(test)]
    pub(crate) fn machine(&self) -> &Arc<dyn Machine> {
        &self.0.machine
    }

    /// How fast pieces may be read.
    pub(crate) fn pace(&self) -> Pace {
        Pace::new(self.0.settings.rates, self.0.load.clone(), self.0.clock.clone())
    }

    /// The position of the snapshot that is kept, if the log reaches back to it.
    pub(crate) fn position(&self, purged: Option<LogId>) -> Option<Position> {
        let kept = self.kept().clone()?;
        (kept.snapshot.position().last >= purged).then(|| kept.snapshot.position().clone())
    }

    /// A snapshot of a state that has at least the entry `least`: the one that is kept, or a new one.
    pub(crate) async fn get(&self, least: Option<LogId>) -> Result<Arc<Kept>, String> {
        let _one_at_a_time = self.0.making.lock().await;
        if let Some(kept) = self.kept().clone().filter(|kept| kept.snapshot.position().last >= least) {
            return Ok(kept);
        }
        // Before its position is read, until it is kept: what comes after that position stays in the log.
        let _begun = Begun::on(self);
        *self.kept() = None;
        let this = self.clone();
        let made = tokio::task::spawn_blocking(move || this.make());
        let made = Arc::new(made.await.map_err(|error| error.to_string())??);
        *self.kept() = Some(Arc::clone(&made));
        Ok(made)
    }

    fn make(&self) -> Result<Kept, String> {
        let snapshot = self.0.machine.snapshot().map_err(|e| format!("making a snapshot: {e}"))?;
        let files =
            list(snapshot.dir(), &mut self.pace()).map_err(|e| format!("reading the snapshot: {e}"))?;
        let now = self.0.clock.monotonic();
        let (used_ms, transfers) = (AtomicU64::new(millis(now)), AtomicUsize::new(0));
        Ok(Kept { snapshot, files, made_at: now, used_ms, transfers })
    }

    /// Somebody wants it, or takes a piece of it.
    pub(crate) fn touch(&self, kept: &Kept) {
        kept.used_ms.store(millis(self.0.clock.monotonic()), Ordering::Relaxed);
    }

    /// A transfer begins. It ends when what is returned is dropped.
    pub(crate) fn transfer(&self, kept: &Arc<Kept>) -> Transfer {
        kept.transfers.fetch_add(1, Ordering::Relaxed);
        Transfer { outgoing: self.clone(), kept: Arc::clone(kept) }
    }

    /// Gives it up: the next one is made anew.
    pub(crate) fn forget(&self, kept: &Arc<Kept>) {
        let mut present = self.kept();
        if present.as_ref().is_some_and(|present| Arc::ptr_eq(present, kept)) {
            *present = None;
        }
    }

    /// Gives up one that nobody takes any more.
    pub(crate) fn expire(&self) {
        let now = self.0.clock.monotonic();
        let expired = |kept: &Arc<Kept>| {
            let unused = millis(now).saturating_sub(kept.used_ms.load(Ordering::Relaxed));
            let is_unused =
                kept.transfers.load(Ordering::Relaxed) == 0 && unused > millis(self.0.settings.kept);
            is_unused || now.saturating_sub(kept.made_at) > OLDEST
        };
        let gone = self.kept().take_if(|kept| expired(kept));
        // Removing the files takes a moment: not with the lock held.
        drop(gone);
    }

    /// Whether the log is kept for those who fetch a snapshot, although `appended` bytes were added since the last purge.
    pub(crate) fn holds_log(&self, appended: u64) -> bool {
        let wanted = self.0.begun.load(Ordering::Relaxed) > 0 || self.kept().is_some();
        wanted && appended < self.0.settings.held_log_bytes
    }

    fn kept(&self) -> MutexGuard<'_, Option<Arc<Kept>>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The files of a directory, by name, with the hashes of their bytes.
fn list(dir: &Path, pace: &mut Pace) -> io::Result<Vec<pb::SnapshotFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.metadata()?.is_file() {
            return Err(io::Error::other(format!("{} is not a file", entry.path().display())));
        }
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| io::Error::other(format!("the file name {} is not UTF-8", name.display())))?;
        let (size, sha256) = digest(&mut File::open(entry.path())?, u64::MAX, |bytes| pace.spend(bytes))?;
        let sha256 = Bytes::copy_from_slice(&sha256.finalize());
        files.push(pb::SnapshotFile { name, size, sha256 });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Reads at most `limit` bytes; how many there were, and their hash so far. `read` is told of each piece.
pub(super) fn digest(file: &mut File, limit: u64, mut read: impl FnMut(u64)) -> io::Result<(u64, Sha256)> {
    let (mut hash, mut total) = (Sha256::new(), 0_u64);
    let mut piece = vec![0; PIECE];
    let mut file = file.take(limit);
    loop {
        let size = file.read(&mut piece)?;
        if size == 0 {
            return Ok((total, hash));
        }
        hash.update(&piece[..size]);
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        total = total.saturating_add(size);
        read(size);
    }
}
