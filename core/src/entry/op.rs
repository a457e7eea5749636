//! One operation: what a transaction did to one key.

use super::limits::MAX_KEY_LEN;
use super::reader::Reader;
use super::{EntryError, Salt, value_digest};
use crate::hash::Hash;
use crate::position::{LogIndex, Micros, Revision};

/// How the encoding writes "no previous write".
const NO_INDEX: u64 = u64::MAX;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// Writes a value. Byte 1.
    Put,
    /// Writes that there is no value (a tombstone). Byte 2.
    Delete,
    /// Destroys the stored value of an earlier write. Not a write itself. Byte 3.
    Erase,
}

impl OpKind {
    /// The byte of the encoding.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Delete => 2,
            Self::Erase => 3,
        }
    }

    /// Reads the byte of the encoding.
    ///
    /// # Errors
    /// [`EntryError::ReservedKind`] for every other byte.
    pub const fn from_byte(byte: u8) -> Result<Self, EntryError> {
        match byte {
            1 => Ok(Self::Put),
            2 => Ok(Self::Delete),
            3 => Ok(Self::Erase),
            kind => Err(EntryError::ReservedKind { kind }),
        }
    }

    /// Whether this makes a new revision of its key: puts and deletes do, an erase does not.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::Delete)
    }
}

impl std::fmt::Display for OpKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Erase => "erase",
        })
    }
}

/// One operation, as it is hashed into its transaction and (a write) into the state tree.
///
/// The fields are what the bytes say; that they are true is for a proof to show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Operation {
    /// Put, delete or erase.
    pub kind: OpKind,
    /// 1 for the first write of the key, then one more each. Of an erase: the erased write's.
    pub revision: Revision,
    /// Log index of the key's previous write; `None` for the first. Of an erase: the erased write's own index.
    pub prev_index: Option<LogIndex>,
    /// From when on the value reads as absent; `None` = never. `None` unless a put.
    pub expires_at: Option<Micros>,
    /// Length of the value in bytes. 0 unless a put.
    pub value_len: u32,
    /// [`value_digest`] of salt, attributes and value. 32 zero bytes unless a put.
    pub value_digest: Hash,
    /// The key, 1 to [`MAX_KEY_LEN`] bytes.
    pub key: Vec<u8>,
}

impl Operation {
    /// Length of everything before the key, in bytes.
    pub const FIXED_LEN: usize = 63;

    /// Whether `value` with these attributes and this salt is what a put wrote: length and digest.
    #[must_use]
    pub fn wrote(&self, salt: &Salt, attributes: &[u8], value: &[u8]) -> bool {
        self.kind == OpKind::Put
            && u32::try_from(value.len()) == Ok(self.value_len)
            && value_digest(salt, attributes, value) == self.value_digest
    }

    /// Whether the value reads as absent at this time: `expires_at` is set and not later.
    #[must_use]
    pub fn is_expired_at(&self, time: Micros) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= time)
    }

    /// The encoding: 63 bytes and the key.
    ///
    /// ```text
    /// kind u8 | revision u64 | prev_index u64 (all ones: none) | expires_at u64 (0: never)
    ///   | value_len u32 | value_digest 32 | key_len u16 | key
    /// ```
    ///
    /// A key that breaks the limit gives bytes that [`Operation::decode`] refuses, never those of another key.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::FIXED_LEN.saturating_add(self.key.len()));
        self.encode_to(&mut bytes);
        bytes
    }

    /// Adds the encoding to `bytes`.
    pub fn encode_to(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.kind.to_byte());
        bytes.extend_from_slice(&self.revision.to_be_bytes());
        bytes.extend_from_slice(&self.prev_index.map_or(NO_INDEX, LogIndex::get).to_be_bytes());
        bytes.extend_from_slice(&self.expires_at.map_or(0, Micros::get).to_be_bytes());
        bytes.extend_from_slice(&self.value_len.to_be_bytes());
        bytes.extend_from_slice(self.value_digest.as_bytes());
        // u16::MAX is over the limit, so no decoder takes it.
        let key_len = u16::try_from(self.key.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&key_len.to_be_bytes());
        bytes.extend_from_slice(&self.key);
    }

    /// Reads the encoding, all of it and nothing more.
    ///
    /// # Errors
    /// [`EntryError::ReservedKind`] for a kind of a later version (a verifier treats the operation as opaque);
    /// others for bytes that no [`Operation`] within the limits encodes to.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut reader = Reader::new("operation", bytes);
        let kind = OpKind::from_byte(reader.u8()?)?;
        let revision = Revision::new(reader.u64()?);
        let prev_index = Some(reader.u64()?).filter(|index| *index != NO_INDEX);
        let expires_at = Some(reader.u64()?).filter(|time| *time != 0);
        let value_len = reader.u32()?;
        let value_digest = reader.hash()?;
        let named = usize::from(reader.u16()?);
        let key = reader.rest();

        if revision < Revision::FIRST {
            return Err(EntryError::RevisionZero);
        }
        if named == 0 || named > MAX_KEY_LEN {
            return Err(EntryError::KeyLength { len: named });
        }
        if key.len() != named {
            return Err(EntryError::KeyLengthDiffers { named, got: key.len() });
        }
        let operation = Self {
            kind,
            revision,
            prev_index: prev_index.map(LogIndex::new),
            expires_at: expires_at.map(Micros::new),
            value_len,
            value_digest,
            key: key.to_vec(),
        };
        operation.check_value_fields()?;
        Ok(operation)
    }

    /// Only a put says anything of a value.
    fn check_value_fields(&self) -> Result<(), EntryError> {
        if self.kind == OpKind::Put {
            return Ok(());
        }
        let filled = [
            ("expires_at", self.expires_at.is_some()),
            ("value_len", self.value_len != 0),
            ("value_digest", self.value_digest != Hash::ZERO),
        ];
        match filled.into_iter().find(|(_, is_filled)| *is_filled) {
            Some((field, _)) => Err(EntryError::NotAPut { field }),
            None => Ok(()),
        }
    }
}
