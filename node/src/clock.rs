//! The one place where time enters a node.
//!
//! Contract: wall time is *data* (it is stamped into blocks and cosignatures, and may jump or run backwards:
//! who uses it has to clamp it); monotonic time is for measuring and for deadlines, and never runs backwards.
//! Nothing else in this package may ask the operating system for the time, so that a test can hold the clock
//! still, turn it back or make it leap ([`Clock::manual`]).

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use quorate_core::position::Micros;

/// A source of time. Cheap to clone; clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Mutex<Reading>>),
}

/// What a manual clock shows.
#[derive(Clone, Copy, Debug)]
struct Reading {
    now: Micros,
    monotonic: Duration,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `now` until its handle moves it; its monotonic time starts at 0.
    #[must_use]
    pub fn manual(now: Micros) -> (Self, ManualClock) {
        let reading = Arc::new(Mutex::new(Reading { now, monotonic: Duration::ZERO }));
        (Self(Source::Manual(Arc::clone(&reading))), ManualClock(reading))
    }

    /// Wall time in microseconds since the Unix epoch; 0 on a machine whose clock stands before it. May jump in
    /// either direction.
    #[must_use]
    pub fn now(&self) -> Micros {
        match &self.0 {
            Source::System => system_now(),
            Source::Manual(reading) => reading.lock().unwrap_or_else(PoisonError::into_inner).now,
        }
    }

    /// Time since an arbitrary fixed moment of this process. Never runs backwards.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System => system_monotonic(),
            Source::Manual(reading) => reading.lock().unwrap_or_else(PoisonError::into_inner).monotonic,
        }
    }
}

/// Moves a manual clock.
#[derive(Debug)]
pub struct ManualClock(Arc<Mutex<Reading>>);

impl ManualClock {
    /// Lets `time` pass: wall and monotonic time both advance, the wall up to the end of its numbers.
    pub fn advance(&self, time: Duration) {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        reading.now = Micros::new(reading.now.get().saturating_add(passed));
        reading.monotonic = reading.monotonic.saturating_add(time);
    }

    /// Sets the wall time, forwards or back, as an operator or a faulty time server would. Monotonic time stays.
    pub fn jump_to(&self, now: Micros) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now = now;
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock module: wall time enters here")]
fn system_now() -> Micros {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Micros::new(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "the clock module: monotonic time enters here")]
fn system_monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_shows_this_century_and_runs() {
        let clock = Clock::system();
        assert!(clock.now() > Micros::new(1_600_000_000 * Micros::PER_SECOND));
        let before = clock.monotonic();
        assert!(clock.clone().monotonic() >= before);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let (clock, hand) = Clock::manual(Micros::new(1_000));
        assert_eq!((clock.now(), clock.monotonic()), (Micros::new(1_000), Duration::ZERO));
        hand.advance(Duration::from_micros(5));
        assert_eq!((clock.now(), clock.monotonic()), (Micros::new(1_005), Duration::from_micros(5)));
        hand.jump_to(Micros::new(7));
        assert_eq!((clock.now(), clock.monotonic()), (Micros::new(7), Duration::from_micros(5)));
    }
}
