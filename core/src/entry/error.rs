//! Why bytes are no leaf or operation of this version, or a request cannot be encoded.

use super::limits::{MAX_AUTHOR, MAX_IDEMPOTENCY_KEY, MAX_KEY_LEN, MAX_LEAF, MAX_OPS};

/// An error of the codecs in [`crate::entry`]. Never a statement about who sent the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes end inside a field.
    #[error("{what}: the bytes end too early")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// Bytes follow the last field.
    #[error("{what}: {count} bytes follow the end")]
    TrailingBytes {
        /// What was being read.
        what: &'static str,
        /// How many bytes are too many.
        count: usize,
    },
    /// An operation kind of a later version: opaque to a verifier, refused by a server.
    #[error("operation kind {kind} is reserved: this version knows 1 put, 2 delete and 3 erase")]
    ReservedKind {
        /// The kind byte.
        kind: u8,
    },
    /// Revision 0.
    #[error("operation: revision 0; the first write of a key has revision 1")]
    RevisionZero,
    /// A field that only a put may fill is filled.
    #[error("operation: {field} must be 0 unless the kind is put")]
    NotAPut {
        /// Name of the field.
        field: &'static str,
    },
    /// The key is empty or too long.
    #[error("operation: a key has 1 to {MAX_KEY_LEN} bytes, this one has {len}")]
    KeyLength {
        /// Length of the key, or the length its field names.
        len: usize,
    },
    /// The key field does not have the length its length field names.
    #[error("operation: key_len is {named}, but {got} bytes follow it")]
    KeyLengthDiffers {
        /// Value of `key_len`.
        named: usize,
        /// Bytes that follow.
        got: usize,
    },
    /// A transaction leaf with no operation or too many.
    #[error("transaction leaf: op_count is {got}, a transaction has 1 to {MAX_OPS} operations")]
    OpCount {
        /// Value of `op_count`.
        got: u32,
    },
    /// A leaf longer than a log tree holds.
    #[error("a leaf has at most {MAX_LEAF} bytes, this one has {len}")]
    LeafLength {
        /// Its length.
        len: usize,
    },
    /// The author does not fit.
    #[error("author: at most {MAX_AUTHOR} bytes of UTF-8, this one has {len}")]
    AuthorLength {
        /// Its length in bytes.
        len: usize,
    },
    /// The idempotency key is empty or too long.
    #[error("idempotency key: 1 to {MAX_IDEMPOTENCY_KEY} bytes, this one has {len}")]
    IdempotencyKeyLength {
        /// Its length in bytes.
        len: usize,
    },
}
