//! What cosignatures of members prove against each other: evidence, made of what was verified.

use quorate_core::{
    checkpoint::Checkpoint,
    evidence::Evidence,
    key::VerifierKey,
    name::Origin,
    note::{Cosignature, OpenedNote, SignedNote},
    position::TreeSize,
};

use super::book::Signed;

/// A checkpoint with these signatures, each verified again; `None` if one is bad, or there is none.
fn opened<'a>(
    origin: &Origin,
    size: TreeSize,
    signers: impl Iterator<Item = (&'a VerifierKey, &'a Signed)>,
) -> Option<OpenedNote> {
    let mut keys = Vec::new();
    let mut note: Option<SignedNote> = None;
    for (key, signed) in signers {
        let checkpoint = Checkpoint { origin: origin.as_str().to_owned(), size, root: signed.root };
        let note = note.get_or_insert_with(|| SignedNote::new(checkpoint));
        note.add(Cosignature::by(key, signed.time, signed.signature).to_line());
        keys.push(key.clone());
    }
    note?.open(&keys).ok()
}

/// What one member's two signatures prove: two roots for one size, or a smaller size at a later time.
pub(super) fn of_one(
    origin: &Origin,
    key: &VerifierKey,
    (size, signed): (TreeSize, &Signed),
    (before_size, before): (TreeSize, &Signed),
) -> Option<Evidence> {
    let a = opened(origin, before_size, std::iter::once((key, before)))?;
    let b = opened(origin, size, std::iter::once((key, signed)))?;
    Evidence::of_notes(&a, &b)
}

/// What two groups of members prove that signed different roots for one size.
pub(super) fn of_two<'a>(
    origin: &Origin,
    size: TreeSize,
    ours: impl Iterator<Item = (&'a VerifierKey, &'a Signed)>,
    theirs: impl Iterator<Item = (&'a VerifierKey, &'a Signed)>,
) -> Option<Evidence> {
    Evidence::of_notes(&opened(origin, size, ours)?, &opened(origin, size, theirs)?)
}
