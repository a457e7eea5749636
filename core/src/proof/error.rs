//! Why a proof was refused.

use crate::hash::Hash;
use crate::position::{LogIndex, TreeSize};

/// Why a proof over a log tree was refused. None of these is evidence against anybody: anyone can make a wrong
/// proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf cannot be in a tree of this size.
    #[error("no leaf {index} can be in a tree of size {size}: the index must be below the size")]
    IndexOutsideTree {
        /// The leaf's position.
        index: LogIndex,
        /// The tree's size.
        size: TreeSize,
    },
    /// The sizes are not those of a tree and a later one.
    #[error("size {old} cannot be proven to come before size {new}: it must be from 1 to the new size")]
    SizesOutOfOrder {
        /// The size of the tree that is to be a prefix.
        old: TreeSize,
        /// The size of the other tree.
        new: TreeSize,
    },
    /// The proof has hashes too many or too few for its positions.
    #[error("the proof has {got} hashes; between these positions it must have exactly {expected}")]
    WrongLength {
        /// How many it must have.
        expected: usize,
        /// How many it has.
        got: usize,
    },
    /// The proof leads to another root than the one known.
    #[error("the proof leads to the root {computed}, but the tree of size {size} has the root {expected}")]
    WrongRoot {
        /// Size of the tree whose root is missed. For a consistency proof, the old or the new one.
        size: TreeSize,
        /// The root known.
        expected: Hash,
        /// The root that the proof leads to.
        computed: Hash,
    },
}
