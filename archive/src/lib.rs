//! Backups of a cluster: a directory, or a part of an object store, that holds every ledger as its leaves, its operations and what they wrote.
//!
//! Contract. An archive says nothing that its own files do not prove: each ledger's leaves lead to the root of a
//! checkpoint that the replicas cosigned, each commit leaf's state root follows from the operations, each value and
//! meta opens the digest in its leaf. [`Archive::verify`] recomputes all of it, without network and without the code
//! of a node. What differs in one byte is refused, and the file is named.
//!
//! ```text
//! DIR/manifest.json                     what the archive holds; replaced by rename, when all it names is on disk
//! DIR/ledgers/NAME/FIRST.segment        leaves from log index FIRST on (20 digits), at most about 16 MiB
//! DIR/UNFINISHED                        there while a backup runs: files beyond the manifest may be there
//! DIR/lock                              empty; held by the one who writes
//! ```
//!
//! *If we crash* while writing: the manifest is the old one, and everything it names is unchanged. What the crash left
//! lies beyond it, is not read by anybody, and is removed by the next run.
//!
//! An archive grows: the next run adds the leaves behind those that are there, and refuses a cluster whose leaves do
//! not continue them. What is erased later in the ledger stays in the segments that were written before.

mod block;
mod error;
mod export;
mod exported;
mod files;
mod folder;
mod frozen;
mod manifest;
mod reader;
mod segment;
mod storage;
mod tiles;
mod verify;
mod writer;

pub use block::{Block, Transaction};
pub use error::ArchiveError;
pub use export::{EXPORT_FORMAT, import};
pub use exported::Export;
pub use folder::Folder;
pub use frozen::{FrozenLedger, STATEMENT, STATEMENT_FORMAT};
pub use manifest::{ArchivedLedger, FORMAT, MANIFEST, Manifest, Segment};
pub use reader::Archive;
pub use storage::{Item, Storage};
pub use verify::{Verified, VerifiedLedger};
pub use writer::{LedgerWriter, Published, Writer};
