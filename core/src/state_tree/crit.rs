//! A crit-bit tree in memory, with the hash of every branch.
//!
//! Contract: a tree over *tips* in the order of their keys. A tip ([`Tip`]) is either one leaf, or a complete
//! subtree that is kept elsewhere (a bucket), known by its hash and any one of its keys. So the same code is the
//! whole tree in memory, the upper part of a large one, and the inside of one bucket.
//!
//! A tip answers for its *region*: all keys that begin with the first `d + 1` bits of its key, `d` being the
//! branch above it ([`Place`]). For a leaf that means little; for a bucket it says which keys it must hold, and
//! which range to read from the store.
//!
//! Seen from outside every hash is right at any time: changes go through an [`Edit`], which hashes
//! each changed branch once when it ends, however many tips it touched.
//!
//! Memory: 48 bytes per branch, one branch less than tips, and the tips. No key is copied into a branch.

use super::bits::{BitPrefix, Bits, first_difference};
use super::edit::Edit;
use super::leaf::{StateLeaf, StateTreeError, branch_hash};
use super::prove::{Opened, Walk};
use super::sorted::SortedBuilder;
use crate::hash::Hash;

/// What stands at the end of a path: a leaf, or a complete subtree kept elsewhere.
pub trait Tip {
    /// The leaf's key, or any key of the subtree.
    fn key(&self) -> &[u8];
    /// The leaf's hash, or the subtree's. Asked often: keep it.
    fn hash(&self) -> Hash;
}

/// One leaf, with its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTip {
    leaf: StateLeaf,
    hash: Hash,
}

impl StateTip {
    /// Hashes the leaf.
    #[must_use]
    pub fn new(leaf: StateLeaf) -> Self {
        let hash = leaf.hash();
        Self { leaf, hash }
    }

    /// The leaf.
    #[must_use]
    pub const fn leaf(&self) -> &StateLeaf {
        &self.leaf
    }

    /// The leaf, taken out.
    #[must_use]
    pub fn into_leaf(self) -> StateLeaf {
        self.leaf
    }
}

impl Tip for StateTip {
    #[inline]
    fn key(&self) -> &[u8] {
        self.leaf.key()
    }

    #[inline]
    fn hash(&self) -> Hash {
        self.hash
    }
}

/// A node of one [`CritTree`], as long as that is not edited: a tip or a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeRef(u32);

impl NodeRef {
    /// Set in the number of a tip, clear in that of a branch.
    const TIP: u32 = 1 << 31;

    /// Tip number `number`.
    pub(super) fn tip(number: usize) -> Result<Self, StateTreeError> {
        let number = u32::try_from(number).ok().filter(|number| number & Self::TIP == 0);
        number.map(|number| Self(number | Self::TIP)).ok_or(StateTreeError::Full)
    }

    /// Branch number `number`. There are fewer branches than tips, and those were counted.
    #[inline]
    pub(super) fn branch(number: usize) -> Self {
        Self(u32::try_from(number).unwrap_or(u32::MAX) & !Self::TIP)
    }

    /// Whether it is a tip, and its number.
    #[inline]
    pub(super) const fn split(self) -> (bool, usize) {
        (self.0 & Self::TIP != 0, (self.0 & !Self::TIP) as usize)
    }
}

/// A branch and what is known of the subtree below it.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    /// Right unless `dirty`, which no branch is outside of an [`Edit`].
    pub(super) hash: Hash,
    pub(super) left: NodeRef,
    pub(super) right: NodeRef,
    /// Some tip below, to have a key at once. Tips keep their numbers and never leave their subtree.
    pub(super) any: NodeRef,
    pub(super) d: u16,
    /// Something below changed; then everything above is dirty too.
    pub(super) dirty: bool,
}

impl Branch {
    /// The child on this side (`true`: right).
    #[inline]
    pub(super) const fn child(&self, side: bool) -> NodeRef {
        if side { self.right } else { self.left }
    }
}

/// A subtree while it is built.
#[derive(Clone, Copy)]
pub(super) struct Built {
    pub(super) node: NodeRef,
    hash: Hash,
    any: NodeRef,
}

impl Built {
    /// A tip that has its number.
    pub(super) const fn of_tip(node: NodeRef, hash: Hash) -> Self {
        Self { node, hash, any: node }
    }
}

/// A crit-bit tree in memory; see the module documentation.
#[derive(Debug, Clone)]
pub struct CritTree<T> {
    pub(super) branches: Vec<Branch>,
    pub(super) tips: Vec<T>,
    pub(super) root: Option<NodeRef>,
}

impl<T> Default for CritTree<T> {
    fn default() -> Self {
        Self { branches: Vec::new(), tips: Vec::new(), root: None }
    }
}

