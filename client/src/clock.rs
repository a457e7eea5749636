//! The one place where this crate looks at a clock.
//!
//! Verification never does: times are data there. A clock is used for deadlines (monotonic), for `not_after` of
//! requests and for the freshness of answers (wall clock).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quorate_core::position::Micros;

/// The wall clock, in microseconds since the Unix epoch; 0 before it.
#[expect(clippy::disallowed_methods, reason = "the one clock of this package")]
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::new(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// This much after now, by the wall clock.
pub(crate) fn from_now(duration: Duration) -> Micros {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    Micros::new(now().get().saturating_add(micros))
}

/// Measures how long ago something was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "the one clock of this package")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long ago that was.
    #[expect(clippy::disallowed_methods, reason = "the one clock of this package")]
    pub(crate) fn elapsed(self) -> Duration {
        Instant::now().saturating_duration_since(self.0)
    }
}

/// When a call must be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// This much from now. A duration that no clock can hold is no deadline.
    #[expect(clippy::disallowed_methods, reason = "the one clock of this package")]
    pub(crate) fn after(duration: Duration) -> Self {
        Self(Instant::now().checked_add(duration))
    }

    /// What is left; `None` when it is over.
    #[expect(clippy::disallowed_methods, reason = "the one clock of this package")]
    pub(crate) fn remaining(self) -> Option<Duration> {
        /// As good as for ever, and still something that timers can hold.
        const LONG: Duration = Duration::from_secs(365 * 24 * 3600);
        match self.0 {
            None => Some(LONG),
            Some(end) => Some(end.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()),
        }
    }
}
