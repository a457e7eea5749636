//! The prover: walks a stored tree and writes down what a query needs of it.
//!
//! Contract: the bytes depend on the tree and the query alone, not on how the tree is stored ([`Walk`]). What can
//! be decided from a branch's bits is not opened, so a proof costs as many openings as it has branches and
//! revealed leaves. At a subtree whose keys begin with the bits P: disjoint from the query → pruned; a leaf →
//! revealed; a branch → both children. Where both children of a branch are disjoint, the one leaf that the
//! query's lower bound leads to is revealed nevertheless: without a revealed key below it, a branch would show
//! nobody which bits it stands for.

use super::bits::BitPrefix;
use super::encoding::{EMPTY, put_branch, put_leaf, put_pruned};
use super::leaf::StateLeaf;
use super::query::Query;
use crate::hash::Hash;

/// A stored state tree, seen node by node. One unchanging state must be seen from the first call to the last.
pub trait Walk {
    /// What names a subtree.
    type Node: Clone;
    /// Why a part of the tree could not be read. Never "absent".
    type Error;

    /// The whole tree; `None` if it has no keys.
    ///
    /// # Errors
    /// If the tree could not be read.
    fn root(&self) -> Result<Option<Self::Node>, Self::Error>;

    /// The subtree's hash, known without opening it.
    fn hash(&self, node: &Self::Node) -> Hash;

    /// What the subtree is made of.
    ///
    /// # Errors
    /// If that could not be read.
    fn open(&self, node: &Self::Node) -> Result<Opened<Self::Node>, Self::Error>;

    /// Any key below the node. Asked for branches that were opened; it should cost no reading.
    ///
    /// # Errors
    /// If that could not be read.
    fn key_below(&self, node: &Self::Node) -> Result<Vec<u8>, Self::Error>;
}

/// A subtree, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened<N> {
    /// One key.
    Leaf(StateLeaf),
    /// Several keys.
    Branch {
        /// The first bit position at which they do not all agree.
        d: u16,
        /// The keys with bit 0 there.
        left: N,
        /// The keys with bit 1 there.
        right: N,
    },
}

/// What is still to be written, the next on top.
enum Task<N> {
    /// The hash alone.
    Prune(N),
    /// A subtree that may hold an answer.
    Open(N),
    /// A subtree that holds none: one leaf of it, the one that the query's lower bound leads to.
    Follow(N),
}

/// The proof of the complete answer to `query`: see [`verify()`](super::verify()).
///
/// # Errors
/// The first error of the walked tree.
pub fn prove<W: Walk>(tree: &W, query: &Query) -> Result<Vec<u8>, W::Error> {
    let bits = query.bits();
    let mut out = Vec::new();
    let mut tasks = Vec::new();
    match tree.root()? {
        None => out.push(EMPTY),
        Some(root) => tasks.push(Task::Open(root)),
    }
    while let Some(task) = tasks.pop() {
        let (node, following) = match task {
            Task::Prune(node) => {
                put_pruned(&mut out, &tree.hash(&node));
                continue;
            }
            Task::Open(node) => (node, false),
            Task::Follow(node) => (node, true),
        };
        let (d, left, right) = match tree.open(&node)? {
            Opened::Leaf(leaf) => {
                put_leaf(&mut out, &leaf);
                continue;
            }
            Opened::Branch { d, left, right } => (d, left, right),
        };
        put_branch(&mut out, d);
        let (left_out, right_out) = if following {
            (true, true)
        } else {
            let key = tree.key_below(&node)?;
            let out = |side| bits.is_disjoint(&BitPrefix::side_of(&key, d, side));
            (out(false), out(true))
        };
        let (left, right) = if left_out && right_out {
            match bits.lo().bit(usize::from(d)) {
                Some(true) => (Task::Prune(left), Task::Follow(right)),
                _ => (Task::Follow(left), Task::Prune(right)),
            }
        } else {
            let task = |out, node| if out { Task::Prune(node) } else { Task::Open(node) };
            (task(left_out, left), task(right_out, right))
        };
        tasks.push(right);
        tasks.push(left);
    }
    Ok(out)
}