/// A node of a [`CritTree`], opened.
#[derive(Debug)]
pub enum OpenedRef<'a, T> {
    /// A leaf or a bucket.
    Tip(&'a T),
    /// A branch.
    Branch {
        /// The first bit position at which the keys below do not all agree.
        d: u16,
        /// The keys with bit 0 there.
        left: NodeRef,
        /// The keys with bit 1 there.
        right: NodeRef,
    },
}

/// Where the bits of a key lead in a [`CritTree`].
#[derive(Debug)]
pub struct Place<'a, T> {
    /// The tip at the end of the path.
    pub tip: &'a T,
    /// What all keys of the tip's region begin with: a bucket holds all keys of the tree that do.
    pub region: BitPrefix<'a>,
    /// Where the key parts from the tip's own key; `None`: it is that key.
    pub difference: Option<u16>,
}

impl<T> Place<'_, T> {
    /// Whether the key lies in the tip's region. If not, it belongs to no tip, and inserting it makes a branch
    /// of its own at `difference`.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.difference.is_none_or(|difference| usize::from(difference) >= self.region.len())
    }
}

impl<T: Tip> CritTree<T> {
    /// A tree without tips.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree over these tips, in ascending order of their keys; linear time.
    ///
    /// # Errors
    /// [`StateTreeError::OutOfOrder`] if they are not in order, [`StateTreeError::Full`].
    pub fn from_sorted(tips: impl IntoIterator<Item = T>) -> Result<Self, StateTreeError> {
        let mut tree = Self::new();
        let mut builder = SortedBuilder::new(|d, left, right| join(&mut tree.branches, d, left, right));
        for tip in tips {
            let node = NodeRef::tip(tree.tips.len())?;
            builder.push(tip.key(), Built::of_tip(node, tip.hash()))?;
            tree.tips.push(tip);
        }
        let root = builder.finish();
        tree.root = root.map(|built| built.node);
        Ok(tree)
    }

