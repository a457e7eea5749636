//! What one key of an answer holds.

use quorate_core::answer::{Contents, TransactionProof};
use quorate_core::position::LogIndex;

use super::WireError;
use super::fixed::owned;
use super::transaction::optional;
use crate::v1;

/// What a server says of one key. Nothing is verified; which parts are there depends on the question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemParts {
    /// The key.
    pub key: Vec<u8>,
    /// Log index of the write this tells of; `None` for "nothing was written as of then".
    pub index: Option<LogIndex>,
    /// Its encoded operation; empty with `index`.
    pub operation: Vec<u8>,
    /// What it wrote, if it is shown.
    pub contents: Option<Contents>,
    /// The transaction that erased it.
    pub erased_by: Option<TransactionProof>,
    /// As of a log index: the transaction that wrote the value.
    pub written: Option<TransactionProof>,
    /// As of a log index: the transaction with the key's next write.
    pub superseded_by: Option<TransactionProof>,
}

impl From<ItemParts> for v1::Item {
    fn from(parts: ItemParts) -> Self {
        Self {
            key: parts.key.into(),
            index: parts.index.map(LogIndex::get),
            operation: parts.operation.into(),
            content: parts.contents.map(Into::into),
            erased_by: parts.erased_by.map(Into::into),
            written: parts.written.map(Into::into),
            superseded_by: parts.superseded_by.map(Into::into),
        }
    }
}

impl TryFrom<v1::Item> for ItemParts {
    type Error = WireError;

    fn try_from(item: v1::Item) -> Result<Self, WireError> {
        Ok(Self {
            contents: optional("content", item.content)?,
            erased_by: optional("erased_by", item.erased_by)?,
            written: optional("written", item.written)?,
            superseded_by: optional("superseded_by", item.superseded_by)?,
            key: owned(item.key),
            index: item.index.map(LogIndex::new),
            operation: owned(item.operation),
        })
    }
}
