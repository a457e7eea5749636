//! What applying a block costs without a disk: blocks of 1, 100 and 1,000 requests that each write one value of 256
//! bytes, over a store in memory, to new keys and to keys that are there.
//!
//! `cargo bench -p quorate-ledger --bench apply`; the time per element is the time per request, the store's own
//! share not counted. The ledger has 20,000 keys unless `QUORATE_BENCH_KEYS` says otherwise; every value
//! is kept in memory here, and the ledger grows while new keys are measured.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::{cell::RefCell, hint::black_box};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorate_core::{hash::sha256, position::Micros};
use quorate_ledger::{apply::apply, block::Block, effects::Effects};

#[path = "../tests/ledger/support/replica.rs"]
#[allow(dead_code, reason = "which of it is used here may change with the tests")]
mod replica;
#[path = "../tests/ledger/support/requests.rs"]
#[allow(dead_code, reason = "which of it is used here may change with the tests")]
mod requests;
#[path = "../tests/ledger/support/store.rs"]
#[allow(dead_code, reason = "which of it is used here may change with the tests")]
mod store;

use replica::{Replica, START, block, hash_of};
use requests::{put, request};

const LEDGER: &str = "default";

/// Keys that are there before.
fn keys() -> u64 {
    match std::env::var("QUORATE_BENCH_KEYS") {
        Err(_) => 20_000,
        Ok(text) => {
            text.parse().ok().filter(|keys| *keys > 0).expect("QUORATE_BENCH_KEYS is a number above 0")
        }
    }
}

fn key(number: u64) -> Vec<u8> {
    let digest = sha256(&[&number.to_be_bytes()]);
    format!("sha256/{}", &digest.to_string()[..32]).into_bytes()
}

/// A block whose requests, named from `name` on, each write one of these keys.
fn writes(name: u64, keys: impl Iterator<Item = u64>) -> Block {
    let not_after = Micros::new(START + 60_000_000);
    let requests = keys.zip(name..).map(|(number, name)| {
        request(LEDGER, &format!("request {name}"), not_after, [put(&key(number), &[7; 256])])
    });
    block(START, requests)
}

fn filled() -> Replica {
    let mut replica = Replica::with_ledgers(1 << 30, &[LEDGER]);
    let keys = keys();
    for first in (0..keys).step_by(1_000) {
        replica.apply(&writes(first, first..keys.min(first + 1_000)));
    }
    replica
}

fn blocks(criterion: &mut Criterion) {
    let (replica, keys) = (RefCell::new(filled()), keys());
    // What the block before did, which is stored while the next one is made.
    let done: RefCell<Option<Effects>> = RefCell::new(None);
    let (mut name, mut new, mut seed) = (keys, keys, 1_u64);
    let mut group = criterion.benchmark_group(format!("apply at {keys} keys"));
    for kind in ["overwrites", "new keys"] {
        for count in [1, 100, 1_000] {
            group.throughput(Throughput::Elements(count));
            let mut next = || {
                if let Some(effects) = done.take() {
                    replica.borrow_mut().store.write(&effects);
                }
                name += count;
                let numbers = (0..count).map(|_| match kind {
                    "overwrites" => scattered(&mut seed, keys),
                    _ => {
                        new += 1;
                        new
                    }
                });
                let block = writes(name, numbers);
                let hash = hash_of(&block);
                (block, hash)
            };
            let routine = |(block, hash)| {
                let mut replica = replica.borrow_mut();
                let height = replica.next_height();
                let Replica { store, tries, .. } = &mut *replica;
                let effects = apply(store, tries, black_box(&block), height, hash).unwrap();
                assert_eq!(effects.outcome.requests.len() as u64, count);
                done.replace(Some(effects));
                block
            };
            group.bench_function(BenchmarkId::new(kind, count), |bencher| {
                bencher.iter_batched(&mut next, routine, BatchSize::PerIteration);
            });
        }
    }
    group.finish();
}

/// A number below `end`, in no order that a cache could use.
const fn scattered(seed: &mut u64, end: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 20) % end
}

criterion_group!(benches, blocks);
criterion_main!(benches);
