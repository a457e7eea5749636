//! The clocks of the tests: the one place that looks at them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock module; the harness waits for real processes"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// What the wall clock will show after `span`, in microseconds since the Unix epoch: for the time limits of requests.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn micros_from_now(span: Duration) -> u64 {
    let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + span;
    u64::try_from(then.as_micros()).unwrap_or(u64::MAX)
}
