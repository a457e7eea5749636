//! Stopping the process at once, with a reason.
//!
//! A node that cannot trust its disk or its own memory must not go on: what it would acknowledge or
//! sign next may be false. It does not unwind either, because half of a process (a consensus task
//! gone, the servers still answering) is worse than none. [`fatal`] prints why and aborts;
//! [`install_panic_hook`] makes every panic do the same. Crash recovery is the ordinary start.

use std::fmt::Display;

/// Prints `reason` to standard error and aborts the process. Never returns, runs no destructors.
///
/// `what` names the part that failed, for instance `"log store"`.
pub fn fatal(what: &str, reason: impl Display) -> ! {
    tracing::error!(part = what, reason = %reason, "fatal: stopping the process");
    eprintln!("quorate: fatal: {what}: {reason}");
    eprintln!(
        "quorate: the process stops now; what was acknowledged is on disk and is recovered at the next start"
    );
    std::process::abort();
}

/// Makes every panic, in any thread or task, print its message and abort the process.
///
/// For the server only: a library or a test must be able to catch a panic.
pub fn install_panic_hook() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        previous(panic);
        fatal("panic", panic);
    }));
}
