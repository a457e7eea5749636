//! The right edge of a log tree: enough to append leaves and to know the root, and nothing more.

use std::convert::Infallible;

use super::node::{NodeReader, TreeError, join, peaks, read};
use crate::hash::{Hash, empty_root, node_hash};
use crate::position::{LogIndex, TreeSize};

/// The peaks of a log tree: the complete subtrees that it consists of, one for each bit set in its size.
///
/// Invariant: the number of peaks equals the number of bits set in the size. The peaks stand largest and
/// leftmost first. Appending a leaf costs one hash on average and allocates nothing once warm; the root costs
/// one hash for each peak but the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The largest size that [`Frontier::from_parts`] takes, 2^63 − 1: what other tools of this format can
    /// count to, and too far from the end of `u64` for appending to ever reach that.
    pub const MAX_SIZE: TreeSize = TreeSize::new(u64::MAX >> 1);

    /// The frontier of the empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// The frontier of a stored tree: its size, and its peaks, largest first. What the peaks hash to is the
    /// caller's to check, with [`Frontier::root`] against a root that is known.
    ///
    /// # Errors
    /// [`FrontierError`] if the number of peaks is not that of the size, or the size is beyond
    /// [`Frontier::MAX_SIZE`].
    pub fn from_parts(size: TreeSize, peaks: Vec<Hash>) -> Result<Self, FrontierError> {
        if size > Self::MAX_SIZE {
            return Err(FrontierError::TooLarge { size });
        }
        let expected = size.get().count_ones();
        if peaks.len() != expected as usize {
            return Err(FrontierError::WrongPeaks { size, expected, got: peaks.len() });
        }
        Ok(Self { size: size.get(), peaks })
    }

    /// The frontier of the tree at this size, read from its nodes.
    ///
    /// # Errors
    /// [`TreeError::Reader`] where a node cannot be read.
    pub fn read<R: NodeReader + ?Sized>(reader: &R, size: TreeSize) -> Result<Self, TreeError<R::Error>> {
        let nodes = peaks(size.get()).rev();
        let peaks = nodes.map(|(level, index)| read(reader, level, index)).collect::<Result<_, _>>()?;
        Ok(Self { size: size.get(), peaks })
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        TreeSize::new(self.size)
    }

    /// The peaks, largest and leftmost first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Root of the tree (RFC 6962 §2.1).
    #[must_use]
    pub fn root(&self) -> Hash {
        let Ok(root) = join(self.peaks.iter().rev().map(|peak| Ok::<_, Infallible>(*peak)));
        root.unwrap_or_else(empty_root)
    }

    /// Appends a leaf by its hash ([`crate::hash::leaf_hash`]), and returns where it stands.
    pub fn push(&mut self, leaf_hash: Hash) -> LogIndex {
        let index = LogIndex::new(self.size);
        let mut hash = leaf_hash;
        // Like adding 1 in binary: each trailing 1 of the size is a peak as large as the one just made.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        // Never saturates: see `MAX_SIZE`.
        self.size = self.size.saturating_add(1);
        index
    }
}

impl Extend<Hash> for Frontier {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaf_hashes: I) {
        for leaf_hash in leaf_hashes {
            self.push(leaf_hash);
        }
    }
}

impl FromIterator<Hash> for Frontier {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaf_hashes: I) -> Self {
        let mut frontier = Self::new();
        frontier.extend(leaf_hashes);
        frontier
    }
}

/// Parts that are no frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// The number of peaks does not fit the size.
    #[error("a tree of size {size} has {expected} peaks, not {got}")]
    WrongPeaks {
        /// The size given.
        size: TreeSize,
        /// How many peaks a tree of this size has.
        expected: u32,
        /// How many were given.
        got: usize,
    },
    /// The size is beyond what a tree may have.
    #[error("tree size {size} is beyond 2^63 - 1, the largest there can be")]
    TooLarge {
        /// The size given.
        size: TreeSize,
    },
}
