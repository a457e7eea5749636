//! What a node does beside serving: snapshots on their way, the scrubber, the certificates it uses, the witnesses it asks, the peers it
//! refuses. Shown in the status and the metrics.
//!
//! Whoever does the work keeps its own part up to date; whoever looks gets a copy. Nothing is decided by it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quorate_core::position::{Micros, NodeId};

use crate::{clock::Clock, witness::Board};

/// Between two lines about one transfer in the log.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Which way a snapshot goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From this node.
    Sent,
    /// To this node.
    Received,
}

impl Direction {
    /// As it is called in metrics and the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// A snapshot on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Which way it goes.
    pub direction: Direction,
    /// The other node.
    pub peer: u64,
    /// Bytes that the receiver has.
    pub done: u64,
    /// Bytes altogether.
    pub total: u64,
    /// Everything was received, and is being checked.
    pub checking: bool,
}

/// All snapshots on their way. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Transfers(Arc<Mutex<BTreeMap<(Direction, u64), Transfer>>>);

impl Transfers {
    /// Notes a transfer that begins, of which the receiver has `done` bytes already; it ends with what is returned.
    #[must_use]
    pub fn begin(&self, direction: Direction, peer: u64, done: u64, total: u64) -> Moving {
        let transfer = Transfer { direction, peer, done, total, checking: false };
        lock(&self.0).insert((direction, peer), transfer);
        let clock = Clock::system();
        let told = Arc::new(Mutex::new(clock.monotonic()));
        Moving(Arc::new(Moved { all: self.clone(), direction, peer, clock, told }))
    }

    /// A copy of all of them.
    #[must_use]
    pub fn now(&self) -> Vec<Transfer> {
        lock(&self.0).values().copied().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A transfer that goes on until the last clone of this is dropped.
#[derive(Debug, Clone)]
pub struct Moving(Arc<Moved>);

#[derive(Debug)]
struct Moved {
    all: Transfers,
    direction: Direction,
    peer: u64,
    clock: Clock,
    told: Arc<Mutex<Duration>>,
}

impl Moving {
    /// So many bytes more.
    pub fn moved(&self, bytes: u64) {
        let Moved { all, direction, peer, clock, told } = &*self.0;
        let mut transfers = lock(&all.0);
        let Some(transfer) = transfers.get_mut(&(*direction, *peer)) else { return };
        transfer.done = transfer.done.saturating_add(bytes);
        let Transfer { done, total, .. } = *transfer;
        drop(transfers);
        let (now, mut told) = (clock.monotonic(), lock(told));
        if now.saturating_sub(*told) >= TELL_EVERY {
            *told = now;
            tracing::info!(direction = direction.name(), peer, done, total, "a snapshot is on its way");
        }
    }

    /// Everything is here, and is checked now.
    pub fn checking(&self) {
        let moved = &*self.0;
        if let Some(transfer) = lock(&moved.all.0).get_mut(&(moved.direction, moved.peer)) {
            transfer.checking = true;
        }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        lock(&self.all.0).remove(&(self.direction, self.peer));
    }
}

/// How the scrubber is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubState {
    /// Whether a pass is under way.
    pub running: bool,
    /// Bytes that this pass has read; those of the last one when none is under way.
    pub read: u64,
    /// When the last whole pass ended; `None` when there was none, or nobody knows.
    pub passed_at: Option<Micros>,
}

/// What the scrubber does. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Scrubbing(Arc<Mutex<ScrubState>>);

impl Scrubbing {
    /// A copy.
    #[must_use]
    pub fn now(&self) -> ScrubState {
        *lock(&self.0)
    }

    /// Changes it.
    pub fn change(&self, change: impl FnOnce(&mut ScrubState)) {
        change(&mut lock(&self.0));
    }
}

/// When the certificates in use end. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CertificateEnds(Arc<Mutex<(Option<Micros>, Option<Micros>)>>);

impl CertificateEnds {
    /// The one that clients see, and the one that nodes see; `None`: there is none.
    #[must_use]
    pub fn now(&self) -> (Option<Micros>, Option<Micros>) {
        *lock(&self.0)
    }

