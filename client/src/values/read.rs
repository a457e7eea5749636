//! What keys hold.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::answer::{Absent, AnswerError, Content, Contents, Reading};
use quorate_core::entry::{OpKind, Operation};
use quorate_core::hash::Hash;
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::{LogIndex, Micros, Revision, TreeSize};
use quorate_proto::convert::ItemParts;
use quorate_proto::v1::{self, ValueAttributes};

use crate::error::Distrust;

/// A value, and the write that put it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The value itself.
    pub value: Bytes,
    /// The bytes of its `ValueAttributes` message, as written; may be empty.
    pub attributes: Bytes,
    /// Log index of the transaction that wrote it.
    pub index: LogIndex,
    /// How often the key had been written then, this write included.
    pub revision: Revision,
    /// From when on it reads as absent.
    pub expires_at: Option<Micros>,
}

/// Whether a key has a value, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It has a value.
    Present,
    /// It had not been written.
    NeverWritten,
    /// Its newest write deleted it.
    Deleted,
    /// Its newest write put a value whose time is over.
    Expired,
    /// Its newest write put a value that was destroyed since.
    Erased {
        /// The transaction that erased it.
        at: LogIndex,
    },
}

/// The newest write of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Log index of the transaction that wrote.
    pub index: LogIndex,
    /// How often the key had been written then, this write included.
    pub revision: Revision,
    /// Log index of the write before; `None` for the first.
    pub prev_index: Option<LogIndex>,
    /// From when on the value reads as absent.
    pub expires_at: Option<Micros>,
    /// Length of the value in bytes; 0 for a delete.
    pub value_len: u32,
    /// Digest of the value, its attributes and its salt; zero for a delete.
    pub value_digest: Hash,
}

/// The answer to the question what a key holds.
#[derive(Debug, Clone)]
pub struct Read<T> {
    /// The value, if there is one.
    pub value: T,
    /// Whether there is one, or why not.
    pub state: KeyState,
    /// The key's newest write; `None` if it had not been written.
    pub written: Option<Written>,
    /// Size of the ledger at the answer.
    pub size: TreeSize,
    /// The checkpoint that the answer was proven under; `None` if it is unverified.
    pub checkpoint: Option<Arc<CertifiedCheckpoint>>,
}

/// A key of a scan, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// Its value; `None` if it was erased, or if only keys were asked for.
    pub value: Option<Value>,
    /// [`KeyState::Present`] or [`KeyState::Erased`]; others only where they were asked for.
    pub state: KeyState,
    /// Its newest write.
    pub written: Option<Written>,
}

/// A write of a key's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Log index of the transaction.
    pub index: LogIndex,
    /// Number of the write, from 1.
    pub revision: Revision,
    /// Time of the transaction; `None` where the answer does not say.
    pub time: Option<Micros>,
    /// Put or delete.
    pub kind: OpKind,
    /// What a put wrote, expired or not; `None` if it was erased.
    pub value: Option<Value>,
    /// The transaction that erased what was put.
    pub erased_at: Option<LogIndex>,
    /// From when on the value reads as absent.
    pub expires_at: Option<Micros>,
}

impl Value {
    pub(crate) fn new(index: LogIndex, operation: &Operation, contents: Contents) -> Self {
        Self {
            value: contents.value.into(),
            attributes: contents.attributes.into(),
            index,
            revision: operation.revision,
            expires_at: operation.expires_at,
        }
    }

    /// What the attributes say; `None` if they are empty or no `ValueAttributes` message.
    #[must_use]
    pub fn described(&self) -> Option<ValueAttributes> {
        if self.attributes.is_empty() {
            return None;
        }
        ValueAttributes::decode(self.attributes.clone()).ok()
    }

    /// Media type of the value, if its attributes say one.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        self.described().map(|attributes| attributes.content_type).filter(|kind| !kind.is_empty())
    }
}

impl KeyState {
    /// Whether there is a value.
    #[must_use]
    pub const fn is_present(self) -> bool {
        matches!(self, Self::Present)
    }
}

