//! Where the files of an archive lie, and what they are called there.
//!
//! An archive asks little of the place it lies in: files that are written once, whole, and one file that is replaced in one
//! step. A directory can do that ([`Folder`](crate::Folder)), and so can an object store.

use std::{fmt, path::PathBuf};

use quorate_core::{name::LedgerName, position::LogIndex};

use crate::error::ArchiveError;

/// There while a backup runs.
pub(crate) const UNFINISHED: &str = "UNFINISHED";
/// Held by the one who writes.
pub(crate) const LOCK: &str = "lock";
/// The folder with one folder per ledger.
pub(crate) const LEDGERS: &str = "ledgers";
/// What the name of a segment ends with.
const SEGMENT: &str = ".segment";

/// A place for one archive.
///
/// Names are relative, and `/` stands between folder and file. Every call returns when what it says is done, and may
/// block. Errors are [`ArchiveError::Io`] unless said otherwise, and name the file.
pub trait Storage: fmt::Debug + Send + Sync {
    /// What a file is called in messages; the place itself, if the name is empty.
    fn path(&self, name: &str) -> PathBuf;

    /// What lies directly in a folder, sorted by name; nothing where there is no such folder. The empty name is the place
    /// itself.
    ///
    /// # Errors
    /// As all of them.
    fn list(&self, folder: &str) -> Result<Vec<Item>, ArchiveError>;

    /// A whole file, or `None` if there is none.
    ///
    /// # Errors
    /// As all of them.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError>;

    /// Writes a file that is not there yet, whole. It stays if the machine fails once [`Storage::replace`] has returned.
    ///
    /// # Errors
    /// As all of them; also if what is stored is not what was given.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError>;

    /// Makes what was written stay, and then puts `new` in the place of `old`, in one step.
    ///
    /// # Errors
    /// [`ArchiveError::Busy`] if the file is not `old` any more.
    fn replace(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<(), ArchiveError>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// As all of them.
    fn remove(&self, name: &str) -> Result<(), ArchiveError>;

    /// Makes the caller the only one who writes, until what is returned is dropped. `name` is the file that says so.
    ///
    /// # Errors
    /// [`ArchiveError::Busy`] while there is another one.
    fn lock(&self, name: &str) -> Result<Box<dyn Send + Sync>, ArchiveError>;
}

/// A file or a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Its last name.
    pub name: String,
    /// Length of a file in bytes; `None` for a folder.
    pub bytes: Option<u64>,
}

/// The folder of a ledger.
pub(crate) fn folder_of(ledger: &LedgerName) -> String {
    format!("{LEDGERS}/{ledger}")
}

/// The segment that begins with a leaf.
pub(crate) fn segment_of(ledger: &LedgerName, first: LogIndex) -> String {
    format!("{LEDGERS}/{ledger}/{:020}{SEGMENT}", first.get())
}

/// The first leaf of a segment, by its last name.
pub(crate) fn first_of(name: &str) -> Option<LogIndex> {
    let digits = name.strip_suffix(SEGMENT)?;
    let well_formed = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| well_formed).map(LogIndex::new)
}