    /// The one that clients see ends then.
    pub fn server(&self, at: Option<Micros>) {
        lock(&self.0).0 = at;
    }

    /// The one that nodes see ends then.
    pub fn peer(&self, at: Option<Micros>) {
        lock(&self.0).1 = at;
    }
}

/// The peers that this node does not talk to. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Refused(Arc<Mutex<BTreeMap<NodeId, Refusal>>>);

#[derive(Debug)]
struct Refusal {
    why: String,
    /// It is not called before then (monotonic).
    rests_until: Duration,
}

impl Refused {
    /// A copy: who, and why.
    #[must_use]
    pub fn now(&self) -> Vec<(NodeId, String)> {
        lock(&self.0).iter().map(|(node, refusal)| (*node, refusal.why.clone())).collect()
    }

    /// In words, for who looks at this node's health; `None` when it refuses nobody.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        lock(&self.0)
            .values()
            .map(|refusal| refusal.why.clone())
            .reduce(|one, other| format!("{one}; {other}"))
    }

    /// `node` is refused; `true` if that is news.
    pub fn note(&self, node: NodeId, why: &str, rests_until: Duration) -> bool {
        let known = lock(&self.0).insert(node, Refusal { why: why.to_owned(), rests_until });
        known.is_none_or(|known| known.why != why)
    }

    /// `node` is not refused; `true` if that is news.
    pub fn forget(&self, node: NodeId) -> bool {
        lock(&self.0).remove(&node).is_some()
    }

    /// Why `node` is not to be called now. Who is told that it may be is the only one until `next`.
    #[must_use]
    pub fn resting(&self, node: NodeId, now: Duration, next: Duration) -> Option<String> {
        let mut all = lock(&self.0);
        let refusal = all.get_mut(&node)?;
        if now < refusal.rests_until {
            return Some(refusal.why.clone());
        }
        refusal.rests_until = next;
        None
    }
}

/// All of it, for the status and the metrics. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Upkeep {
    /// Snapshots on their way.
    pub transfers: Transfers,
    /// The scrubber.
    pub scrub: Scrubbing,
    /// The certificates in use.
    pub certificates: CertificateEnds,
    /// What outside witnesses cosigned.
    pub witnesses: Board,
    /// Peers that it does not talk to.
    pub refused: Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_shown_until_it_ends() {
        let transfers = Transfers::default();
        let moving = transfers.begin(Direction::Received, 3, 10, 100);
        moving.moved(20);
        moving.checking();
        let expected =
            Transfer { direction: Direction::Received, peer: 3, done: 30, total: 100, checking: true };
        assert_eq!(transfers.now(), [expected]);
        let other = moving.clone();
        drop(moving);
        assert_eq!(transfers.now().len(), 1);
        drop(other);
        assert!(transfers.now().is_empty());
    }

    #[test]
    fn a_refused_peer_is_called_once_in_each_rest() {
        let (refused, node, seconds) = (Refused::default(), NodeId::new(2), Duration::from_secs);
        assert_eq!(refused.resting(node, seconds(1), seconds(6)), None);
        assert!(refused.note(node, "old", seconds(6)));
        assert!(!refused.note(node, "old", seconds(6)));
        assert_eq!(refused.resting(node, seconds(5), seconds(10)).as_deref(), Some("old"));
        assert_eq!(refused.resting(node, seconds(6), seconds(11)), None);
        assert_eq!(refused.resting(node, seconds(6), seconds(11)).as_deref(), Some("old"));
        assert_eq!(refused.in_words().as_deref(), Some("old"));
        assert!(refused.forget(node) && !refused.forget(node) && refused.in_words().is_none());
    }
}
