//! A cursor over encoded bytes that cannot read past the end.

use super::EntryError;
use crate::hash::Hash;

/// What is left to read, and what it is part of (for the error).
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`, which should hold a `what`.
    pub(super) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// The next `N` bytes.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(EntryError::Truncated { what: self.what })?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub(super) fn u8(&mut self) -> Result<u8, EntryError> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// A big-endian `u16`.
    pub(super) fn u16(&mut self) -> Result<u16, EntryError> {
        self.take().map(u16::from_be_bytes)
    }

    /// A big-endian `u32`.
    pub(super) fn u32(&mut self) -> Result<u32, EntryError> {
        self.take().map(u32::from_be_bytes)
    }

    /// A big-endian `u64`.
    pub(super) fn u64(&mut self) -> Result<u64, EntryError> {
        self.take().map(u64::from_be_bytes)
    }

    /// 32 bytes.
    pub(super) fn hash(&mut self) -> Result<Hash, EntryError> {
        self.take().map(Hash::new)
    }

    /// All that is left.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Refuses bytes after the end.
    pub(super) const fn end(self) -> Result<(), EntryError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(EntryError::TrailingBytes { what: self.what, count: self.rest.len() })
        }
    }
}
