//! The snapshot that stands: a copy of the state, certified by a majority, from which followers are brought back.
//!
//! Contract. There is at most one, and to openraft it is *the* snapshot ([`Outgoing::position`]): the log is purged only
//! behind it, so that whoever leads can bring back a follower that has less, whatever became of the others since. The
//! present state could not do that: its head may be one that only this node has, and that nobody signs before the
//! follower is back. A new one is made at each flush, and takes the place of the old when its heads are certified; one
//! that is not certified in time is thrown away, and the old one stands on, with the log behind it, up to
//! `held_log_bytes`. It is there after a start.
//!
//! It is used for every follower and for every attempt, so that a transfer that was cut goes on with the same files. While
//! somebody fetches it, and for a while after, none takes its place (not for ever: within the same bound, and some hours):
//! otherwise a follower would find, each time, that the log it needs next is gone. To copy and hash a large state takes
//! many seconds, and so does checking it at the receiver: both count.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
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
    store::{faults::StoreFault, log::LogId},
};

use super::{
    machine::{Copied, Machine, Position, SnapshotHandle},
    settings::SnapshotSettings,
};

/// The longest time for which one snapshot is kept from being replaced.
const OLDEST: Duration = Duration::from_secs(6 * 60 * 60);

/// Bytes hashed at once.
const PIECE: usize = 1 << 20;

/// A snapshot that can be sent.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) snapshot: SnapshotHandle,
    /// Its files with their hashes, by name, once somebody wants it.
    files: OnceLock<Vec<pb::SnapshotFile>>,
    made_at: Duration,
    /// Until when it is kept for somebody who took a piece of it, monotonic milliseconds.
    used_until_ms: AtomicU64,
    /// Transfers of it that have not ended.
    transfers: AtomicUsize,
}

impl Kept {
    /// Its files with their hashes, by name; of one that is transferred.
    pub(crate) fn files(&self) -> &[pb::SnapshotFile] {
        self.files.get().map_or(&[], Vec::as_slice)
    }
}

/// A transfer of a snapshot: while there is one it is used, although the receiver takes no piece and checks what it has.
pub(crate) struct Transfer {
    outgoing: Outgoing,
    kept: Arc<Kept>,
}

impl Transfer {
    fn of(outgoing: &Outgoing, kept: &Arc<Kept>) -> Self {
        kept.transfers.fetch_add(1, Ordering::Relaxed);
        Self { outgoing: outgoing.clone(), kept: Arc::clone(kept) }
    }

