//! What a key holds, as a verified answer says it.

use super::contents::Contents;
use super::transaction::ProvenWrite;
use crate::position::LogIndex;

/// What one key holds at one time. Only verification makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A value.
    Value(Value),
    /// No value, and the proof why.
    Absent(Absent),
    /// A value that was destroyed: that it was written is proven, and so is its erasure.
    Erased(Erased),
}

/// A value that a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    write: ProvenWrite,
    contents: Contents,
}

/// Why a key has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// It had not been written.
    NeverWritten {
        /// The key.
        key: Vec<u8>,
    },
    /// Its newest write deleted it.
    Deleted(ProvenWrite),
    /// Its newest write put a value whose time is over.
    Expired(ProvenWrite),
}

/// A value that was destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    write: ProvenWrite,
    at: LogIndex,
}

impl Reading {
    /// The key that was read.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Absent(Absent::NeverWritten { key }) => key,
            Self::Absent(Absent::Deleted(write) | Absent::Expired(write)) => write.key(),
            Self::Value(value) => value.write.key(),
            Self::Erased(erased) => erased.write.key(),
        }
    }

    /// The key's newest write at that time; `None` if it had not been written.
    #[must_use]
    pub const fn write(&self) -> Option<&ProvenWrite> {
        match self {
            Self::Absent(Absent::NeverWritten { .. }) => None,
            Self::Absent(Absent::Deleted(write) | Absent::Expired(write)) => Some(write),
            Self::Value(value) => Some(&value.write),
            Self::Erased(erased) => Some(&erased.write),
        }
    }

    /// The value, if there is one to show.
    #[must_use]
    pub const fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent(_) | Self::Erased(_) => None,
        }
    }
}

impl Value {
    pub(crate) const fn new(write: ProvenWrite, contents: Contents) -> Self {
        Self { write, contents }
    }

    /// The put: key, log index, revision, expiry.
    #[must_use]
    pub const fn write(&self) -> &ProvenWrite {
        &self.write
    }

    /// The value's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.contents.value
    }

    /// Bytes of the value's attributes.
    #[must_use]
    pub fn attributes(&self) -> &[u8] {
        &self.contents.attributes
    }

    /// Value, attributes and salt.
    #[must_use]
    pub const fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Takes the contents out.
    #[must_use]
    pub fn into_contents(self) -> Contents {
        self.contents
    }
}

impl Erased {
    pub(crate) const fn new(write: ProvenWrite, at: LogIndex) -> Self {
        Self { write, at }
    }

    /// The put whose value was destroyed.
    #[must_use]
    pub const fn write(&self) -> &ProvenWrite {
        &self.write
    }

    /// Log index of the transaction with the erase operation.
    #[must_use]
    pub const fn at(&self) -> LogIndex {
        self.at
    }
}
