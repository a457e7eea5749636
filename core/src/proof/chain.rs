//! From a node up to the root: what both kinds of proof have in common.

use crate::hash::{Hash, node_hash};
use crate::position::TreeSize;
use crate::proof::ProofError;

/// The shape of the way from a leaf to the root.
///
/// The path of the leaf and that of the tree's last leaf meet at some node. Below it the siblings stand left or
/// right as the bits of the index say (`inner` of them); from there on the way goes along the right edge of the
/// tree, where all siblings stand on the left (`border` of them).
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    inner: usize,
    border: usize,
}

impl Shape {
    /// The shape for a leaf of a tree that ends with leaf `last`.
    pub(super) const fn new(index: u64, last: u64) -> Self {
        let inner = u64::BITS.saturating_sub((index ^ last).leading_zeros());
        let border = match index.checked_shr(inner) {
            Some(above) => above.count_ones(),
            None => 0,
        };
        Self { inner: inner as usize, border: border as usize }
    }

    /// The rest of the way, for one that begins this many levels above the leaves.
    pub(super) const fn above(self, levels: u32) -> Self {
        Self { inner: self.inner.saturating_sub(levels as usize), border: self.border }
    }

    /// Number of siblings on the way.
    pub(super) const fn len(self) -> usize {
        self.inner.saturating_add(self.border)
    }

    /// Splits the siblings into the inner and the border part; `None` if there are too many or too few.
    pub(super) fn split(self, siblings: &[Hash]) -> Option<(&[Hash], &[Hash])> {
        siblings.split_at_checked(self.inner).filter(|(_, border)| border.len() == self.border)
    }
}

/// Climbs the inner part: bit i of `sides` says on which side of the i-th sibling the way stands (0 left, 1 right).
pub(super) fn climb(from: Hash, siblings: &[Hash], sides: u64) -> Hash {
    let (root, _) = siblings.iter().fold((from, sides), |(hash, sides), sibling| {
        let parent = if sides & 1 == 0 { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) };
        (parent, sides >> 1)
    });
    root
}

/// Climbs the inner part of a tree that ends where the way begins: what stands on the right is not in it.
pub(super) fn climb_left_only(from: Hash, siblings: &[Hash], sides: u64) -> Hash {
    let (root, _) = siblings.iter().fold((from, sides), |(hash, sides), sibling| {
        let parent = if sides & 1 == 0 { hash } else { node_hash(sibling, &hash) };
        (parent, sides >> 1)
    });
    root
}

/// Climbs the border part: every sibling stands on the left.
pub(super) fn climb_border(from: Hash, siblings: &[Hash]) -> Hash {
    siblings.iter().fold(from, |hash, sibling| node_hash(sibling, &hash))
}

/// Refuses a root that is not the one known.
pub(super) fn same_root(size: TreeSize, expected: &Hash, computed: Hash) -> Result<(), ProofError> {
    if computed == *expected {
        Ok(())
    } else {
        Err(ProofError::WrongRoot { size, expected: *expected, computed })
    }
}