    /// What is transferred.
    pub(crate) fn kept(&self) -> &Arc<Kept> {
        &self.kept
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.outgoing.touch(&self.kept);
        self.kept.transfers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why no snapshot takes the place of the one that stands.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRenewed {
    /// Its heads are not signed by a majority yet: nobody would take it.
    #[error("its heads are not certified: {0}")]
    Uncertified(String),
    /// This node failed: it stops.
    #[error(transparent)]
    Fault(#[from] StoreFault),
    /// The thread that made it ended.
    #[error(transparent)]
    Thread(#[from] tokio::task::JoinError),
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
    /// Bytes written when a snapshot was begun last.
    written: AtomicU64,
    /// Held while one is made, and while one is hashed.
    making: tokio::sync::Mutex<()>,
    hashing: tokio::sync::Mutex<()>,
}

impl Outgoing {
    /// With the snapshot that an earlier run kept. `load` tells the bytes that the log took.
    pub(crate) fn new(machine: Arc<dyn Machine>, settings: SnapshotSettings, load: Load) -> Self {
        let (clock, written) = (Clock::system(), AtomicU64::new(load.written()));
        let kept = machine.kept().map(|snapshot| Arc::new(Kept::new(snapshot, clock.monotonic())));
        let (making, hashing) = (tokio::sync::Mutex::default(), tokio::sync::Mutex::default());
        let kept = Mutex::new(kept);
        Self(Arc::new(Inner { machine, settings, load, clock, kept, written, making, hashing }))
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

    /// The position of the snapshot that stands, if the log reaches back to it.
    pub(crate) fn position(&self, purged: Option<LogId>) -> Option<Position> {
        let kept = self.kept().clone()?;
        (kept.snapshot.position().last >= purged).then(|| kept.snapshot.position().clone())
    }

    /// How long ago the snapshot that stands was made, or this node started with it.
    pub(crate) fn age(&self) -> Option<Duration> {
        let kept = self.kept().clone()?;
        Some(self.0.clock.monotonic().saturating_sub(kept.made_at))
    }

    /// A snapshot of a state that has at least the entry `least`, to be sent: the one that stands, or a new one.
    pub(crate) async fn get(&self, least: Option<LogId>) -> Result<Transfer, String> {
        let transfer = match self.transfer(least) {
            Some(transfer) => transfer,
            None => {
                let _one_at_a_time = self.0.making.lock().await;
                match self.transfer(least) {
                    Some(transfer) => transfer,
                    None => {
                        let made = self.make().await.map_err(|e| format!("making a snapshot: {e}"))?;
                        Transfer::of(self, &made)
                    }
                }
            }
        };
        let _once = self.0.hashing.lock().await;
        let (kept, mut pace) = (Arc::clone(transfer.kept()), self.pace());
        if kept.files.get().is_none() {
            let listed = tokio::task::spawn_blocking(move || {
                let files = list(kept.snapshot.dir(), &mut pace)?;
                kept.files.get_or_init(|| files);
                Ok(())
            });
            let listed: io::Result<()> = listed.await.map_err(|error| error.to_string())?;
            listed.map_err(|e| format!("reading the snapshot: {e}"))?;
        }
        Ok(transfer)
    }

    /// A transfer of the snapshot that stands, if it has the entry `least`. From here on none takes its place.
    fn transfer(&self, least: Option<LogId>) -> Option<Transfer> {
        let kept = self.kept();
        let fitting = kept.as_ref().filter(|kept| kept.snapshot.position().last >= least);
        fitting.map(|kept| Transfer::of(self, kept))
    }

    /// Flushes the state; a snapshot of it takes the place of the one that stands, unless somebody fetches that. Gives the
    /// one that stands then.
    pub(crate) async fn renew(&self) -> Result<Arc<Kept>, NotRenewed> {
        let _one_at_a_time = self.0.making.lock().await;
        self.make().await
    }

    async fn make(&self) -> Result<Arc<Kept>, NotRenewed> {
        let written = self.0.load.written();
        let machine = Arc::clone(&self.0.machine);
        let Copied { files, notes } = tokio::task::spawn_blocking(move || machine.snapshot()).await??;
        let notes = match notes.await {
            Ok(notes) => notes,
            Err(missing) => {
                off_this_thread(files);
                return Err(NotRenewed::Uncertified(missing));
            }
        };
        let made = Arc::new(Kept::new(files.certified(notes), self.0.clock.monotonic()));
        let this = self.clone();
        Ok(tokio::task::spawn_blocking(move || this.put(made, written)).await??)
    }

    /// Lets a snapshot take the place of the one that stands, unless that is used. Gives the one that stands. One at a time.
    fn put(&self, made: Arc<Kept>, written: u64) -> Result<Arc<Kept>, StoreFault> {
        let standing = self.kept().clone();
        if let Some(used) = standing.filter(|kept| self.is_used(kept) && !self.is_large()) {
            return Ok(used);
        }
        self.0.machine.keep(&made.snapshot)?;
        made.snapshot.stay(true);
        self.0.written.store(written, Ordering::Relaxed);
        let before = self.kept().replace(Arc::clone(&made));
        self.replaced(before);
        Ok(made)
    }

    /// What stood before goes when nobody uses it any more.
    fn replaced(&self, before: Option<Arc<Kept>>) {
        if let Some(before) = before {
            before.snapshot.stay(false);
            off_this_thread(before);
        }
    }

    /// Somebody wants it, or takes a piece of it.
    pub(crate) fn touch(&self, kept: &Kept) {
        let until = self.0.clock.monotonic().saturating_add(self.0.settings.kept);
        kept.used_until_ms.store(millis(until), Ordering::Relaxed);
    }

    /// Gives it up: the next one is made anew.
    pub(crate) fn forget(&self, kept: &Arc<Kept>) {
        let is_it = |present: &mut Arc<Kept>| Arc::ptr_eq(present, kept);
        let forgotten = self.kept().take_if(is_it);
        self.replaced(forgotten);
    }

    /// Gives up what stands: the state was replaced by a later one.
    pub(crate) fn clear(&self) {
        let before = self.kept().take();
        self.replaced(before);
    }

    /// Whether none takes the place of the one that stands, and nothing of the log behind it is purged.
    pub(crate) fn holds_log(&self) -> bool {
        let is_used = self.kept().as_ref().is_some_and(|kept| self.is_used(kept));
        is_used && !self.is_large()
    }

    /// Whether the log has grown by all that may be held of it since a snapshot took the place of another.
    pub(crate) fn is_large(&self) -> bool {
        let grown = self.0.load.written().saturating_sub(self.0.written.load(Ordering::Relaxed));
        grown >= self.0.settings.held_log_bytes
    }

    fn is_used(&self, kept: &Kept) -> bool {
        let now = self.0.clock.monotonic();
        let is_fetched = kept.transfers.load(Ordering::Relaxed) > 0
            || millis(now) < kept.used_until_ms.load(Ordering::Relaxed);
        is_fetched && now.saturating_sub(kept.made_at) <= OLDEST
    }

    fn kept(&self) -> MutexGuard<'_, Option<Arc<Kept>>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn new(snapshot: SnapshotHandle, made_at: Duration) -> Self {
        let (used_until_ms, transfers) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self { snapshot, files: OnceLock::new(), made_at, used_until_ms, transfers }
    }
}

/// Removing files takes a moment: on a thread that may block.
fn off_this_thread<T: Send + 'static>(files: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(files))),
        Err(_) => drop(files),
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
