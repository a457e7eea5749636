//! A crate that others wrote (ct-merkle) makes and checks the proofs of the log tree too: both say the same of every
//! proof, honest or altered.
#![expect(clippy::unwrap_used, reason = "tests")]

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use quorate_core::hash::{Hash, leaf_hash};
use quorate_core::position::{LogIndex, TreeSize};
use quorate_core::proof::{consistency, inclusion};
use quorate_core::tree::{MemoryTree, consistency_path, inclusion_path};
use sha2::{Digest, Sha256, digest::Output};

type Theirs = MemoryBackedTree<Sha256, Vec<u8>>;

fn leaves(size: u64) -> Vec<Vec<u8>> {
    (0..size).map(|n| n.to_be_bytes().repeat(1 + usize::try_from(n % 9).unwrap())).collect()
}

fn trees(size: u64) -> (MemoryTree, Theirs) {
    let (mut ours, mut theirs) = (MemoryTree::new(), Theirs::new());
    for leaf in leaves(size) {
        ours.append(&leaf);
        theirs.push(leaf);
    }
    (ours, theirs)
}

fn output(hash: &Hash) -> Output<Sha256> {
    Output::<Sha256>::from(*hash.as_bytes())
}

fn root_of<H: Digest>(root: &RootHash<H>) -> Hash {
    Hash::new(root.as_bytes().as_slice().try_into().unwrap())
}

fn concat(path: &[Hash]) -> Vec<u8> {
    path.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn digests(path: &[Hash]) -> Vec<Output<Sha256>> {
    path.iter().map(output).collect()
}

fn altered(path: &[Hash]) -> Vec<Vec<Hash>> {
    let flip = |at: usize| {
        let mut path = path.to_vec();
        let mut bytes = *path[at].as_bytes();
        bytes[at % 32] ^= 1;
        path[at] = Hash::new(bytes);
        path
    };
    (0..path.len()).map(flip).collect()
}

#[test]
fn both_give_the_same_roots_and_believe_the_same_inclusion_proofs() {
    for size in 1..70 {
        let (ours, theirs) = trees(size);
        assert_eq!(ours.root(), root_of(&theirs.root()), "size {size}");
        for index in 0..size {
            let path = inclusion_path(&ours, LogIndex::new(index), TreeSize::new(size)).unwrap();
            let leaf = leaves(size)[usize::try_from(index).unwrap()].clone();
            let place = usize::try_from(index).unwrap();
            assert_eq!(theirs.prove_inclusion(place).as_bytes(), concat(&path), "leaf {index} of {size}");
            for (path, is_honest) in std::iter::once((path.clone(), true))
                .chain(altered(&path).into_iter().map(|path| (path, false)))
            {
                let (hash, at, tree) = (leaf_hash(&leaf), LogIndex::new(index), TreeSize::new(size));
                let by_us = inclusion::verify(&hash, at, tree, &path, &ours.root()).is_ok();
                let digests = digests(&path);
                let proof = InclusionProof::<Sha256>::from_digests(digests.iter());
                let by_them = theirs.root().verify_inclusion(&leaf, index, &proof).is_ok();
                assert_eq!((by_us, by_them), (is_honest, is_honest), "leaf {index} of {size}");
            }
        }
    }
}

#[test]
fn both_believe_the_same_consistency_proofs() {
    for size in 2..50 {
        let (ours, theirs) = trees(size);
        for old in 1..size {
            let (before, their_before) = trees(old);
            let path = consistency_path(&ours, TreeSize::new(old), TreeSize::new(size)).unwrap();
            for (path, is_honest) in std::iter::once((path.clone(), true))
                .chain(altered(&path).into_iter().map(|path| (path, false)))
            {
                let (old, new) = (TreeSize::new(old), TreeSize::new(size));
                let by_us = consistency::verify(old, &before.root(), new, &ours.root(), &path).is_ok();
                let digests = digests(&path);
                let proof = ConsistencyProof::<Sha256>::from_digests(digests.iter());
                let by_them = theirs.root().verify_consistency(&their_before.root(), &proof).is_ok();
                assert_eq!((by_us, by_them), (is_honest, is_honest), "from {old} to {new}");
            }
        }
    }
}
