//! What can go wrong with what is stored: faults of a store in use, and refusals to open a directory.
//!
//! A [`StoreFault`] is fatal: the place, what was expected there, and what the operator does about it. It is never
//! turned into a default value, a rejection or an "absent"; the node stops and its peers go on.

use std::path::{Path, PathBuf};

/// A fault of the local store. Fatal.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{place}: {problem}; {}", .kind.advice())]
pub struct StoreFault {
    kind: FaultKind,
    place: String,
    problem: String,
}

/// The kinds of fault, by what the operator does about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The operating system refused: disk full, read-only, failing.
    Io,
    /// What is stored is not what was written, or parts of it contradict each other.
    Damaged,
    /// The same blocks gave another result here than they should have.
    Diverged,
    /// A newer version wrote it.
    Newer,
}

impl FaultKind {
    /// What to do.
    fn advice(self) -> &'static str {
        match self {
            Self::Io => "check the disk, its free space and permissions, then start the node again",
            Self::Damaged => "what this node stored is damaged: replace it by a new node under a new id",
            Self::Diverged => {
                "this node's state contradicts the replicated log: keep its files for examination and replace it \
                 by a new node under a new id"
            }
            Self::Newer => {
                "a newer version of this program wrote it, and this one would go on differently: upgrade this node, and start \
                 the newer version on the same data directory"
            }
        }
    }
}

impl StoreFault {
    /// The disk or the operating system failed at `place` (a path, or a table and key).
    pub fn io(place: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self { kind: FaultKind::Io, place: place.into(), problem: problem.to_string() }
    }

    /// An operation on a file failed.
    pub fn file(path: &Path, doing: &str, error: &std::io::Error) -> Self {
        Self::io(path.display().to_string(), format!("{doing} failed: {error}"))
    }

    /// What is stored at `place` is damaged.
    pub fn damaged(place: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self { kind: FaultKind::Damaged, place: place.into(), problem: problem.to_string() }
    }

    /// Something else is stored at `place` than has to be there.
    pub fn mismatch(
        place: impl Into<String>,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::damaged(place, format!("expected {expected}, found {found}"))
    }

    /// What was applied contradicts the log.
    pub fn diverged(
        place: impl Into<String>,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Self {
            kind: FaultKind::Diverged,
            place: place.into(),
            problem: format!("expected {expected}, found {found}"),
        }
    }

    /// What is stored or agreed on at `place` is of a newer version.
    pub fn newer(place: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self { kind: FaultKind::Newer, place: place.into(), problem: problem.to_string() }
    }

    /// RocksDB reported an error at `place` (a database's path, or a table and key).
    pub fn rocksdb(place: impl Into<String>, error: &rocksdb::Error) -> Self {
        let kind = match error.kind() {
            rocksdb::ErrorKind::Corruption | rocksdb::ErrorKind::NotFound => FaultKind::Damaged,
            _ => FaultKind::Io,
        };
        Self { kind, place: place.into(), problem: error.to_string() }
    }

    /// The same fault with another path in place of `from`: what was found through links is told of the files themselves.
    pub(crate) fn at(mut self, from: &str, to: &str) -> Self {
        self.place = self.place.replace(from, to);
        self.problem = self.problem.replace(from, to);
        self
    }

    /// Which kind of fault it is.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }
}

/// Why a directory is not opened. Nothing in it was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// It belongs to another node.
    #[error("{} is the data directory of node {found}, and this is node {expected}: correct node.id or node.data_dir", .path.display())]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// This node.
        expected: u64,
        /// The node in it.
        found: u64,
    },
    /// It belongs to another cluster.
    #[error("{} belongs to cluster {found}, and this node's cluster file says {expected}: correct node.cluster_file or node.data_dir", .path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// This cluster, hexadecimal.
        expected: String,
        /// The cluster in it, hexadecimal.
        found: String,
    },
    /// A newer version wrote it.
    #[error("{} was written in format {found}, and this version reads up to {known}: run the newer version", .path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The newest format this version reads.
        known: u32,
        /// The format in it.
        found: u32,
    },
    /// A version before the first release wrote it.
    #[error(
        "{} was written in format {found}, which no released version has; this one reads format {known}: keep the directory, \
         and give node.data_dir an empty one in a new cluster",
        .path.display()
    )]
    OlderFormat {
        /// The directory.
        path: PathBuf,
        /// The format this version reads.
        known: u32,
        /// The format in it.
        found: u32,
    },
    /// There is something else in it.
    #[error("{} is not empty and was not written by Quorate ({found} is in it): choose another node.data_dir", .path.display())]
    NotQuorate {
        /// The directory.
        path: PathBuf,
        /// A name found in it.
        found: String,
    },
    /// A process has it open.
    #[error("{} is in use by another process ({problem}): stop that one first", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// What RocksDB said.
        problem: String,
    },
    /// It is damaged, or the disk failed.
    #[error(transparent)]
    Fault(#[from] StoreFault),
}

impl StoreFault {
    /// Whether what is stored is wrong for good, as opposed to a disk that fails or is full now.
    pub fn is_damage(&self) -> bool {
        matches!(self.kind, FaultKind::Damaged | FaultKind::Diverged)
    }
}

impl OpenError {
    /// Whether what is stored is wrong for good. Otherwise the directory is somebody else's, or cannot be used now.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.is_damage())
    }
}
