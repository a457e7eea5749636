//! The log itself, leaf by leaf.

use quorate_core::answer::{Contents, Meta};
use quorate_core::position::LogIndex;

use super::fixed::owned;
use super::transaction::{meta_from_wire, meta_to_wire};
use super::{WireError, WireProblem};
use crate::v1;

/// One leaf of the log with what it stands for. Nothing is verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryParts {
    /// Position of the leaf.
    pub index: LogIndex,
    /// Bytes of the leaf.
    pub leaf: Vec<u8>,
    /// Of a transaction: its encoded operations, in order.
    pub operations: Vec<Vec<u8>>,
    /// Empty, or one per operation: what it wrote, `None` for deletes, erases and erased values.
    pub contents: Vec<Option<Contents>>,
    /// Of a transaction: its meta, if it was asked for.
    pub meta: Option<Meta>,
}

impl From<EntryParts> for v1::LogEntry {
    fn from(parts: EntryParts) -> Self {
        let (meta, meta_salt) = meta_to_wire(parts.meta);
        Self {
            index: parts.index.get(),
            leaf: parts.leaf.into(),
            operations: parts.operations.into_iter().map(Into::into).collect(),
            contents: parts
                .contents
                .into_iter()
                .map(|item| item.map_or_else(Default::default, Into::into))
                .collect(),
            meta,
            meta_salt,
        }
    }
}

impl TryFrom<v1::LogEntry> for EntryParts {
    type Error = WireError;

    fn try_from(entry: v1::LogEntry) -> Result<Self, WireError> {
        if entry.leaf.is_empty() {
            return Err(WireError::new("leaf", WireProblem::Missing));
        }
        let (wanted, got) = (entry.operations.len(), entry.contents.len());
        if got != 0 && got != wanted {
            return Err(WireError::new("contents", WireProblem::Count { wanted, got }));
        }
        let contents = entry.contents.into_iter().enumerate().map(|(place, content)| {
            content_or_none(content).map_err(|error| error.within(format_args!("contents[{place}]")))
        });
        Ok(Self {
            index: LogIndex::new(entry.index),
            contents: contents.collect::<Result<_, _>>()?,
            meta: meta_from_wire(entry.meta, &entry.meta_salt)?,
            leaf: owned(entry.leaf),
            operations: entry.operations.into_iter().map(owned).collect(),
        })
    }
}

/// A list cannot leave out an element: a content without a salt stands for none.
fn content_or_none(content: v1::Content) -> Result<Option<Contents>, WireError> {
    if !content.salt.is_empty() {
        return content.try_into().map(Some);
    }
    let field = if content.value.is_empty() { "attributes" } else { "value" };
    match content.value.is_empty() && content.attributes.is_empty() {
        true => Ok(None),
        false => Err(WireError::new(field, WireProblem::Alone { without: "salt" })),
    }
}
