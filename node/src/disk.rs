//! The disk guard: no more writes before the disk is full.
//!
//! A full disk stops a node, because what it acknowledges must be on disk. So below a reserve of free space this node
//! takes no writes from clients any more, and says so; reads go on, and so does everything between nodes: what others
//! lead is still appended here, out of the reserve. It takes writes again by itself when there is a little more than the
//! reserve, so that it does not go back and forth at the edge.
//!
//! A leader without space hands the lead to a node that has some, if there is one (`node::handover`). Each file system that
//! this node stores on counts.
//!
//! Caveat: a follower goes on appending what the leader sends, out of its reserve, and ends when nothing is left.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Between two looks at the disk.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The smallest reserve, bytes: what is on its way when the guard closes must still fit.
pub const MIN_RESERVE: u64 = 64 << 20;

/// Most that must be free beyond the reserve before writes are taken again, bytes.
const MAX_MARGIN: u64 = 256 << 20;

/// Watches the free space where a node stores: the least of several directories counts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DiskGuard(Arc<Guard>);

#[derive(Debug)]
struct Guard {
    dirs: Vec<PathBuf>,
    reserve: u64,
    free: AtomicU64,
    low: AtomicBool,
}

impl DiskGuard {
    /// Watches the disks that `dirs` are on; `reserve` is in bytes, of each.
    #[must_use]
    pub fn new(dirs: &[PathBuf], reserve: u64) -> Self {
        let (free, low) = (AtomicU64::new(u64::MAX), AtomicBool::new(false));
        let guard = Self(Arc::new(Guard { dirs: dirs.to_vec(), reserve, free, low }));
        guard.look();
        guard
    }

    /// Looks every half second. Never ends.
    pub async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
        }
    }

    /// Looks at the disks now. What the operating system does not tell changes nothing.
    pub fn look(&self) {
        if let Some(free) = self.0.dirs.iter().filter_map(|dir| free_bytes(dir)).min() {
            self.found(free);
        }
    }

    /// Free space at the last look, bytes; `None` when nobody knows.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        Some(self.0.free.load(Ordering::Relaxed)).filter(|free| *free < u64::MAX)
    }

    /// Whether there is too little space to take writes.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.0.low.load(Ordering::Relaxed)
    }

    /// So much is free, bytes.
    pub(crate) fn found(&self, free: u64) {
        let Guard { reserve, low, .. } = &*self.0;
        self.0.free.store(free, Ordering::Relaxed);
        let was = low.load(Ordering::Relaxed);
        let is = is_low(was, free, *reserve);
        low.store(is, Ordering::Relaxed);
        match (was, is) {
            (false, true) => tracing::error!(free, reserve, "the disk is nearly full: no writes are taken"),
            (true, false) => {
                tracing::info!(free, reserve, "there is space on the disk again: writes are taken")
            }
            _ => {}
        }
    }

    /// Why no writes are taken now, and what to do; `None` when they are.
    #[must_use]
    pub fn low(&self) -> Option<String> {
        if !self.is_low() {
            return None;
        }
        let (free, wanted) = (self.0.free.load(Ordering::Relaxed), reopens_at(self.0.reserve));
        let mib = |bytes: u64| bytes >> 20;
        Some(format!(
            "read-only: {} MiB are free on this node's disk, and its reserve (storage.disk_reserve_bytes) is {} MiB; it takes \
             writes again by itself when {} MiB are free",
            mib(free),
            mib(self.0.reserve),
            mib(wanted)
        ))
    }
}

/// Free space of the disk that `dir` is on, bytes, as far as this process may use it.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    rustix::fs::statvfs(dir).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn reopens_at(reserve: u64) -> u64 {
    reserve.saturating_add((reserve / 8).min(MAX_MARGIN))
}

/// Whether there is too little space, after it was so or not.
fn is_low(was: bool, free: u64, reserve: u64) -> bool {
    free < if was { reopens_at(reserve) } else { reserve }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_below_the_reserve_and_opens_with_a_margin() {
        let guard = DiskGuard::new(&[PathBuf::from("/")], 800 << 20);
        let at = |mib: u64| {
            guard.found(mib << 20);
            guard.low().is_some()
        };
        assert_eq!(
            [801, 800, 799, 800, 899, 900, 800, 799].map(at),
            [false, false, true, true, true, false, false, true]
        );
        let words = guard.low().unwrap();
        assert!(words.starts_with("read-only: 799 MiB") && words.contains("900 MiB"), "{words}");
    }

    #[test]
    fn the_disk_itself_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let (here, gone) = (dir.path().to_owned(), dir.path().join("gone"));
        let is_low = |dirs: &[PathBuf], reserve| DiskGuard::new(dirs, reserve).low().is_some();
        let both = [gone, here];
        assert!(!is_low(&both[1..], 0) && is_low(&both[1..], u64::MAX));
        assert!(!is_low(&both[..1], u64::MAX), "unknown is not low");
        assert!(is_low(&both, u64::MAX), "one of them is enough");
    }
}
