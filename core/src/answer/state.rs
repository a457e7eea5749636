//! The state at a checkpoint: what its commit leaf says, and the time by which reads judge expiry.

use super::error::AnswerError;
use super::transaction::{LeafProof, include};
use crate::entry::{CommitLeaf, Leaf};
use crate::policy::CertifiedCheckpoint;
use crate::position::{LogIndex, Micros};

/// A certified checkpoint with its commit leaf, leaf `size − 1`, proven under it.
///
/// One signature covers history and state: the commit leaf carries the state root (`docs/formats.md` §1).
#[derive(Debug, Clone)]
pub struct CertifiedState {
    checkpoint: CertifiedCheckpoint,
    commit: CommitLeaf,
}

impl CertifiedState {
    /// Proves the commit leaf of a checkpoint.
    ///
    /// # Errors
    /// [`AnswerError`] if the leaf is not the checkpoint's last, or no commit leaf.
    pub fn verify(checkpoint: CertifiedCheckpoint, proof: &LeafProof) -> Result<Self, AnswerError> {
        let tree = checkpoint.checkpoint();
        let index = tree
            .size
            .last_index()
            .ok_or(AnswerError::NotInTree { index: LogIndex::default(), size: tree.size })?;
        include(tree, index, &proof.leaf, &proof.path)?;
        let Leaf::Commit(commit) = Leaf::decode(&proof.leaf)? else {
            return Err(AnswerError::WrongLeaf { index, wanted: "commit" });
        };
        if commit.index() != Some(index) {
            return Err(AnswerError::CommitPosition { index });
        }
        Ok(Self { checkpoint, commit })
    }

    /// The checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> &CertifiedCheckpoint {
        &self.checkpoint
    }

    /// The commit leaf: time of the block, state root, epoch.
    #[must_use]
    pub const fn commit(&self) -> &CommitLeaf {
        &self.commit
    }

    /// The time by which a read under this checkpoint judges expiry: the commit time, or the k-th newest
    /// cosignature time if that is later (and the policy asks for cosignatures at all).
    #[must_use]
    pub fn time(&self) -> Micros {
        let Some(seconds) = self.checkpoint.kth_newest_time() else {
            return self.commit.time;
        };
        // A time whose microseconds do not fit a u64 is later than every expiry.
        let signed = Micros::from_secs(seconds).unwrap_or(Micros::new(u64::MAX));
        self.commit.time.max(signed)
    }
}
