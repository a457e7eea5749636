//! Building in one pass: any structure of branches from keys in order.
//!
//! Contract: the tree over sorted keys is the Cartesian tree of the positions at which neighbours part. So one
//! stack is enough: memory is the depth, time is linear, and what a "node" is the caller decides: a hash, a count
//! with a hash, an id in an arena, a bucket that is not yet full.

use super::bits::{Bits, first_difference};
use super::leaf::{StateTreeError, branch_hash};
use crate::hash::Hash;

/// Takes keys in ascending order, each with its node, and combines nodes as branches close. `combine(d, left,
/// right)` is called once per branch, children before parents.
#[derive(Debug)]
pub struct SortedBuilder<N, C> {
    combine: C,
    /// The key last pushed; its memory is reused.
    key: Vec<u8>,
    pushed: usize,
    /// The node of what lies right of the last open branch.
    last: Option<N>,
    /// Branches whose right side is not complete, with their left side; depths ascend.
    open: Vec<(u16, N)>,
}

impl<N, C: FnMut(u16, N, N) -> N> SortedBuilder<N, C> {
    /// A builder without keys.
    #[must_use]
    pub const fn new(combine: C) -> Self {
        Self { combine, key: Vec::new(), pushed: 0, last: None, open: Vec::new() }
    }

    /// Adds the next key. Copies it, into memory that is reused.
    ///
    /// # Errors
    /// [`StateTreeError::OutOfOrder`] if it is not above the last one; the builder is then as before.
    pub fn push(&mut self, key: &[u8], node: N) -> Result<(), StateTreeError> {
        if let Some(last) = self.last.take() {
            let d = first_difference(&self.key, key);
            let ascends = d.filter(|d| Bits::of_key(key).bit(usize::from(*d)) == Some(true));
            let Some(d) = ascends else {
                self.last = Some(last);
                return Err(StateTreeError::OutOfOrder { number: self.pushed });
            };
            let left = self.close_below(d, last);
            self.open.push((d, left));
        }
        self.key.clear();
        self.key.extend_from_slice(key);
        self.pushed = self.pushed.saturating_add(1);
        self.last = Some(node);
        Ok(())
    }

    /// Number of keys so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.pushed
    }

    /// Whether no key was pushed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pushed == 0
    }

    /// The node of the whole tree; `None` without keys.
    pub fn finish(mut self) -> Option<N> {
        let mut node = self.last.take()?;
        while let Some((d, left)) = self.open.pop() {
            node = (self.combine)(d, left, node);
        }
        Some(node)
    }

    /// Closes the open branches deeper than `d`, of which `node` is the last right side.
    fn close_below(&mut self, d: u16, mut node: N) -> N {
        while let Some((deeper, left)) = self.open.pop_if(|branch| branch.0 > d) {
            node = (self.combine)(deeper, left, node);
        }
        node
    }
}

/// Builds from all of these keys and nodes; see [`SortedBuilder`].
///
/// # Errors
/// [`StateTreeError::OutOfOrder`] if the keys are not strictly ascending.
pub fn build_sorted<K: AsRef<[u8]>, N>(
    items: impl IntoIterator<Item = (K, N)>,
    combine: impl FnMut(u16, N, N) -> N,
) -> Result<Option<N>, StateTreeError> {
    let mut builder = SortedBuilder::new(combine);
    for (key, node) in items {
        builder.push(key.as_ref(), node)?;
    }
    Ok(builder.finish())
}

/// The root over these keys and their [`leaf_hash`](super::leaf_hash)es (or over complete subtrees with their
/// hashes, each under any of its keys). Without keys: 32 zero bytes.
///
/// # Errors
/// [`StateTreeError::OutOfOrder`] if the keys are not strictly ascending.
pub fn root_of_sorted<K: AsRef<[u8]>>(
    leaves: impl IntoIterator<Item = (K, Hash)>,
) -> Result<Hash, StateTreeError> {
    let root = build_sorted(leaves, |d, left, right| branch_hash(d, &left, &right))?;
    Ok(root.unwrap_or(Hash::ZERO))
}
