//! What all clients saw.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use quorate_client::{Error, Outcome};

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

impl Window {
    fn contains(self, time: Duration) -> bool {
        (self.from..self.to).contains(&time)
    }
}

/// What a call was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A read.
    Read,
    /// A write.
    Write,
}

/// A call that has ended. Times are counted from the start of the run.
#[derive(Debug)]
pub(super) struct Ended {
    /// What it was.
    pub(super) kind: Kind,
    /// When it was sent, or, in an open loop, when it was due.
    pub(super) began: Duration,
    /// When it was answered, and the answer verified.
    pub(super) ended: Duration,
    /// How many operations it did, or why it did none.
    pub(super) outcome: Result<u64, Failed>,
}

/// Calls of one kind.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// Microseconds from the beginning of a call to its end.
    pub(super) latencies_us: Histogram<u64>,
    /// Calls that succeeded within the measured time.
    pub(super) calls: u64,
    /// What they did.
    pub(super) operations: u64,
}

/// Calls that failed, by what that means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// Nothing was done: the cluster was busy and said so, or it could not be reached, until the time was over.
    pub(super) refused: u64,
    /// Not answered in time: it may have been done.
    pub(super) unknown: u64,
    /// Answered, and the answer is not believed.
    pub(super) untrusted: u64,
    /// Judged by the cluster, and refused.
    pub(super) rejected: u64,
    /// Read, and there was nothing.
    pub(super) absent: u64,
    /// Anything else.
    pub(super) other: u64,
}

/// Counts and latencies of a run.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    /// Reads.
    pub(super) reads: Tally,
    /// Writes.
    pub(super) writes: Tally,
    /// Calls that failed within the measured time.
    pub(super) failures: Failures,
    /// Calls of an open loop that were due within the measured time and not sent by its end.
    pub(super) not_sent: u64,
    /// Why the first one failed.
    pub(super) first_error: Option<Failed>,
}

/// What happened since it was last asked for, warm-up or not: for people who watch.
#[derive(Debug, Clone)]
pub(super) struct Recent {
    /// Of calls that succeeded.
    pub(super) latencies_us: Histogram<u64>,
    /// What they did.
    pub(super) operations: u64,
    /// Calls that failed.
    pub(super) errors: u64,
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

impl Tally {
    fn new() -> Result<Self, CliError> {
        Ok(Self { latencies_us: histogram()?, calls: 0, operations: 0 })
    }
}

impl Failures {
    /// All of them.
    pub(super) const fn total(&self) -> u64 {
        let Self { refused, unknown, untrusted, rejected, absent, other } = *self;
        refused + unknown + untrusted + rejected + absent + other
    }

    fn count(&mut self, failed: &Failed) {
        let counter = match failed {
            Failed::Absent => &mut self.absent,
            Failed::Client(Error::Unavailable { outcome: Outcome::NotDone, .. }) => &mut self.refused,
            Failed::Client(Error::Unavailable { outcome: Outcome::Unknown, .. }) => &mut self.unknown,
            Failed::Client(Error::Untrusted { .. }) => &mut self.untrusted,
            Failed::Client(
                Error::Rejected(_) | Error::Frozen { .. } | Error::IdempotencyKeyReused { .. },
            ) => &mut self.rejected,
            Failed::Client(_) => &mut self.other,
        };
        *counter += 1;
    }
}

impl Recording {
    fn new() -> Result<Self, CliError> {
        Ok(Self {
            reads: Tally::new()?,
            writes: Tally::new()?,
            failures: Failures::default(),
            not_sent: 0,
            first_error: None,
        })
    }

    /// Calls and operations that succeeded within the measured time.
    pub(super) const fn done(&self) -> (u64, u64) {
        (self.reads.calls + self.writes.calls, self.reads.operations + self.writes.operations)
    }

    /// The latencies of all calls.
    ///
    /// # Errors
    /// If they do not fit together.
    pub(super) fn latencies_us(&self) -> Result<Histogram<u64>, CliError> {
        let mut all = self.reads.latencies_us.clone();
        all.add(&self.writes.latencies_us)
            .map_err(|error| CliError::other(format!("latencies cannot be merged: {error}")))?;
        Ok(all)
    }
}

impl Recent {
    fn new() -> Result<Self, CliError> {
        Ok(Self { latencies_us: histogram()?, operations: 0, errors: 0 })
    }
}

/// Where all clients note what they saw.
#[derive(Debug)]
pub(super) struct Recorder {
    window: Window,
    /// Held for the few dozen nanoseconds that a note takes.
    notes: Mutex<(Recording, Recent)>,
}

impl Recorder {
    /// Nothing noted yet.
    ///
    /// # Errors
    /// If the histograms cannot be set up.
    pub(super) fn new(window: Window) -> Result<Self, CliError> {
        Ok(Self { window, notes: Mutex::new((Recording::new()?, Recent::new()?)) })
    }

    /// The measured time.
    pub(super) const fn window(&self) -> Window {
        self.window
    }

    /// Notes a call. It counts for the rate if it ended within the measured time, for the latency if it began within it.
    pub(super) fn note(&self, call: Ended) {
        let Ended { kind, began, ended, outcome } = call;
        let mut notes = self.lock();
        let (recording, recent) = &mut *notes;
        match outcome {
            Ok(operations) => {
                let micros = micros(ended.saturating_sub(began));
                recent.latencies_us.saturating_record(micros);
                recent.operations += operations;
                let tally = recording.tally(kind);
                if self.window.contains(ended) {
                    tally.calls += 1;
                    tally.operations += operations;
                }
                if self.window.contains(began) {
                    tally.latencies_us.saturating_record(micros);
                }
            }
            Err(failed) => {
                recent.errors += 1;
                if self.window.contains(ended) || began >= self.window.from {
                    recording.failures.count(&failed);
                }
                recording.first_error.get_or_insert(failed);
            }
        }
    }

    /// Notes a call of an open loop that was due and not sent by the end. If it was due within the measured time, it is
    /// counted, and its latency is at least as long as it has waited: percentiles do not leave it out.
    pub(super) fn note_not_sent(&self, kind: Kind, due: Duration) {
        if self.window.contains(due) {
            let mut notes = self.lock();
            notes.0.not_sent += 1;
            let waited = micros(self.window.to.saturating_sub(due));
            notes.0.tally(kind).latencies_us.saturating_record(waited);
        }
    }

    /// What happened since the last time, and forgets it.
    pub(super) fn take_recent(&self) -> Recent {
        let mut notes = self.lock();
        let recent = notes.1.clone();
        notes.1.latencies_us.reset();
        (notes.1.operations, notes.1.errors) = (0, 0);
        recent
    }

    /// All that was noted so far.
    pub(super) fn recording(&self) -> Recording {
        self.lock().0.clone()
    }

    fn lock(&self) -> MutexGuard<'_, (Recording, Recent)> {
        // Nothing in a note can panic half-way; counts stay counts in any case.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recording {
    const fn tally(&mut self, kind: Kind) -> &mut Tally {
        match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn histogram() -> Result<Histogram<u64>, CliError> {
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS)
        .map_err(|error| CliError::other(format!("no histogram can be made: {error}")))
}
