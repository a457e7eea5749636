//! What writes cost the state tree at a million keys: per block of 1, 100 and 1,000 random updates, with a cache
//! that holds every bucket and with one that holds a tenth of them (the leaves then come from a map in memory).
//!
//! `cargo bench -p quorate-ledger`; the time per element is the time per update.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::{collections::BTreeMap, convert::Infallible, hint::black_box, ops::Bound};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorate_core::{
    entry::{OpKind, Operation},
    hash::{Hash, sha256},
    position::{LogIndex, Revision},
    state_tree::{Query, prove},
};
use quorate_ledger::{
    trie::{LeafReader, Tries},
    view::{LeafCursor, LeafSource, LedgerId},
};

const KEYS: u64 = 1_000_000;
const LEDGER: LedgerId = LedgerId(1);

/// Leaves in memory: index, operation.
struct Leaves(BTreeMap<Vec<u8>, (LogIndex, Vec<u8>)>);

impl LeafSource for Leaves {
    type Error = Infallible;
    type Leaves<'s> = &'s Leaves;

    fn leaves(&self, _: LedgerId) -> Result<&Leaves, Infallible> {
        Ok(self)
    }
}

impl LeafCursor for &Leaves {
    type Error = Infallible;

    fn read(
        &mut self,
        first: &[u8],
        count: usize,
        mut each: impl FnMut(LogIndex, &[u8], &[u8]),
    ) -> Result<(), Infallible> {
        for (key, (index, op)) in
            self.0.range::<[u8], _>((Bound::Included(first), Bound::Unbounded)).take(count)
        {
            each(*index, &op[..Operation::FIXED_LEN], key);
        }
        Ok(())
    }
}

/// Keys as a notary has them: a short path and 16 random bytes in hex.
fn key(number: u64) -> Vec<u8> {
    let digest = sha256(&[&number.to_be_bytes()]);
    format!("sha256/{}", &digest.to_string()[..32]).into_bytes()
}

fn op(key: Vec<u8>, revision: u64) -> Vec<u8> {
    Operation {
        kind: OpKind::Put,
        revision: Revision::new(revision),
        prev_index: None,
        expires_at: None,
        value_len: 256,
        value_digest: Hash::ZERO,
        key,
    }
    .encode()
}

/// A block's leaves: random keys, in key order, none twice.
fn block(seed: &mut u64, writes: u64) -> Vec<(LogIndex, Vec<u8>)> {
    let mut leaves = BTreeMap::new();
    for _ in 0..writes {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = key((*seed >> 20) % KEYS);
        leaves.insert(key.clone(), (LogIndex::new(*seed >> 8), op(key, *seed >> 1 | 1)));
    }
    leaves.into_values().collect()
}

fn filled(cache_bytes: usize) -> (Leaves, Tries) {
    let leaves = (0..KEYS).map(|number| (key(number), (LogIndex::new(number), op(key(number), 1))));
    let leaves = Leaves(leaves.collect());
    let mut tries = Tries::new(cache_bytes);
    tries.open::<Infallible>(LEDGER, &Hash::ZERO, []).unwrap();
    let all: Vec<_> = leaves.0.values().cloned().collect();
    tries.get_mut(LEDGER).unwrap().update(&LeafReader::new(&leaves), &all).unwrap();
    (leaves, tries)
}

fn updates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("update at 1M keys");
    for (name, cache_bytes) in [("all cached", 1 << 30), ("a tenth cached", 24 << 20)] {
        let (mut leaves, mut tries) = filled(cache_bytes);
        eprintln!("{name}: {:?}", tries.stats());
        let mut seed = 1;
        for writes in [1, 100, 1_000] {
            group.throughput(Throughput::Elements(writes));
            group.bench_function(BenchmarkId::new(name, writes), |bencher| {
                bencher.iter_batched_ref(
                    || block(&mut seed, writes),
                    |batch| {
                        // As in a node: readers hold the version before.
                        let before = tries.snapshot(LEDGER);
                        black_box(
                            tries.get_mut(LEDGER).unwrap().update(&LeafReader::new(&leaves), batch).unwrap(),
                        );
                        for (index, op) in batch.drain(..) {
                            leaves.0.insert(op[Operation::FIXED_LEN..].to_vec(), (index, op));
                        }
                        before
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let (leaves, tries) = filled(1 << 30);
    let trie = tries.snapshot(LEDGER).unwrap();
    let reader = LeafReader::new(&leaves);
    let mut number = 0;
    let mut next = || {
        number = (number + 7_919) % KEYS;
        key(number)
    };
    criterion.bench_function("lookup at 1M keys", |bencher| {
        bencher.iter_batched_ref(&mut next, |key| trie.lookup(&reader, key).unwrap(), BatchSize::SmallInput);
    });
    criterion.bench_function("prove one key at 1M keys", |bencher| {
        bencher.iter_batched_ref(
            || Query::Key(next()),
            |query| prove(&trie.walk(&leaves), query).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, updates, reads);
criterion_main!(benches);
