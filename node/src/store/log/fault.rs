//! What can be wrong with a log store. All of it is fatal for the node: none of it is an answer.

use std::{io, path::PathBuf};

use super::types::{LogId, MissingField, Vote, show};

/// Why a log store cannot be used, or can no longer be trusted.
///
/// The first group is found by `open`, before consensus starts. A node with such a store must not
/// take part at all: even with elections off it would still grant votes. It is replaced under a new id.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// The log ends before an entry that was acknowledged as durable.
    #[error(
        "the log ends at {found} but this node acknowledged entries up to {promised} (term/index): acknowledged entries \
         were lost, so this node must not take part again; replace it under a new node id",
        found = show(*found)
    )]
    ShorterThanPromised {
        /// The last entry acknowledged.
        promised: LogId,
        /// The last entry found.
        found: Option<LogId>,
    },
    /// The log holds another entry where an acknowledged one was.
    #[error(
        "the log holds {found} where this node acknowledged {promised} (term/index): the log was replaced or damaged; \
         replace this node under a new node id"
    )]
    OtherThanPromised {
        /// The entry acknowledged.
        promised: LogId,
        /// The entry found at that index.
        found: LogId,
    },
    /// The stored vote is older than the one that was promised.
    #[error(
        "the stored vote is {found} but this node promised {promised}: it could vote twice; replace it under a new node id",
        found = found.map_or_else(|| "absent".to_owned(), |v| v.to_string())
    )]
    VoteForgotten {
        /// The vote promised.
        promised: Vote,
        /// The vote found.
        found: Option<Vote>,
    },
    /// Durable records (what the signer must not forget) were lost.
    #[error(
        "durable records were lost: write {promised} was acknowledged, the store knows {found} writes; this node could \
         sign two roots for one size; replace it under a new node id and key"
    )]
    RecordsForgotten {
        /// The number of the write acknowledged.
        promised: u64,
        /// The number of the last write found.
        found: u64,
    },
    /// The durable records are not those that were written.
    #[error(
        "the durable records do not match their digest (write {sequence}): a record is missing or damaged"
    )]
    RecordsDamaged {
        /// The number of the write at which they were digested.
        sequence: u64,
    },
    /// Neither copy of the floor can be read.
    #[error(
        "{path}: no copy of the floor is readable, so what this node promised is unknown; replace it under a new node id",
        path = path.display()
    )]
    FloorUnreadable {
        /// The floor file.
        path: PathBuf,
    },
    /// There is no log store in the directory.
    #[error("{path}: there is no log store here; was the data directory moved, or the node never initialised?", path = path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// A store is created where one exists.
    #[error("{path}: there is a log store here already; it is never overwritten", path = path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The identity file cannot be read.
    #[error("{path}: the identity file is damaged or missing while a log exists", path = path.display())]
    IdentityUnreadable {
        /// The identity file.
        path: PathBuf,
    },
    /// The directory belongs to another cluster.
    #[error("{} belongs to cluster {found}, and this node's cluster file says {expected}: correct node.cluster_file or node.data_dir", .path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster id in hex that the node was started for.
        expected: String,
        /// The cluster id in hex in the directory.
        found: String,
    },
    /// The directory belongs to another node.
    #[error("{} is of the data directory of node {found}, and this is node {expected}: correct node.id or node.data_dir", .path.display())]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The node id that was started.
        expected: u64,
        /// The node id in the directory.
        found: u64,
    },
    /// The directory was written by a newer version.
    #[error("{} was written in format {found}, and this version reads up to {known}: run the newer version", .path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The newest format this version knows.
        known: u32,
        /// The format found.
        found: u32,
    },
    /// An entry is missing inside the log.
    #[error("the log has a gap: index {expected} is missing, the next entry is at index {found}")]
    Gap {
        /// The index that is missing.
        expected: u64,
        /// The next index there is.
        found: u64,
    },
    /// Terms fall along the log, which no leader can have written.
    #[error("the log is out of order: {later} comes after {earlier} (term/index)")]
    TermFalls {
        /// The entry before.
        earlier: LogId,
        /// The entry after, with a smaller term.
        later: LogId,
    },
    /// The commit marker points past the log.
    #[error("the commit marker is {committed} but the log ends at {last} (term/index)", last = show(*last))]
    CommittedBeyondLog {
        /// The marker.
        committed: LogId,
        /// The last entry.
        last: Option<LogId>,
    },
    /// A stored row does not match its checksum.
    #[error("{row}: the stored bytes do not match their checksum")]
    Checksum {
        /// Which row.
        row: String,
    },
    /// A stored row matches its checksum but does not decode.
    #[error("{row}: cannot be decoded: {why}")]
    Undecodable {
        /// Which row.
        row: String,
        /// Why not.
        why: String,
    },
    /// A caller broke a rule of the log.
    #[error("refused: {0}")]
    Refused(String),
    /// RocksDB reported an error.
    #[error("log database: {0}")]
    Database(#[from] rocksdb::Error),
    /// The file system reported an error.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

impl LogFault {
    /// Whether what is stored is wrong for good. Otherwise the directory is somebody else's, or cannot be used now.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::ShorterThanPromised { .. }
            | Self::OtherThanPromised { .. }
            | Self::VoteForgotten { .. }
            | Self::RecordsForgotten { .. }
            | Self::RecordsDamaged { .. }
            | Self::FloorUnreadable { .. }
            | Self::IdentityUnreadable { .. }
            | Self::Gap { .. }
            | Self::TermFalls { .. }
            | Self::CommittedBeyondLog { .. }
            | Self::Checksum { .. }
            | Self::Undecodable { .. } => true,
            // Such as another process that holds the lock, or a failing disk: those are input and output errors.
            Self::Database(error) => {
                matches!(error.kind(), rocksdb::ErrorKind::Corruption | rocksdb::ErrorKind::InvalidArgument)
            }
            Self::Missing { .. }
            | Self::Exists { .. }
            | Self::OtherCluster { .. }
            | Self::OtherNode { .. }
            | Self::NewerFormat { .. }
            | Self::Refused(_)
            | Self::Io { .. } => false,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| LogFault::Io { path, source }
    }

    pub(crate) fn undecodable(row: &str, why: impl ToString) -> Self {
        LogFault::Undecodable { row: row.to_owned(), why: why.to_string() }
    }

    pub(crate) fn missing(row: &str, field: MissingField) -> Self {
        Self::undecodable(row, field)
    }
}

impl From<LogFault> for io::Error {
    fn from(fault: LogFault) -> Self {
        io::Error::other(fault)
    }
}
