//! The one place where this package looks at a clock.
//!
//! Nothing that is verified depends on it: it turns `--expires-in` into a time, and says how long things took.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quorate_core::position::Micros;

/// The wall clock, in microseconds since the Unix epoch; 0 before it.
#[expect(clippy::disallowed_methods, reason = "the one clock of this package")]
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::new(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// This much after now, by the wall clock; `None` if no clock will ever show that.
pub(crate) fn from_now(duration: Duration) -> Option<Micros> {
    now().checked_add(u64::try_from(duration.as_micros()).ok()?)
}

/// Measures how long something takes, unmoved by changes of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "the one clock of this package")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
