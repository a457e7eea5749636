//! What a client believes only moves forward, and contradictions come out as evidence.

use quorate_core::agreement::{Advance, AgreementError, Comparison, advance, compare};
use quorate_core::checkpoint::Checkpoint;
use quorate_core::evidence::{EvidenceKind, Keys};
use quorate_core::hash::Hash;
use quorate_core::note::SignedNote;
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::TreeSize;
use quorate_core::tree::{MemoryTree, consistency_path};

use crate::support::Ledger;

/// What a node may be asked for: a tree, who signed it, and when.
struct World {
    ledger: Ledger,
    honest: MemoryTree,
    forked: MemoryTree,
}

impl World {
    fn new() -> Self {
        let leaves = |fork_at: u64| {
            let mut tree = MemoryTree::new();
            (0..9_u64).for_each(|leaf| {
                tree.append(&[u8::from(leaf >= fork_at), leaf as u8]);
            });
            tree
        };
        Self { ledger: Ledger::new(1), honest: leaves(9), forked: leaves(3) }
    }

    fn note(&self, tree: &MemoryTree, size: u64, nodes: &[usize], time: u64) -> SignedNote {
        let size = TreeSize::new(size);
        let root = quorate_core::tree::root_at(tree, size).unwrap();
        self.ledger.sign(&Checkpoint { origin: self.ledger.origin.clone(), size, root }, nodes, time)
    }

    fn certified(&self, tree: &MemoryTree, size: u64, nodes: &[usize], time: u64) -> CertifiedCheckpoint {
        self.ledger.policy().certify(self.note(tree, size, nodes, time)).unwrap()
    }

    fn advance(
        &self,
        trusted: &SignedNote,
        new: &CertifiedCheckpoint,
        path: &[Hash],
    ) -> Result<Advance, AgreementError> {
        advance(trusted, new, path, self.ledger.policy().keys())
    }

    fn path(tree: &MemoryTree, old: u64, new: u64) -> Vec<Hash> {
        consistency_path(tree, TreeSize::new(old), TreeSize::new(new)).unwrap()
    }
}

fn evidence_kind(world: &World, result: Result<Advance, AgreementError>) -> EvidenceKind {
    let Err(AgreementError::Contradiction(evidence)) = result else { panic!("{result:?}") };
    evidence.verify(&Keys::from(&world.ledger.policy())).unwrap();
    evidence.kind()
}

#[test]
fn forward_same_and_stale() {
    let world = World::new();
    let trusted = world.note(&world.honest, 5, &[0, 1, 2], 10);
    let new = world.certified(&world.honest, 8, &[0, 1], 11);
    let path = World::path(&world.honest, 5, 8);
    assert_eq!(world.advance(&trusted, &new, &path), Ok(Advance::Forward));
    let again = world.certified(&world.honest, 5, &[1, 2], 30);
    assert_eq!(world.advance(&trusted, &again, &[]), Ok(Advance::Same));
    let old = world.certified(&world.honest, 3, &[0, 1], 9);
    assert_eq!(world.advance(&trusted, &old, &World::path(&world.honest, 3, 5)), Ok(Advance::Stale));
    // No proof, no belief; in either direction.
    for (checkpoint, path) in [(&new, &[][..]), (&old, &[]), (&again, &path), (&new, &path[..1])] {
        let refused = world.advance(&trusted, checkpoint, path);
        assert!(matches!(refused, Err(AgreementError::NotConsistent { .. })), "{refused:?}");
    }
}

#[test]
fn a_fork_at_the_trusted_size() {
    let world = World::new();
    let trusted = world.note(&world.honest, 5, &[0, 1], 10);
    let forked = world.certified(&world.forked, 5, &[1, 2], 10);
    assert_eq!(evidence_kind(&world, world.advance(&trusted, &forked, &[])), EvidenceKind::Fork);
    let trusted = world.note(&world.honest, 5, &[0], 10);
    assert_eq!(evidence_kind(&world, world.advance(&trusted, &forked, &[])), EvidenceKind::Disagreement);
    let trusted = world.note(&world.honest, 5, &[], 10);
    let unsigned = world.advance(&trusted, &forked, &[]);
    assert!(matches!(unsigned, Err(AgreementError::UnsignedContradiction { .. })), "{unsigned:?}");
}

#[test]
fn a_history_rewritten_below_the_trusted_size() {
    let world = World::new();
    let trusted = world.note(&world.honest, 5, &[0, 1], 10);
    let rewritten = world.certified(&world.forked, 8, &[1, 2], 11);
    // The node proves its own past, which is not the one it signed.
    let path = World::path(&world.forked, 5, 8);
    assert_eq!(evidence_kind(&world, world.advance(&trusted, &rewritten, &path)), EvidenceKind::Rewrite);
    let trusted = world.note(&world.honest, 5, &[0], 10);
    assert_eq!(evidence_kind(&world, world.advance(&trusted, &rewritten, &path)), EvidenceKind::Disagreement);
    // A true proof of the trusted tree does not lead to the rewritten root: an error, no evidence.
    let refused = world.advance(&trusted, &rewritten, &World::path(&world.honest, 5, 8));
    assert!(matches!(refused, Err(AgreementError::NotConsistent { .. })), "{refused:?}");
    // At a power of two the proof does not hold the old root, so nobody can be convicted by it.
    let trusted = world.note(&world.honest, 4, &[0, 1], 10);
    let refused = world.advance(&trusted, &rewritten, &World::path(&world.forked, 4, 8));
    assert!(matches!(refused, Err(AgreementError::NotConsistent { .. })), "{refused:?}");
}

#[test]
fn a_tree_rolled_back() {
    let world = World::new();
    let trusted = world.note(&world.honest, 8, &[0, 1], 10);
    let back = world.certified(&world.honest, 5, &[1, 2], 11);
    let path = World::path(&world.honest, 5, 8);
    assert_eq!(evidence_kind(&world, world.advance(&trusted, &back, &path)), EvidenceKind::Rollback);
}

#[test]
fn replicas_are_compared_by_what_they_signed() {
    let world = World::new();
    let open = |note: SignedNote| note.open(world.ledger.policy().keys()).unwrap();
    let one = open(world.note(&world.honest, 5, &[0], 10));
    let two = open(world.note(&world.honest, 5, &[1], 12));
    assert_eq!(compare(&one, &two), Ok(Comparison::Agreed));
    let ahead = open(world.note(&world.honest, 6, &[1], 12));
    assert_eq!(compare(&one, &ahead), Ok(Comparison::OtherSize));
    let forked = open(world.note(&world.forked, 5, &[2], 12));
    assert!(
        matches!(compare(&one, &forked), Ok(Comparison::Disagreement(evidence)) if evidence.kind() == EvidenceKind::Disagreement)
    );
    let unsigned = open(world.note(&world.forked, 5, &[], 12));
    assert!(matches!(compare(&one, &unsigned), Err(AgreementError::UnsignedContradiction { .. })));
    let other = Ledger::new(2);
    let stranger = other.note().open(other.policy().keys()).unwrap();
    assert!(matches!(compare(&one, &stranger), Err(AgreementError::OtherOrigin { .. })));
    let stranger = other.certified();
    assert!(matches!(world.advance(one.note(), &stranger, &[]), Err(AgreementError::OtherOrigin { .. })));
}
