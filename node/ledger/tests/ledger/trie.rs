//! The state tree in buckets against the definition: roots, buckets, proofs, lookups, whatever the batches, the
//! cache and the restarts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_core::{
    entry::{OpKind, Operation},
    hash::Hash,
    position::{LogIndex, Revision},
    state_tree::{Query, prove, verify},
};
use quorate_ledger::{
    trie::{LeafReader, MAX_BUCKET_KEYS, TrieSnapshot, Tries},
    view::LedgerId,
};

use super::support::{naive, store::Store};

pub(crate) const LEDGER: LedgerId = LedgerId(3);

/// The operation of a put of this revision.
pub(crate) fn op(key: &[u8], revision: u64) -> Vec<u8> {
    Operation {
        kind: OpKind::Put,
        revision: Revision::new(revision),
        prev_index: None,
        expires_at: None,
        value_len: 0,
        value_digest: Hash::ZERO,
        key: key.to_vec(),
    }
    .encode()
}

/// A trie, what is stored of it, and what it should hold.
pub(crate) struct Subject {
    pub(crate) store: Store,
    pub(crate) tries: Tries,
    cache_bytes: usize,
    pub(crate) state: BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    index: u64,
}

impl Subject {
    pub(crate) fn new(cache_bytes: usize) -> Self {
        let mut tries = Tries::new(cache_bytes);
        tries.open::<()>(LEDGER, &Hash::ZERO, []).unwrap();
        Self { store: Store::new(), tries, cache_bytes, state: BTreeMap::new(), index: 0 }
    }

    /// The leaves of a write of these keys.
    pub(crate) fn leaves(
        &mut self,
        keys: impl IntoIterator<Item = Vec<u8>>,
    ) -> BTreeMap<Vec<u8>, (u64, Vec<u8>)> {
        self.index += 1;
        let index = self.index;
        keys.into_iter().map(|key| (key.clone(), (index, op(&key, index)))).collect()
    }

    /// Writes keys as one batch.
    pub(crate) fn write(&mut self, keys: impl IntoIterator<Item = Vec<u8>>) {
        let leaves = self.leaves(keys);
        let batch: Vec<_> = leaves.values().map(|(index, op)| (LogIndex::new(*index), op.clone())).collect();
        let changes =
            self.tries.get_mut(LEDGER).unwrap().update(&LeafReader::new(&self.store), &batch).unwrap();
        self.store.write_leaves(LEDGER, &batch);
        self.store.write_buckets(LEDGER, &changes);
        self.state.extend(leaves);
    }

    pub(crate) fn restart(&mut self) {
        let root = self.tries.get(LEDGER).unwrap().root();
        self.tries = Tries::new(self.cache_bytes);
        self.tries.open(LEDGER, &root, self.store.buckets_of(LEDGER)).unwrap();
    }

    pub(crate) fn snapshot(&self) -> TrieSnapshot {
        self.tries.snapshot(LEDGER).unwrap()
    }

    pub(crate) fn check(&self) {
        let leaves = naive_leaves(&self.state);
        assert_eq!(self.snapshot().root(), naive::state_root(&leaves));
        assert_eq!(self.snapshot().keys(), leaves.len() as u64);
        let buckets: Vec<_> = self.store.buckets_of(LEDGER).map(Result::unwrap).collect();
        let buckets: Vec<_> =
            buckets.into_iter().map(|(key, bucket)| (key, bucket.hash, bucket.count as usize)).collect();
        assert_eq!(buckets, naive::buckets(&leaves, MAX_BUCKET_KEYS));
        let stats = self.tries.stats();
        assert_eq!((stats.keys, stats.buckets), (leaves.len() as u64, buckets.len() as u64));
        assert!(stats.cache_bytes <= stats.cache_capacity && stats.cache_capacity <= self.cache_bytes);
    }

    /// Looks up a key and proves a query, and compares with what should be there.
    fn check_reads(&self, queries: &[Query]) {
        check_reads(&self.snapshot(), &self.store, &self.state, queries);
    }
}

fn naive_leaves(state: &BTreeMap<Vec<u8>, (u64, Vec<u8>)>) -> Vec<naive::Leaf<'_>> {
    state.iter().map(|(key, (index, op))| (key.as_slice(), *index, op.as_slice())).collect()
}

fn check_reads(
    trie: &TrieSnapshot,
    store: &Store,
    state: &BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    queries: &[Query],
) {
    for query in queries {
        let proof = prove(&trie.walk(store), query).unwrap();
        let answer = verify(&trie.root(), query, &proof).unwrap();
        let found: Vec<_> =
            answer.leaves().iter().map(|leaf| (leaf.index().get(), leaf.op().encode())).collect();
        let expected: Vec<_> =
            state.iter().filter(|(key, _)| query.contains(key)).map(|(_, leaf)| leaf.clone()).collect();
        assert_eq!(found, expected, "{query:?}");
        if let Query::Key(key) = query {
            let found = trie.lookup(&LeafReader::new(store), key).unwrap();
            let found = found.map(|(index, operation)| (index.get(), operation.encode()));
            assert_eq!(found.as_ref(), state.get(key));
        }
    }
}

