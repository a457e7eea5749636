//! A log tree with all its nodes in memory.

use super::node::{NodeReader, at_level, peaks};
use crate::hash::{Hash, empty_root, leaf_hash, node_hash};
use crate::position::{LogIndex, TreeSize};

/// A log tree that keeps every complete node: about two hashes per leaf, each read in constant time. For the
/// operations of one transaction, for tests, and as the oracle that stores are compared with.
///
/// Invariant: level l holds size / 2^l hashes, and its hash i is the node over hashes 2i and 2i + 1 of level l − 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryTree {
    levels: Vec<Vec<Hash>>,
}

impl MemoryTree {
    /// The empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        // A `usize` is at most 64 bits wide.
        TreeSize::new(u64::try_from(self.leaf_hashes().len()).unwrap_or(u64::MAX))
    }

    /// The hashes of all leaves, in order.
    #[must_use]
    pub fn leaf_hashes(&self) -> &[Hash] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// Root of the tree (RFC 6962 §2.1).
    #[must_use]
    pub fn root(&self) -> Hash {
        let nodes = peaks(self.size().get()).filter_map(|(level, index)| self.node(level, index));
        nodes.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }

    /// Appends a leaf, and returns where it stands.
    pub fn append(&mut self, leaf: &[u8]) -> LogIndex {
        self.append_hash(leaf_hash(leaf))
    }

    /// Appends a leaf by its hash, and returns where it stands.
    pub fn append_hash(&mut self, leaf_hash: Hash) -> LogIndex {
        let index = self.size().next_index();
        let mut hash = leaf_hash;
        for level in 0..=u8::MAX {
            let Some(nodes) = self.levels.get_mut(usize::from(level)) else {
                self.levels.push(vec![hash]);
                break;
            };
            nodes.push(hash);
            if at_level(index.get(), level) & 1 == 0 {
                break;
            }
            if let [.., left, right] = nodes.as_slice() {
                hash = node_hash(left, right);
            }
        }
        index
    }

    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        let nodes = self.levels.get(usize::from(level))?;
        nodes.get(usize::try_from(index).ok()?).copied()
    }
}

impl NodeReader for MemoryTree {
    type Error = MissingNode;

    fn read(&self, level: u8, index: u64) -> Result<Hash, MissingNode> {
        self.node(level, index).ok_or(MissingNode { level, index, size: self.size() })
    }
}

impl FromIterator<Hash> for MemoryTree {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaf_hashes: I) -> Self {
        let mut tree = Self::new();
        for leaf_hash in leaf_hashes {
            tree.append_hash(leaf_hash);
        }
        tree
    }
}

/// A node that the tree does not have yet, because not all of its leaves are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node {index} of level {level} is not complete in a tree of size {size}")]
pub struct MissingNode {
    /// Level of the node asked for.
    pub level: u8,
    /// Number of the node in its level.
    pub index: u64,
    /// Size of the tree.
    pub size: TreeSize,
}
