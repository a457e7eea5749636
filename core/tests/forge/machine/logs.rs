//! Inclusion and consistency proofs. Size and root are what somebody signed; all else is the prover's.

use quorate_core::hash::{Hash, leaf_hash};
use quorate_core::position::{LogIndex, TreeSize};
use quorate_core::proof::{consistency as consistent, inclusion as included};
use quorate_core::tree::consistency_path;

use super::rng::Rng;
use super::tally::Judged;
use super::world::{Age, World};

pub(crate) fn inclusion(world: &World, rng: &mut Rng) -> Judged {
    let age = world.age(rng);
    let index = rng.next() % age.size();
    let proof = age.ledger.leaf_proof(index);
    let (mut at, mut index, mut leaf, mut path) = (age, index, proof.leaf, proof.path);
    for _ in 0..1 + rng.below(2) {
        let other = world.any(rng);
        let elsewhere = rng.next() % other.size();
        match rng.below(8) {
            0 => leaf = other.ledger.leaves[elsewhere as usize].clone(),
            1 => rng.flip(&mut leaf),
            // The two hashes of a node, as if they were a leaf.
            2 if path.len() > 1 && rng.one_in(8) => {
                leaf = [path[0].as_bytes().as_slice(), path[1].as_bytes()].concat();
                path.remove(0);
                index /= 2;
            }
            3 => {
                let to = index ^ (1 << rng.below(path.len().max(1)));
                let fits = to < at.size() && at.ledger.leaf_proof(to).path.len() == path.len();
                if fits || rng.one_in(6) {
                    index = to;
                }
            }
            // Only where a path has as many hashes there: otherwise its length alone is refused.
            4 => {
                let there = world.age(rng);
                let hashes = |age: &Age| age.ledger.leaf_proof(index % age.size()).path.len();
                if hashes(there) == path.len() {
                    at = there;
                }
            }
            5 if other.ledger.leaf_proof(elsewhere).path.len() == path.len() => {
                path = other.ledger.leaf_proof(elsewhere).path;
            }
            _ => rng.path(&mut path, &world.pool),
        }
    }
    let head = at.ledger.head();
    let index = LogIndex::new(index);
    match included::verify(&leaf_hash(&leaf), index, head.size, &path, &head.root) {
        Err(error) => Judged::by(&error),
        Ok(()) => {
            let place = index.get() as usize;
            let is_true =
                at.ledger.leaves.get(place) == Some(&leaf) && at.ledger.leaf_proof(index.get()).path == path;
            Judged::accepted(is_true, (index, leaf, path))
        }
    }
}

pub(crate) fn consistency(world: &World, rng: &mut Rng) -> Judged {
    let (mut old, mut new) = (world.any(rng), world.any(rng));
    if old.size() > new.size() {
        std::mem::swap(&mut old, &mut new);
    }
    let mut path = honest(old, new);
    for _ in 0..rng.below(3) {
        rng.path(&mut path, &world.pool);
    }
    let (small, large) = (old.ledger.head(), new.ledger.head());
    match consistent::verify(small.size, &small.root, large.size, &large.root, &path) {
        Err(error) => Judged::by(&error),
        Ok(()) => {
            let begins = new.ledger.leaves.starts_with(&old.ledger.leaves);
            Judged::accepted(begins && honest(old, new) == path, (small.size, large.size, path))
        }
    }
}

/// The path that an honest prover of the larger tree gives.
fn honest(old: &Age, new: &Age) -> Vec<Hash> {
    consistency_path(&new.ledger.tree, TreeSize::new(old.size()), TreeSize::new(new.size())).unwrap()
}
