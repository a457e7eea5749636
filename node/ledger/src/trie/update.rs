//! Changing a trie: one pass over its branches for all the leaves of a block.
//!
//! The changed leaves come in key order. A cursor goes from one slot to the next (a slot is where a bucket hangs,
//! or will hang) and leaves behind it what is finished: going up, it joins and hashes each branch it passes, once;
//! going down, it notes the branches it opens. Nothing of the old version is changed, so an error leaves it as it
//! was, and readers keep it as long as they like.

use std::sync::Arc;

use quorate_core::{position::LogIndex, state_tree::first_difference};

use super::{
    assemble::assemble,
    bucket::{Bucket, key_of},
    error::TrieError,
    node::{Node, Stub, bit, join},
    reader::LeafReader,
    snapshot::TrieSnapshot,
};
use crate::{
    effects::{BucketChange, BucketSummary},
    view::LeafSource,
};

/// A change in progress.
pub(super) struct Cursor<'a, 's, S: LeafSource> {
    old: &'a TrieSnapshot,
    reader: &'a LeafReader<'s, S>,
    /// The branches above the cursor, from the root.
    path: Vec<Step>,
    changes: Vec<BucketChange>,
    /// Keys and buckets that were not there before.
    new_keys: u64,
    new_buckets: u64,
}

/// A branch above the cursor, without the side that the cursor is on.
struct Step {
    d: u16,
    /// Whether the cursor is on the right side.
    right: bool,
    sibling: Arc<Node>,
}

impl<'a, 's, S: LeafSource> Cursor<'a, 's, S> {
    pub(super) fn new(old: &'a TrieSnapshot, reader: &'a LeafReader<'s, S>) -> Self {
        Self { old, reader, path: Vec::new(), changes: Vec::new(), new_keys: 0, new_buckets: 0 }
    }

    /// The version with these leaves, which are in ascending order of their keys, and how its buckets differ.
    pub(super) fn run<B: AsRef<[u8]>>(
        mut self,
        leaves: &[(LogIndex, B)],
    ) -> Result<(TrieSnapshot, Vec<BucketChange>), TrieError<S::Error>> {
        let mut node = self.old.root.clone();
        let mut previous = None;
        let mut rest = leaves;
        while let Some((_, op)) = rest.first() {
            let key = key_of(op.as_ref());
            node = match (previous, node) {
                (Some(previous), Some(done)) => self.advance(done, previous, key),
                (_, node) => node.and_then(|top| self.descend(top, key)),
            };
            let (here, beyond) = rest.split_at(self.count_inside(key, rest));
            node = Some(self.rewrite(node, here)?);
            previous = here.last().map(|(_, op)| key_of(op.as_ref()));
            rest = beyond;
        }
        while !self.path.is_empty()
            && let Some(done) = node.take()
        {
            node = Some(self.ascend(done));
        }
        let new = TrieSnapshot {
            root: node,
            keys: self.old.keys + self.new_keys,
            buckets: self.old.buckets + self.new_buckets,
            ..self.old.clone()
        };
        Ok((new, self.changes))
    }

    /// From a finished slot, in which `previous` lies, to the slot of `key`, which is further right: the node there,
    /// `None` if it is a new slot.
    fn advance(&mut self, mut done: Arc<Node>, previous: &[u8], key: &[u8]) -> Option<Arc<Node>> {
        let parting = first_difference(previous, key).expect("the leaves of an update have distinct keys");
        while self.path.last().is_some_and(|step| step.d > parting) {
            done = self.ascend(done);
        }
        match self.path.last_mut() {
            Some(step) if step.d == parting => {
                step.right = true;
                let right = std::mem::replace(&mut step.sibling, done);
                self.descend(right, key)
            }
            _ => {
                self.path.push(Step { d: parting, right: true, sibling: done });
                None
            }
        }
    }

