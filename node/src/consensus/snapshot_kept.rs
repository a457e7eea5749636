//! The snapshot that followers fetch: made once, hashed once, and kept while somebody fetches it.
//!
//! Contract. There is at most one. It is used for every follower and for every attempt, so that a transfer that was cut
//! goes on with the same files. It is given up when nobody has taken a piece for a while, after some hours whatever
//! happens, and when a receiver found it wrong. While there is one, the log behind it is kept for those who fetch it
//! ([`Outgoing::holds_log`]): otherwise a follower that needs long would find, each time, that the log it needs next is gone.
//!
//! To openraft the present snapshot is the one that is kept ([`Outgoing::position`]); it assumes of a follower exactly
//! what was sent.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
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
}

impl Outgoing {
    pub(crate) fn new(machine: Arc<dyn Machine>, settings: SnapshotSettings, load: Load) -> Self {
        let (kept, making) = (Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { machine, settings, load, clock: Clock::system(), kept, making }))
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
        Ok(Kept { snapshot, files, made_at: now, used_ms: AtomicU64::new(millis(now)) })
    }

    /// Somebody wants it, or takes a piece of it.
    pub(crate) fn touch(&self, kept: &Kept) {
        kept.used_ms.store(millis(self.0.clock.monotonic()), Ordering::Relaxed);
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
            unused > millis(self.0.settings.kept) || now.saturating_sub(kept.made_at) > OLDEST
        };
        let gone = self.kept().take_if(|kept| expired(kept));
        // Removing the files takes a moment: not with the lock held.
        drop(gone);
    }

    /// Whether the log is kept for those who fetch a snapshot, although `appended` bytes were added since the last purge.
    pub(crate) fn holds_log(&self, appended: u64) -> bool {
        self.kept().is_some() && appended < self.0.settings.held_log_bytes
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
