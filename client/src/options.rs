//! How reads are asked for.

use std::time::Duration;

use quorate_core::position::{LogIndex, TreeSize};
use quorate_proto::v1;

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// At least as new as every write that was acknowledged before the read began. That it is not older than
    /// anything this client has seen is checked; that nobody else has seen more is the cluster's word.
    Linearizable,
    /// Of any replica, if its checkpoint was cosigned at most this long ago: checked against the cosignatures' times
    /// and this machine's clock.
    MaxStaleness(Duration),
}

/// How a read is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct ReadOptions {
    pub(crate) consistency: Option<Consistency>,
    pub(crate) at: Option<LogIndex>,
    pub(crate) unverified: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) min_cosigners: Option<u32>,
}

impl ReadOptions {
    /// As the client is set up: verified, of the present.
    pub const fn new() -> Self {
        Self { consistency: None, at: None, unverified: false, timeout: None, min_cosigners: None }
    }

    /// At least as new as every write acknowledged before.
    pub const fn linearizable(mut self) -> Self {
        self.consistency = Some(Consistency::Linearizable);
        self
    }

    /// From any replica whose checkpoint was cosigned at most this long ago.
    pub const fn max_staleness(mut self, bound: Duration) -> Self {
        self.consistency = Some(Consistency::MaxStaleness(bound));
        self
    }

    /// As of this log index, everything up to and including that leaf.
    pub const fn at(mut self, index: LogIndex) -> Self {
        self.at = Some(index);
        self
    }

    /// Without proofs: the answer is the word of one replica.
    pub const fn unverified(mut self) -> Self {
        self.unverified = true;
        self
    }

    /// How long the call may take.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many replicas must have cosigned the checkpoint, if that is more than the policy asks for.
    pub const fn min_cosigners(mut self, count: u32) -> Self {
        self.min_cosigners = Some(count);
        self
    }

    /// The options for the wire.
    pub(crate) fn to_wire(
        self,
        consistency: Consistency,
        trusted: Option<TreeSize>,
        min_cosigners: u32,
        (witnesses, min_witnesses): (Vec<u32>, u32),
    ) -> v1::ReadOptions {
        use v1::read_options::Consistency as Wire;
        let consistency = match consistency {
            Consistency::Linearizable => Wire::Linearizable(true),
            Consistency::MaxStaleness(bound) => {
                Wire::MaxStalenessMs(u64::try_from(bound.as_millis()).unwrap_or(u64::MAX))
            }
        };
        v1::ReadOptions {
            consistency: Some(consistency),
            at: self.at.map(LogIndex::get),
            prove: !self.unverified,
            trusted_size: trusted.map_or(0, TreeSize::get),
            min_cosigners,
            witnesses,
            min_witnesses,
        }
    }
}

/// Which checkpoint is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct CheckpointOptions {
    pub(crate) size: Option<TreeSize>,
    pub(crate) min_cosigners: Option<u32>,
    pub(crate) wait: Duration,
}

impl CheckpointOptions {
    /// The latest.
    pub const fn latest() -> Self {
        Self { size: None, min_cosigners: None, wait: Duration::ZERO }
    }

    /// The one at this size, which must be the end of a block.
    pub const fn at_size(size: TreeSize) -> Self {
        Self { size: Some(size), min_cosigners: None, wait: Duration::ZERO }
    }

    /// How many replicas must have cosigned it, if that is more than the policy asks for.
    pub const fn min_cosigners(mut self, count: u32) -> Self {
        self.min_cosigners = Some(count);
        self
    }

    /// How long to wait for the size and the cosignatures; at most a minute counts.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}
