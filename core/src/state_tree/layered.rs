//! Two layers as one tree: an upper tree in memory, and below its tips buckets that are read when needed.
//!
//! Contract: [`Layered`] is a [`Walk`] over a [`CritTree`] whose tips are buckets (complete subtrees of a few dozen
//! keys). A proof loads a bucket only if it reveals a leaf of it, so a lookup costs one bucket and a scan the
//! buckets it covers. Bucket size and layout leave no trace in the proof. A bucket whose leaves do not have the
//! hash that the upper tree holds is a fault of the store, found before anything of it is shown.

use std::sync::Arc;

use super::bits::BitPrefix;
use super::crit::{CritTree, NodeRef, OpenedRef, StateTip, Tip};
use super::prove::{Opened, Walk};
use crate::hash::Hash;

/// Where buckets come from.
pub trait Buckets {
    /// A bucket as the upper tree knows it.
    type Bucket: Tip;
    /// Why a bucket could not be read.
    type Error;

    /// The leaves of a bucket: all keys of the state that begin with `region`
    /// ([`BitPrefix::key_range`] is the range to read).
    ///
    /// # Errors
    /// If they could not be read.
    fn load(
        &self,
        bucket: &Self::Bucket,
        region: &BitPrefix<'_>,
    ) -> Result<Arc<CritTree<StateTip>>, Self::Error>;

    /// The error for a bucket whose leaves hash to `found` and not to what the upper tree holds.
    fn damaged(&self, bucket: &Self::Bucket, found: Hash) -> Self::Error;
}

/// An upper tree and the buckets below it as one tree to [`prove()`](super::prove()) from.
#[derive(Debug)]
pub struct Layered<'a, B: Buckets> {
    upper: &'a CritTree<B::Bucket>,
    buckets: &'a B,
}

/// A node of a [`Layered`] tree.
#[derive(Debug, Clone)]
pub struct LayeredNode(Layer);

#[derive(Debug, Clone)]
enum Layer {
    /// A branch of the upper tree, or a bucket that was not loaded.
    Upper {
        node: NodeRef,
        /// Number of bits that the branches above fix: the region of a bucket.
        fixed: usize,
    },
    /// A node within a loaded bucket.
    Inner { bucket: Arc<CritTree<StateTip>>, node: NodeRef },
}

impl<'a, B: Buckets> Layered<'a, B> {
    /// Joins the layers. Both must be of one state, as long as this lives.
    #[must_use]
    pub const fn new(upper: &'a CritTree<B::Bucket>, buckets: &'a B) -> Self {
        Self { upper, buckets }
    }

    /// Loads a bucket and opens its topmost node.
    fn open_bucket(&self, bucket: &B::Bucket, fixed: usize) -> Result<Opened<LayeredNode>, B::Error> {
        let region = BitPrefix::of(bucket.key(), fixed);
        let leaves = self.buckets.load(bucket, &region)?;
        match leaves.root_node() {
            Some(node) if leaves.node_hash(node) == bucket.hash() => Ok(open_inner(&leaves, node)),
            _ => Err(self.buckets.damaged(bucket, leaves.root_hash())),
        }
    }
}

/// Opens a node within a loaded bucket.
fn open_inner(bucket: &Arc<CritTree<StateTip>>, node: NodeRef) -> Opened<LayeredNode> {
    let inner = |node| LayeredNode(Layer::Inner { bucket: Arc::clone(bucket), node });
    match bucket.open_node(node) {
        OpenedRef::Tip(tip) => Opened::Leaf(tip.leaf().clone()),
        OpenedRef::Branch { d, left, right } => Opened::Branch { d, left: inner(left), right: inner(right) },
    }
}

impl<B: Buckets> Walk for Layered<'_, B> {
    type Node = LayeredNode;
    type Error = B::Error;

    fn root(&self) -> Result<Option<LayeredNode>, B::Error> {
        Ok(self.upper.root_node().map(|node| LayeredNode(Layer::Upper { node, fixed: 0 })))
    }

    fn hash(&self, node: &LayeredNode) -> Hash {
        match &node.0 {
            Layer::Upper { node, .. } => self.upper.node_hash(*node),
            Layer::Inner { bucket, node } => bucket.node_hash(*node),
        }
    }

    fn open(&self, node: &LayeredNode) -> Result<Opened<LayeredNode>, B::Error> {
        match &node.0 {
            Layer::Inner { bucket, node } => Ok(open_inner(bucket, *node)),
            Layer::Upper { node, fixed } => match self.upper.open_node(*node) {
                OpenedRef::Tip(bucket) => self.open_bucket(bucket, *fixed),
                OpenedRef::Branch { d, left, right } => {
                    let fixed = usize::from(d).saturating_add(1);
                    let upper = |node| LayeredNode(Layer::Upper { node, fixed });
                    Ok(Opened::Branch { d, left: upper(left), right: upper(right) })
                }
            },
        }
    }

    fn key_below(&self, node: &LayeredNode) -> Result<Vec<u8>, B::Error> {
        Ok(match &node.0 {
            Layer::Upper { node, .. } => self.upper.key_below_node(*node).to_vec(),
            Layer::Inner { bucket, node } => bucket.key_below_node(*node).to_vec(),
        })
    }
}
