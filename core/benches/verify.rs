//! What verifying costs a client: the signatures of a checkpoint, once; and an answer under it, each time.
//!
//! `cargo bench -p quorate-core`. The ledger has 100,000 keys, written by transactions of 1,000 each.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a model of a ledger; this uses a part of it")]
mod support;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quorate_core::answer::{Bundle, Proven};
use support::{Ledger, Op, Shown};

const KEYS: u64 = 100_000;

/// Keys as a notary has them: a short path and a hash.
fn key(number: u64) -> Vec<u8> {
    let digest = quorate_core::hash::sha256(&[&number.to_be_bytes()]);
    format!("sha256/{}", &digest.to_string()[..32]).into_bytes()
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(1);
    for block in 0..KEYS / 1_000 {
        let put = |number: u64| Op::Put(key(block * 1_000 + number), vec![7; 256], None);
        let transaction: Vec<Op> = (0..1_000).map(put).collect();
        ledger.block((1_001 + block) * 1_000_000, &[transaction]);
    }
    ledger
}

fn verifying(criterion: &mut Criterion) {
    let ledger = ledger();
    let policy = ledger.policy();
    let text = ledger.note().to_string();
    criterion.bench_function("a checkpoint: three cosignatures and the log's", |bencher| {
        bencher.iter(|| policy.open(black_box(&text)).unwrap());
    });
    let certified = policy.open(&text).unwrap();
    let mut number = 0;
    let mut next = || {
        number = (number + 7_919) % KEYS;
        key(number)
    };
    criterion.bench_function("get under a checkpoint that was opened before", |bencher| {
        bencher.iter_batched(
            || {
                let key = next();
                (certified.clone(), ledger.answer_get(&[&key]), key)
            },
            |(certified, bundle, key)| Proven::open(certified, bundle).unwrap().get(&key).unwrap(),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("one operation of a transaction under such a checkpoint", |bencher| {
        bencher.iter_batched(
            || {
                let key = next();
                let index = ledger.records[key.as_slice()][0].index;
                let transactions = vec![ledger.transaction_proof(index, Shown::Key(&key))];
                (certified.clone(), Bundle { transactions, ..Bundle::default() })
            },
            |(certified, bundle)| Proven::open(certified, bundle).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, verifying);
criterion_main!(benches);
