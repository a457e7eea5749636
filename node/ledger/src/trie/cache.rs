//! The cache of buckets, which all tries and all their versions share.
//!
//! Contract: it goes by the bucket's hash, so an entry is right for whoever asks for it, and needs no
//! invalidation. What it holds is at most `capacity` bytes; the bucket unused for longest goes first. A bucket that
//! is in use stays in memory as long as its user holds it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use quorate_core::hash::Hash;

use super::bucket::Bucket;

/// Parts with a lock of their own.
const SHARDS: usize = 16;

/// What an entry takes besides the bucket itself, about, bytes.
const ENTRY_OVERHEAD: usize = 160;

/// A bounded cache of buckets.
#[derive(Debug)]
pub(super) struct BucketCache {
    shards: [Mutex<Shard>; SHARDS],
    /// Bytes that each shard may hold.
    shard_capacity: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// A part of the cache.
#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Hash, Entry>,
    /// Every use, oldest first. Only the one whose number is the entry's `last_use` counts.
    uses: VecDeque<(u64, Hash)>,
    next_use: u64,
    bytes: usize,
}

/// A cached bucket.
#[derive(Debug)]
struct Entry {
    bucket: Arc<Bucket>,
    last_use: u64,
}

impl BucketCache {
    /// A cache of at most this many bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: Default::default(),
            shard_capacity: capacity / SHARDS,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The bucket with this hash, if it is here.
    pub(super) fn get(&self, hash: &Hash) -> Option<Arc<Bucket>> {
        let found = self.shard(hash).get(hash);
        self.count(found.is_some());
        found
    }

    /// Keeps a bucket. One larger than a shard is not kept.
    pub(super) fn insert(&self, hash: Hash, bucket: Arc<Bucket>) {
        if cost(&bucket) <= self.shard_capacity {
            self.shard(&hash).insert(hash, bucket, self.shard_capacity);
        }
    }

    /// Takes out a bucket that a newer version is about to replace. A reader of an older version can still load it.
    pub(super) fn take(&self, hash: &Hash) -> Option<Arc<Bucket>> {
        let found = self.shard(hash).remove(hash);
        self.count(found.is_some());
        found
    }

    /// What the cached buckets take, bytes.
    pub(super) fn bytes(&self) -> usize {
        let held = |shard: &Mutex<Shard>| lock(shard).bytes;
        self.shards.iter().map(held).sum()
    }

    /// What the cached buckets may take, bytes.
    pub(super) fn capacity(&self) -> usize {
        self.shard_capacity * SHARDS
    }

    /// How often a bucket was found, and how often not.
    pub(super) fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    fn count(&self, is_hit: bool) {
        let counter = if is_hit { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The part that this hash belongs to.
    fn shard(&self, hash: &Hash) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(hash.as_bytes()[0]) % SHARDS])
    }
}

/// Locks a shard. A panic under the lock leaves at worst one entry uncounted: the cache stays right.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an entry with this bucket takes, bytes.
fn cost(bucket: &Bucket) -> usize {
    bucket.memory() + ENTRY_OVERHEAD
}

impl Shard {
    fn get(&mut self, hash: &Hash) -> Option<Arc<Bucket>> {
        let number = self.note_use(*hash);
        let entry = self.entries.get_mut(hash)?;
        entry.last_use = number;
        Some(Arc::clone(&entry.bucket))
    }

    fn insert(&mut self, hash: Hash, bucket: Arc<Bucket>, capacity: usize) {
        self.remove(&hash);
        self.bytes += cost(&bucket);
        let last_use = self.note_use(hash);
        self.entries.insert(hash, Entry { bucket, last_use });
        while self.bytes > capacity
            && let Some((number, oldest)) = self.uses.pop_front()
        {
            if self.is_last_use(number, &oldest) {
                self.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, hash: &Hash) -> Option<Arc<Bucket>> {
        let bucket = self.entries.remove(hash)?.bucket;
        self.bytes -= cost(&bucket);
        Some(bucket)
    }

    /// Records a use. Outdated records are dropped before they outnumber the entries by much.
    fn note_use(&mut self, hash: Hash) -> u64 {
        let number = self.next_use;
        self.next_use += 1;
        if self.uses.len() > 2 * self.entries.len() + 64 {
            let mut uses = std::mem::take(&mut self.uses);
            uses.retain(|(number, hash)| self.is_last_use(*number, hash));
            self.uses = uses;
        }
        self.uses.push_back((number, hash));
        number
    }

    fn is_last_use(&self, number: u64, hash: &Hash) -> bool {
        self.entries.get(hash).is_some_and(|entry| entry.last_use == number)
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::position::LogIndex;

    use super::*;

    fn bucket(op_len: u32) -> Arc<Bucket> {
        let mut bucket = Bucket::default();
        bucket.write(&[(LogIndex::new(0), vec![0; op_len as usize])]);
        Arc::new(bucket)
    }

    /// A hash in the first shard.
    fn hash(number: u8) -> Hash {
        let mut bytes = [0; 32];
        bytes[1] = number;
        Hash::new(bytes)
    }

    #[test]
    fn the_bucket_unused_for_longest_goes_first() {
        let one = bucket(100);
        let cache = BucketCache::new(SHARDS * 3 * cost(&one));
        for number in 0..3 {
            cache.insert(hash(number), Arc::clone(&one));
        }
        assert!(cache.get(&hash(0)).is_some());
        cache.insert(hash(3), Arc::clone(&one));
        assert!(cache.get(&hash(1)).is_none());
        assert!([0, 2, 3].iter().all(|number| cache.get(&hash(*number)).is_some()));
        assert_eq!(cache.hits_and_misses(), (4, 1));
    }

    #[test]
    fn the_bound_holds_and_uses_do_not_pile_up() {
        let capacity = SHARDS * 10_000;
        let cache = BucketCache::new(capacity);
        for number in 0..10_000_u32 {
            cache.insert(hash(number.to_le_bytes()[0]), bucket(number % 2_000));
            cache.get(&hash((number % 7).to_le_bytes()[0]));
            assert!(cache.bytes() <= capacity);
        }
        let shard = lock(&cache.shards[0]);
        assert!(shard.uses.len() <= 2 * shard.entries.len() + 65);
    }

    #[test]
    fn what_is_taken_or_too_large_is_not_here() {
        let cache = BucketCache::new(SHARDS * 1_000);
        cache.insert(hash(1), bucket(10));
        assert!(cache.take(&hash(1)).is_some());
        cache.insert(hash(2), bucket(1_000));
        assert!(cache.get(&hash(1)).is_none() && cache.get(&hash(2)).is_none());
        assert_eq!(cache.bytes(), 0);
    }
}
