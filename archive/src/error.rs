//! Why an archive is not read, or not written.

use std::{io, path::PathBuf};

use quorate_core::{name::LedgerName, policy::PolicyError, position::LogIndex, position::TreeSize};

/// An archive that is refused, or a disk that failed. Nothing is changed by a refusal.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file is not what was written, is missing, or does not belong here.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What a file says is not true.
    #[error("{}: ledger {ledger}, leaf {index}: {problem}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The ledger.
        ledger: LedgerName,
        /// The leaf.
        index: LogIndex,
        /// What is wrong there.
        problem: String,
    },
    /// A ledger as a whole.
    #[error("{}: ledger {ledger}: {problem}", path.display())]
    Ledger {
        /// The archive's manifest.
        path: PathBuf,
        /// The ledger.
        ledger: LedgerName,
        /// What is wrong.
        problem: String,
    },
    /// The policy does not accept a checkpoint.
    #[error("{}: the checkpoint of ledger {ledger}: {source}", path.display())]
    Policy {
        /// The archive's manifest.
        path: PathBuf,
        /// The ledger.
        ledger: LedgerName,
        /// Why not.
        source: PolicyError,
    },
    /// The directory holds something else.
    #[error(
        "{} is not an archive: {found} is in it and no manifest; give an empty directory, or one that holds a backup",
        path.display()
    )]
    NotAnArchive {
        /// The directory.
        path: PathBuf,
        /// A name in it.
        found: String,
    },
    /// It is the backup of another cluster.
    #[error(
        "{} holds a backup of the cluster {archived}, and this is {cluster}: give every cluster a directory of its own",
        path.display()
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster in it.
        archived: String,
        /// The cluster that was to be written.
        cluster: String,
    },
    /// The cluster's leaves do not continue the archived ones.
    #[error(
        "ledger {ledger}: the leaves do not lead to the certified root {expected} at size {size}, but to {found}: the \
         archive holds another history; keep both, and find out which one is true"
    )]
    OtherHistory {
        /// The ledger.
        ledger: LedgerName,
        /// The certified size.
        size: TreeSize,
        /// The certified root.
        expected: quorate_core::hash::Hash,
        /// The root that follows from what is archived and was read.
        found: quorate_core::hash::Hash,
    },
    /// The archive has more than the cluster shows.
    #[error(
        "ledger {ledger}: the archive has {archived} leaves, and the certified checkpoint is of size {size}: the replica \
         is behind, or the cluster lost leaves; ask another replica"
    )]
    Behind {
        /// The ledger.
        ledger: LedgerName,
        /// Leaves in the archive.
        archived: TreeSize,
        /// The certified size.
        size: TreeSize,
    },
    /// Somebody else writes there.
    #[error("{}: another process writes this archive now: wait until it has ended{hint}", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
        /// Who it is, and what to do if it ended without saying so; may be empty.
        hint: String,
    },
}

impl ArchiveError {
    /// For `map_err` after a file operation.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// A file that is wrong.
    pub fn file(path: impl Into<PathBuf>, problem: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), problem: problem.to_string() }
    }

    /// Whether the archive is wrong, as opposed to a disk that failed or a directory that cannot be used.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::Busy { .. } | Self::NotAnArchive { .. })
    }
}
