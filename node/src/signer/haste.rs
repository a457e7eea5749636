//! When checkpoints are signed: at once while somebody waits for certificates, otherwise a few together.
//!
//! What a signature costs besides itself is a sync, a message to each member and their verification, for every block; of
//! blocks that come one by one it is more than all the rest. While nobody waits, checkpoints rest a moment and are
//! signed together: every one of them, in order, as before. Who waits, or is about to, says so *before* the block is
//! made, and this node tells the others, so that the word is there before the checkpoint is.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::clock::Clock;

/// How long a checkpoint rests, at most, while nobody waits.
pub(super) const REST: Duration = Duration::from_millis(50);

/// How long nothing rests after somebody waited.
const HASTE: Duration = Duration::from_secs(1);

/// Age from which the others are told again.
const TELL_AFTER: Duration = Duration::from_millis(500);

/// Whether there is haste.
#[derive(Debug)]
pub(super) struct Haste {
    clock: Clock,
    ends: Mutex<Ends>,
    begun: Notify,
}

/// Moments on the monotonic clock.
#[derive(Debug, Default)]
struct Ends {
    /// Until when nothing rests.
    haste: Duration,
    /// Until when the others need not be told again.
    told: Duration,
}

impl Haste {
    /// None yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, ends: Mutex::default(), begun: Notify::new() }
    }

    /// Somebody waits here, or is about to. True when the other members have to be told.
    pub(super) fn wanted(&self) -> bool {
        let now = self.clock.monotonic();
        self.begin(now);
        let mut ends = self.ends();
        let is_news = ends.told <= now;
        if is_news {
            ends.told = now.saturating_add(TELL_AFTER);
        }
        is_news
    }

    /// Somebody waits at another member, which says so.
    pub(super) fn heard(&self) {
        self.begin(self.clock.monotonic());
    }

    /// Whether checkpoints are signed at once.
    pub(super) fn is_on(&self) -> bool {
        self.clock.monotonic() < self.ends().haste
    }

    /// Returns when what rests has to be signed: after `rest`, or when haste begins.
    pub(super) async fn rest(&self, rest: Duration) {
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = self.begun.notified() => {}
        }
    }

    fn begin(&self, now: Duration) {
        let was_on = {
            let mut ends = self.ends();
            let was_on = now < ends.haste;
            ends.haste = now.saturating_add(HASTE);
            was_on
        };
        if !was_on {
            self.begun.notify_one();
        }
    }

    /// A panic under the lock leaves two moments, each right by itself.
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::position::Micros;

    use super::*;

    #[test]
    fn there_is_haste_for_a_while_after_somebody_waited() {
        let (clock, hand) = Clock::manual(Micros::new(0));
        let haste = Haste::new(clock);
        assert!(!haste.is_on());
        haste.heard();
        assert!(haste.is_on());
        hand.advance(HASTE);
        assert!(!haste.is_on());
    }

    #[test]
    fn others_are_told_before_their_haste_ends_and_no_more_often() {
        let (clock, hand) = Clock::manual(Micros::new(0));
        let haste = Haste::new(clock);
        haste.heard();
        assert!(haste.wanted(), "that somebody waits elsewhere does not tell anybody of this one");
        assert!(!haste.wanted());
        hand.advance(TELL_AFTER);
        assert!(haste.is_on());
        assert!(haste.wanted());
    }

    #[tokio::test]
    async fn what_rests_is_signed_when_haste_begins() {
        let (clock, _hand) = Clock::manual(Micros::new(0));
        let haste = Haste::new(clock);
        let resting = haste.rest(Duration::from_secs(3_600));
        tokio::pin!(resting);
        assert!(futures::poll!(&mut resting).is_pending());
        haste.heard();
        resting.await;
    }

    #[tokio::test]
    async fn haste_that_began_a_moment_before_is_not_missed() {
        let (clock, _hand) = Clock::manual(Micros::new(0));
        let haste = Haste::new(clock);
        haste.heard();
        haste.rest(Duration::from_secs(3_600)).await;
    }
}
