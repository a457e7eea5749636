//! The one place where this package looks at the wall clock: for the time in a cosignature.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch; 0 before it.
#[expect(clippy::disallowed_methods, reason = "the one clock of this package")]
pub(crate) fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
