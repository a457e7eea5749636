//! From leaves in key order to buckets, and the branches above them where one bucket is not enough.
//!
//! The tree over sorted keys is the Cartesian tree of the positions at which neighbours part, so one pass with a
//! stack builds it from below. What is known of the bucket that the leaves come from is not computed again: where
//! neighbours part, and the hash of each branch below which nothing changed.

use std::sync::Arc;

use quorate_core::{
    hash::Hash,
    position::LogIndex,
    state_tree::{StateLeaf, branch_hash, first_difference, leaf_hash},
};

use super::{
    bucket::{Bucket, BucketLeaf, Joint, MAX_BUCKET_KEYS, key_of},
    node::{Node, Stub, join},
};

/// Leaves in key order that are to become buckets.
#[derive(Default)]
pub(super) struct Draft {
    leaves: Vec<BucketLeaf>,
    ops: Vec<u8>,
    origins: Vec<Origin>,
}

/// Where a leaf of a draft comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// As it was in the bucket before.
    Kept,
    /// A new write of a key of the bucket before.
    Rewritten,
    /// A key that was not in the bucket before.
    New,
}

impl Draft {
    fn with_capacity(leaves: usize, ops: usize) -> Self {
        Self {
            leaves: Vec::with_capacity(leaves),
            ops: Vec::with_capacity(ops),
            origins: Vec::with_capacity(leaves),
        }
    }

    /// Leaves read from the store.
    pub(super) fn of_leaves(leaves: &[StateLeaf]) -> Self {
        let ops = leaves.iter().map(|leaf| leaf.op().len()).sum();
        let mut draft = Self::with_capacity(leaves.len(), ops);
        for leaf in leaves {
            draft.push(leaf.index(), leaf.op(), Joint::NONE, Origin::New);
        }
        draft
    }

    /// The leaves of a bucket, if there is one, and changes to them, both in key order.
    pub(super) fn merge(old: Option<&Bucket>, changes: &[(LogIndex, Vec<u8>)]) -> Self {
        let (old_len, old_ops) = old.map_or((0, 0), |old| (old.len(), old.ops().len()));
        let new_ops: usize = changes.iter().map(|(_, op)| op.len()).sum();
        let mut draft = Self::with_capacity(old_len + changes.len(), old_ops + new_ops);
        let mut at = 0;
        for (index, op) in changes {
            let Some(old) = old else {
                draft.push(*index, op, Joint::NONE, Origin::New);
                continue;
            };
            match old.search(at, key_of(op)) {
                Ok(same) => {
                    draft.keep(old, at..same);
                    draft.push(*index, op, old.leaf(same).joint, Origin::Rewritten);
                    at = same + 1;
                }
                Err(next) => {
                    draft.keep(old, at..next);
                    draft.push(*index, op, Joint::NONE, Origin::New);
                    at = next;
                }
            }
        }
        if let Some(old) = old {
            draft.keep(old, at..old_len);
        }
        draft
    }

    /// Adds a leaf.
    fn push(&mut self, index: LogIndex, op: &[u8], joint: Joint, origin: Origin) {
        self.ops.extend_from_slice(op);
        let op_end = self.op_end();
        self.leaves.push(BucketLeaf { index, hash: leaf_hash(index, op), op_end, joint });
        self.origins.push(origin);
    }

    /// Adds leaves of a bucket as they are.
    fn keep(&mut self, old: &Bucket, range: std::ops::Range<usize>) {
        let start = old.op_start(range.start);
        let shift = self.op_end();
        for leaf in &old.leaves()[range.clone()] {
            self.leaves.push(BucketLeaf { op_end: leaf.op_end - start + shift, ..*leaf });
        }
        self.ops.extend_from_slice(&old.ops()[start as usize..old.op_start(range.end) as usize]);
        self.origins.resize(self.leaves.len(), Origin::Kept);
    }

    fn op_end(&self) -> u32 {
        u32::try_from(self.ops.len()).expect("the operations of a slot have less than 4 GiB")
    }

    /// Number of leaves.
    pub(super) fn len(&self) -> usize {
        self.leaves.len()
    }

