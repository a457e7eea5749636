//! The nodes above the leaves of the buckets: shared between versions, never changed.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use quorate_core::{
    hash::Hash,
    state_tree::{Bits, branch_hash, first_difference},
};

use super::cache::Cached;

/// A subtree. Whoever holds one keeps all of it: versions share what they have in common.
#[derive(Debug)]
pub(super) enum Node {
    /// More than a bucket holds.
    Branch(Branch),
    /// A bucket, whose leaves are elsewhere.
    Bucket(Stub),
}

/// What is known of a bucket without its leaves; and the leaves, while they are in memory.
#[derive(Debug)]
pub(super) struct Stub {
    /// Its first key.
    pub(super) first_key: Arc<[u8]>,
    /// The root of its subtree.
    pub(super) hash: Hash,
    /// Number of its keys.
    count: u32,
    /// Whether the leaves were used since the cache looked last.
    used: AtomicBool,
    leaves: Mutex<Option<Cached>>,
}

impl Stub {
    /// A bucket of this many keys, with its leaves if they are in memory.
    pub(super) fn new(first_key: Arc<[u8]>, hash: Hash, count: u32, leaves: Option<Cached>) -> Self {
        Self { first_key, hash, count, used: AtomicBool::new(false), leaves: Mutex::new(leaves) }
    }

    /// Number of its keys.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Number of its keys, as a length.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.count).expect("a bucket has few keys")
    }

    /// The leaves, if they are in memory: a use.
    pub(super) fn held(&self) -> Option<Cached> {
        let held = self.leaves().clone();
        if held.is_some() {
            self.used.store(true, Ordering::Relaxed);
        }
        held
    }

    /// Keeps the leaves from now on.
    pub(super) fn keep(&self, leaves: Cached) {
        *self.leaves() = Some(leaves);
    }

    /// The leaves, which are not kept here any longer.
    pub(super) fn take(&self) -> Option<Cached> {
        self.leaves().take()
    }

    /// A panic under the lock leaves the leaves here or not: both are right.
    fn leaves(&self) -> MutexGuard<'_, Option<Cached>> {
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A branch.
#[derive(Debug)]
pub(super) struct Branch {
    /// The first bit position at which the keys below do not all agree.
    pub(super) d: u16,
    hash: Hash,
    /// Left and right; `None` only while the branch is dropped.
    children: Option<[Arc<Node>; 2]>,
}

impl Node {
    /// The root of the subtree.
    pub(super) fn hash(&self) -> &Hash {
        match self {
            Self::Branch(branch) => &branch.hash,
            Self::Bucket(stub) => &stub.hash,
        }
    }

    /// The first key of the subtree: a walk to its first bucket.
    pub(super) fn first_key(&self) -> &Arc<[u8]> {
        let mut node = self;
        loop {
            match node {
                Self::Branch(branch) => node = branch.child(false),
                Self::Bucket(stub) => return &stub.first_key,
            }
        }
    }

    /// Whether this is a bucket whose leaves are in memory.
    pub(super) fn holds(&self) -> bool {
        matches!(self, Self::Bucket(stub) if stub.leaves().is_some())
    }

    /// The leaves of this bucket, if it is one and they are in memory.
    pub(super) fn held(&self) -> Option<Cached> {
        match self {
            Self::Bucket(stub) => stub.held(),
            Self::Branch(_) => None,
        }
    }

    /// Lets go of the leaves, unless they were used since this was asked last; says whether they are gone.
    pub(super) fn evict(&self) -> bool {
        let Self::Bucket(stub) = self else { return true };
        let spared = stub.used.swap(false, Ordering::Relaxed) && stub.leaves().is_some();
        if !spared {
            drop(stub.take());
        }
        !spared
    }

    /// The bucket that would hold a key; `None` if the key parts from all keys of the tree above any bucket.
    pub(super) fn bucket_of<'n>(self: &'n Arc<Self>, key: &[u8]) -> Option<(&'n Arc<Self>, &'n Stub)> {
        let (mut node, mut above) = (self, None);
        let stub = loop {
            match &**node {
                Self::Bucket(stub) => break stub,
                Self::Branch(branch) => {
                    above = Some(branch.d);
                    node = branch.child(bit(key, branch.d));
                }
            }
        };
        let inside = match (first_difference(key, &stub.first_key), above) {
            (Some(difference), Some(above)) => difference > above,
            _ => true,
        };
        inside.then_some((node, stub))
    }
}

impl Branch {
    /// The child on this side (`true`: right).
    pub(super) fn child(&self, right: bool) -> &Arc<Node> {
        let [left_child, right_child] = self.children();
        if right { right_child } else { left_child }
    }

    /// Left and right.
    pub(super) fn children(&self) -> &[Arc<Node>; 2] {
        self.children.as_ref().expect("a branch has children until it is dropped")
    }
}

/// The branch over two subtrees that part at `d`.
pub(super) fn join(d: u16, left: Arc<Node>, right: Arc<Node>) -> Arc<Node> {
    let hash = branch_hash(d, left.hash(), right.hash());
    Arc::new(Node::Branch(Branch { d, hash, children: Some([left, right]) }))
}

/// The bit of a key at the depth of a branch: the side it belongs to.
pub(super) fn bit(key: &[u8], d: u16) -> bool {
    Bits::of_key(key).bit(usize::from(d)) == Some(true)
}

impl Drop for Branch {
    /// Takes apart what nobody else holds, without recursing: a tree may be thousands of branches deep.
    fn drop(&mut self) {
        let mut next = self.children.take();
        let mut orphans = Vec::new();
        while let Some(children) = next {
            for child in children {
                if let Some(Node::Branch(mut branch)) = Arc::into_inner(child) {
                    orphans.extend(branch.children.take());
                }
            }
            next = orphans.pop();
        }
    }
}
