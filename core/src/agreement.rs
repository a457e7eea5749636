//! Whether two checkpoints of one log can both be true: agreed, or evidence.
//!
//! Contract: [`compare`] looks at what two notes say by themselves, as when every replica is asked for its
//! checkpoint; [`advance`] is the one way in which what a client believes moves forward: by consistency proof,
//! never back. A contradiction that cosigners signed is [`AgreementError::Contradiction`] with portable
//! [`Evidence`]; it is never retried and never swallowed. Everything else that does not fit is an error of the
//! one who answered, and proves nothing.

use crate::checkpoint::Checkpoint;
use crate::evidence::Evidence;
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::note::{OpenedNote, SignedNote};
use crate::policy::CertifiedCheckpoint;
use crate::position::TreeSize;
use crate::proof::{ProofError, consistency};

/// What two notes say of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// One size, one root.
    Agreed,
    /// Two sizes, and nothing that excludes the other: a consistency proof must decide.
    OtherSize,
    /// They contradict each other, and cosigners signed both.
    Disagreement(Box<Evidence>),
}

/// Where a certified checkpoint stands relative to what was believed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// The same tree, perhaps signed again later.
    Same,
    /// A larger tree that begins with the trusted one: believe it from now on.
    Forward,
    /// A smaller tree that the trusted one begins with: true, and out of date. Keep what was trusted.
    Stale,
}

/// Why a checkpoint is not believed beside another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgreementError {
    /// They are of different logs.
    #[error("the checkpoint is of log {got}, not of {wanted}")]
    OtherOrigin {
        /// The log of the one.
        wanted: String,
        /// The log of the other.
        got: String,
    },
    /// Signed statements contradict each other: somebody lied, and here is the proof.
    #[error("signed checkpoints of one log contradict each other ({}); keep the evidence", .0.kind())]
    Contradiction(Box<Evidence>),
    /// Two roots for one size, but not signed by cosigners on both sides.
    #[error(
        "two roots for size {size}: {trusted} and {got}; not cosigned on both sides, so nobody is convicted"
    )]
    UnsignedContradiction {
        /// The size.
        size: TreeSize,
        /// The root that was trusted, or the first one.
        trusted: Hash,
        /// The other.
        got: Hash,
    },
    /// The consistency proof does not hold.
    #[error("nothing proves that the tree of size {large} begins with the tree of size {small}")]
    NotConsistent {
        /// The smaller size.
        small: TreeSize,
        /// The larger size.
        large: TreeSize,
        /// What is wrong with the proof.
        #[source]
        source: ProofError,
    },
}

/// Compares two notes of one log. At equal size the roots must be equal; over two sizes only a replica's own
/// times can contradict (a rollback).
///
/// # Errors
/// [`AgreementError::OtherOrigin`]; [`AgreementError::UnsignedContradiction`] if the roots of one size differ, but no
/// cosigner signed one of the notes.
pub fn compare(a: &OpenedNote, b: &OpenedNote) -> Result<Comparison, AgreementError> {
    let (left, right) = (a.checkpoint(), b.checkpoint());
    check_origin(left, right)?;
    if let Some(evidence) = Evidence::of_notes(a, b) {
        return Ok(Comparison::Disagreement(Box::new(evidence)));
    }
    if left.size != right.size {
        return Ok(Comparison::OtherSize);
    }
    check_roots(left, right)?;
    Ok(Comparison::Agreed)
}

/// Holds a newly certified checkpoint against the trusted one. `path` is the RFC 6962 consistency proof from the
/// smaller to the larger of the two sizes; between equal sizes it is empty.
///
/// `trusted` comes from the caller's own store and is taken at its word; `keys` (those of the policy, and of
/// cosigner sets before) are only used to turn a contradiction into evidence.
///
/// # Errors
/// [`AgreementError`]: a contradiction, with evidence where it is signed, or a proof that does not hold.
pub fn advance(
    trusted: &SignedNote,
    new: &CertifiedCheckpoint,
    path: &[Hash],
    keys: &[VerifierKey],
) -> Result<Advance, AgreementError> {
    let (old, tree) = (trusted.checkpoint(), new.checkpoint());
    check_origin(old, tree)?;
    let opened = trusted.clone().open(keys).ok();
    if let Some(evidence) = opened.as_ref().and_then(|opened| Evidence::of_notes(opened, new.opened())) {
        return Err(AgreementError::Contradiction(Box::new(evidence)));
    }
    if old.size == tree.size {
        check_roots(old, tree)?;
    }
    let opened = opened.as_ref();
    if old.size <= tree.size {
        check_prefix((old, opened), (tree, Some(new.opened())), path)?;
    } else {
        check_prefix((tree, Some(new.opened())), (old, opened), path)?;
    }
    Ok(match tree.size.cmp(&old.size) {
        std::cmp::Ordering::Less => Advance::Stale,
        std::cmp::Ordering::Equal => Advance::Same,
        std::cmp::Ordering::Greater => Advance::Forward,
    })
}

/// Proves that the larger tree begins with the smaller one. A proof that holds for another smaller root instead
/// shows a rewrite.
fn check_prefix(
    (small, small_note): (&Checkpoint, Option<&OpenedNote>),
    (large, large_note): (&Checkpoint, Option<&OpenedNote>),
    path: &[Hash],
) -> Result<(), AgreementError> {
    let proven = consistency::verify(small.size, &small.root, large.size, &large.root, path);
    let Err(source) = proven else {
        return Ok(());
    };
    let rewrite = consistency::roots_from_path(small.size, &small.root, large.size, path)
        .ok()
        .zip(small_note.zip(large_note))
        .and_then(|(roots, (small, large))| Evidence::of_rewrite(small, large, roots.old, path));
    Err(match rewrite {
        Some(evidence) => AgreementError::Contradiction(Box::new(evidence)),
        None => AgreementError::NotConsistent { small: small.size, large: large.size, source },
    })
}

fn check_origin(wanted: &Checkpoint, got: &Checkpoint) -> Result<(), AgreementError> {
    if wanted.origin == got.origin {
        return Ok(());
    }
    Err(AgreementError::OtherOrigin { wanted: wanted.origin.clone(), got: got.origin.clone() })
}

fn check_roots(a: &Checkpoint, b: &Checkpoint) -> Result<(), AgreementError> {
    if a.root == b.root {
        return Ok(());
    }
    Err(AgreementError::UnsignedContradiction { size: a.size, trusted: a.root, got: b.root })
}
