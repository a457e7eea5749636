//! One version of a ledger's state tree.

use std::sync::Arc;

use quorate_core::{entry::Operation, hash::Hash, position::LogIndex, state_tree::StateLeaf};

use super::{
    assemble::assemble,
    bucket::Bucket,
    cache::BucketCache,
    error::TrieError,
    node::{Node, Stub},
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
        source: &S,
        key: &[u8],
    ) -> Result<Option<(LogIndex, Operation)>, TrieError<S::Error>> {
        let Some(stub) = self.root.as_ref().and_then(|root| root.bucket_of(key)) else {
            return Ok(None);
        };
        let bucket = self.load(source, stub)?;
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

    /// A bucket, from the cache or the store.
    pub(super) fn load<S: LeafSource>(
        &self,
        source: &S,
        stub: &Stub,
    ) -> Result<Arc<Bucket>, TrieError<S::Error>> {
        if let Some(bucket) = self.cache.get(&stub.hash) {
            return Ok(bucket);
        }
        let bucket = self.read(source, stub)?;
        self.cache.insert(stub.hash, Arc::clone(&bucket));
        Ok(bucket)
    }

    /// A bucket that is about to be replaced, to change it in place if nobody else holds it.
    pub(super) fn take<S: LeafSource>(&self, source: &S, stub: &Stub) -> Result<Bucket, TrieError<S::Error>> {
        let cached = self.cache.take(&stub.hash);
        let bucket = cached.map_or_else(|| self.read(source, stub), Ok)?;
        Ok(Arc::unwrap_or_clone(bucket))
    }

    /// A bucket from the store, checked.
    fn read<S: LeafSource>(&self, source: &S, stub: &Stub) -> Result<Arc<Bucket>, TrieError<S::Error>> {
        let mut leaves = Vec::with_capacity(stub.count);
        source
            .leaves_from(self.ledger, &stub.first_key, stub.count, &mut leaves)
            .map_err(TrieError::Source)?;
        check(stub, leaves).map_err(|problem| self.damaged(&stub.first_key, problem))
    }

    /// The error for a bucket that is not what it should be.
    pub(super) fn damaged<E>(&self, first_key: &[u8], problem: String) -> TrieError<E> {
        TrieError::Damaged { ledger: self.ledger, first_key: first_key.to_vec(), problem }
    }
}

/// Builds a bucket from the store's leaves, if they are the bucket's.
fn check(stub: &Stub, leaves: Vec<StateLeaf>) -> Result<Arc<Bucket>, String> {
    if leaves.len() != stub.count {
        return Err(format!("there are {} leaves, not {}", leaves.len(), stub.count));
    }
    if !leaves.is_sorted_by(|a, b| a.key() < b.key()) {
        return Err("they are not in the order of their keys".to_owned());
    }
    let leaves: Vec<_> = leaves.into_iter().map(|leaf| (leaf.index(), leaf.into_op())).collect();
    let mut bucket = Bucket::default();
    let origins = bucket.write(&leaves);
    match assemble(bucket, &origins).buckets.into_iter().next() {
        Some((found, bucket)) if found.hash == stub.hash && found.first_key == stub.first_key => Ok(bucket),
        Some((found, _)) => Err(format!("their root is {}, not {}", found.hash, stub.hash)),
        None => Err("there are none".to_owned()),
    }
}
