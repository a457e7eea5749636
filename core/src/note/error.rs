//! Why a note is refused.

use super::{MAX_NOTE_BYTES, MAX_SIGNATURES};
use crate::checkpoint::CheckpointError;
use crate::key::KeyError;

/// An error of a note. Lines are counted from 1, over the whole note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Larger than any note of a checkpoint.
    #[error("note: {got} bytes, at most {MAX_NOTE_BYTES} are read")]
    TooLong {
        /// Its length in bytes.
        got: usize,
    },
    /// A character that a note cannot hold.
    #[error("note line {line}: control character 0x{byte:02x}; a note holds no other than newline")]
    Control {
        /// Where.
        line: usize,
        /// The character.
        byte: u8,
    },
    /// No signatures, or no text.
    #[error("note: expected the text, an empty line, and signature lines each ended by a newline")]
    Form,
    /// A signature line of another form.
    #[error("note line {line}: expected \"— <key name> <base64 of key id and signature>\", not {text:?}")]
    Line {
        /// Where.
        line: usize,
        /// The line.
        text: String,
    },
    /// More signatures than are read.
    #[error("note: {got} signature lines, at most {MAX_SIGNATURES} are read")]
    TooManySignatures {
        /// How many there are.
        got: usize,
    },
    /// The text is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A signature of a known key is bad.
    #[error(transparent)]
    Signature(#[from] KeyError),
    /// Nobody known signed it.
    #[error("note for {origin}: no signature by a known key; it is signed by {signed_by}")]
    NoKnownSigner {
        /// Origin of the checkpoint.
        origin: String,
        /// The names on its signature lines.
        signed_by: String,
    },
    /// Two notes that should be one have different texts.
    #[error("notes of different checkpoints cannot be merged: {left}, and {right}")]
    OtherCheckpoint {
        /// What the note says.
        left: String,
        /// What the other says.
        right: String,
    },
}
