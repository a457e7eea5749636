//! From leaves in key order to buckets, and the branches above them where one bucket is not enough.
//!
//! The tree over sorted keys is the Cartesian tree of the positions at which neighbours part, so one pass with a
//! stack builds it from below. A branch below which nothing changed keeps its hash.

use std::{ops::Range, sync::Arc};

use quorate_core::{hash::Hash, state_tree::branch_hash};

use super::{
    bucket::{Bucket, MAX_BUCKET_KEYS, Origin},
    cache::Meter,
    node::{Node, Stub, join},
};

/// Leaves as a subtree.
pub(super) struct Assembled {
    /// Its topmost node.
    pub(super) node: Arc<Node>,
    /// The nodes of its buckets, in key order.
    pub(super) buckets: Vec<Arc<Node>>,
}

/// The subtree over the leaves of a bucket, at least one, that was written to; it may have become too large.
/// `origins`: what happened to each leaf; `None`: no hash is known yet.
pub(super) fn assemble(bucket: Bucket, origins: Option<&[Origin]>, meter: &Meter) -> Assembled {
    let mut assembly = Assembly { bucket, buckets: Vec::with_capacity(1), meter };
    let kept = |at: usize| origins.is_some_and(|origins| origins[at] == Origin::Kept);
    let single = |at: usize| Piece::Run(Run { leaves: at..at + 1, top: None, kept: kept(at) });
    let mut open: Vec<(usize, Piece)> = Vec::with_capacity(16);
    let mut last = single(0);
    for at in 1..assembly.bucket.len() {
        let d = assembly.bucket.joint(at - 1);
        while let Some((joint, left)) = open.pop_if(|(joint, _)| assembly.bucket.joint(*joint) > d) {
            last = assembly.combine(joint, left, last);
        }
        open.push((at - 1, last));
        last = single(at);
    }
    while let Some((joint, left)) = open.pop() {
        last = assembly.combine(joint, left, last);
    }
    let node = assembly.seal(last);
    let mut buckets = assembly.buckets;
    buckets.sort_unstable_by(|a, b| a.first_key().cmp(b.first_key()));
    Assembled { node, buckets }
}

/// A subtree under construction.
enum Piece {
    /// Leaves that fit a bucket; perhaps only a part of one.
    Run(Run),
    /// More than fits a bucket.
    Upper(Arc<Node>),
}

/// A subtree inside a bucket.
struct Run {
    leaves: Range<usize>,
    /// The joint of its topmost branch; `None`: it is one leaf.
    top: Option<usize>,
    /// Whether all leaves are as they were.
    kept: bool,
}

/// What is built.
struct Assembly<'m> {
    bucket: Bucket,
    buckets: Vec<Arc<Node>>,
    meter: &'m Meter,
}

impl Assembly<'_> {
    /// The branch over two pieces, at the joint between them.
    fn combine(&mut self, joint: usize, left: Piece, right: Piece) -> Piece {
        let d = self.bucket.joint(joint);
        match (left, right) {
            (Piece::Run(left), Piece::Run(right))
                if left.leaves.len() + right.leaves.len() <= MAX_BUCKET_KEYS =>
            {
                let kept = left.kept && right.kept;
                if !kept {
                    let hash = branch_hash(d, &self.hash(&left), &self.hash(&right));
                    self.bucket.set_joint_hash(joint, hash);
                }
                Piece::Run(Run { leaves: left.leaves.start..right.leaves.end, top: Some(joint), kept })
            }
            (left, right) => {
                let left = self.seal(left);
                Piece::Upper(join(d, left, self.seal(right)))
            }
        }
    }

    /// The root of a run.
    fn hash(&self, run: &Run) -> Hash {
        match run.top {
            Some(joint) => *self.bucket.joint_hash(joint),
            None => self.bucket.leaf_hash(run.leaves.start),
        }
    }

    /// Closes a piece: a run becomes a bucket.
    fn seal(&mut self, piece: Piece) -> Arc<Node> {
        let run = match piece {
            Piece::Upper(node) => return node,
            Piece::Run(run) => run,
        };
        let hash = self.hash(&run);
        let count = u32::try_from(run.leaves.len()).expect("a bucket has few keys");
        let is_all = run.leaves.len() == self.bucket.len();
        let bucket = if is_all { std::mem::take(&mut self.bucket) } else { self.bucket.part(run.leaves) };
        let first_key = Arc::from(bucket.key(0));
        let node = Arc::new(Node::Bucket(Stub::new(first_key, hash, count, Some(self.meter.hold(bucket)))));
        self.buckets.push(Arc::clone(&node));
        node
    }
}
