//! Checkpoints and leaves with their proofs.

use bytes::Bytes;
use quorate_core::answer::LeafProof;
use quorate_core::hash::Hash;
use quorate_core::position::{LogIndex, TreeSize};

use super::fixed::owned;
use super::{WireError, WireProblem, path_from_wire, path_to_wire};
use crate::v1;

/// A cosigned checkpoint as it travels: a note to be opened, and what hangs on it. Nothing is verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointParts {
    /// Text of the signed note.
    pub note: String,
    /// The commit leaf at size − 1, and its inclusion path.
    pub commit: LeafProof,
    /// Consistency path between the size that the request named and this one, from the smaller to the larger;
    /// empty if they are equal or none was named.
    pub consistency: Vec<Hash>,
}

impl From<CheckpointParts> for v1::CheckpointProof {
    fn from(parts: CheckpointParts) -> Self {
        Self {
            note: parts.note,
            commit_leaf: parts.commit.leaf.into(),
            commit_path: path_to_wire(&parts.commit.path),
            consistency: path_to_wire(&parts.consistency),
        }
    }
}

impl TryFrom<v1::CheckpointProof> for CheckpointParts {
    type Error = WireError;

    fn try_from(proof: v1::CheckpointProof) -> Result<Self, WireError> {
        if proof.note.is_empty() {
            return Err(WireError::new("note", WireProblem::Missing));
        }
        if proof.commit_leaf.is_empty() {
            return Err(WireError::new("commit_leaf", WireProblem::Missing));
        }
        let path = path_from_wire("commit_path", &proof.commit_path)?;
        Ok(Self {
            consistency: path_from_wire("consistency", &proof.consistency)?,
            commit: LeafProof { leaf: owned(proof.commit_leaf), path },
            note: proof.note,
        })
    }
}

/// A leaf with its place and its inclusion path in the tree of a size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeafAt {
    /// Position of the leaf.
    pub index: LogIndex,
    /// Size of the tree that the path is for.
    pub size: TreeSize,
    /// The leaf and its path.
    pub proof: LeafProof,
}

impl From<LeafAt> for v1::InclusionProofResponse {
    fn from(at: LeafAt) -> Self {
        Self {
            index: at.index.get(),
            size: at.size.get(),
            leaf: at.proof.leaf.into(),
            path: path_to_wire(&at.proof.path),
        }
    }
}

impl TryFrom<v1::InclusionProofResponse> for LeafAt {
    type Error = WireError;

    fn try_from(response: v1::InclusionProofResponse) -> Result<Self, WireError> {
        let leaf: Bytes = response.leaf;
        if leaf.is_empty() {
            return Err(WireError::new("leaf", WireProblem::Missing));
        }
        let path = path_from_wire("path", &response.path)?;
        Ok(Self {
            index: LogIndex::new(response.index),
            size: TreeSize::new(response.size),
            proof: LeafProof { leaf: owned(leaf), path },
        })
    }
}
