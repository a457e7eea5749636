//! The log tree and its proofs: against the golden vectors, against RFC 6962 written down word for word, and
//! against everything that must be refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;
use std::convert::Infallible;

use proptest::prelude::*;
use quorate_core::hash::{Hash, empty_root, leaf_hash, node_hash};
use quorate_core::position::{LogIndex, TreeSize};
use quorate_core::proof::{ProofError, consistency, inclusion};
use quorate_core::tree::{
    Frontier, FrontierError, MemoryTree, NodeReader, TreeError, consistency_path, inclusion_path, root_at,
};
use serde_json::Value;

/// RFC 6962 §2.1 as it stands there, over leaf hashes.
mod model {
    use super::{Hash, empty_root, node_hash};

    /// The largest power of two smaller than n.
    fn split(n: usize) -> usize {
        n.next_power_of_two() / 2
    }

    pub(super) fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                node_hash(&root(left), &root(right))
            }
        }
    }

    pub(super) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = split(leaves.len());
        let (left, right) = leaves.split_at(k);
        let (mut path, sibling) =
            if m < k { (path(m, left), root(right)) } else { (path(m - k, right), root(left)) };
        path.push(sibling);
        path
    }

    pub(super) fn proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        subproof(m, leaves, true)
    }

    fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if known { Vec::new() } else { vec![root(leaves)] };
        }
        let k = split(leaves.len());
        let (left, right) = leaves.split_at(k);
        let (mut proof, sibling) = if m <= k {
            (subproof(m, left, known), root(right))
        } else {
            (subproof(m - k, right, false), root(left))
        };
        proof.push(sibling);
        proof
    }
}

/// Distinct leaf hashes.
fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn size(n: usize) -> TreeSize {
    TreeSize::new(n.try_into().unwrap())
}

fn index(n: usize) -> LogIndex {
    LogIndex::new(n.try_into().unwrap())
}

/// All hashes that differ from this one in one bit.
fn flips(hash: Hash) -> impl Iterator<Item = Hash> {
    (0..256).map(move |bit| {
        let mut bytes = *hash.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Hash::new(bytes)
    })
}

/// All paths that differ from this one in one bit of one hash, or by one hash at either end.
fn spoilt(path: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for at in 0..path.len() {
        for flipped in flips(path[at]) {
            let mut path = path.to_vec();
            path[at] = flipped;
            all.push(path);
        }
    }
    let extra = path.last().copied().unwrap_or(Hash::ZERO);
    all.push([path, &[extra]].concat());
    all.push([&[extra], path].concat());
    if let [_, rest @ ..] = path {
        all.push(rest.to_vec());
        all.push(path[..rest.len()].to_vec());
    }
    all
}

/// Lets through only what a prover may ask for at a size, and counts.
struct Strict<'a> {
    tree: &'a MemoryTree,
    size: u64,
    reads: Cell<u32>,
}

impl NodeReader for Strict<'_> {
    type Error = quorate_core::tree::MissingNode;

    fn read(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        self.reads.set(self.reads.get() + 1);
        assert!((index + 1) << level <= self.size, "node {index} of level {level} at size {}", self.size);
        self.tree.read(level, index)
    }
}

fn strict(tree: &MemoryTree, n: usize) -> Strict<'_> {
    Strict { tree, size: n.try_into().unwrap(), reads: Cell::new(0) }
}

/// A tree of any size whose leaves are all alike, so that a node's hash follows from its level.
struct Alike([Hash; 64]);

impl Alike {
    fn new() -> Self {
        let mut nodes = [leaf_hash(b"alike"); 64];
        for level in 1..64 {
            nodes[level] = node_hash(&nodes[level - 1], &nodes[level - 1]);
        }
        Self(nodes)
    }
}

impl NodeReader for Alike {
    type Error = Infallible;

    fn read(&self, level: u8, _: u64) -> Result<Hash, Infallible> {
        Ok(self.0[usize::from(level)])
    }
}

fn hash_of(value: &Value) -> Hash {
    Hash::from_hex(value.as_str().unwrap()).unwrap()
}

fn hashes_of(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash_of).collect()
}

fn vectors() -> Vec<Value> {
    [
        include_str!("vectors/ledger-1.json"),
        include_str!("vectors/ledger-2.json"),
        include_str!("vectors/ledger-3.json"),
    ]
    .map(|text| serde_json::from_str(text).unwrap())
    .to_vec()
}

