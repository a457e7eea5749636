//! One version of a ledger's state tree.

use std::sync::Arc;

use quorate_core::{entry::Operation, hash::Hash, position::LogIndex};

use super::{
    bucket::Bucket,
    cache::{BucketCache, Cached},
    error::TrieError,
    node::{Node, Stub},
    reader::{LeafReader, ReadError},
    walk::TrieWalk,
};
use crate::view::{LeafSource, LedgerId};

/// One version of a ledger's state tree: never changes, cheap to clone. To be read with a source of this version.
#[derive(Debug, Clone)]
pub struct TrieSnapshot {
    pub(super) ledger: LedgerId,
    pub(super) root: Option<Arc<Node>>,
    pub(super) keys: u64,
    pub(super) buckets: u64,
    pub(super) cache: Arc<BucketCache>,
}

impl TrieSnapshot {
    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> LedgerId {
        self.ledger
    }

    /// The root: 32 zero bytes without keys.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root.as_ref().map_or(Hash::ZERO, |node| *node.hash())
    }

    /// Number of keys ever written.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The newest write of a key: its log index and operation. `None`: never written.
    ///
    /// # Errors
    /// [`TrieError`] if the key's bucket could not be read.
    pub fn lookup<S: LeafSource>(
        &self,
        reader: &LeafReader<'_, S>,
        key: &[u8],
    ) -> Result<Option<(LogIndex, Operation)>, TrieError<S::Error>> {
        let Some((node, stub)) = self.root.as_ref().and_then(|root| root.bucket_of(key)) else {
            return Ok(None);
        };
        let bucket = self.load(reader, node, stub)?;
        let Some(at) = bucket.search(0, key).ok() else {
            return Ok(None);
        };
        let operation = Operation::decode(bucket.op(at))
            .map_err(|error| self.damaged(&stub.first_key, format!("leaf {at}: {error}")))?;
        Ok(Some((bucket.index(at), operation)))
    }

    /// The tree, to make proofs from.
    pub fn walk<'a, S: LeafSource>(&'a self, source: &'a S) -> TrieWalk<'a, S> {
        TrieWalk::new(self, source)
    }

    /// A bucket, from memory or the store. `stub` is the bucket that `node` is.
    pub(super) fn load<S: LeafSource>(
        &self,
        reader: &LeafReader<'_, S>,
        node: &Arc<Node>,
        stub: &Stub,
    ) -> Result<Cached, TrieError<S::Error>> {
        let held = stub.held();
        self.cache.count(held.is_some());
        if let Some(bucket) = held {
            return Ok(bucket);
        }
        let bucket = self.read(reader, stub)?;
        stub.keep(bucket.clone());
        self.cache.admit(node);
        Ok(bucket)
    }

    /// A bucket that is about to be replaced, to change it in place if nobody else holds it.
    pub(super) fn take<S: LeafSource>(
        &self,
        reader: &LeafReader<'_, S>,
        stub: &Stub,
    ) -> Result<Bucket, TrieError<S::Error>> {
        let held = stub.take();
        self.cache.count(held.is_some());
        held.map_or_else(|| self.read(reader, stub), Ok).map(Cached::into_bucket)
    }

    /// A bucket from the store, checked.
    fn read<S: LeafSource>(
        &self,
        reader: &LeafReader<'_, S>,
        stub: &Stub,
    ) -> Result<Cached, TrieError<S::Error>> {
        reader.read(self.ledger, stub, self.cache.meter()).map_err(|error| match error {
            ReadError::Source(error) => TrieError::Source(error),
            ReadError::Damaged(problem) => self.damaged(&stub.first_key, problem),
        })
    }

    /// The error for a bucket that is not what it should be.
    pub(super) fn damaged<E>(&self, first_key: &[u8], problem: String) -> TrieError<E> {
        TrieError::Damaged { ledger: self.ledger, first_key: first_key.to_vec(), problem }
    }
}
