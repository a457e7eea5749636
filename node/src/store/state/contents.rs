//! Contents of transactions: what the hashes cover but do not hold, and what can therefore be erased.
//!
//! A transaction's contents are its meta and, for each operation, salt, attributes and value. They are rows of
//! about 16 KiB each: a row is named by the position of the first operation in it, so one value is read without
//! the others. The first row (position 0) also has the meta.
//!
//! Erasing rewrites a row: the log index of the transaction with the erase stands where the bytes were.
//!
//! Row, all integers big-endian: `format u8 = 1 ‖ meta (position 0 only) ‖ slots to the end of the row`.
//! Meta: `1 ‖ salt 16 ‖ len u32 ‖ bytes`, or `2 ‖ index u64` erased. Slot: `0` wrote nothing (a delete),
//! `1 ‖ salt 16 ‖ len u32 ‖ attributes ‖ len u32 ‖ value`, or `2 ‖ index u64` erased.

use bytes::Bytes;
use quorate_core::position::LogIndex;
use quorate_ledger::effects::Content;

const FORMAT: u8 = 1;
const NOTHING: u8 = 0;
const PRESENT: u8 = 1;
const ERASED: u8 = 2;
/// Bytes after which a row is closed.
const PART_BYTES: usize = 16 << 10;
const SALT: usize = 16;

/// What is stored of a transaction's meta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredMeta {
    /// It is there.
    Present {
        /// The bytes of a `TransactionMeta`.
        meta: Bytes,
        /// Its salt, 16 bytes.
        salt: Bytes,
    },
    /// It was erased by the transaction at this log index.
    Erased {
        /// Log index of the transaction with the erase.
        by: LogIndex,
    },
}

/// What is stored of what an operation wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredContent {
    /// It wrote no value: a delete or an erase.
    Nothing,
    /// It is there.
    Present(Content),
    /// It was erased by the transaction at this log index.
    Erased {
        /// Log index of the transaction with the erase.
        by: LogIndex,
    },
}

/// Everything stored of a transaction beside its leaf and operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionContents {
    /// Its meta.
    pub meta: StoredMeta,
    /// One for each operation, in order.
    pub operations: Vec<StoredContent>,
}

/// A row that is not contents, or contents that fit no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentsError {
    /// Reading.
    #[error("the row is not contents of format 1")]
    Malformed,
    /// Writing.
    #[error(
        "a salt has exactly 16 bytes, a value less than 4 GiB, and a transaction at most 4,096 operations"
    )]
    Unstorable,
}

/// The rows of a transaction's contents: the position of the first operation in each, and the row.
pub(crate) fn encode(contents: TransactionContents) -> Result<Vec<(u16, Vec<u8>)>, ContentsError> {
    let mut rows = Vec::new();
    let operations = &contents.operations;
    let mut row = begin(Some(&contents.meta), operations)?;
    let mut first = 0;
    for (position, slot) in contents.operations.iter().enumerate() {
        let number = u16::try_from(position).map_err(|_| ContentsError::Unstorable)?;
        if row.len() >= PART_BYTES && position > 0 {
            let rest = operations.get(position..).unwrap_or_default();
            rows.push((first, std::mem::replace(&mut row, begin(None, rest)?)));
            first = number;
        }
        put_slot(&mut row, slot)?;
    }
    rows.push((first, row));
    Ok(rows)
}

/// The row of one part.
pub(crate) fn encode_part(part: &Part) -> Result<Vec<u8>, ContentsError> {
    let mut row = begin(part.meta.as_ref(), &part.slots)?;
    part.slots.iter().try_for_each(|slot| put_slot(&mut row, slot))?;
    Ok(row)
}

