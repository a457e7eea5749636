//! From wire messages to proven values. No network, no clock, no state but a cache of opened notes.
//!
//! Contract: every function here takes what was *asked* and what a replica answered, under a checkpoint that the
//! policy certified and that goes together with what was believed before. What comes out was proven by
//! `quorate_core::answer`; the rest is a [`Distrust`] that says why the answer is not believed.
//!
//! Signatures are verified once per note: [`Notes`] remembers the opened ones by their text.

mod bundle;
mod commit;
mod entries;
mod history;
#[cfg(test)]
#[path = "../../../core/tests/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    clippy::allow_attributes,
    reason = "a model of a ledger; these tests use a part of it"
)]
mod model;
mod notes;
mod read;
mod scan;
#[cfg(test)]
mod tests;

pub(crate) use bundle::Parts;
pub(crate) use commit::{Rebuilt, prove_leaf, rebuild, same_request_as};
pub(crate) use entries::{LeafCheck, record};
pub(crate) use history::{HistoryPlace, history};
pub(crate) use notes::Notes;
pub(crate) use read::{get, get_many, get_transaction};
pub(crate) use scan::{ScanPlace, scan};

use std::sync::Arc;

use quorate_core::answer::{LeafProof, Proven};
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::LogIndex;

use crate::error::Distrust;

/// The checkpoint that an answer is verified under.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) certified: Arc<CertifiedCheckpoint>,
    /// The commit leaf at size − 1; not proven yet.
    pub(crate) commit: LeafProof,
}

/// As of when a question is asked: a log index, and the leaf there under the checkpoint of the answer.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) index: LogIndex,
    /// `None` if the index is the last of the checkpoint.
    pub(crate) leaf: Option<LeafProof>,
}

impl Ground {
    /// Verifies all the parts of an answer.
    pub(crate) fn open(&self, mut parts: Parts, point: Option<&Point>) -> Result<Proven, Distrust> {
        parts.set_ground(self.commit.clone(), point.and_then(|point| point.leaf.clone()));
        Ok(Proven::open(CertifiedCheckpoint::clone(&self.certified), parts.into_bundle())?)
    }
}
