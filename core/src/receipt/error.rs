//! Why a receipt is not believed.

use crate::answer::AnswerError;
use crate::hash::ParseHashError;
use crate::note::NoteError;
use crate::policy::PolicyError;

/// A receipt that does not parse, or does not prove what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// A line of the file is not what it must be.
    #[error("line {line} of the receipt must be {expected}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What it must be.
        expected: &'static str,
    },
    /// A line of the inclusion path is no hash.
    #[error("line {line} of the receipt is no hash of the inclusion path")]
    PathHash {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: ParseHashError,
    },
    /// The extra data are not the bytes of a `ReceiptExtra`.
    #[error("the extra line of the receipt does not decode: {reason}")]
    Extra {
        /// What the decoder says.
        reason: String,
    },
    /// The extra data have unknown or repeated fields, or are not in their one encoding.
    #[error("the extra line of the receipt is not in its canonical encoding, or has fields unknown here")]
    ExtraNotCanonical,
    /// A field of the extra data has the wrong form.
    #[error("{field} of the receipt: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The note does not parse.
    #[error("the checkpoint of the receipt does not parse")]
    Note(#[from] NoteError),
    /// The policy does not accept the checkpoint.
    #[error("the policy does not accept the checkpoint of the receipt")]
    Policy(#[from] PolicyError),
    /// The proofs do not hold.
    #[error("the receipt does not hold")]
    Answer(#[from] AnswerError),
    /// The leaf is neither a transaction leaf nor a commit leaf.
    #[error("the leaf of the receipt is of a kind that this version does not know")]
    UnknownLeaf,
    /// An operation that the state proof does not reveal.
    #[error("the receipt shows a value that its state proof does not reveal")]
    NotRevealed,
}
