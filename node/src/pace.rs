//! How fast work that can wait may go: bytes per second, and fewer while clients write.
//!
//! Contract: over any time, what is spent is at most the rate times that time, and a tenth of a second's worth. Whoever
//! spends more is told to wait. Only bytes are counted, so a slow disk never makes the work go faster afterwards.

use std::{sync::Arc, time::Duration};

use crate::clock::Clock;

/// Writes count as going on for this long after the last one.
const BUSY_FOR: Duration = Duration::from_millis(250);

/// What may be spent at once after a rest.
const BURST: Duration = Duration::from_millis(100);

/// The longest sleep: whoever is to stop is heard after it.
const LONGEST: Duration = Duration::from_millis(250);

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// While nothing is written; 0: no limit.
    pub idle: u64,
    /// While clients write; 0: no limit.
    pub busy: u64,
}

/// Tells how many bytes clients have had written so far.
#[derive(Clone)]
pub struct Load(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Load {
    /// A load that `written` tells.
    pub fn new(written: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(written))
    }

    /// Bytes so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        (self.0)()
    }

    /// Nobody writes.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|| 0)
    }
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Load").field(&self.written()).finish()
    }
}

/// The pace of one piece of work.
#[derive(Debug)]
pub struct Pace {
    rates: Rates,
    load: Load,
    clock: Clock,
    /// When everything spent so far is paid for, monotonic.
    paid_at: Duration,
    /// What was written at the last look, and when that changed last.
    written: u64,
    changed_at: Option<Duration>,
}

impl Pace {
    /// A pace that begins now.
    #[must_use]
    pub fn new(rates: Rates, load: Load, clock: Clock) -> Self {
        let (paid_at, written) = (clock.monotonic(), load.written());
        Self { rates, load, clock, paid_at, written, changed_at: None }
    }

    /// Spends bytes; sleeps on this thread until they are paid for.
    pub fn spend(&mut self, bytes: u64) {
        self.spend_unless(bytes, || false);
    }

    /// The same; returns early when it is to stop.
    pub fn spend_unless(&mut self, bytes: u64, stopped: impl Fn() -> bool) {
        let mut wait = self.charge(bytes);
        while wait > Duration::ZERO && !stopped() {
            std::thread::sleep(wait.min(LONGEST));
            wait = self.paid_at.saturating_sub(self.clock.monotonic());
        }
    }

    /// Spends bytes; gives how long to wait before the next.
    pub fn charge(&mut self, bytes: u64) -> Duration {
        let now = self.clock.monotonic();
        let rate = if self.is_busy(now) { self.rates.busy } else { self.rates.idle };
        let begin = self.paid_at.max(now.saturating_sub(BURST));
        let nanos =
            u128::from(bytes).saturating_mul(1_000_000_000).checked_div(u128::from(rate)).unwrap_or(0);
        self.paid_at = begin.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        self.paid_at.saturating_sub(now)
    }

    fn is_busy(&mut self, now: Duration) -> bool {
        let written = self.load.written();
        if written != self.written {
            (self.written, self.changed_at) = (written, Some(now));
        }
        self.changed_at.is_some_and(|at| now.saturating_sub(at) < BUSY_FOR)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use quorate_core::position::Micros;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Spends pieces of 1,000 bytes for ten seconds; gives how many bytes that were.
    fn spent(rates: Rates, load: &Load, hand: &crate::clock::ManualClock, clock: &Clock) -> u64 {
        let mut pace = Pace::new(rates, load.clone(), clock.clone());
        let (end, mut bytes) = (clock.monotonic() + SECOND * 10, 0);
        while clock.monotonic() < end {
            bytes += 1_000;
            hand.advance(pace.charge(1_000));
        }
        bytes
    }

    #[test]
    fn no_more_is_spent_than_the_rate_and_a_burst_allow() {
        let (clock, hand) = Clock::manual(Micros::new(0));
        let rates = Rates { idle: 100_000, busy: 10_000 };
        let bytes = spent(rates, &Load::none(), &hand, &clock);
        assert!((990_000..=1_011_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn it_yields_while_clients_write_and_goes_on_afterwards() {
        let (clock, hand) = Clock::manual(Micros::new(0));
        let rates = Rates { idle: 100_000, busy: 10_000 };
        let written = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&written);
        let busy = Load::new(move || counter.fetch_add(1, Ordering::Relaxed));
        let bytes = spent(rates, &busy, &hand, &clock);
        assert!((98_000..=105_000).contains(&bytes), "{bytes} while clients write");
        let still = Load::new(|| 7);
        assert!(spent(rates, &still, &hand, &clock) > 900_000, "writes that have ended count no more");
    }

    #[test]
    fn a_rest_saves_no_more_than_a_burst_and_no_rate_is_no_limit() {
        let (clock, hand) = Clock::manual(Micros::new(0));
        let mut pace = Pace::new(Rates { idle: 1_000, busy: 1_000 }, Load::none(), clock.clone());
        hand.advance(SECOND * 3_600);
        assert_eq!(pace.charge(100), Duration::ZERO);
        assert_eq!(pace.charge(1_000), SECOND);
        let mut free = Pace::new(Rates { idle: 0, busy: 0 }, Load::none(), clock);
        assert_eq!(free.charge(u64::MAX), Duration::ZERO);
    }
}
