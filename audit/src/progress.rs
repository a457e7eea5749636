//! How far an audit is, for people and monitoring.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_client::{Comparison, Standing};
use tokio::time::Instant;

use crate::auditor::Auditor;

/// An audit that heard nothing for this long is not up to date.
const SILENCE: Duration = Duration::from_secs(20);

/// What is known of an audit that runs. Shared between who audits and who is asked.
#[derive(Debug, Default)]
pub struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    snapshot: Snapshot,
    heard: Option<Instant>,
}

/// An audit at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Everything below this log index was recomputed.
    pub size: u64,
    /// The largest certified size that was seen.
    pub certified: u64,
    /// Time of the last block recomputed, microseconds.
    pub time: u64,
    /// Keys ever written.
    pub keys: u64,
    /// Operations recomputed since the start.
    pub operations: u64,
    /// Comparisons of all replicas made.
    pub comparisons: u64,
    /// In the last of them: replicas that agree, are behind, silent, and different.
    pub standings: [usize; 4],
    /// The newest checkpoint that this auditor cosigned, as a note.
    pub note: Option<String>,
    /// What keeps the audit from going on.
    pub problem: Option<String>,
}

impl Progress {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot.clone()
    }

    /// Why the audit is not up to date; `None` if it is.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let state = self.lock();
        let shown = &state.snapshot;
        if let Some(problem) = &shown.problem {
            return Some(problem.clone());
        }
        match state.heard {
            None => Some("nothing was heard of the cluster yet".to_owned()),
            Some(heard) if heard.elapsed() > SILENCE => {
                Some(format!("nothing was heard of the cluster for {} s", heard.elapsed().as_secs()))
            }
            Some(_) if shown.size < shown.certified => {
                Some(format!("at size {} of {}", shown.size, shown.certified))
            }
            Some(_) => None,
        }
    }

    pub(crate) fn heard(&self, auditor: &Auditor, certified: u64) {
        let mut state = self.lock();
        state.heard = Some(Instant::now());
        let shown = &mut state.snapshot;
        shown.size = auditor.size().get();
        shown.certified = shown.certified.max(certified);
        shown.time = auditor.time().get();
        shown.keys = auditor.keys();
        shown.operations = auditor.operations();
        shown.problem = None;
    }

    pub(crate) fn compared(&self, comparison: &Comparison) {
        let shown = &mut self.lock().snapshot;
        shown.comparisons = shown.comparisons.saturating_add(1);
        shown.standings = [Standing::Agrees, Standing::Behind, Standing::Silent, Standing::Different]
            .map(|standing| comparison.count(standing));
    }

    pub(crate) fn cosigned(&self, note: String) {
        self.lock().snapshot.note = Some(note);
    }

    pub(crate) fn stuck(&self, problem: String) {
        self.lock().snapshot.problem = Some(problem);
    }

    /// Every change under it is one assignment after the other: a panic leaves a mixture of two moments at worst.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
