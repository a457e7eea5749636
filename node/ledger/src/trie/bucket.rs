//! The leaves of one bucket, with every hash inside it.

use std::{cmp::Ordering, ops::Range};

use quorate_core::{
    entry::Operation,
    hash::Hash,
    position::LogIndex,
    state_tree::{StateLeaf, StateLeafError},
};

/// The most keys in a bucket.
pub const MAX_BUCKET_KEYS: usize = 64;

/// The leaves of a bucket. Never changed: a write makes a new one.
///
/// Subtrees inside are ranges of leaves, and the branch over a range is where its two neighbours part that have
/// the most bits *not* in common.
#[derive(Debug)]
pub(super) struct Bucket {
    leaves: Box<[BucketLeaf]>,
    /// The encoded operations, one after the other.
    ops: Box<[u8]>,
}

/// A leaf, and the branch between it and the next one.
#[derive(Debug, Clone, Copy)]
pub(super) struct BucketLeaf {
    /// Log index of the key's newest write.
    pub(super) index: LogIndex,
    /// The leaf's hash.
    pub(super) hash: Hash,
    /// Where its operation ends in the bucket's operations; it begins where the one before ends.
    pub(super) op_end: u32,
    /// The branch to the next leaf; without meaning in the last.
    pub(super) joint: Joint,
}

/// The branch that parts a leaf from the next one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joint {
    /// The first bit at which the two differ.
    pub(super) d: u16,
    /// The branch's hash.
    pub(super) hash: Hash,
}

impl Joint {
    /// No branch: behind the last leaf.
    pub(super) const NONE: Self = Self {
        d: u16::MAX,
        hash: Hash::ZERO,
    };
}

/// The key of an encoded operation.
pub(super) fn key_of(op: &[u8]) -> &[u8] {
    op.get(Operation::FIXED_LEN..).unwrap_or_default()
}

impl Bucket {
    /// Puts leaves and operations together. There is at least one.
    pub(super) fn new(leaves: Vec<BucketLeaf>, ops: Vec<u8>) -> Self {
        Self {
            leaves: leaves.into_boxed_slice(),
            ops: ops.into_boxed_slice(),
        }
    }

    /// Number of leaves.
    pub(super) fn len(&self) -> usize {
        self.leaves.len()
    }

    /// The leaf at this position.
    pub(super) fn leaf(&self, at: usize) -> &BucketLeaf {
        &self.leaves[at]
    }

    /// All leaves.
    pub(super) fn leaves(&self) -> &[BucketLeaf] {
        &self.leaves
    }

    /// The encoded operations of all leaves, one after the other.
    pub(super) fn ops(&self) -> &[u8] {
        &self.ops
    }

    /// Where the operation of the leaf at this position begins; at the number of leaves: where the last one ends.
    pub(super) fn op_start(&self, at: usize) -> u32 {
        at.checked_sub(1).map_or(0, |before| self.leaves[before].op_end)
    }

    /// The encoded operation of the leaf at this position.
    pub(super) fn op(&self, at: usize) -> &[u8] {
        &self.ops[self.op_start(at) as usize..self.leaves[at].op_end as usize]
    }

    /// Its key.
    pub(super) fn key(&self, at: usize) -> &[u8] {
        key_of(self.op(at))
    }

    /// The leaf at this position, taken out.
    pub(super) fn state_leaf(&self, at: usize) -> Result<StateLeaf, StateLeafError> {
        StateLeaf::new(self.leaves[at].index, self.op(at).to_vec())
    }

    /// The position of a key from position `from` on; `Err`: that of the first key above it.
    pub(super) fn search(&self, from: usize, key: &[u8]) -> Result<usize, usize> {
        let mut range = from..self.len();
        while !range.is_empty() {
            let middle = range.start.midpoint(range.end);
            match self.key(middle).cmp(key) {
                Ordering::Less => range.start = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => range.end = middle,
            }
        }
        Err(range.start)
    }

    /// The topmost branch of a subtree: behind which leaf it parts the range; `None` for a single leaf.
    pub(super) fn split(&self, range: &Range<usize>) -> Option<usize> {
        (range.start..range.end.checked_sub(1)?).min_by_key(|at| self.leaves[*at].joint.d)
    }

    /// The root of a subtree.
    pub(super) fn hash(&self, range: &Range<usize>) -> Hash {
        match self.split(range) {
            Some(at) => self.leaves[at].joint.hash,
            None => self.leaves[range.start].hash,
        }
    }

    /// What it takes in memory, bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.leaves) + self.ops.len()
    }
}
