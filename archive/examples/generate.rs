//! Makes an archive of a cluster that never was, to measure `quorate backup verify` and `restore` with.
//!
//! `generate DIR KEYS TRANSACTIONS_PER_BLOCK` writes so many keys, one per transaction, in random order, with values of
//! 100 bytes.
#![expect(clippy::unwrap_used, reason = "a tool for measurements")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;

use quorate_archive::Writer;
use quorate_core::hash::sha256;
use support::{Cluster, Op};

/// Blocks between two visits to the archive: bounds memory.
const BLOCKS: u64 = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, keys, per_block] = arguments.as_slice() else {
        panic!("generate DIR KEYS TRANSACTIONS_PER_BLOCK");
    };
    let (keys, per_block): (u64, u64) = (keys.parse().unwrap(), per_block.parse().unwrap());
    let mut cluster = Cluster::new(1);
    let mut writer = Writer::open(Path::new(dir), &cluster.origin).unwrap();
    let mut target = writer.ledger(&cluster.ledgers[0].name);
    cluster.ledgers[0].entries.iter().for_each(|entry| target.push(entry).unwrap());
    target.finish(cluster.note(&cluster.ledgers[0], 2)).unwrap();
    let name = cluster.ledgers[1].name.clone();
    let mut target = writer.ledger(&name);
    let blocks = keys.div_ceil(per_block);
    for block in 0..blocks {
        let numbers = block * per_block..((block + 1) * per_block).min(keys);
        let put = |number: u64| {
            let key = sha256(&[&number.to_be_bytes()]).to_string();
            vec![Op::Put(key.as_bytes()[..32].to_vec(), vec![b'v'; 100])]
        };
        cluster.default().block(numbers.map(put).collect());
        if block % BLOCKS == BLOCKS - 1 || block + 1 == blocks {
            for entry in cluster.default().entries.drain(..) {
                target.push(&entry).unwrap();
            }
        }
    }
    let note = cluster.note(&cluster.ledgers[1], 2);
    target.finish(note).unwrap();
    writer.publish(&cluster.policy()).unwrap();
}
