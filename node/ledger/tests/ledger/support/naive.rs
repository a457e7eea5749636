//! Trees straight from their definitions: bit strings as vectors, recursion, no sharing.

use quorate_core::hash::{Hash, sha256};

/// `bits(key)`.
fn bits(key: &[u8]) -> Vec<bool> {
    let mut bits = Vec::new();
    for byte in key {
        bits.push(true);
        bits.extend((0..8).rev().map(|bit| byte >> bit & 1 == 1));
    }
    bits.push(false);
    bits
}

/// A key, the log index of its newest write, and the operation.
pub(crate) type Leaf<'a> = (&'a [u8], u64, &'a [u8]);

/// The state root over leaves in key order.
pub(crate) fn state_root(leaves: &[Leaf<'_>]) -> Hash {
    match leaves {
        [] => Hash::ZERO,
        [(_, index, op)] => sha256(&[b"\x02", &index.to_be_bytes(), sha256(&[b"\x00", op]).as_bytes()]),
        _ => {
            let (d, middle) = branch(leaves);
            let (left, right) = leaves.split_at(middle);
            let (left, right) = (state_root(left), state_root(right));
            sha256(&[b"\x03", &(d as u16).to_be_bytes(), left.as_bytes(), right.as_bytes()])
        }
    }
}

/// The largest subtrees of at most `max` leaves, in key order, as first key, root and number of leaves.
pub(crate) fn buckets(leaves: &[Leaf<'_>], max: usize) -> Vec<(Vec<u8>, Hash, usize)> {
    if leaves.is_empty() {
        return Vec::new();
    }
    if leaves.len() <= max {
        return vec![(leaves[0].0.to_vec(), state_root(leaves), leaves.len())];
    }
    let (left, right) = leaves.split_at(branch(leaves).1);
    [buckets(left, max), buckets(right, max)].concat()
}

/// Where not all leaves agree first, and the number of leaves with bit 0 there.
fn branch(leaves: &[Leaf<'_>]) -> (usize, usize) {
    let first = bits(leaves[0].0);
    let last = bits(leaves[leaves.len() - 1].0);
    let d = (0..).find(|at| first[*at] != last[*at]).unwrap();
    (d, leaves.partition_point(|(key, ..)| !bits(key)[d]))
}

/// The RFC 6962 root over leaf hashes.
pub(crate) fn log_root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => sha256(&[]),
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            sha256(&[b"\x01", log_root(left).as_bytes(), log_root(right).as_bytes()])
        }
    }
}
