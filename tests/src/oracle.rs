//! Recomputes everything from what anybody can read: leaves and tiles over HTTP, operations over the API.
//!
//! Written for clarity, without the product's trees: RFC 6962 by its recursive definition with a cache of perfect
//! subtrees, the state tree by its recursive definition over sorted keys.

use std::collections::BTreeMap;

use quorate_core::{
    checkpoint::Checkpoint,
    entry::{CommitLeaf, Leaf},
    hash::{Hash, leaf_hash, node_hash, sha256},
};

/// The leaves of a log as entry bundles serve them: each a 16-bit length and the leaf.
///
/// # Errors
/// A bundle that ends early.
pub fn split_bundle(mut bundle: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut leaves = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_at_checked(2).ok_or("the bundle ends within a length")?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (leaf, rest) = rest.split_at_checked(length).ok_or("the bundle ends within a leaf")?;
        leaves.push(leaf.to_vec());
        bundle = rest;
    }
    Ok(leaves)
}

/// RFC 6962, section 2.1: the root over leaf hashes, by the recursive definition.
pub fn log_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[b""]),
        [one] => *one,
        many => {
            let split = many.len().next_power_of_two() / 2;
            node_hash(&log_root(&many[..split]), &log_root(&many[split..]))
        }
    }
}

/// The roots at every size, in one pass: the peaks of the perfect subtrees are folded from the right.
pub fn log_roots(leaves: &[Hash]) -> Vec<Hash> {
    let mut peaks: Vec<(u32, Hash)> = Vec::new();
    let mut roots = vec![log_root(&[])];
    for leaf in leaves {
        let mut node = (0, *leaf);
        while peaks.last().is_some_and(|(height, _)| *height == node.0) {
            let (height, left) = peaks.pop().unwrap_or(node);
            node = (height + 1, node_hash(&left, &node.1));
        }
        peaks.push(node);
        let fold =
            |right: Option<Hash>, (_, left): &(u32, Hash)| Some(right.map_or(*left, |r| node_hash(left, &r)));
        roots.push(peaks.iter().rev().fold(None, fold).unwrap_or(*leaf));
    }
    roots
}

/// The hash of each leaf.
pub fn leaf_hashes(leaves: &[Vec<u8>]) -> Vec<Hash> {
    leaves.iter().map(|leaf| leaf_hash(leaf)).collect()
}

/// The commit leaves of a log with their index.
pub fn commits(leaves: &[Vec<u8>]) -> Vec<(usize, CommitLeaf)> {
    let commit = |(index, leaf): (usize, &Vec<u8>)| match Leaf::decode(leaf) {
        Ok(Leaf::Commit(commit)) => Some((index, commit)),
        _ => None,
    };
    leaves.iter().enumerate().filter_map(commit).collect()
}

/// The newest write of every key: log index and encoded operation.
#[derive(Debug, Default)]
pub struct State(BTreeMap<Vec<u8>, Hash>);

impl State {
    /// The write at log index `index` with this encoded operation, whose key starts at byte 63.
    pub fn write(&mut self, index: u64, operation: &[u8]) {
        let leaf = sha256(&[&[2], &index.to_be_bytes(), leaf_hash(operation).as_bytes()]);
        self.0.insert(operation[63..].to_vec(), leaf);
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The state root (docs/formats.md, section 2), by the recursive definition.
    pub fn root(&self) -> Hash {
        let leaves: Vec<(Vec<bool>, Hash)> = self.0.iter().map(|(key, leaf)| (bits(key), *leaf)).collect();
        if leaves.is_empty() { Hash::ZERO } else { state_root(&leaves) }
    }
}

/// Each byte gives a 1 and its bits from the most significant; a final 0.
fn bits(key: &[u8]) -> Vec<bool> {
    let mut bits = Vec::with_capacity(key.len() * 9 + 1);
    for byte in key {
        bits.push(true);
        bits.extend((0..8).rev().map(|bit| byte >> bit & 1 == 1));
    }
    bits.push(false);
    bits
}

fn state_root(leaves: &[(Vec<bool>, Hash)]) -> Hash {
    let [first, .., last] = leaves else {
        return leaves[0].1;
    };
    let depth = first.0.iter().zip(&last.0).position(|(a, b)| a != b).unwrap_or(first.0.len());
    let split = leaves.partition_point(|(bits, _)| !bits[depth]);
    let (left, right) = (state_root(&leaves[..split]), state_root(&leaves[split..]));
    let depth = u16::try_from(depth).unwrap_or(u16::MAX).to_be_bytes();
    sha256(&[&[3], &depth, left.as_bytes(), right.as_bytes()])
}

/// Size and root of the checkpoint that a note carries, unverified.
///
/// # Errors
/// A note that is none.
pub fn checkpoint_of(note: &str) -> Result<Checkpoint, String> {
    let (body, _) = note.split_once("\n\n").ok_or("a note has a blank line")?;
    Checkpoint::parse(&format!("{body}\n")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_in_one_pass_are_the_recursive_ones() {
        let leaves: Vec<Hash> = (0..40_u8).map(|n| leaf_hash(&[n])).collect();
        let roots = log_roots(&leaves);
        for size in 0..=leaves.len() {
            assert_eq!(roots[size], log_root(&leaves[..size]), "size {size}");
        }
    }

    #[test]
    fn bundles_split_and_cut_ones_are_refused() {
        let bundle = [0, 2, 7, 8, 0, 0, 0, 1, 9];
        assert_eq!(split_bundle(&bundle).unwrap(), vec![vec![7, 8], vec![], vec![9]]);
        assert!(split_bundle(&bundle[..8]).is_err());
        assert!(split_bundle(&bundle[..1]).is_err());
    }
}
