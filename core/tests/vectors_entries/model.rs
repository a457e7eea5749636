//! The two trees as the format describes them, written down a second time and without any care for speed.

use std::collections::BTreeMap;

use quorate_core::hash::{Hash, empty_root, sha256};

/// RFC 6962 §2.1 over whole leaves.
pub(crate) fn log_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => sha256(&[&[0], leaf]),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            sha256(&[&[1], log_root(left).as_bytes(), log_root(right).as_bytes()])
        }
    }
}

/// The state tree over each key's newest write: log index and encoded operation.
pub(crate) fn state_root(state: &BTreeMap<Vec<u8>, (u64, Vec<u8>)>) -> Hash {
    let leaves: Vec<(Vec<bool>, Hash)> = state
        .iter()
        .map(|(key, (index, op))| {
            let inner = sha256(&[&[0], op]);
            (bits(key), sha256(&[&[2], &index.to_be_bytes(), inner.as_bytes()]))
        })
        .collect();
    if leaves.is_empty() { Hash::ZERO } else { subtree(&leaves) }
}

/// Each byte gives a 1 and its bits; a final 0.
fn bits(key: &[u8]) -> Vec<bool> {
    let byte_bits = |byte: &u8| {
        let byte = *byte;
        std::iter::once(true).chain((0..8).rev().map(move |bit| byte >> bit & 1 == 1))
    };
    key.iter().flat_map(byte_bits).chain([false]).collect()
}

fn subtree(leaves: &[(Vec<bool>, Hash)]) -> Hash {
    if let [(_, hash)] = leaves {
        return *hash;
    }
    let agrees = |at: usize| leaves.iter().all(|(bits, _)| bits[at] == leaves[0].0[at]);
    let at = (0..).find(|at| !agrees(*at)).unwrap();
    let (left, right) = leaves.split_at(leaves.partition_point(|(bits, _)| !bits[at]));
    let depth = u16::try_from(at).unwrap().to_be_bytes();
    sha256(&[&[3], &depth, subtree(left).as_bytes(), subtree(right).as_bytes()])
}
