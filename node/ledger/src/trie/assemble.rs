//! From leaves in key order to buckets, and the branches above them where one bucket is not enough.
//!
//! One pass of core's builder: it hands over the branches from below, and each is either inside a bucket, or, once
//! its keys are too many for one, above two subtrees that are complete.

use std::sync::Arc;

use quorate_core::{
    hash::Hash,
    position::LogIndex,
    state_tree::{SortedBuilder, StateLeaf, StateTreeError, branch_hash, leaf_hash},
};

use super::{
    bucket::{Bucket, BucketLeaf, Joint, MAX_BUCKET_KEYS, key_of},
    node::{Node, Stub, join},
};

/// A leaf on its way into a bucket.
pub(super) struct Item<'a> {
    index: LogIndex,
    op: &'a [u8],
    hash: Hash,
    /// Its position in the bucket it comes from, if it is unchanged.
    was: Option<usize>,
}

impl<'a> Item<'a> {
    /// A new or changed leaf, whose hash is to be made.
    pub(super) fn new(index: LogIndex, op: &'a [u8]) -> Self {
        Self {
            index,
            op,
            hash: leaf_hash(index, op),
            was: None,
        }
    }

    /// A leaf as it was.
    fn kept(bucket: &'a Bucket, at: usize) -> Self {
        let leaf = bucket.leaf(at);
        Self {
            index: leaf.index,
            op: bucket.op(at),
            hash: leaf.hash,
            was: Some(at),
        }
    }
}

/// The leaves of a bucket and changes to them, merged; both in key order.
pub(super) fn merge<'a>(old: &'a Bucket, changes: &'a [(LogIndex, Vec<u8>)]) -> Vec<Item<'a>> {
    let mut items = Vec::with_capacity(old.len() + changes.len());
    let mut at = 0;
    for (index, op) in changes {
        let key = key_of(op);
        while at < old.len() && old.key(at) < key {
            items.push(Item::kept(old, at));
            at += 1;
        }
        if at < old.len() && old.key(at) == key {
            at += 1;
        }
        items.push(Item::new(*index, op));
    }
    items.extend((at..old.len()).map(|at| Item::kept(old, at)));
    items
}

/// Leaves read from the store.
pub(super) fn items_of(leaves: &[StateLeaf]) -> Vec<Item<'_>> {
    leaves
        .iter()
        .map(|leaf| Item::new(leaf.index(), leaf.op()))
        .collect()
}

/// Leaves as a subtree.
pub(super) struct Assembled {
    /// Its topmost node.
    pub(super) node: Arc<Node>,
    /// Its buckets, in key order.
    pub(super) buckets: Vec<(Stub, Arc<Bucket>)>,
}

/// Builds the subtree over leaves in key order. Inner hashes that did not change are taken from `old`.
///
/// # Errors
/// If the leaves are not in order, or there are none.
pub(super) fn assemble(old: Option<&Bucket>, items: &[Item<'_>]) -> Result<Assembled, StateTreeError> {
    let mut assembly = Assembly {
        old,
        items,
        joints: vec![Joint::NONE; items.len()],
        buckets: Vec::new(),
    };
    let mut builder = SortedBuilder::new(|d, left, right| assembly.combine(d, left, right));
    for (start, item) in items.iter().enumerate() {
        let piece = Piece::Run {
            start,
            len: 1,
            hash: item.hash,
            kept: item.was.is_some(),
        };
        builder.push(key_of(item.op), piece)?;
    }
    let whole = builder.finish().ok_or(StateTreeError::NothingToReplace)?;
    let node = assembly.seal(whole);
    let mut buckets = assembly.buckets;
    buckets.sort_unstable_by(|(a, _), (b, _)| a.first_key.cmp(&b.first_key));
    Ok(Assembled { node, buckets })
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
struct Assembly<'a> {
    old: Option<&'a Bucket>,
    items: &'a [Item<'a>],
    joints: Vec<Joint>,
    buckets: Vec<(Stub, Arc<Bucket>)>,
}

impl Assembly<'_> {
    /// The branch over two pieces.
    fn combine(&mut self, d: u16, left: Piece, right: Piece) -> Piece {
        match (left, right) {
            (
                Piece::Run {
                    start,
                    len: left_len,
                    hash: left_hash,
                    kept: left_kept,
                },
                Piece::Run {
                    start: middle,
                    len: right_len,
                    hash: right_hash,
                    kept: right_kept,
                },
            ) if left_len + right_len <= MAX_BUCKET_KEYS => {
                let kept = left_kept && right_kept;
                let hash = match self.old_joint(middle - 1).filter(|_| kept) {
                    Some(hash) => hash,
                    None => branch_hash(d, &left_hash, &right_hash),
                };
                self.joints[middle - 1] = Joint { d, hash };
                Piece::Run {
                    start,
                    len: left_len + right_len,
                    hash,
                    kept,
                }
            }
            (left, right) => {
                let left = self.seal(left);
                Piece::Upper(join(d, left, self.seal(right)))
            }
        }
    }

    /// The hash that the branch behind this leaf had: it still has it if nothing below changed.
    fn old_joint(&self, at: usize) -> Option<Hash> {
        let was = self.items[at].was?;
        self.old.map(|bucket| bucket.leaf(was).joint.hash)
    }

    /// Closes a piece: a run becomes a bucket.
    fn seal(&mut self, piece: Piece) -> Arc<Node> {
        let (start, len, hash) = match piece {
            Piece::Upper(node) => return node,
            Piece::Run { start, len, hash, .. } => (start, len, hash),
        };
        let items = &self.items[start..start + len];
        let mut ops = Vec::with_capacity(items.iter().map(|item| item.op.len()).sum());
        let leaves = items.iter().zip(&self.joints[start..]).map(|(item, joint)| {
            ops.extend_from_slice(item.op);
            let op_end = u32::try_from(ops.len()).expect("the operations of a bucket are short");
            BucketLeaf {
                index: item.index,
                hash: item.hash,
                op_end,
                joint: *joint,
            }
        });
        let leaves = leaves.collect();
        let stub = Stub {
            first_key: Arc::from(key_of(items[0].op)),
            hash,
            count: len,
        };
        self.buckets
            .push((stub.clone(), Arc::new(Bucket::new(leaves, ops))));
        Arc::new(Node::Bucket(stub))
    }
}