/// Builds a vector's tree from its leaves, and compares the root after each block on the way.
fn tree_of(vector: &Value) -> MemoryTree {
    let mut tree = MemoryTree::new();
    let mut frontier = Frontier::new();
    for block in vector["expect"].as_array().unwrap() {
        for leaf in block["transactions"].as_array().unwrap().iter().chain([&block["commit"]]) {
            let bytes = hex::decode(leaf["leaf"].as_str().unwrap()).unwrap();
            assert_eq!(leaf_hash(&bytes), hash_of(&leaf["leaf_hash"]));
            let at = tree.append(&bytes);
            assert_eq!(at.get(), leaf["index"].as_u64().unwrap());
            assert_eq!(frontier.push(leaf_hash(&bytes)), at);
        }
        assert_eq!(tree.size().get(), block["size"].as_u64().unwrap());
        assert_eq!(tree.root(), hash_of(&block["log_root"]));
        assert_eq!(frontier.root(), tree.root());
    }
    tree
}

#[test]
fn golden_vectors_give_the_roots_and_proofs_written_there() {
    for vector in vectors() {
        let tree = tree_of(&vector);
        let expected = &vector["log_tree"];
        let (size, root) = (TreeSize::new(expected["size"].as_u64().unwrap()), hash_of(&expected["root"]));
        assert_eq!((tree.size(), tree.root()), (size, root));
        for proof in expected["inclusion"].as_array().unwrap() {
            let index = LogIndex::new(proof["index"].as_u64().unwrap());
            let path = hashes_of(&proof["path"]);
            assert_eq!(inclusion_path(&tree, index, size).unwrap(), path);
            let leaf = tree.read(0, index.get()).unwrap();
            assert_eq!(inclusion::verify(&leaf, index, size, &path, &root), Ok(()));
        }
        for proof in expected["consistency"].as_array().unwrap() {
            let old = TreeSize::new(proof["old_size"].as_u64().unwrap());
            let (old_root, path) = (hash_of(&proof["old_root"]), hashes_of(&proof["path"]));
            assert_eq!(root_at(&tree, old).unwrap(), old_root);
            assert_eq!(consistency_path(&tree, old, size).unwrap(), path);
            assert_eq!(consistency::verify(old, &old_root, size, &root, &path), Ok(()));
        }
    }
}

#[test]
fn golden_vectors_give_the_roots_of_zero_byte_leaves() {
    for vector in vectors() {
        let roots = vector["rfc6962_roots_of_n_zero_byte_leaves"].as_object().unwrap();
        assert!(!roots.is_empty());
        for (n, root) in roots {
            let n: usize = n.parse().unwrap();
            let frontier: Frontier = std::iter::repeat_n(leaf_hash(&[0]), n).collect();
            assert_eq!(frontier.root(), hash_of(root));
        }
    }
}

#[test]
fn every_proof_of_small_trees_is_that_of_the_rfc_and_verifies() {
    const MAX: usize = 70;
    let all = leaves(MAX);
    let tree: MemoryTree = all.iter().copied().collect();
    for n in 1..=MAX {
        let (hashes, reader) = (&all[..n], strict(&tree, n));
        let root = model::root(hashes);
        assert_eq!(root_at(&reader, size(n)).unwrap(), root);
        for m in 0..n {
            let path = inclusion_path(&reader, index(m), size(n)).unwrap();
            assert_eq!(path, model::path(m, hashes), "leaf {m} of {n}");
            assert_eq!(inclusion::verify(&hashes[m], index(m), size(n), &path, &root), Ok(()));
            let path = consistency_path(&reader, size(m + 1), size(n)).unwrap();
            assert_eq!(path, model::proof(m + 1, hashes), "{} to {n}", m + 1);
            let old_root = model::root(&hashes[..=m]);
            assert_eq!(consistency::verify(size(m + 1), &old_root, size(n), &root, &path), Ok(()));
        }
    }
}

