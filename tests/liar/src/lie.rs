//! What the liar can be told to do.

/// A lie. Its name is what the command line takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// None: answers are handed on as they are.
    None,
    /// Another root in every checkpoint, signed with all keys it holds.
    ForgedRoot,
    /// The checkpoint of when it started, signed again with the present time.
    RolledBack,
    /// Cosignatures of another checkpoint.
    ReplayedCosignatures,
    /// Only the log's signature and one cosignature.
    WithheldCosignatures,
    /// Only cosignatures with the keys it holds, of which one is no longer in the policy.
    RemovedCosigner,
    /// A transaction whose leaf has one bit flipped, under its right path.
    WrongLeaf,
    /// The value and proof of the key `other`.
    AnotherKey,
    /// What the key held when it started, with the proof of then.
    StaleValue,
    /// The proof that some other key was never written.
    FalseAbsence,
    /// The value withheld, as if it had been erased.
    FalseErased,
    /// A key left out of a listing, with a proof of the rest.
    HiddenKey,
    /// A write left out of a history.
    OmittedRevision,
    /// Another transaction than the one asked for.
    SwappedReceipt,
    /// Another transaction than the one just committed.
    AnothersIndex,
    /// Each of two requests on a stream of commits answered with the other's answer.
    SwappedAnswers,
    /// A request on a stream of commits answered twice.
    AnsweredTwice,
    /// A block dated two minutes ahead (between nodes).
    DatedAhead,
    /// Another block first, then the honest one (between nodes).
    Equivocation,
    /// Another block, and never the honest one, for one follower (between nodes).
    AnotherBlock,
    /// A snapshot in which a key holds what nobody wrote (between nodes).
    AlteredSnapshot,
}

/// All of them with their names.
const NAMES: &[(Lie, &str)] = &[
    (Lie::None, "none"),
    (Lie::ForgedRoot, "forged-root"),
    (Lie::RolledBack, "rolled-back"),
    (Lie::ReplayedCosignatures, "replayed-cosignatures"),
    (Lie::WithheldCosignatures, "withheld-cosignatures"),
    (Lie::RemovedCosigner, "removed-cosigner"),
    (Lie::WrongLeaf, "wrong-leaf"),
    (Lie::AnotherKey, "another-key"),
    (Lie::StaleValue, "stale-value"),
    (Lie::FalseAbsence, "false-absence"),
    (Lie::FalseErased, "false-erased"),
    (Lie::HiddenKey, "hidden-key"),
    (Lie::OmittedRevision, "omitted-revision"),
    (Lie::SwappedReceipt, "swapped-receipt"),
    (Lie::AnothersIndex, "anothers-index"),
    (Lie::SwappedAnswers, "swapped-answers"),
    (Lie::AnsweredTwice, "answered-twice"),
    (Lie::DatedAhead, "dated-ahead"),
    (Lie::Equivocation, "equivocation"),
    (Lie::AnotherBlock, "another-block"),
    (Lie::AlteredSnapshot, "altered-snapshot"),
];

impl Lie {
    /// The lie with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(lie, _)| *lie)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(lie, _)| *lie == self).map_or("none", |(_, name)| name)
    }
}
