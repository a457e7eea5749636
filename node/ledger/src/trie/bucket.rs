//! The leaves of one bucket, with every hash inside it.

use std::{cmp::Ordering, ops::Range};

use quorate_core::{
    entry::Operation,
    hash::Hash,
    position::LogIndex,
    state_tree::{StateLeaf, StateLeafError, first_difference, leaf_hash},
};

/// The most keys in a bucket.
pub const MAX_BUCKET_KEYS: usize = 16;

/// The leaves of a bucket, in key order.
///
/// Subtrees inside are ranges of leaves. The branch over a range is the one of its *joints*, the places between two
/// neighbours, at which these part first. The hashes of the branches are kept, those of the leaves are computed when
/// they are asked for: a path to a leaf passes many branches and one or two leaves. Everything lies in three runs of
/// memory, and what a write looks at lies close together: writes to cold buckets are what a large tree spends its
/// time on.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    leaves: Vec<BucketLeaf>,
    /// The branch at the joint behind each leaf. Without meaning in the last.
    joints: Vec<Hash>,
    /// The encoded operations, one after the other.
    ops: Vec<u8>,
}

/// A leaf, without its operation.
#[derive(Debug, Clone, Copy, Default)]
struct BucketLeaf {
    /// Log index of the key's newest write.
    index: LogIndex,
    /// Where its operation ends in the bucket's operations; it begins where the one before ends.
    op_end: u32,
    /// The joint to the next leaf: the first bit at which the two differ. Without meaning in the last.
    d: u16,
}

/// What a write did to a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nothing.
    Kept,
    /// The key has a new leaf.
    Rewritten,
    /// The key was not there before.
    New,
}

/// The key of an encoded operation.
pub(super) fn key_of(op: &[u8]) -> &[u8] {
    op.get(Operation::FIXED_LEN..).unwrap_or_default()
}

/// An offset into a bucket's operations.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("the operations of a slot have less than 4 GiB")
}

impl Bucket {
    /// An empty bucket with room for this many leaves with keys of about this length.
    pub(super) fn with_capacity(leaves: usize, key_len: usize) -> Self {
        Self {
            leaves: Vec::with_capacity(leaves),
            joints: Vec::with_capacity(leaves),
            ops: Vec::with_capacity(leaves * (Operation::FIXED_LEN + key_len)),
        }
    }

    /// Adds a leaf behind the others. `false`, and nothing is added, if it does not belong there or is none. The hash
    /// of the joint before it is then to be set.
    pub(super) fn push(&mut self, index: LogIndex, fixed: &[u8], key: &[u8]) -> bool {
        if fixed.len() != Operation::FIXED_LEN || key.is_empty() {
            return false;
        }
        if let Some(last) = self.len().checked_sub(1) {
            match first_difference(self.key(last), key) {
                Some(d) if self.key(last) < key => self.leaves[last].d = d,
                _ => return false,
            }
        }
        self.ops.extend_from_slice(fixed);
        self.ops.extend_from_slice(key);
        self.leaves.push(BucketLeaf { index, op_end: offset(self.ops.len()), d: 0 });
        self.joints.push(Hash::ZERO);
        true
    }

    /// Number of leaves.
    pub(super) fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Log index of the leaf at this position.
    pub(super) fn index(&self, at: usize) -> LogIndex {
        self.leaves[at].index
    }

    /// The depth of the joint behind the leaf at this position.
    pub(super) fn joint(&self, at: usize) -> u16 {
        self.leaves[at].d
    }

