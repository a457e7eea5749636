//! What one client saw, and what all of them saw.

use std::time::Duration;

use hdrhistogram::Histogram;
use quorate_client::Error;

use crate::error::CliError;

/// Latencies are exact to three digits.
const DIGITS: u8 = 3;
/// The longest latency that is told from longer ones, microseconds: an hour. The histogram has room for it from the
/// start: one that grows by itself does so with calls that can fail, and cuts off what does not fit otherwise.
const LONGEST_US: u64 = 3_600_000_000;

/// The measured time, counted from the start of the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// When it begins: the end of the warm-up.
    pub(super) from: Duration,
    /// When it ends.
    pub(super) to: Duration,
}

/// Counts and latencies.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    /// Microseconds from the call to its answer, verification included.
    pub(super) latencies_us: Histogram<u64>,
    /// Transactions, or reads, that succeeded within the measured time.
    pub(super) transactions: u64,
    /// Calls that failed within it.
    pub(super) errors: u64,
    /// Why the first one failed.
    pub(super) first_error: Option<Failed>,
}

/// Why a call does not count.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failed {
    /// The client's word.
    #[error(transparent)]
    Client(#[from] Error),
    /// There was nothing to read.
    #[error("a key has no value: it was not loaded, or not with these options")]
    Absent,
}

impl Recording {
    /// Nothing yet.
    ///
    /// # Errors
    /// If the histogram cannot be set up.
    pub(super) fn new() -> Result<Self, CliError> {
        let latencies_us = Histogram::new_with_bounds(1, LONGEST_US, DIGITS)
            .map_err(|error| CliError::other(format!("no histogram can be made: {error}")))?;
        Ok(Self { latencies_us, transactions: 0, errors: 0, first_error: None })
    }

    /// Notes a call that took from `began` to `ended`, counted from the start of the run.
    pub(super) fn note(
        &mut self,
        window: Window,
        began: Duration,
        ended: Duration,
        outcome: Result<(), Failed>,
    ) {
        let is_counted = (window.from..window.to).contains(&ended);
        match outcome {
            Ok(()) => {
                self.transactions += u64::from(is_counted);
                if (window.from..window.to).contains(&began) {
                    let micros = ended.saturating_sub(began).as_micros();
                    self.latencies_us.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
                }
            }
            Err(error) => {
                self.errors += u64::from(is_counted || began >= window.from);
                self.first_error.get_or_insert(error);
            }
        }
    }

    /// Adds what another client saw.
    ///
    /// # Errors
    /// If its latencies do not fit.
    pub(super) fn add(&mut self, other: Self) -> Result<(), CliError> {
        self.latencies_us
            .add(&other.latencies_us)
            .map_err(|error| CliError::other(format!("latencies cannot be merged: {error}")))?;
        self.transactions += other.transactions;
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error = other.first_error;
        }
        Ok(())
    }
}
