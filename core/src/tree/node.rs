//! What a prover asks of the place where the tree's hashes are.

use crate::hash::{Hash, node_hash};
use crate::position::{LogIndex, TreeSize};

/// Gives the hashes of complete subtrees.
///
/// The provers only ask for nodes that are complete at the size they were given: `(index + 1) × 2^level ≤ size`.
/// An implementation that does not have such a node says so with an error, and never with a made-up hash.
pub trait NodeReader {
    /// Why a hash could not be read.
    type Error;

    /// Hash of the complete subtree number `index` (from 0, left to right) among those of 2^`level` leaves.
    /// Level 0 are the leaf hashes.
    ///
    /// # Errors
    /// Whatever keeps the hash from being read; a node that is not there is an error too.
    fn read(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

impl<R: NodeReader + ?Sized> NodeReader for &R {
    type Error = R::Error;

    fn read(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        (**self).read(level, index)
    }
}

/// Why a root or a proof could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// The tree has no such leaf.
    #[error("a tree of size {size} has no leaf {index}: the index must be below the size")]
    IndexOutsideTree {
        /// The leaf asked for.
        index: LogIndex,
        /// The size asked for.
        size: TreeSize,
    },
    /// There is no consistency proof between these sizes.
    #[error(
        "no consistency proof leads from size {old} to size {new}: the old size must be from 1 to the new"
    )]
    SizesOutOfOrder {
        /// The size the proof should start from.
        old: TreeSize,
        /// The size the proof should lead to.
        new: TreeSize,
    },
    /// The reader failed.
    #[error("cannot read node {index} of level {level} of the log tree")]
    Reader {
        /// Level of the node asked for.
        level: u8,
        /// Number of the node in its level.
        index: u64,
        /// What the reader said.
        source: E,
    },
}

/// Asks the reader, and adds to its error which node it was.
pub(super) fn read<R: NodeReader + ?Sized>(
    reader: &R,
    level: u8,
    index: u64,
) -> Result<Hash, TreeError<R::Error>> {
    reader.read(level, index).map_err(|source| TreeError::Reader { level, index, source })
}

/// `number` halved `level` times: of a size, how many complete nodes the level has; of a leaf's index, the
/// number of the node above it.
pub(super) fn at_level(number: u64, level: u8) -> u64 {
    number.checked_shr(u32::from(level)).unwrap_or(0)
}

/// The complete nodes that a tree of this size consists of, as (level, index), the smallest and rightmost
/// first: one for each bit set in the size.
pub(super) fn peaks(size: u64) -> impl DoubleEndedIterator<Item = (u8, u64)> {
    (0..64_u8).filter_map(move |level| {
        let nodes = at_level(size, level);
        // Where the bit is set the number of nodes is odd, and the last of them has that number less 1.
        (nodes & 1 == 1).then_some((level, nodes ^ 1))
    })
}

/// Joins peaks to a root, the smallest and rightmost first. `None` of none.
pub(super) fn join<E>(mut peaks: impl Iterator<Item = Result<Hash, E>>) -> Result<Option<Hash>, E> {
    let Some(first) = peaks.next() else {
        return Ok(None);
    };
    peaks.try_fold(first?, |right, left| Ok(node_hash(&left?, &right))).map(Some)
}
