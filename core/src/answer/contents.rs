//! What a put wrote: opened by its digest, or gone.

use std::collections::BTreeMap;
use std::fmt;

use crate::entry::{OpKind, Operation, Salt, value_digest};
use crate::hash::Hash;
use crate::position::LogIndex;

/// Value, attributes and salt of a put, as they are stored apart from what is hashed.
///
/// Plain data: it proves nothing until a digest of the log opens to it ([`Operation::wrote`]).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// 16 random bytes that keep the digest from being guessed.
    pub salt: Salt,
    /// Bytes of `ValueAttributes` (content type and the like), may be empty.
    pub attributes: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

impl Contents {
    /// The digest an operation carries for these contents.
    #[must_use]
    pub fn digest(&self) -> Hash {
        value_digest(&self.salt, &self.attributes, &self.value)
    }

    /// Whether this is what the operation wrote: a put of this length and digest.
    #[must_use]
    pub fn opens(&self, operation: &Operation) -> bool {
        operation.wrote(&self.salt, &self.attributes, &self.value)
    }
}

/// Lengths only: values have no place in a log file.
impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents")
            .field("attributes_len", &self.attributes.len())
            .field("value_len", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// What is known of what a write holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// A put, and its contents verified against the digest.
    Value(&'a Contents),
    /// A delete: there is nothing to show.
    Deleted,
    /// A put whose contents were destroyed, by a proven erase operation.
    Erased {
        /// The transaction with the erase operation.
        at: LogIndex,
    },
}

/// Contents that came with an answer, found by the digest they open.
///
/// The digest binds salt, attributes and value, so the sender need not say which write each belongs to, and
/// cannot say it wrongly. What no proven operation asks for is never looked at again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(BTreeMap<Hash, Contents>);

impl Pool {
    pub(crate) fn new(contents: Vec<Contents>) -> Self {
        Self(contents.into_iter().map(|item| (item.digest(), item)).collect())
    }

    /// The contents of a put, if they came along.
    pub(crate) fn open(&self, operation: &Operation) -> Option<&Contents> {
        if operation.kind != OpKind::Put {
            return None;
        }
        let found = self.0.get(&operation.value_digest)?;
        // The digest is the map's key; the length is the operation's own word, so it is checked apart.
        (u32::try_from(found.value.len()) == Ok(operation.value_len)).then_some(found)
    }
}
