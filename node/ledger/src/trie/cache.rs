//! The cache of buckets, which all tries and all their versions share.
//!
//! Contract: a bucket is held by its node, so whoever has the node finds it without a search, and what a version
//! holds goes with the version. All buckets that are held take at most `capacity` bytes; first goes one that was not
//! used since the last time it was its turn (a clock). A bucket in use stays in memory as long as its user holds it,
//! and is counted as long.

use std::{
    collections::VecDeque,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{bucket::Bucket, node::Node};

/// What a held bucket takes besides itself, about, bytes: its place on the clock, and what the allocator adds.
const OVERHEAD: usize = 96;

/// A bucket whose memory is counted for as long as anybody holds it.
#[derive(Debug, Clone)]
pub(super) struct Cached(Arc<Metered>);

#[derive(Debug)]
struct Metered {
    bucket: Bucket,
    cost: usize,
    meter: Meter,
}

/// What all buckets in memory take.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<Readings>);

#[derive(Debug, Default)]
struct Readings {
    bytes: AtomicUsize,
    buckets: AtomicUsize,
}

impl Meter {
    /// Counts a bucket from now on.
    pub(super) fn hold(&self, bucket: Bucket) -> Cached {
        let cost = bucket.memory() + OVERHEAD;
        self.0.bytes.fetch_add(cost, Ordering::Relaxed);
        self.0.buckets.fetch_add(1, Ordering::Relaxed);
        Cached(Arc::new(Metered { bucket, cost, meter: self.clone() }))
    }

    fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    fn buckets(&self) -> usize {
        self.0.buckets.load(Ordering::Relaxed)
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meter.0.bytes.fetch_sub(self.cost, Ordering::Relaxed);
        self.meter.0.buckets.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Cached {
    type Target = Bucket;

    fn deref(&self) -> &Bucket {
        &self.0.bucket
    }
}

impl Cached {
    /// The bucket, to change it: itself if nobody else holds it, a copy otherwise.
    pub(super) fn into_bucket(self) -> Bucket {
        match Arc::try_unwrap(self.0) {
            Ok(mut metered) => std::mem::take(&mut metered.bucket),
            Err(shared) => shared.bucket.clone(),
        }
    }
}

/// A bounded cache of buckets.
#[derive(Debug)]
pub(super) struct BucketCache {
    /// Nodes that held a bucket when they came here, those that came or were spared first in front.
    clock: Mutex<VecDeque<Weak<Node>>>,
    meter: Meter,
    /// Bytes that all buckets may take.
    capacity: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl BucketCache {
    /// A cache of at most this many bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            clock: Mutex::default(),
            meter: Meter::default(),
            capacity,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// What counts the buckets.
    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// A node has come to hold its bucket.
    pub(super) fn admit(&self, node: &Arc<Node>) {
        let mut clock = self.clock();
        // Nodes of past versions and those whose bucket was taken must not outnumber the others by much.
        if clock.len() > 2 * self.meter.buckets() + 64 {
            clock.retain(|node| node.upgrade().is_some_and(|node| node.holds()));
        }
        clock.push_back(Arc::downgrade(node));
        // Whom the first round spares, the second finds unused.
        for _ in 0..2 * clock.len() {
            if self.meter.bytes() <= self.capacity {
                break;
            }
            let spared = clock.pop_front().filter(|node| node.upgrade().is_some_and(|node| !node.evict()));
            clock.extend(spared);
        }
    }

    /// Counts a use: whether the bucket was in memory.
    pub(super) fn count(&self, is_hit: bool) {
        let counter = if is_hit { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What the buckets in memory take, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.meter.bytes()
    }

    /// What they may take, bytes.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How often a bucket was found, and how often not.
    pub(super) fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// A panic under the lock leaves at worst a node off the clock: what the cache holds stays right.
    fn clock(&self) -> MutexGuard<'_, VecDeque<Weak<Node>>> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{entry::Operation, position::LogIndex};

    use super::*;
    use crate::trie::assemble::assemble;

    /// A node with a bucket of one leaf.
    fn node(number: u64, key_len: usize, cache: &BucketCache) -> Arc<Node> {
        let mut bucket = Bucket::default();
        let key = [&number.to_be_bytes()[..], &vec![b'k'; key_len]].concat();
        assert!(bucket.push(LogIndex::new(number), &[0; Operation::FIXED_LEN], &key));
        let node = assemble(bucket, None, cache.meter()).node;
        cache.admit(&node);
        node
    }

    fn cost() -> usize {
        let cache = BucketCache::new(1 << 20);
        let _one = node(0, 100, &cache);
        cache.bytes()
    }

    #[test]
    fn an_unused_bucket_goes_before_a_used_one() {
        let cache = BucketCache::new(3 * cost());
        let nodes: Vec<_> = (0..3).map(|number| node(number, 100, &cache)).collect();
        assert!(nodes[0].held().is_some());
        let last = node(3, 100, &cache);
        let held: Vec<_> = nodes.iter().chain([&last]).map(|node| node.holds()).collect();
        assert_eq!(held, [true, false, true, true]);
    }

    #[test]
    fn the_bound_holds_and_dead_nodes_do_not_pile_up() {
        let capacity = 100 * cost();
        let cache = BucketCache::new(capacity);
        let mut kept = VecDeque::new();
        for number in 0..10_000_u64 {
            kept.push_back(node(number, usize::try_from(number % 700).unwrap_or(0), &cache));
            if kept.len() > 300 {
                kept.pop_front();
            }
            assert!(
                kept[usize::try_from(number % 7).unwrap_or(0) % kept.len()]
                    .held()
                    .is_none_or(|held| held.len() == 1)
            );
            assert!(cache.bytes() <= capacity);
        }
        assert!(cache.clock().len() <= 2 * cache.meter.buckets() + 65);
        drop(kept);
        assert_eq!((cache.bytes(), cache.meter.buckets()), (0, 0));
    }

    #[test]
    fn what_is_taken_is_counted_no_more() {
        let cache = BucketCache::new(1 << 20);
        let node = node(1, 10, &cache);
        let Node::Bucket(stub) = &*node else { panic!("one leaf is a bucket") };
        let taken = stub.take().map(Cached::into_bucket);
        assert_eq!(taken.map(|bucket| bucket.len()), Some(1));
        assert!(!node.holds());
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn a_bucket_in_use_is_readable_and_counted_until_its_reader_lets_go() {
        let cache = BucketCache::new(cost());
        let first = node(1, 100, &cache);
        let in_use = first.held().unwrap();
        // One more than there is room for; the used one is spared once.
        let others = [node(2, 100, &cache), node(3, 100, &cache)];
        assert!(!first.holds() && others.iter().all(|other| !other.holds()), "there is no room beside it");
        assert_eq!(in_use.key(0)[..8], 1_u64.to_be_bytes());
        assert_eq!(cache.bytes(), cost());
        drop(in_use);
        assert_eq!(cache.bytes(), 0);
    }
}