/// Keys of many shapes: random, nested, with long common beginnings, decimal, of few bytes.
pub(crate) fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 1..6),
        2 => (1..60_usize).prop_map(|length| vec![b'a'; length]),
        1 => ((1..30_usize), prop::sample::select(b"ab\x00\xff".to_vec()))
            .prop_map(|(length, last)| [vec![b'a'; length], vec![last]].concat()),
        2 => prop::collection::vec(prop::sample::select(b"ab".to_vec()), 1..9),
        2 => (0..2_000_u32).prop_map(|number| format!("artifact/{number:06}").into_bytes()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

fn any_query() -> impl Strategy<Value = Query> {
    prop_oneof![
        any_key().prop_map(Query::Key),
        prop::collection::vec(any::<u8>(), 0..2).prop_map(Query::Prefix),
        any_key().prop_map(Query::Prefix),
        (any_key(), prop::option::of(any_key())).prop_map(|(first, end)| Query::Range { first, end }),
    ]
}

fn any_cache() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![0, 16 * 2_000, 16 * 12_000, 1 << 24])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn root_and_buckets_are_those_of_the_definition_after_every_batch(
        batches in prop::collection::vec((prop::collection::vec(any_key(), 1..220), any::<bool>()), 1..8),
        queries in prop::collection::vec(any_query(), 12),
        cache_bytes in any_cache(),
    ) {
        let mut subject = Subject::new(cache_bytes);
        for (keys, restart) in batches {
            subject.write(keys);
            subject.check();
            if restart {
                subject.restart();
                subject.check();
            }
        }
        subject.check_reads(&queries);
    }

    #[test]
    fn batch_boundaries_leave_no_trace(
        keys in prop::collection::btree_set(any_key(), 1..500),
        sizes in prop::collection::vec(1..90_usize, 8),
        cache_bytes in any_cache(),
    ) {
        let keys: Vec<_> = keys.into_iter().collect();
        let mut at_once = Subject::new(cache_bytes);
        let leaves = at_once.leaves(keys.clone());
        let batch: Vec<_> = leaves.values().map(|(index, op)| (LogIndex::new(*index), op.clone())).collect();
        at_once.write_batch(&batch);
        let mut in_parts = Subject::new(cache_bytes);
        // Every part takes keys from all over, so that most slots are visited several times.
        for start in 0..sizes.len() {
            let part: Vec<_> = batch.iter().skip(start).step_by(sizes.len()).cloned().collect();
            for chunk in part.chunks(sizes[start]) {
                in_parts.write_batch(chunk);
            }
        }
        prop_assert_eq!(at_once.snapshot().root(), in_parts.snapshot().root());
        prop_assert_eq!(&at_once.store.buckets, &in_parts.store.buckets);
    }

    #[test]
    fn a_snapshot_stays_as_it_was(
        batches in prop::collection::vec(prop::collection::vec(any_key(), 1..150), 2..6),
        queries in prop::collection::vec(any_query(), 8),
        cache_bytes in any_cache(),
    ) {
        let mut subject = Subject::new(cache_bytes);
        let mut versions = Vec::new();
        for keys in batches {
            subject.write(keys);
            versions.push((subject.snapshot(), subject.store.clone(), subject.state.clone()));
        }
        for (trie, store, state) in &versions {
            prop_assert_eq!(trie.root(), naive::state_root(&naive_leaves(state)));
            check_reads(trie, store, state, &queries);
        }
    }
}

impl Subject {
    fn write_batch(&mut self, batch: &[(LogIndex, Vec<u8>)]) {
        let changes =
            self.tries.get_mut(LEDGER).unwrap().update(&LeafReader::new(&self.store), batch).unwrap();
        self.store.write_leaves(LEDGER, batch);
        self.store.write_buckets(LEDGER, &changes);
    }
}

#[test]
fn memory_stays_bounded_while_keys_grow() {
    let mut subject = Subject::new(1 << 20);
    for round in 0..50_u32 {
        let keys = (0..1_000_u32).map(|number| {
            let mixed = (round * 1_000 + number).wrapping_mul(0x9E37_79B1);
            format!("object/{mixed:08x}").into_bytes()
        });
        subject.write(keys);
        let stats = subject.tries.stats();
        assert!(stats.cache_bytes <= 1 << 20, "{stats:?}");
    }
    let stats = subject.tries.stats();
    assert_eq!(stats.keys, 50_000);
    // The upper tree stays below 25 bytes per key.
    assert!(stats.buckets < 5_000 && stats.upper_bytes < 1_250_000, "{stats:?}");
    assert!(stats.cache_bytes > 700_000, "the cache is used: {stats:?}");
}

#[test]
fn the_cache_serves_what_fits_it() {
    let mut subject = Subject::new(1 << 24);
    subject.write((0..5_000_u32).map(|number| number.to_be_bytes().to_vec()));
    let before = subject.tries.stats();
    let trie = subject.snapshot();
    for number in 0..5_000_u32 {
        assert!(trie.lookup(&LeafReader::new(&subject.store), &number.to_be_bytes()).unwrap().is_some());
    }
    let after = subject.tries.stats();
    assert_eq!(after.cache_misses, before.cache_misses);
    assert_eq!(after.cache_hits, before.cache_hits + 5_000);
}

#[test]
#[should_panic(expected = "strictly ascending")]
fn leaves_out_of_order_are_a_broken_invariant() {
    let mut subject = Subject::new(0);
    let batch = [b"b", b"a"].map(|key| (LogIndex::new(1), op(key, 1)));
    subject.write_batch(&batch);
}
