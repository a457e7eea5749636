//! A state tree with everything in memory: for simulation, tests, auditors and small tools.
//!
//! Contract: as a [`CritTree`] of leaves, without errors to walk. What the node serves from disk must have this
//! tree's root and give this tree's proofs, byte for byte.

use std::convert::Infallible;

use super::crit::{CritTree, NodeRef, StateTip};
use super::leaf::{StateLeaf, StateTreeError};
use super::prove::{Opened, Walk, prove};
use super::query::Query;
use crate::hash::Hash;
use crate::position::LogIndex;

/// A state tree in memory. Its root is up to date at any time.
#[derive(Debug, Clone, Default)]
pub struct MemoryStateTree {
    tree: CritTree<StateTip>,
}

impl MemoryStateTree {
    /// A tree without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree over these leaves, in ascending order of their keys; linear time.
    ///
    /// # Errors
    /// [`StateTreeError::OutOfOrder`] if they are not in order.
    pub fn from_sorted(leaves: impl IntoIterator<Item = StateLeaf>) -> Result<Self, StateTreeError> {
        let tree = CritTree::from_sorted(leaves.into_iter().map(StateTip::new))?;
        Ok(Self { tree })
    }

    /// Records that the transaction at `index` wrote a key last, with this encoded operation (a put or a delete).
    /// Gives the key's leaf before.
    ///
    /// # Errors
    /// [`StateTreeError::Leaf`] if the operation is not exactly 63 bytes and its key.
    pub fn insert(&mut self, index: LogIndex, op: Vec<u8>) -> Result<Option<StateLeaf>, StateTreeError> {
        let tip = StateTip::new(StateLeaf::new(index, op)?);
        let before = self.tree.edit().insert(tip)?;
        Ok(before.map(StateTip::into_leaf))
    }

    /// Records many writes, and hashes what they share once. Of two writes of one key the later stays.
    ///
    /// # Errors
    /// [`StateTreeError::Full`].
    pub fn insert_all(&mut self, leaves: impl IntoIterator<Item = StateLeaf>) -> Result<(), StateTreeError> {
        let mut edit = self.tree.edit();
        leaves.into_iter().try_for_each(|leaf| edit.insert(StateTip::new(leaf)).map(|_| ()))
    }

    /// The root: 32 zero bytes without keys.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tree.root_hash()
    }

    /// The leaf of a key; `None`: never written.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&StateLeaf> {
        self.tree.get(key).map(StateTip::leaf)
    }

    /// Number of keys ever written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether no key was ever written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// All leaves in the order of their keys.
    pub fn leaves(&self) -> impl Iterator<Item = &StateLeaf> {
        self.tree.iter().map(StateTip::leaf)
    }

    /// The proof of the complete answer to a query.
    #[must_use]
    pub fn prove(&self, query: &Query) -> Vec<u8> {
        let Ok(proof) = prove(self, query);
        proof
    }
}

impl Walk for MemoryStateTree {
    type Node = NodeRef;
    type Error = Infallible;

    fn root(&self) -> Result<Option<NodeRef>, Infallible> {
        Walk::root(&self.tree)
    }

    fn hash(&self, node: &NodeRef) -> Hash {
        self.tree.node_hash(*node)
    }

    fn open(&self, node: &NodeRef) -> Result<Opened<NodeRef>, Infallible> {
        self.tree.open(node)
    }

    fn key_below(&self, node: &NodeRef) -> Result<Vec<u8>, Infallible> {
        self.tree.key_below(node)
    }
}
