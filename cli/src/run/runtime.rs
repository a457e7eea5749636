//! The threads that a running cluster works on.

use std::future::Future;

use crate::error::CliError;

/// Runs `work` to its end on a runtime of several threads. Blocking work that is still under way then is left behind
/// after a moment: it must not keep a process that was asked to stop.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::other(format!("no threads can be started: {error}")))?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    done
}