    fn op_start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.leaves[before].op_end as usize)
    }

    fn key(&self, at: usize) -> &[u8] {
        key_of(&self.ops[self.op_start(at)..self.leaves[at].op_end as usize])
    }

    /// Where a leaf parts from the next one: known if they were neighbours before.
    fn parting(&self, at: usize) -> Option<u16> {
        if self.origins[at] == Origin::New || self.origins[at + 1] == Origin::New {
            return first_difference(self.key(at), self.key(at + 1));
        }
        Some(self.leaves[at].joint.d)
    }

    /// Whether the keys are in strictly ascending order.
    pub(super) fn is_sorted(&self) -> bool {
        (1..self.len()).all(|at| self.key(at - 1) < self.key(at))
    }

    /// Builds the subtree over the leaves. They are in strictly ascending order of their keys, and at least one.
    pub(super) fn assemble(self) -> Assembled {
        let mut assembly = Assembly { draft: self, buckets: Vec::with_capacity(1) };
        let mut open: Vec<(u16, Piece)> = Vec::with_capacity(MAX_BUCKET_KEYS);
        let mut last = assembly.single(0);
        for at in 1..assembly.draft.len() {
            let d = assembly.draft.parting(at - 1).expect("the leaves of a slot have distinct keys");
            while let Some((deeper, left)) = open.pop_if(|(deeper, _)| *deeper > d) {
                last = assembly.combine(deeper, left, last);
            }
            open.push((d, last));
            last = assembly.single(at);
        }
        while let Some((d, left)) = open.pop() {
            last = assembly.combine(d, left, last);
        }
        let node = assembly.seal(last);
        let mut buckets = assembly.buckets;
        buckets.sort_unstable_by(|(a, _), (b, _)| a.first_key.cmp(&b.first_key));
        Assembled { node, buckets }
    }
}

/// Leaves as a subtree.
pub(super) struct Assembled {
    /// Its topmost node.
    pub(super) node: Arc<Node>,
    /// Its buckets, in key order.
    pub(super) buckets: Vec<(Stub, Arc<Bucket>)>,
}

/// A subtree under construction.
enum Piece {
    /// Leaves that fit a bucket; perhaps only a part of one.
    Run {
        /// Position of the first leaf.
        start: usize,
        /// Number of leaves.
        len: usize,
        /// The root of the subtree.
        hash: Hash,
        /// Whether all leaves are as they were.
        kept: bool,
    },
    /// More than fits a bucket.
    Upper(Arc<Node>),
}

/// What is built.
struct Assembly {
    draft: Draft,
    buckets: Vec<(Stub, Arc<Bucket>)>,
}

impl Assembly {
    /// One leaf.
    fn single(&self, at: usize) -> Piece {
        let kept = self.draft.origins[at] == Origin::Kept;
        Piece::Run { start: at, len: 1, hash: self.draft.leaves[at].hash, kept }
    }

    /// The branch over two pieces.
    fn combine(&mut self, d: u16, left: Piece, right: Piece) -> Piece {
        match (left, right) {
            (
                Piece::Run { start, len: left_len, hash: left_hash, kept: left_kept },
                Piece::Run { start: middle, len: right_len, hash: right_hash, kept: right_kept },
            ) if left_len + right_len <= MAX_BUCKET_KEYS => {
                let kept = left_kept && right_kept;
                let joint = &mut self.draft.leaves[middle - 1].joint;
                if !kept {
                    *joint = Joint { d, hash: branch_hash(d, &left_hash, &right_hash) };
                }
                Piece::Run { start, len: left_len + right_len, hash: joint.hash, kept }
            }
            (left, right) => {
                let left = self.seal(left);
                Piece::Upper(join(d, left, self.seal(right)))
            }
        }
    }

    /// Closes a piece: a run becomes a bucket.
    fn seal(&mut self, piece: Piece) -> Arc<Node> {
        let (start, len, hash) = match piece {
            Piece::Upper(node) => return node,
            Piece::Run { start, len, hash, .. } => (start, len, hash),
        };
        let stub = Stub { first_key: Arc::from(self.draft.key(start)), hash, count: len };
        let bucket = Arc::new(self.bucket(start, len));
        self.buckets.push((stub.clone(), bucket));
        Arc::new(Node::Bucket(stub))
    }

    /// The bucket of a run.
    fn bucket(&mut self, start: usize, len: usize) -> Bucket {
        let draft = &mut self.draft;
        if len == draft.len() {
            return Bucket::new(std::mem::take(&mut draft.leaves), std::mem::take(&mut draft.ops));
        }
        let ops = draft.op_start(start)..draft.op_start(start + len);
        let shift = u32::try_from(ops.start).expect("the operations of a slot have less than 4 GiB");
        let leaves = draft.leaves[start..start + len].iter();
        let leaves = leaves.map(|leaf| BucketLeaf { op_end: leaf.op_end - shift, ..*leaf });
        Bucket::new(leaves.collect(), draft.ops[ops].to_vec())
    }
}