#[test]
fn every_flipped_bit_of_an_inclusion_proof_is_refused() {
    let all = leaves(13);
    let tree: MemoryTree = all.iter().copied().collect();
    for n in 1..=all.len() {
        let root = model::root(&all[..n]);
        for (m, leaf) in all[..n].iter().enumerate() {
            let path = inclusion_path(&tree, index(m), size(n)).unwrap();
            let verify = |leaf: &Hash, m, path: &[Hash], root: &Hash| {
                inclusion::verify(leaf, index(m), size(n), path, root)
            };
            assert!(spoilt(&path).iter().all(|path| verify(leaf, m, path, &root).is_err()));
            assert!(flips(*leaf).all(|other| verify(&other, m, &path, &root).is_err()));
            assert!(flips(root).all(|root| verify(leaf, m, &path, &root).is_err()));
            let elsewhere = |other: usize| other == m || verify(leaf, other, &path, &root).is_err();
            assert!((0..=n).all(elsewhere), "the leaf {m} of {n} is at one place only");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_consistency_proof_is_refused() {
    let all = leaves(17);
    let tree: MemoryTree = all.iter().copied().collect();
    for n in 1..=all.len() {
        let new_root = model::root(&all[..n]);
        for m in 1..=n {
            let old_root = model::root(&all[..m]);
            let path = consistency_path(&tree, size(m), size(n)).unwrap();
            let verify = |old: usize, old_root: &Hash, new_root: &Hash, path: &[Hash]| {
                consistency::verify(size(old), old_root, size(n), new_root, path)
            };
            assert!(spoilt(&path).iter().all(|path| verify(m, &old_root, &new_root, path).is_err()));
            assert!(flips(old_root).all(|old_root| verify(m, &old_root, &new_root, &path).is_err()));
            assert!(flips(new_root).all(|new_root| verify(m, &old_root, &new_root, &path).is_err()));
            let other_size = |old: usize| old == m || verify(old, &old_root, &new_root, &path).is_err();
            assert!((0..=n + 1).all(other_size), "the old root is that of {m} alone");
        }
    }
}

#[test]
fn a_path_under_the_known_root_tells_the_old_root() {
    let all = leaves(30);
    let tree: MemoryTree = all.iter().copied().collect();
    for m in 1..30 {
        let path = consistency_path(&tree, size(m), size(30)).unwrap();
        let old_root = model::root(&all[..m]);
        // Only a power of two needs the old root to begin with.
        let start = if m.is_power_of_two() { old_root } else { Hash::ZERO };
        let roots = consistency::roots_from_path(size(m), &start, size(30), &path).unwrap();
        assert_eq!((roots.old, roots.new), (old_root, tree.root()));
    }
}

#[test]
fn positions_outside_the_tree_are_refused_by_prover_and_verifier() {
    let tree: MemoryTree = leaves(5).into_iter().collect();
    let (leaf, root) = (tree.leaf_hashes()[4], tree.root());
    for (m, n) in [(5, 5), (0, 0), (6, 5)] {
        let (index, size) = (index(m), size(n));
        assert_eq!(inclusion_path(&tree, index, size), Err(TreeError::IndexOutsideTree { index, size }));
        let refused = Err(ProofError::IndexOutsideTree { index, size });
        assert_eq!(inclusion::verify(&leaf, index, size, &[], &root), refused);
    }
    for (m, n) in [(0, 5), (0, 0), (5, 4), (1, 0)] {
        let (old, new) = (size(m), size(n));
        assert_eq!(consistency_path(&tree, old, new), Err(TreeError::SizesOutOfOrder { old, new }));
        let refused = Err(ProofError::SizesOutOfOrder { old, new });
        assert_eq!(consistency::verify(old, &root, new, &root, &[]), refused);
    }
}

#[test]
fn wrong_lengths_are_named() {
    let tree: MemoryTree = leaves(7).into_iter().collect();
    let (leaf, root) = (tree.leaf_hashes()[6], tree.root());
    assert_eq!(
        inclusion::verify(&leaf, index(6), size(7), &[], &root),
        Err(ProofError::WrongLength { expected: 2, got: 0 })
    );
    for (old, expected) in [(4, 1), (3, 4), (6, 3), (7, 0)] {
        let (got, path) = (6, [Hash::ZERO; 6]);
        assert_eq!(
            consistency::verify(size(old), &root, size(7), &root, &path),
            Err(ProofError::WrongLength { expected, got })
        );
    }
    assert_eq!(
        consistency::verify(size(3), &root, size(7), &root, &[]),
        Err(ProofError::WrongLength { expected: 4, got: 0 })
    );
}

#[test]
fn a_node_that_is_not_there_is_an_error_and_not_a_hash() {
    let tree: MemoryTree = leaves(5).into_iter().collect();
    assert!(matches!(root_at(&tree, size(8)), Err(TreeError::Reader { level: 3, index: 0, .. })));
    assert!(matches!(root_at(&tree, size(6)), Err(TreeError::Reader { level: 1, index: 2, .. })));
    assert!(matches!(inclusion_path(&tree, index(4), size(6)), Err(TreeError::Reader { index: 5, .. })));
    assert!(Frontier::read(&tree, size(6)).is_err());
    assert_eq!(root_at(&tree, TreeSize::ZERO), Ok(empty_root()));
}

#[test]
fn a_frontier_needs_exactly_the_peaks_of_its_size() {
    let size = TreeSize::new(6);
    let wrong = |got| Err(FrontierError::WrongPeaks { size, expected: 2, got });
    assert_eq!(Frontier::from_parts(size, leaves(1)), wrong(1));
    assert_eq!(Frontier::from_parts(size, leaves(3)), wrong(3));
    let size = TreeSize::new(1 << 63);
    assert_eq!(Frontier::from_parts(size, leaves(1)), Err(FrontierError::TooLarge { size }));
    assert!(Frontier::from_parts(Frontier::MAX_SIZE, leaves(63)).is_ok());
    assert_eq!(Frontier::new().root(), empty_root());
    assert_eq!(MemoryTree::new().root(), empty_root());
}

proptest! {
    #[test]
    fn a_frontier_appends_like_the_whole_tree(n in 0_usize..600, more in 0_usize..40) {
        let all = leaves(n + more);
        let tree: MemoryTree = all[..n].iter().copied().collect();
        let mut frontier = Frontier::read(&tree, size(n)).unwrap();
        prop_assert_eq!(&frontier, &all[..n].iter().copied().collect::<Frontier>());
        prop_assert_eq!(frontier.root(), tree.root());
        frontier = Frontier::from_parts(frontier.size(), frontier.peaks().to_vec()).unwrap();
        frontier.extend(all[n..].iter().copied());
        prop_assert_eq!(frontier.root(), model::root(&all));
        prop_assert_eq!(frontier.size(), size(n + more));
    }

    #[test]
    fn proofs_at_past_sizes_are_those_of_the_rfc(total in 1_usize..700, a in any::<u32>(), b in any::<u32>()) {
        let all = leaves(total);
        let tree: MemoryTree = all.iter().copied().collect();
        let n = 1 + usize::try_from(a).unwrap() % total;
        let m = usize::try_from(b).unwrap() % n;
        let reader = strict(&tree, n);
        let path = inclusion_path(&reader, index(m), size(n)).unwrap();
        prop_assert_eq!(path, model::path(m, &all[..n]));
        let path = consistency_path(&reader, size(m + 1), size(n)).unwrap();
        prop_assert_eq!(path, model::proof(m + 1, &all[..n]));
        prop_assert!(reader.reads.get() <= 40);
    }

    #[test]
    fn proofs_hold_at_any_size_a_position_can_have(
        new in 1..=u64::MAX,
        shift in 0_u32..64,
        a in any::<u64>(),
    ) {
        let (tree, new) = (Alike::new(), (new >> shift).max(1));
        let (at, size) = (LogIndex::new(a % new), TreeSize::new(new));
        let root = root_at(&tree, size).unwrap();
        let path = inclusion_path(&tree, at, size).unwrap();
        prop_assert!(path.len() <= 64);
        prop_assert_eq!(inclusion::verify(&tree.0[0], at, size, &path, &root), Ok(()));
        let old = at.size_through().unwrap();
        let old_root = Frontier::read(&tree, old).unwrap().root();
        let path = consistency_path(&tree, old, size).unwrap();
        prop_assert!(path.len() <= 65);
        prop_assert_eq!(consistency::verify(old, &old_root, size, &root, &path), Ok(()));
    }

    #[test]
    fn verifiers_survive_arbitrary_input(a in any::<u64>(), b in any::<u64>(), length in 0_usize..70) {
        let (path, root) = (vec![Hash::ZERO; length], leaf_hash(b"root"));
        let refused = inclusion::verify(&Hash::ZERO, LogIndex::new(a), TreeSize::new(b), &path, &root);
        prop_assert!(refused.is_err());
        let refused = consistency::verify(TreeSize::new(a), &Hash::ZERO, TreeSize::new(b), &root, &path);
        prop_assert!(refused.is_err());
    }
}
