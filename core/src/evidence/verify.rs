//! Checks evidence with public keys alone.

use super::error::EvidenceError;
use super::make::{Evidence, EvidenceKind, cosigners_of_both, rolled_back};
use crate::block::BlockPublicKey;
use crate::key::{SignatureType, VerifierKey};
use crate::note::OpenedNote;
use crate::policy::Policy;
use crate::proof::consistency;

/// The public keys that evidence is checked with: the cosigners of policies and cosigner sets, and the block keys
/// of proposers. Other keys do not count, whatever they signed.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    cosigners: Vec<VerifierKey>,
    proposers: Vec<BlockPublicKey>,
}

impl Keys {
    /// These keys; of the first, only cosigner keys (type 0x04) are kept.
    #[must_use]
    pub fn new(cosigners: &[VerifierKey], proposers: &[BlockPublicKey]) -> Self {
        let counts = |key: &&VerifierKey| key.kind() == SignatureType::Cosignature;
        Self { cosigners: cosigners.iter().filter(counts).cloned().collect(), proposers: proposers.to_vec() }
    }
}

/// The cosigners of a policy; it knows no block keys.
impl From<&Policy> for Keys {
    fn from(policy: &Policy) -> Self {
        Self::new(policy.keys(), &[])
    }
}

/// Whom verified evidence names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Each of these keys signed two things that cannot both be true: it lied, or was stolen.
    Guilty {
        /// What they did.
        kind: EvidenceKind,
        /// The keys, at least one.
        culprits: Vec<Culprit>,
    },
    /// One of the two is wrong, or was fed a different block: the signed blocks and a recomputation say which.
    Suspects {
        /// [`EvidenceKind::Disagreement`].
        kind: EvidenceKind,
        /// A cosigner of each side.
        keys: [VerifierKey; 2],
    },
}

/// A key that is proven to have lied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Culprit {
    /// A replica or witness, by its cosigner key.
    Cosigner(VerifierKey),
    /// A proposer, by its block key.
    Proposer(BlockPublicKey),
}

pub(super) fn verify(evidence: &Evidence, keys: &Keys) -> Result<Verdict, EvidenceError> {
    if evidence.kind == EvidenceKind::Equivocation {
        return verify_blocks(evidence, keys);
    }
    check_parts(evidence)?;
    let (a, b) = open_notes(evidence, keys)?;
    match evidence.kind {
        EvidenceKind::Fork => {
            check_fork(&a, &b)?;
            guilty(evidence.kind, cosigners_of_both(&a, &b))
        }
        EvidenceKind::Rewrite => {
            check_rewrite(evidence)?;
            guilty(evidence.kind, cosigners_of_both(&a, &b))
        }
        EvidenceKind::Rollback => {
            if a.checkpoint().size >= b.checkpoint().size {
                return Err(no(evidence.kind, "the first note must be of the smaller size"));
            }
            guilty(evidence.kind, rolled_back(&a, &b))
        }
        _ => suspects(evidence, &a, &b),
    }
}

/// Two keys: a fork or a rewrite across them.
fn suspects(evidence: &Evidence, a: &OpenedNote, b: &OpenedNote) -> Result<Verdict, EvidenceError> {
    let kind = EvidenceKind::Disagreement;
    match evidence.root {
        Some(_) => check_rewrite(evidence)?,
        None => check_fork(a, b)?,
    }
    if !cosigners_of_both(a, b).is_empty() {
        return Err(no(kind, "one key signed both; that is a fork or a rewrite, and names the guilty"));
    }
    let first = |note: &OpenedNote| note.cosigners().next().map(|(key, _)| key.clone());
    let sides = first(a).zip(first(b));
    let (one, other) = sides.ok_or(no(kind, "a note has no cosignature of a known key"))?;
    Ok(Verdict::Suspects { kind, keys: [one, other] })
}

