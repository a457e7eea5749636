//! Artifacts: files, commits and bare hashes, known by their SHA-256.
//!
//! Contract: an artifact is hashed on this machine, and nothing but its digest and a [`Record`] about it goes into
//! the ledger, under the key of 64 lowercase hex digits. The digest of a file is that of its bytes; the digest of a
//! commit is that of the commit object's bytes (what `git cat-file commit` prints), which name its tree and parents.
//! Two artifacts with the same bytes are one: they have one key.
//!
//! Everything is hashed before anything is written, so that a file that cannot be read stops the command while
//! nothing has been done yet.

mod collect;
mod digest;
mod git;
mod record;
mod source;

pub(crate) use collect::collect;
pub(crate) use digest::{digest_all, sha256_of_file};
pub(crate) use record::{Record, Status};
pub(crate) use source::{Source, parse_attribute};

use std::collections::BTreeMap;
use std::path::PathBuf;

use quorate_core::hash::Hash;

/// What kind of thing an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A commit of a git repository.
    Git,
    /// Only its hash is known here.
    Hash,
}

impl Kind {
    /// The word in records and documents.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Git => "git",
            Self::Hash => "hash",
        }
    }
}

/// An artifact that was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// What to call it: a path as it was found, `git:` and the commit's id, or the hash.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its length in bytes; 0 for a bare hash.
    pub(crate) size: u64,
    /// SHA-256 of its bytes.
    pub(crate) sha256: Hash,
    /// What is known of it without being told: of a commit its id and subject.
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Artifact {
    /// Its key in a ledger: 64 lowercase hex digits.
    pub(crate) fn key(&self) -> String {
        self.sha256.to_string()
    }
}

/// Something that is to be hashed, or was without reading a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A file that is still to be read.
    File(PathBuf),
    /// Hashed already.
    Ready(Artifact),
}
