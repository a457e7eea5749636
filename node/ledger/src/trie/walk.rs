//! A version of a trie as core's prover walks it.

use std::{cell::OnceCell, ops::Range, sync::Arc};

use quorate_core::{
    hash::Hash,
    state_tree::{Opened, Walk},
};

use super::{cache::Cached, error::TrieError, node::Node, reader::LeafReader, snapshot::TrieSnapshot};
use crate::view::LeafSource;

/// A [`TrieSnapshot`] and the source of its leaves, as one tree. A proof reads a bucket only if it reveals one of
/// its leaves.
#[derive(Debug)]
pub struct TrieWalk<'a, S: LeafSource> {
    trie: &'a TrieSnapshot,
    reader: LeafReader<'a, S>,
}

impl<'a, S: LeafSource> TrieWalk<'a, S> {
    pub(super) fn new(trie: &'a TrieSnapshot, source: &'a S) -> Self {
        Self { trie, reader: LeafReader::new(source) }
    }
}

/// A node of a [`TrieWalk`].
#[derive(Debug, Clone)]
pub struct WalkNode(Place);

#[derive(Debug, Clone)]
enum Place {
    /// A branch above the buckets, or a bucket that was not read.
    Upper(Upper),
    /// A subtree within a bucket.
    Inside { bucket: Cached, range: Range<usize> },
}

/// A node above the leaves.
#[derive(Debug, Clone)]
struct Upper {
    node: Arc<Node>,
    /// Its first key, once it was looked for. A left child inherits it: so no part of the tree is walked twice.
    first_key: OnceCell<Arc<[u8]>>,
}

impl Upper {
    fn new(node: &Arc<Node>) -> Self {
        Self { node: Arc::clone(node), first_key: OnceCell::new() }
    }

    fn first_key(&self) -> &Arc<[u8]> {
        self.first_key.get_or_init(|| Arc::clone(self.node.first_key()))
    }
}

impl<S: LeafSource> TrieWalk<'_, S> {
    /// Opens a subtree within a bucket.
    fn open_inside(
        &self,
        bucket: &Cached,
        range: &Range<usize>,
    ) -> Result<Opened<WalkNode>, TrieError<S::Error>> {
        let node = |range| WalkNode(Place::Inside { bucket: bucket.clone(), range });
        match bucket.split(range) {
            Some(at) => Ok(Opened::Branch {
                d: bucket.joint(at),
                left: node(range.start..at + 1),
                right: node(at + 1..range.end),
            }),
            None => bucket
                .state_leaf(range.start)
                .map(Opened::Leaf)
                .map_err(|error| self.trie.damaged(bucket.key(range.start), error.to_string())),
        }
    }
}

impl<S: LeafSource> Walk for TrieWalk<'_, S> {
    type Node = WalkNode;
    type Error = TrieError<S::Error>;

    fn root(&self) -> Result<Option<WalkNode>, Self::Error> {
        Ok(self.trie.root.as_ref().map(|node| WalkNode(Place::Upper(Upper::new(node)))))
    }

    fn hash(&self, node: &WalkNode) -> Hash {
        match &node.0 {
            Place::Upper(upper) => *upper.node.hash(),
            Place::Inside { bucket, range } => bucket.hash(range),
        }
    }

    fn open(&self, node: &WalkNode) -> Result<Opened<WalkNode>, Self::Error> {
        let upper = match &node.0 {
            Place::Inside { bucket, range } => return self.open_inside(bucket, range),
            Place::Upper(upper) => upper,
        };
        match &*upper.node {
            Node::Branch(branch) => {
                let [left, right] = branch.children().each_ref().map(Upper::new);
                let left = Upper { first_key: OnceCell::from(Arc::clone(upper.first_key())), ..left };
                let [left, right] = [left, right].map(|child| WalkNode(Place::Upper(child)));
                Ok(Opened::Branch { d: branch.d, left, right })
            }
            Node::Bucket(stub) => {
                let bucket = self.trie.load(&self.reader, &upper.node, stub)?;
                self.open_inside(&bucket, &(0..bucket.len()))
            }
        }
    }

    fn key_below(&self, node: &WalkNode) -> Result<Vec<u8>, Self::Error> {
        Ok(match &node.0 {
            Place::Upper(upper) => upper.first_key().to_vec(),
            Place::Inside { bucket, range } => bucket.key(range.start).to_vec(),
        })
    }
}