fn verify_blocks(evidence: &Evidence, keys: &Keys) -> Result<Verdict, EvidenceError> {
    let kind = evidence.kind;
    let [a, b] = evidence.blocks.as_slice() else {
        return Err(EvidenceError::Field { field: "blocks", problem: "an equivocation has two" });
    };
    if !evidence.notes.is_empty() || evidence.root.is_some() || !evidence.consistency.is_empty() {
        return Err(EvidenceError::Field { field: "notes", problem: "an equivocation has blocks only" });
    }
    if !keys.proposers.contains(&a.proposer) {
        return Err(EvidenceError::UnknownProposer);
    }
    let open = |number, block: &super::make::ProposedBlock| {
        let verified = block.block.verify(&block.proposer);
        verified.map_err(|source| EvidenceError::Block { number, source })
    };
    if !open(1, a)?.equivocates(&open(2, b)?) {
        return Err(no(kind, "the blocks are not two of one proposer for one cluster, term and height"));
    }
    Ok(Verdict::Guilty { kind, culprits: vec![Culprit::Proposer(a.proposer)] })
}

/// Nothing is in the file that its kind does not need.
fn check_parts(evidence: &Evidence) -> Result<(), EvidenceError> {
    let may_have_root = matches!(evidence.kind, EvidenceKind::Rewrite | EvidenceKind::Disagreement);
    if !evidence.blocks.is_empty() {
        return Err(EvidenceError::Field { field: "blocks", problem: "only an equivocation has any" });
    }
    if evidence.root.is_some() && !may_have_root {
        return Err(EvidenceError::Field { field: "root", problem: "only a rewrite has one" });
    }
    if evidence.root.is_none() && !evidence.consistency.is_empty() {
        return Err(EvidenceError::Field { field: "consistency", problem: "it is there without its root" });
    }
    Ok(())
}

/// Opens both notes with cosigner keys alone; they must be of one origin.
fn open_notes(evidence: &Evidence, keys: &Keys) -> Result<(OpenedNote, OpenedNote), EvidenceError> {
    let [a, b] = evidence.notes.as_slice() else {
        return Err(EvidenceError::Field { field: "notes", problem: "there must be two" });
    };
    if a.checkpoint().origin != b.checkpoint().origin {
        return Err(no(evidence.kind, "the notes are of different origins"));
    }
    let open = |number, note: &crate::note::SignedNote| {
        let opened = note.clone().open(&keys.cosigners);
        opened.map_err(|source| EvidenceError::Note { number, source })
    };
    Ok((open(1, a)?, open(2, b)?))
}

fn check_fork(a: &OpenedNote, b: &OpenedNote) -> Result<(), EvidenceError> {
    let (left, right) = (a.checkpoint(), b.checkpoint());
    if left.size == right.size && left.root != right.root {
        return Ok(());
    }
    Err(no(EvidenceKind::Fork, "the notes are not of one size with different roots"))
}

/// Whether the consistency proof shows, under the larger note's root, another root for the smaller size than
/// the smaller note has.
pub(super) fn check_rewrite(evidence: &Evidence) -> Result<(), EvidenceError> {
    let kind = EvidenceKind::Rewrite;
    let ([small, large], Some(root)) = (evidence.notes.as_slice(), evidence.root) else {
        return Err(no(kind, "it needs two notes and a root"));
    };
    let (small, large) = (small.checkpoint(), large.checkpoint());
    if small.size >= large.size {
        return Err(no(kind, "the first note must be of the smaller size"));
    }
    if root == small.root {
        return Err(no(kind, "the larger tree begins with the smaller one, as it should"));
    }
    consistency::verify(small.size, &root, large.size, &large.root, &evidence.consistency)?;
    Ok(())
}

fn guilty(kind: EvidenceKind, keys: Vec<VerifierKey>) -> Result<Verdict, EvidenceError> {
    if keys.is_empty() {
        return Err(no(kind, "no known key signed both notes so"));
    }
    Ok(Verdict::Guilty { kind, culprits: keys.into_iter().map(Culprit::Cosigner).collect() })
}

const fn no(kind: EvidenceKind, reason: &'static str) -> EvidenceError {
    EvidenceError::NoContradiction { kind: kind.as_str(), reason }
}
