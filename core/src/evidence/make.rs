//! Evidence as data, and how it is made of what was opened.

use super::error::EvidenceError;
use super::verify::{self, Keys, Verdict};
use crate::block::VerifiedBlock;
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::name::split_node;
use crate::note::{NoteSignature, OpenedNote, SignedNote};

/// Which lie the evidence shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceKind {
    /// One key signed two roots for one size.
    Fork,
    /// One key signed a tree that does not begin with a smaller one it signed.
    Rewrite,
    /// One replica signed a smaller tree at a later time.
    Rollback,
    /// One proposer signed two blocks for one term and height.
    Equivocation,
    /// Two keys signed what cannot both be true.
    Disagreement,
}

impl EvidenceKind {
    /// The word in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Rewrite => "rewrite",
            Self::Rollback => "rollback",
            Self::Equivocation => "equivocation",
            Self::Disagreement => "disagreement",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Fork, Self::Rewrite, Self::Rollback, Self::Equivocation, Self::Disagreement]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

impl std::fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A claim that somebody lied, with what is needed to check it. Made here only of verified parts; from a file
/// it is a claim until [`Evidence::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub(super) kind: EvidenceKind,
    /// Two, except for an equivocation. The smaller size first, where they differ.
    pub(super) notes: Vec<SignedNote>,
    /// Two, for an equivocation.
    pub(super) blocks: Vec<ProposedBlock>,
    /// For a rewrite: the root that the consistency proof gives for the smaller size.
    pub(super) root: Option<Hash>,
    pub(super) consistency: Vec<Hash>,
}

/// A signed block and the key that is said to have signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProposedBlock {
    pub(super) proposer: crate::block::BlockPublicKey,
    pub(super) block: crate::block::SignedBlock,
}

impl Evidence {
    /// The kind of lie.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// The notes, with the cosignatures that count.
    #[must_use]
    pub fn notes(&self) -> &[SignedNote] {
        &self.notes
    }

    /// Checks the evidence with public keys alone.
    ///
    /// # Errors
    /// [`EvidenceError`] if it proves nothing against a key known here.
    pub fn verify(&self, keys: &Keys) -> Result<Verdict, EvidenceError> {
        verify::verify(self, keys)
    }

    /// What two opened notes prove by themselves: a fork or a disagreement at one size, a rollback over two.
    /// `None` if they prove nothing: they agree, are of two origins, or no cosigner contradicts another.
    #[must_use]
    pub fn of_notes(a: &OpenedNote, b: &OpenedNote) -> Option<Self> {
        let (left, right) = (a.checkpoint(), b.checkpoint());
        if left.origin != right.origin {
            return None;
        }
        if left.size == right.size {
            return (left.root != right.root)
                .then(|| Self::contradiction(EvidenceKind::Fork, a, b))
                .flatten();
        }
        let (small, large) = if left.size < right.size { (a, b) } else { (b, a) };
        let culprits = rolled_back(small, large);
        (!culprits.is_empty())
            .then(|| Self::new(EvidenceKind::Rollback, (small, &culprits), (large, &culprits)))
    }

    /// What two notes of different sizes prove together with the root that a consistency proof gives for the
    /// smaller size under the larger root: a rewrite, or a disagreement across two keys. `None` if the proof
    /// does not hold, or gives the root that was signed, or no cosigner contradicts another.
    #[must_use]
    pub fn of_rewrite(
        small: &OpenedNote,
        large: &OpenedNote,
        root: Hash,
        consistency: &[Hash],
    ) -> Option<Self> {
        let mut evidence = Self::contradiction(EvidenceKind::Rewrite, small, large)?;
        evidence.root = Some(root);
        evidence.consistency = consistency.to_vec();
        verify::check_rewrite(&evidence).is_ok().then_some(evidence)
    }

    /// What two signed blocks prove: an equivocation. `None` if they are no contradiction of one proposer.
    #[must_use]
    pub fn of_blocks(a: &VerifiedBlock, b: &VerifiedBlock) -> Option<Self> {
        let block =
            |block: &VerifiedBlock| ProposedBlock { proposer: *block.proposer(), block: *block.signed() };
        a.equivocates(b).then(|| Self {
            kind: EvidenceKind::Equivocation,
            notes: Vec::new(),
            blocks: vec![block(a), block(b)],
            root: None,
            consistency: Vec::new(),
        })
    }

    /// By one key if there is one that signed both, otherwise by a key of each side.
    fn contradiction(by_one: EvidenceKind, a: &OpenedNote, b: &OpenedNote) -> Option<Self> {
        let both = cosigners_of_both(a, b);
        if !both.is_empty() {
            return Some(Self::new(by_one, (a, &both), (b, &both)));
        }
        let first = |note: &OpenedNote| note.cosigners().next().map(|(key, _)| key.clone());
        let (one, other) = first(a).zip(first(b))?;
        Some(Self::new(EvidenceKind::Disagreement, (a, &[one]), (b, &[other])))
    }

    /// With the signature lines of those named and no others. The log's line proves nothing, and a line of
    /// a key unknown here may be bad, which would spoil the evidence for those who know the key.
    fn new(kind: EvidenceKind, a: (&OpenedNote, &[VerifierKey]), b: (&OpenedNote, &[VerifierKey])) -> Self {
        let notes = [a, b].map(|(note, named)| {
            let mut trimmed = SignedNote::new(note.checkpoint().clone());
            let counts = |line: &&NoteSignature| {
                let mut keys = note.cosigners().map(|(key, _)| key);
                keys.any(|key| line.names(key) && named.iter().any(|named| named.same_key(key)))
            };
            note.note().signatures().iter().filter(counts).cloned().for_each(|line| trimmed.add(line));
            trimmed
        });
        Self { kind, notes: notes.into(), blocks: Vec::new(), root: None, consistency: Vec::new() }
    }
}

/// The keys that cosigned both notes, by whatever names.
pub(super) fn cosigners_of_both(a: &OpenedNote, b: &OpenedNote) -> Vec<VerifierKey> {
    let signed_both = |key: &VerifierKey| b.cosigners().any(|(other, _)| other.same_key(key));
    a.cosigners().map(|(key, _)| key).filter(|key| signed_both(key)).cloned().collect()
}

/// The replicas that signed the smaller tree strictly later than the larger one.
pub(super) fn rolled_back(small: &OpenedNote, large: &OpenedNote) -> Vec<VerifierKey> {
    let origin = &small.checkpoint().origin;
    let signed_before = |key: &VerifierKey, time: u64| {
        large.cosigners().any(|(other, before)| other.same_key(key) && before < time)
    };
    let culprits =
        small.cosigners().filter(|(key, time)| is_replica(key, origin) && signed_before(key, *time));
    culprits.map(|(key, _)| key.clone()).collect()
}

/// Whether the key is by its name a replica of the cluster that the origin belongs to.
fn is_replica(key: &VerifierKey, origin: &str) -> bool {
    let cluster = origin.rsplit_once('/').map(|(cluster, _)| cluster);
    split_node(key.name()).is_some_and(|(of, _)| Some(of) == cluster)
}