    /// From the top of an unchanged subtree down to the slot of `key` in it; `None` if that is a new slot. All keys
    /// of the subtree, and `key`, have the bits in common that lead to it.
    fn descend(&mut self, top: Arc<Node>, key: &[u8]) -> Option<Arc<Node>> {
        let entered = self.path.len();
        let slot = self.walk(&top, key, u16::MAX);
        let parting = first_difference(key, &stub_of(&slot).first_key);
        match (parting, self.path.last()) {
            // The key parts from that bucket, and so from all keys there, further up.
            (Some(parting), Some(above)) if parting < above.d => {
                self.path.truncate(entered);
                let sibling = self.walk(&top, key, parting);
                self.path.push(Step { d: parting, right: bit(key, parting), sibling });
                None
            }
            _ => Some(slot),
        }
    }

    /// Follows the bits of a key from `top` down to a bucket, or to a branch at `limit` or deeper.
    fn walk(&mut self, top: &Arc<Node>, key: &[u8], limit: u16) -> Arc<Node> {
        let mut node = top;
        while let Node::Branch(branch) = &**node
            && branch.d < limit
        {
            let right = bit(key, branch.d);
            let sibling = Arc::clone(branch.child(!right));
            self.path.push(Step { d: branch.d, right, sibling });
            node = branch.child(right);
        }
        Arc::clone(node)
    }

    /// Joins a finished subtree with the other side of the branch above it.
    fn ascend(&mut self, done: Arc<Node>) -> Arc<Node> {
        let step = self.path.pop().expect("the cursor is below a branch");
        if step.right { join(step.d, step.sibling, done) } else { join(step.d, done, step.sibling) }
    }

    /// How many of the leaves lie in the slot where the cursor is, as the first, with `key`, does.
    fn count_inside<B: AsRef<[u8]>>(&self, key: &[u8], leaves: &[(LogIndex, B)]) -> usize {
        let Some(above) = self.path.last() else {
            return leaves.len();
        };
        let inside = |op: &[u8]| first_difference(key, key_of(op)).is_none_or(|parting| parting > above.d);
        leaves.iter().take_while(|(_, op)| inside(op.as_ref())).count()
    }

    /// The slot's new subtree: its bucket, if it has one, with these leaves.
    fn rewrite<B: AsRef<[u8]>>(
        &mut self,
        slot: Option<Arc<Node>>,
        leaves: &[(LogIndex, B)],
    ) -> Result<Arc<Node>, TrieError<S::Error>> {
        let stub = slot.as_ref().map(stub_of);
        let mut bucket = match stub {
            Some(stub) => self.old.take(self.reader, stub)?,
            None => Bucket::default(),
        };
        let origins = bucket.write(leaves);
        let built = assemble(bucket, Some(&origins), self.old.cache.meter());
        self.new_keys += as_u64(origins.len() - stub.map_or(0, Stub::len));
        self.new_buckets += as_u64(built.buckets.len() - usize::from(stub.is_some()));
        self.record(stub, built.buckets.iter().map(stub_of));
        for node in &built.buckets {
            self.old.cache.admit(node);
        }
        Ok(built.node)
    }

    /// Notes what is to be stored: the slot's buckets, and, where no bucket begins any more with the key with which
    /// the old one began, that this one is gone. In key order: a bucket's first key only ever falls.
    fn record<'b>(&mut self, old: Option<&Stub>, new: impl Iterator<Item = &'b Stub>) {
        let from = self.changes.len();
        let mut gone = old.map(|old| &*old.first_key);
        for stub in new {
            gone = gone.filter(|key| **key != *stub.first_key);
            let bucket = Some(BucketSummary { hash: stub.hash, count: stub.count() });
            self.changes.push(BucketChange { first_key: stub.first_key.to_vec(), bucket });
        }
        if let Some(key) = gone {
            let at = self.changes[from..].partition_point(|change| change.first_key.as_slice() < key);
            self.changes.insert(from + at, BucketChange { first_key: key.to_vec(), bucket: None });
        }
    }
}

/// The bucket at a slot.
fn stub_of(slot: &Arc<Node>) -> &Stub {
    match &**slot {
        Node::Bucket(stub) => stub,
        Node::Branch(branch) => {
            unreachable!("the cursor stops at buckets, not at a branch at bit {}", branch.d)
        }
    }
}

/// A count, for counting on.
fn as_u64(count: usize) -> u64 {
    u64::try_from(count).expect("a count of things in memory fits")
}