impl Written {
    pub(crate) const fn new(index: LogIndex, operation: &Operation) -> Self {
        Self {
            index,
            revision: operation.revision,
            prev_index: operation.prev_index,
            expires_at: operation.expires_at,
            value_len: operation.value_len,
            value_digest: operation.value_digest,
        }
    }
}

impl Read<Option<Value>> {
    /// From a proven reading.
    pub(crate) fn proven(reading: Reading, checkpoint: &Arc<CertifiedCheckpoint>) -> Self {
        let (_, state, written, value) = open(reading);
        Self {
            value,
            state,
            written,
            size: checkpoint.checkpoint().size,
            checkpoint: Some(Arc::clone(checkpoint)),
        }
    }
}

impl Read<Option<Value>> {
    /// From the word of a replica.
    pub(crate) fn claimed(item: Option<v1::Item>, size: u64) -> Result<Self, Distrust> {
        let entry = item.map(Entry::claimed).transpose()?;
        let size = TreeSize::new(size);
        Ok(match entry {
            Some(Entry { value, state, written, .. }) => {
                Self { value, state, written, size, checkpoint: None }
            }
            None => {
                Self { value: None, state: KeyState::NeverWritten, written: None, size, checkpoint: None }
            }
        })
    }
}

impl Entry {
    /// From the word of a replica.
    pub(crate) fn claimed(item: v1::Item) -> Result<Self, Distrust> {
        let item = ItemParts::try_from(item).map_err(|error| error.within("item"))?;
        let key = item.key.into();
        let Some(index) = item.index else {
            return Ok(Self { key, value: None, state: KeyState::NeverWritten, written: None });
        };
        let operation = Operation::decode(&item.operation).map_err(AnswerError::from)?;
        let state = match (operation.kind, &item.contents, &item.erased_by) {
            (OpKind::Delete, _, _) => KeyState::Deleted,
            (_, None, Some(erased)) => KeyState::Erased { at: erased.index },
            (_, None, None) if operation.expires_at.is_some() => KeyState::Expired,
            _ => KeyState::Present,
        };
        let value = item.contents.map(|contents| Value::new(index, &operation, contents));
        Ok(Self { key, value, state, written: Some(Written::new(index, &operation)) })
    }

    /// From a proven reading.
    pub(crate) fn proven(reading: Reading) -> Self {
        let (key, state, written, value) = open(reading);
        Self { key: key.into(), value, state, written }
    }
}

impl HistoryEntry {
    /// From a proven entry; `time_of` gives the time of a transaction.
    pub(crate) fn of(
        entry: &quorate_core::answer::HistoryEntry<'_>,
        time_of: impl Fn(LogIndex) -> Option<Micros>,
    ) -> Self {
        let write = entry.write();
        let operation = write.operation();
        let (value, erased_at) = match entry.content() {
            Content::Value(contents) => (Some(Value::new(write.index(), operation, contents.clone())), None),
            Content::Erased { at } => (None, Some(at)),
            Content::Deleted => (None, None),
        };
        Self {
            index: write.index(),
            revision: operation.revision,
            time: time_of(write.index()),
            kind: operation.kind,
            value,
            erased_at,
            expires_at: operation.expires_at,
        }
    }
}

/// The parts of a reading that callers see: key, state, newest write, value.
fn open(reading: Reading) -> (Vec<u8>, KeyState, Option<Written>, Option<Value>) {
    let key = reading.key().to_vec();
    let written = reading.write().map(|write| Written::new(write.index(), write.operation()));
    let (state, value) = match reading {
        Reading::Absent(Absent::NeverWritten { .. }) => (KeyState::NeverWritten, None),
        Reading::Absent(Absent::Deleted(_)) => (KeyState::Deleted, None),
        Reading::Absent(Absent::Expired(_)) => (KeyState::Expired, None),
        Reading::Erased(erased) => (KeyState::Erased { at: erased.at() }, None),
        Reading::Value(value) => {
            let (index, operation) = (value.write().index(), value.write().operation().clone());
            (KeyState::Present, Some(Value::new(index, &operation, value.into_contents())))
        }
    };
    (key, state, written, value)
}
