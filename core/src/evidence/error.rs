//! Why evidence proves nothing.

use crate::block::BlockError;
use crate::key::KeyError;
use crate::note::NoteError;
use crate::proof::ProofError;

/// Text that is no evidence, or proves nothing against anybody known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Not the JSON of evidence.
    #[error("the evidence does not parse: {reason}")]
    Json {
        /// What the parser says.
        reason: String,
    },
    /// Another version of the format.
    #[error("the evidence has version {got}; this program reads version 1")]
    Version {
        /// The version it has.
        got: u64,
    },
    /// A field has the wrong form.
    #[error("{field} of the evidence: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A note does not parse, has a bad signature of a known key, or none of a known cosigner.
    #[error("note {number} of the evidence does not count")]
    Note {
        /// Which one, from 1.
        number: usize,
        /// Why.
        #[source]
        source: NoteError,
    },
    /// A key in the evidence is none.
    #[error("a block of the evidence names no usable key")]
    Key(#[from] KeyError),
    /// A block signature does not verify.
    #[error("block {number} of the evidence does not count")]
    Block {
        /// Which one, from 1.
        number: usize,
        /// Why.
        #[source]
        source: BlockError,
    },
    /// The proposer of the blocks is not among the known ones.
    #[error("the blocks of the evidence are signed by a key that is in no cosigner set known here")]
    UnknownProposer,
    /// The consistency proof does not hold.
    #[error("the consistency proof of the evidence does not hold")]
    Consistency(#[from] ProofError),
    /// What was signed is no contradiction of that kind.
    #[error("what was signed is no {kind}: {reason}")]
    NoContradiction {
        /// The kind it says it is.
        kind: &'static str,
        /// What is missing.
        reason: &'static str,
    },
}