    /// Number of tips.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tips.len()
    }

    /// Whether there are no tips.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tips.is_empty()
    }

    /// The root hash; 32 zero bytes without tips.
    #[must_use]
    pub fn root_hash(&self) -> Hash {
        self.root.map_or(Hash::ZERO, |root| self.node_hash(root))
    }

    /// The whole tree as a node; `None` without tips.
    #[must_use]
    pub const fn root_node(&self) -> Option<NodeRef> {
        self.root
    }

    /// A node's hash.
    #[must_use]
    pub fn node_hash(&self, node: NodeRef) -> Hash {
        match node.split() {
            (true, tip) => self.tip_at(tip).hash(),
            (false, branch) => self.branch_at(branch).hash,
        }
    }

    /// What a node is made of.
    #[must_use]
    pub fn open_node(&self, node: NodeRef) -> OpenedRef<'_, T> {
        match node.split() {
            (true, tip) => OpenedRef::Tip(self.tip_at(tip)),
            (false, branch) => {
                let Branch { d, left, right, .. } = *self.branch_at(branch);
                OpenedRef::Branch { d, left, right }
            }
        }
    }

    /// The key of some tip at or below a node; constant time.
    #[must_use]
    pub fn key_below_node(&self, node: NodeRef) -> &[u8] {
        let any = match node.split() {
            (true, _) => node,
            (false, branch) => self.branch_at(branch).any,
        };
        self.tip_at(any.split().1).key()
    }

    /// Where the bits of a key lead; `None` without tips.
    #[must_use]
    pub fn locate(&self, key: &[u8]) -> Option<Place<'_, T>> {
        let (tip, above) = self.descend(self.root?, key);
        let tip = self.tip_at(tip);
        let region = BitPrefix::of(tip.key(), above.map_or(0, |d| usize::from(d).saturating_add(1)));
        Some(Place { tip, region, difference: first_difference(key, tip.key()) })
    }

    /// The tip with exactly this key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&T> {
        let tip = self.tip_at(self.descend(self.root?, key).0);
        (tip.key() == key).then_some(tip)
    }

    /// All tips in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let mut stack: Vec<NodeRef> = self.root.into_iter().collect();
        std::iter::from_fn(move || {
            loop {
                match stack.pop()?.split() {
                    (true, tip) => return Some(self.tip_at(tip)),
                    (false, branch) => {
                        let branch = self.branch_at(branch);
                        stack.extend([branch.right, branch.left]);
                    }
                }
            }
        })
    }

    /// Takes the tree apart into its largest subtrees of at most `max` tips (at least 1), in key order, each as
    /// its tips in key order. So a bucket that grew too large becomes several, which
    /// [`Edit::replace`] puts in its place.
    #[must_use]
    pub fn into_parts(self, max: usize) -> Vec<Vec<T>> {
        let mut counts = vec![0_usize; self.branches.len()];
        let count = |counts: &[usize], node: NodeRef| match node.split() {
            (true, _) => 1,
            (false, branch) => counts.get(branch).copied().unwrap_or_default(),
        };
        for id in self.preorder().into_iter().rev() {
            let branch = self.branch_at(id);
            let sum = count(&counts, branch.left).saturating_add(count(&counts, branch.right));
            if let Some(slot) = counts.get_mut(id) {
                *slot = sum;
            }
        }
        // Tip numbers of each part, in key order. A part begins at the first subtree on the way down that fits.
        let mut parts: Vec<Vec<usize>> = Vec::new();
        let mut stack: Vec<(NodeRef, bool)> = self.root.map(|root| (root, true)).into_iter().collect();
        while let Some((node, may_begin)) = stack.pop() {
            let begins = may_begin && count(&counts, node) <= max.max(1);
            if begins {
                parts.push(Vec::new());
            }
            match node.split() {
                (true, tip) => {
                    if let Some(part) = parts.last_mut() {
                        part.push(tip);
                    }
                }
                (false, branch) => {
                    let branch = self.branch_at(branch);
                    let below = may_begin && !begins;
                    stack.extend([(branch.right, below), (branch.left, below)]);
                }
            }
        }
        let mut tips: Vec<Option<T>> = self.tips.into_iter().map(Some).collect();
        let mut take = |tip: usize| tips.get_mut(tip).and_then(Option::take);
        parts.into_iter().map(|part| part.into_iter().filter_map(&mut take).collect()).collect()
    }

    /// Begins a change. All hashes are brought up to date when the edit ends.
    pub fn edit(&mut self) -> Edit<'_, T> {
        Edit::begin(self)
    }

    /// All branches, parents before children.
    fn preorder(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.branches.len());
        let mut stack: Vec<NodeRef> = self.root.into_iter().collect();
        while let Some(node) = stack.pop() {
            if let (false, id) = node.split() {
                order.push(id);
                let branch = self.branch_at(id);
                stack.extend([branch.right, branch.left]);
            }
        }
        order
    }

    /// Number of the tip to which a key's bits lead from the root, and the depth of the branch above it.
    pub(super) fn descend(&self, root: NodeRef, key: &[u8]) -> (usize, Option<u16>) {
        let bits = Bits::of_key(key);
        let (mut node, mut above) = (root, None);
        loop {
            match node.split() {
                (true, tip) => return (tip, above),
                (false, branch) => {
                    let branch = self.branch_at(branch);
                    above = Some(branch.d);
                    node = branch.child(bits.bit(usize::from(branch.d)) == Some(true));
                }
            }
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "branches are never removed, and only this tree numbers them"
    )]
    pub(super) fn branch_at(&self, number: usize) -> &Branch {
        &self.branches[number]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "branches are never removed, and only this tree numbers them"
    )]
    pub(super) fn branch_at_mut(&mut self, number: usize) -> &mut Branch {
        &mut self.branches[number]
    }

    #[expect(clippy::indexing_slicing, reason = "tips are never removed, and only this tree numbers them")]
    pub(super) fn tip_at(&self, number: usize) -> &T {
        &self.tips[number]
    }
}

/// Adds the branch over two subtrees, hashed.
pub(super) fn join(branches: &mut Vec<Branch>, d: u16, left: Built, right: Built) -> Built {
    let hash = branch_hash(d, &left.hash, &right.hash);
    let node = NodeRef::branch(branches.len());
    branches.push(Branch { hash, left: left.node, right: right.node, any: left.any, d, dirty: false });
    Built { node, hash, any: left.any }
}

impl Walk for CritTree<StateTip> {
    type Node = NodeRef;
    type Error = std::convert::Infallible;

    fn root(&self) -> Result<Option<NodeRef>, Self::Error> {
        Ok(self.root)
    }

    fn hash(&self, node: &NodeRef) -> Hash {
        self.node_hash(*node)
    }

    fn open(&self, node: &NodeRef) -> Result<Opened<NodeRef>, Self::Error> {
        Ok(match self.open_node(*node) {
            OpenedRef::Tip(tip) => Opened::Leaf(tip.leaf().clone()),
            OpenedRef::Branch { d, left, right } => Opened::Branch { d, left, right },
        })
    }

    fn key_below(&self, node: &NodeRef) -> Result<Vec<u8>, Self::Error> {
        Ok(self.key_below_node(*node).to_vec())
    }
}
