//! How much the replicas of a cluster must agree before a client goes on.

use std::time::Duration;

/// How often replicas are compared when nothing else is said.
const EVERY: Duration = Duration::from_secs(10);

/// Settings of the cross-check: how often the checkpoints of all replicas are compared, and how many must agree.
///
/// A quorum's signatures are checked on every answer anyway. The cross-check is for what they do not show: a quorum that
/// signs one history for this client and another one for others can be caught only by whoever sees both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Agreement {
    pub(crate) at_least: Option<usize>,
    pub(crate) every: Duration,
    pub(crate) is_required: bool,
}

impl Default for Agreement {
    fn default() -> Self {
        Self::majority()
    }
}

impl Agreement {
    /// More than half of the replicas in the policy, compared every ten seconds in the background.
    pub const fn majority() -> Self {
        Self { at_least: None, every: EVERY, is_required: false }
    }

    /// At least so many replicas.
    pub const fn at_least(count: usize) -> Self {
        Self { at_least: Some(count), every: EVERY, is_required: false }
    }

    /// How often they are compared.
    pub const fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Calls fail with [`Error::NotAgreed`](crate::Error::NotAgreed) unless the last comparison, not older than
    /// [`Agreement::every`], found that many to agree. Otherwise only signed contradictions make them fail.
    pub const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }
}