/// A row without slots, with room for as many of these as belong in it.
fn begin(meta: Option<&StoredMeta>, slots: &[StoredContent]) -> Result<Vec<u8>, ContentsError> {
    let mut room = match meta {
        Some(StoredMeta::Present { meta, .. }) => 64 + meta.len(),
        Some(StoredMeta::Erased { .. }) | None => 64,
    };
    for slot in slots {
        if room >= PART_BYTES {
            break;
        }
        room += match slot {
            StoredContent::Present(content) => 32 + content.attributes.len() + content.value.len(),
            StoredContent::Nothing | StoredContent::Erased { .. } => 9,
        };
    }
    let mut row = Vec::with_capacity(room);
    row.push(FORMAT);
    match meta {
        None => {}
        Some(StoredMeta::Present { meta, salt }) => {
            row.push(PRESENT);
            put_salt(&mut row, salt)?;
            put_bytes(&mut row, meta)?;
        }
        Some(StoredMeta::Erased { by }) => put_erased(&mut row, *by),
    }
    Ok(row)
}

fn put_slot(row: &mut Vec<u8>, slot: &StoredContent) -> Result<(), ContentsError> {
    match slot {
        StoredContent::Nothing => row.push(NOTHING),
        StoredContent::Erased { by } => put_erased(row, *by),
        StoredContent::Present(content) => {
            row.push(PRESENT);
            put_salt(row, &content.salt)?;
            put_bytes(row, &content.attributes)?;
            put_bytes(row, &content.value)?;
        }
    }
    Ok(())
}

fn put_erased(row: &mut Vec<u8>, by: LogIndex) {
    row.push(ERASED);
    row.extend_from_slice(&by.to_be_bytes());
}

fn put_salt(row: &mut Vec<u8>, salt: &[u8]) -> Result<(), ContentsError> {
    if salt.len() != SALT {
        return Err(ContentsError::Unstorable);
    }
    row.extend_from_slice(salt);
    Ok(())
}

fn put_bytes(row: &mut Vec<u8>, bytes: &[u8]) -> Result<(), ContentsError> {
    let len = u32::try_from(bytes.len()).map_err(|_| ContentsError::Unstorable)?;
    row.extend_from_slice(&len.to_be_bytes());
    row.extend_from_slice(bytes);
    Ok(())
}

/// A part of a transaction's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The meta, in the part with position 0.
    pub(crate) meta: Option<StoredMeta>,
    /// The contents from the part's position on.
    pub(crate) slots: Vec<StoredContent>,
}

/// Reads the part stored under `position`. Values share `row`.
pub(crate) fn decode(position: u16, row: Vec<u8>) -> Result<Part, ContentsError> {
    let mut reader = Reader(row.into());
    if reader.byte()? != FORMAT {
        return Err(ContentsError::Malformed);
    }
    let meta = if position == 0 { Some(reader.meta()?) } else { None };
    let mut slots = Vec::new();
    while !reader.0.is_empty() {
        slots.push(reader.slot()?);
    }
    Ok(Part { meta, slots })
}

struct Reader(Bytes);

impl Reader {
    fn take(&mut self, len: usize) -> Result<Bytes, ContentsError> {
        if len > self.0.len() {
            return Err(ContentsError::Malformed);
        }
        Ok(self.0.split_to(len))
    }

    fn byte(&mut self) -> Result<u8, ContentsError> {
        self.take(1).map(|byte| byte[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ContentsError> {
        self.take(N)?.as_ref().try_into().map_err(|_| ContentsError::Malformed)
    }

    fn bytes(&mut self) -> Result<Bytes, ContentsError> {
        let len = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(len).map_err(|_| ContentsError::Malformed)?)
    }

    fn index(&mut self) -> Result<LogIndex, ContentsError> {
        self.array().map(LogIndex::from_be_bytes)
    }

    fn meta(&mut self) -> Result<StoredMeta, ContentsError> {
        match self.byte()? {
            PRESENT => {
                let salt = self.take(SALT)?;
                Ok(StoredMeta::Present { meta: self.bytes()?, salt })
            }
            ERASED => Ok(StoredMeta::Erased { by: self.index()? }),
            _ => Err(ContentsError::Malformed),
        }
    }

    fn slot(&mut self) -> Result<StoredContent, ContentsError> {
        match self.byte()? {
            NOTHING => Ok(StoredContent::Nothing),
            PRESENT => Ok(StoredContent::Present(Content {
                salt: self.take(SALT)?,
                attributes: self.bytes()?,
                value: self.bytes()?,
            })),
            ERASED => Ok(StoredContent::Erased { by: self.index()? }),
            _ => Err(ContentsError::Malformed),
        }
    }
}
