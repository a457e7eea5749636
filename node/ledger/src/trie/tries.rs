//! The state trees of all ledgers, and the newest version of each.

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::{entry::Operation, hash::Hash, position::LogIndex, state_tree::SortedBuilder};

use super::{
    bucket::{MAX_BUCKET_KEYS, key_of},
    cache::BucketCache,
    error::{OpenError, TrieError},
    node::{Node, Stub, join},
    reader::LeafReader,
    snapshot::TrieSnapshot,
    update::Cursor,
};
use crate::{
    effects::{BucketChange, BucketSummary},
    view::{LeafSource, LedgerId},
};

/// What a bucket takes in memory besides its leaves, about, bytes: its node, its first key, and the branch above it.
const BYTES_PER_BUCKET: u64 = 280;

/// The state trees of all ledgers, which share one cache.
#[derive(Debug)]
pub struct Tries {
    tries: BTreeMap<LedgerId, Trie>,
    cache: Arc<BucketCache>,
}

/// What the state trees take in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrieStats {
    /// Keys ever written, in all ledgers.
    pub keys: u64,
    /// Buckets.
    pub buckets: u64,
    /// What the trees above the buckets' leaves take, about, bytes.
    pub upper_bytes: u64,
    /// What the cached leaves take, bytes.
    pub cache_bytes: usize,
    /// What they may take, bytes.
    pub cache_capacity: usize,
    /// How often a bucket's leaves were in the cache.
    pub cache_hits: u64,
    /// How often they had to be read from the store.
    pub cache_misses: u64,
}

impl Tries {
    /// No trees yet, and a cache of at most `cache_bytes` for the leaves of all of them.
    #[must_use]
    pub fn new(cache_bytes: usize) -> Self {
        Self { tries: BTreeMap::new(), cache: Arc::new(BucketCache::new(cache_bytes)) }
    }

    /// Rebuilds a ledger's tree from its stored buckets, in key order, and checks its root against the one that the
    /// ledger's head holds. Reads no leaves.
    ///
    /// # Errors
    /// [`OpenError`]: the tree is then not opened.
    pub fn open<E>(
        &mut self,
        ledger: LedgerId,
        expected_root: &Hash,
        buckets: impl IntoIterator<Item = Result<(Vec<u8>, BucketSummary), E>>,
    ) -> Result<(), OpenError<E>> {
        let trie = Trie::open(ledger, Arc::clone(&self.cache), buckets)?;
        if trie.root() != *expected_root {
            return Err(OpenError::Root { ledger, expected: *expected_root, found: trie.root() });
        }
        self.tries.insert(ledger, trie);
        Ok(())
    }

    /// Begins the tree of a new ledger, without keys.
    pub fn create(&mut self, ledger: LedgerId) {
        self.tries.insert(ledger, Trie { newest: empty(ledger, Arc::clone(&self.cache)) });
    }

    /// A ledger's tree.
    #[must_use]
    pub fn get(&self, ledger: LedgerId) -> Option<&Trie> {
        self.tries.get(&ledger)
    }

    /// A ledger's tree, to change it.
    pub fn get_mut(&mut self, ledger: LedgerId) -> Option<&mut Trie> {
        self.tries.get_mut(&ledger)
    }

    /// The newest version of a ledger's tree.
    #[must_use]
    pub fn snapshot(&self, ledger: LedgerId) -> Option<TrieSnapshot> {
        self.get(ledger).map(Trie::snapshot)
    }

    /// What all of it takes in memory.
    #[must_use]
    pub fn stats(&self) -> TrieStats {
        let (cache_hits, cache_misses) = self.cache.hits_and_misses();
        let buckets = self.tries.values().map(|trie| trie.newest.buckets).sum();
        TrieStats {
            keys: self.tries.values().map(|trie| trie.newest.keys).sum(),
            buckets,
            upper_bytes: buckets * BYTES_PER_BUCKET,
            cache_bytes: self.cache.bytes(),
            cache_capacity: self.cache.capacity(),
            cache_hits,
            cache_misses,
        }
    }
}

/// The state tree of one ledger.
#[derive(Debug)]
pub struct Trie {
    newest: TrieSnapshot,
}

impl Trie {
    /// Rebuilds a tree from its buckets.
    fn open<E>(
        ledger: LedgerId,
        cache: Arc<BucketCache>,
        buckets: impl IntoIterator<Item = Result<(Vec<u8>, BucketSummary), E>>,
    ) -> Result<Self, OpenError<E>> {
        let mut newest = empty(ledger, cache);
        let mut builder = SortedBuilder::new(join);
        for (number, bucket) in buckets.into_iter().enumerate() {
            let (first_key, summary) = bucket.map_err(OpenError::Source)?;
            let damaged = |problem| OpenError::Bucket { ledger, number, problem };
            let count = usize::try_from(summary.count).unwrap_or(usize::MAX);
            if !(1..=MAX_BUCKET_KEYS).contains(&count) {
                return Err(damaged(format!("it has {count} keys, not 1 to {MAX_BUCKET_KEYS}")));
            }
            let stub = Stub::new(Arc::from(first_key.as_slice()), summary.hash, summary.count, None);
            let node = Arc::new(Node::Bucket(stub));
            builder.push(&first_key, node).map_err(|error| damaged(error.to_string()))?;
            newest.keys += u64::from(summary.count);
            newest.buckets += 1;
        }
        newest.root = builder.finish();
        Ok(Self { newest })
    }

    /// The root: 32 zero bytes without keys.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.newest.root()
    }

    /// The newest write of a key; see [`TrieSnapshot::lookup`].
    ///
    /// # Errors
    /// [`TrieError`] if the key's bucket could not be read.
    pub fn lookup<S: LeafSource>(
        &self,
        reader: &LeafReader<'_, S>,
        key: &[u8],
    ) -> Result<Option<(LogIndex, Operation)>, TrieError<S::Error>> {
        self.newest.lookup(reader, key)
    }

    /// The newest version, to read from while the tree changes.
    #[must_use]
    pub fn snapshot(&self) -> TrieSnapshot {
        self.newest.clone()
    }

    /// Takes in the newest writes of some keys (log index and encoded operation), in strictly ascending order of
    /// the keys, and says which buckets changed, in key order. The reader's source is the store *before* these writes.
    ///
    /// # Panics
    /// If the keys are not in order.
    ///
    /// # Errors
    /// [`TrieError`] if a bucket could not be read; the tree is then as before.
    pub fn update<S: LeafSource, B: AsRef<[u8]>>(
        &mut self,
        reader: &LeafReader<'_, S>,
        leaves: &[(LogIndex, B)],
    ) -> Result<Vec<BucketChange>, TrieError<S::Error>> {
        let ascend = leaves.is_sorted_by(|(_, a), (_, b)| key_of(a.as_ref()) < key_of(b.as_ref()));
        assert!(ascend, "the leaves of an update are in strictly ascending order of their keys");
        let (newest, changes) = Cursor::new(&self.newest, reader).run(leaves)?;
        self.newest = newest;
        Ok(changes)
    }
}

/// A tree without keys.
fn empty(ledger: LedgerId, cache: Arc<BucketCache>) -> TrieSnapshot {
    TrieSnapshot { ledger, root: None, keys: 0, buckets: 0, cache }
}
