//! Checkpoints with what hangs on them: the certified note, the commit leaf with its path, and how the checkpoint
//! continues what the client believed.

use std::sync::{Arc, PoisonError};

use quorate_core::{
    answer::LeafProof,
    hash::Hash,
    position::{LogIndex, TreeSize},
};
use quorate_proto::convert::CheckpointParts;

use super::{
    errors::Problem,
    interface::{Api, Deadline},
    proofs::{leaf, misplaced},
};
use crate::{
    signer::{Certified, Need},
    store::state::LedgerView,
};

/// Commit leaves that are kept, at most.
const MAX_COMMITS: usize = 1_024;

/// Age from which signatures are asked to be renewed, seconds.
const OLD_S: u64 = 10;

/// What a client wants of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What it believes in; zero: nothing. Within the view.
    pub(crate) trusted: TreeSize,
    /// Whose cosignatures it must carry.
    pub(crate) need: Need,
}

impl Api {
    /// The checkpoint of a size of a ledger, which is a checkpoint within the view, once it is certified.
    pub(super) async fn checkpoint_proof(
        &self,
        ledger: &LedgerView,
        size: TreeSize,
        wanted: Wanted,
        deadline: &Deadline,
    ) -> Result<CheckpointParts, Problem> {
        let commit = self.commit_proof(ledger, size)?;
        let consistency = consistency(ledger, wanted.trusted, size)?;
        let certified = self.certified(ledger, size, wanted.need, deadline).await?;
        Ok(CheckpointParts {
            note: certified.note.as_ref().to_owned(),
            commit: (*commit).clone(),
            consistency,
        })
    }

    /// The certified note of a size; signed again first where that is long ago and the size is the newest.
    async fn certified(
        &self,
        ledger: &LedgerView,
        size: TreeSize,
        need: Need,
        deadline: &Deadline,
    ) -> Result<Certified, Problem> {
        let name = &ledger.head().name;
        let root = root_of(ledger, size)?;
        let wait = || self.backend().certified(name, size, root, need, deadline.patience());
        let certified = wait().await?;
        let enough = need.enough(self.backend().majority());
        let oldest = certified.times.get(enough.saturating_sub(1)).copied().unwrap_or(u64::MAX);
        let is_old = self.parts().clock.now().as_secs().saturating_sub(oldest) > OLD_S;
        if !is_old || size < self.backend().certified_size(name) {
            return Ok(certified);
        }
        self.renew(name).await;
        Ok(wait().await.unwrap_or(certified))
    }

    /// The commit leaf of a size with its path.
    pub(super) fn commit_proof(
        &self,
        ledger: &LedgerView,
        size: TreeSize,
    ) -> Result<Arc<LeafProof>, Problem> {
        let place = (ledger.id(), size);
        let known = || self.0.commits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(proof) = known().get(&place) {
            return Ok(Arc::clone(proof));
        }
        let index =
            size.last_index().ok_or_else(|| misplaced(LogIndex::default(), "a checkpoint has leaves"))?;
        let proof = Arc::new(leaf(ledger, index, size)?);
        let mut commits = known();
        if commits.len() >= MAX_COMMITS {
            commits.clear();
        }
        commits.insert(place, Arc::clone(&proof));
        Ok(proof)
    }
}

/// The root of a size, which is within the view.
pub(crate) fn root_of(ledger: &LedgerView, size: TreeSize) -> Result<Hash, Problem> {
    if size == ledger.size() {
        return Ok(ledger.head().frontier.root());
    }
    let root = ledger.root_at(size)?;
    root.ok_or_else(|| Problem::Fault(misplaced(size.next_index(), "the tree has to be at least this large")))
}

/// From the smaller of the two sizes to the larger; both are within the view. Nothing where they are equal or the
/// client believes in nothing.
fn consistency(ledger: &LedgerView, trusted: TreeSize, size: TreeSize) -> Result<Vec<Hash>, Problem> {
    if trusted == TreeSize::ZERO || trusted == size {
        return Ok(Vec::new());
    }
    consistency_between(ledger, trusted.min(size), trusted.max(size))
}

/// The consistency path between two sizes, which are in order and within the view.
pub(crate) fn consistency_between(
    ledger: &LedgerView,
    old: TreeSize,
    new: TreeSize,
) -> Result<Vec<Hash>, Problem> {
    let path = ledger.consistency_path(old, new)?;
    path.ok_or_else(|| Problem::Fault(misplaced(new.next_index(), "the tree has to be at least this large")))
}