    /// Where the operation at this position begins; at the number of leaves: where the last one ends.
    fn op_start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.leaves[before].op_end as usize)
    }

    /// The encoded operation at this position.
    pub(super) fn op(&self, at: usize) -> &[u8] {
        &self.ops[self.op_start(at)..self.leaves[at].op_end as usize]
    }

    /// The key at this position.
    pub(super) fn key(&self, at: usize) -> &[u8] {
        key_of(self.op(at))
    }

    /// The leaf at this position, taken out.
    pub(super) fn state_leaf(&self, at: usize) -> Result<StateLeaf, StateLeafError> {
        StateLeaf::new(self.index(at), self.op(at).to_vec())
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

    /// Behind which leaf a range is parted by its topmost branch; `None` for a single leaf.
    pub(super) fn split(&self, range: &Range<usize>) -> Option<usize> {
        (range.start..range.end.checked_sub(1)?).min_by_key(|at| self.leaves[*at].d)
    }

    /// The root of a range.
    pub(super) fn hash(&self, range: &Range<usize>) -> Hash {
        match self.split(range) {
            Some(at) => *self.joint_hash(at),
            None => self.leaf_hash(range.start),
        }
    }

    /// The hash of the leaf at this position.
    pub(super) fn leaf_hash(&self, at: usize) -> Hash {
        leaf_hash(self.index(at), self.op(at))
    }

    /// The hash of the branch at the joint behind this position.
    pub(super) fn joint_hash(&self, at: usize) -> &Hash {
        &self.joints[at]
    }

    /// Sets the hash of the branch at the joint behind this position.
    pub(super) fn set_joint_hash(&mut self, at: usize, hash: Hash) {
        self.joints[at] = hash;
    }

    /// A run of the leaves, as a bucket of its own.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let ops = self.op_start(range.start)..self.op_start(range.end);
        let shift = offset(ops.start);
        let leaf = |leaf: &BucketLeaf| BucketLeaf { op_end: leaf.op_end - shift, ..*leaf };
        Self {
            leaves: self.leaves[range.clone()].iter().map(leaf).collect(),
            joints: self.joints[range].to_vec(),
            ops: self.ops[ops].to_vec(),
        }
    }

    /// What it takes in memory, bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.leaves.capacity() * size_of::<BucketLeaf>()
            + self.joints.capacity() * size_of::<Hash>()
            + self.ops.capacity()
    }

    /// Takes in new leaves, in key order, and says what happened to each leaf. The depths of all joints are then
    /// right, their hashes are not.
    pub(super) fn write<B: AsRef<[u8]>>(&mut self, changes: &[(LogIndex, B)]) -> Vec<Origin> {
        let mut from = 0;
        let search = |(_, op): &(LogIndex, B)| {
            let place = self.search(from, key_of(op.as_ref()));
            from = place.unwrap_or_else(|next| next);
            place
        };
        let places: Vec<_> = changes.iter().map(search).collect();
        let added = changes.iter().zip(&places).filter(|(_, place)| place.is_err());
        let (added, added_bytes) =
            added.fold((0, 0), |(n, bytes), ((_, op), _)| (n + 1, bytes + op.as_ref().len()));
        let mut origins = vec![Origin::Kept; self.len() + added];
        self.make_room(added, added_bytes, changes, &places);
        let mut added_before = 0;
        for ((index, op), place) in changes.iter().zip(places) {
            let at = place.unwrap_or_else(|next| next) + added_before;
            added_before += usize::from(place.is_err());
            origins[at] = if place.is_ok() { Origin::Rewritten } else { Origin::New };
            let (start, op) = (self.op_start(at), op.as_ref());
            self.ops[start..start + op.len()].copy_from_slice(op);
            self.leaves[at].index = *index;
        }
        for at in 1..origins.len() {
            if origins[at - 1] == Origin::New || origins[at] == Origin::New {
                let d = first_difference(self.key(at - 1), self.key(at));
                self.leaves[at - 1].d = d.expect("a bucket has distinct keys");
            }
        }
        origins
    }

    /// Moves the leaves apart where new ones belong, from the last to the first.
    fn make_room<B: AsRef<[u8]>>(
        &mut self,
        mut added: usize,
        mut added_bytes: usize,
        changes: &[(LogIndex, B)],
        places: &[Result<usize, usize>],
    ) {
        let (mut end, mut end_bytes) = (self.len(), self.ops.len());
        grow(&mut self.leaves, added, BucketLeaf::default());
        grow(&mut self.joints, added, Hash::ZERO);
        grow(&mut self.ops, added_bytes, 0);
        for ((_, op), place) in changes.iter().zip(places).rev() {
            let Err(at) = *place else { continue };
            let start_bytes = self.op_start(at);
            self.leaves.copy_within(at..end, at + added);
            self.joints.copy_within(at..end, at + added);
            self.ops.copy_within(start_bytes..end_bytes, start_bytes + added_bytes);
            let shift = offset(added_bytes);
            self.leaves[at + added..end + added].iter_mut().for_each(|leaf| leaf.op_end += shift);
            self.leaves[at + added - 1].op_end = offset(start_bytes + added_bytes);
            (end, end_bytes) = (at, start_bytes);
            (added, added_bytes) = (added - 1, added_bytes - op.as_ref().len());
        }
    }
}

/// Makes a run of memory longer, with as much to spare as an allocator gives anyway: it has four sizes between two
/// powers of two.
fn grow<T: Clone>(run: &mut Vec<T>, added: usize, filler: T) {
    let len = run.len() + added;
    if len > run.capacity() {
        let bytes = len * size_of::<T>();
        let bytes = bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(16));
        run.reserve_exact(bytes / size_of::<T>() - run.len());
    }
    run.resize(len, filler);
}
