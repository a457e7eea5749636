//! Changes to a [`CritTree`]: any number of tips, then each changed branch is hashed once.
//!
//! Contract: paths are marked from the root down while tips change; when the edit ends (also by being dropped, on
//! an early return) the marked branches are hashed from below. So a dirty branch is never seen from outside. An
//! operation that fails changes nothing. Keys in order share the upper part of their paths, and its cost.

use super::bits::{BitPrefix, Bits, first_difference};
use super::crit::{Branch, Built, CritTree, NodeRef, Place, Tip, join};
use super::leaf::{StateTreeError, branch_hash};
use super::sorted::{SortedBuilder, build_sorted};
use crate::hash::Hash;

/// A change of a [`CritTree`] in progress; made by [`CritTree::edit`].
#[derive(Debug)]
pub struct Edit<'a, T: Tip> {
    tree: &'a mut CritTree<T>,
}

/// Where a node hangs: below a branch on a side, or at the root.
type Link = Option<(usize, bool)>;

impl<'a, T: Tip> Edit<'a, T> {
    pub(super) const fn begin(tree: &'a mut CritTree<T>) -> Self {
        Self { tree }
    }

    /// Puts a tip under its key: in the place of the tip with that key, which is given back, or as a new one.
    ///
    /// Among tips that are subtrees kept elsewhere, ask [`Edit::locate`] first: a key inside a tip's region
    /// belongs *into* that subtree, and the tip is then to be [replaced](Edit::replace).
    ///
    /// # Errors
    /// [`StateTreeError::Full`].
    pub fn insert(&mut self, tip: T) -> Result<Option<T>, StateTreeError> {
        let added = NodeRef::tip(self.tree.tips.len())?;
        let Some(root) = self.tree.root else {
            self.tree.tips.push(tip);
            self.tree.root = Some(added);
            return Ok(None);
        };
        let (at, _) = self.tree.descend(root, tip.key());
        let difference = first_difference(tip.key(), self.tree.tip_at(at).key());
        let (link, below) = self.mark(root, tip.key(), difference);
        let Some(d) = difference else {
            return Ok(self.tree.tips.get_mut(at).map(|old| std::mem::replace(old, tip)));
        };
        let side = Bits::of_key(tip.key()).bit(usize::from(d)) == Some(true);
        let (left, right) = if side { (below, added) } else { (added, below) };
        self.tree.tips.push(tip);
        let node = NodeRef::branch(self.tree.branches.len());
        let (hash, dirty) = (Hash::ZERO, true);
        self.tree.branches.push(Branch { hash, left, right, any: added, d, dirty });
        self.hang(link, node);
        Ok(None)
    }

    /// Puts one or more tips, in ascending order of their keys, in the place of the one that `key` leads to: a
    /// subtree that changed, or that was split.
    ///
    /// # Errors
    /// [`StateTreeError::OutsideRegion`] if not all of them lie in the region of the old one,
    /// [`StateTreeError::OutOfOrder`], [`StateTreeError::NothingToReplace`], [`StateTreeError::Full`].
    pub fn replace(&mut self, key: &[u8], tips: Vec<T>) -> Result<(), StateTreeError> {
        let root = self.tree.root.ok_or(StateTreeError::NothingToReplace)?;
        let (at, above) = self.tree.descend(root, key);
        NodeRef::tip(self.tree.tips.len().saturating_add(tips.len()))?;
        let bits = above.map_or(0, |d| usize::from(d).saturating_add(1));
        let region = BitPrefix::of(self.tree.tip_at(at).key(), bits);
        if tips.iter().any(|tip| region.compare(Bits::of_key(tip.key())).is_ne()) {
            return Err(StateTreeError::OutsideRegion { bits });
        }
        build_sorted(tips.iter().map(|tip| (tip.key(), ())), |_, (), ()| ())?
            .ok_or(StateTreeError::NothingToReplace)?;
        let (link, _) = self.mark(root, key, None);
        let node = self.graft(at, tips)?;
        self.hang(link, node);
        Ok(())
    }

    /// Where the bits of a key lead, among the tips as they are now.
    #[must_use]
    pub fn locate(&self, key: &[u8]) -> Option<Place<'_, T>> {
        self.tree.locate(key)
    }

    /// Ends the edit and gives the new root hash. Dropping it ends it too.
    #[must_use]
    pub fn finish(self) -> Hash {
        self.tree.rehash();
        self.tree.root_hash()
    }

    /// Marks the branches above `limit` on the path of a key (all, without a limit); gives the node that the path
    /// reaches there and where it hangs.
    fn mark(&mut self, root: NodeRef, key: &[u8], limit: Option<u16>) -> (Link, NodeRef) {
        let bits = Bits::of_key(key);
        let (mut link, mut node) = (None, root);
        loop {
            let (false, id) = node.split() else {
                return (link, node);
            };
            let branch = self.tree.branch_at_mut(id);
            if limit.is_some_and(|limit| branch.d >= limit) {
                return (link, node);
            }
            branch.dirty = true;
            let side = bits.bit(usize::from(branch.d)) == Some(true);
            link = Some((id, side));
            node = branch.child(side);
        }
    }

    /// Hangs a node where another hung.
    fn hang(&mut self, link: Link, node: NodeRef) {
        match link {
            None => self.tree.root = Some(node),
            Some((id, true)) => self.tree.branch_at_mut(id).right = node,
            Some((id, false)) => self.tree.branch_at_mut(id).left = node,
        }
    }

    /// Builds the subtree over sorted tips, of which the first takes over the number `at`: branches above may know
    /// that one as a tip below them.
    fn graft(&mut self, at: usize, tips: Vec<T>) -> Result<NodeRef, StateTreeError> {
        let tree = &mut *self.tree;
        let mut builder = SortedBuilder::new(|d, left, right| join(&mut tree.branches, d, left, right));
        for (number, tip) in tips.into_iter().enumerate() {
            let node = NodeRef::tip(if number == 0 { at } else { tree.tips.len() })?;
            builder.push(tip.key(), Built::of_tip(node, tip.hash()))?;
            match tree.tips.get_mut(at) {
                Some(slot) if number == 0 => *slot = tip,
                _ => tree.tips.push(tip),
            }
        }
        builder.finish().map(|built| built.node).ok_or(StateTreeError::NothingToReplace)
    }
}

impl<T: Tip> Drop for Edit<'_, T> {
    fn drop(&mut self) {
        self.tree.rehash();
    }
}

impl<T: Tip> CritTree<T> {
    /// Hashes the dirty branches, children before parents.
    fn rehash(&mut self) {
        let dirty = |tree: &Self, node: NodeRef| match node.split() {
            (false, id) if tree.branch_at(id).dirty => Some(id),
            _ => None,
        };
        let mut order: Vec<usize> = self.root.and_then(|root| dirty(self, root)).into_iter().collect();
        let mut next = 0;
        while let Some(&id) = order.get(next) {
            let branch = self.branch_at(id);
            let children = [dirty(self, branch.left), dirty(self, branch.right)];
            order.extend(children.into_iter().flatten());
            next = next.saturating_add(1);
        }
        for id in order.into_iter().rev() {
            let branch = self.branch_at(id);
            let hash = branch_hash(branch.d, &self.node_hash(branch.left), &self.node_hash(branch.right));
            let branch = self.branch_at_mut(id);
            branch.hash = hash;
            branch.dirty = false;
        }
    }
}
