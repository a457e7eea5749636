//! The Raft log on disk: entries, vote, markers and durable records of one node.
//!
//! Contract. A write is readable when the call returns and durable when its completion runs; one thread
//! syncs for everybody ([`flusher`]). Entries, vote and records share one write-ahead log, so none can be
//! durable without what was written before it. What was acknowledged is also promised in a file apart
//! ([`floor`]), and [`LogStore::open`] refuses a store that holds less than it promised: such a node must
//! not vote, acknowledge or sign again. Every row has a checksum of its own ([`frame`]).
//!
//! Layout of the directory: `IDENTITY` (whose it is), `FLOOR` (what was promised), `db/` (RocksDB).
//!
//! Invariants, by the names the simulation uses: *log index gap-free* (checked on append, read and open) ·
//! *purge ≤ flushed* (purging past the limit is refused) · a committed entry is never truncated.
//!
//! Caveat: a store that is replaced as a whole by an older copy of itself, floor included, cannot notice.
//! That is why a node is never restored from a copy under its old id.

mod fault;
mod floor;
mod flusher;
mod frame;
mod identity;
mod options;
mod read;
mod records;
mod recover;
mod rows;
mod scrub;
mod store;
mod tail;
#[cfg(test)]
mod tests;
mod types;

pub use fault::LogFault;
pub use identity::{FORMAT_VERSION, Identity};
pub use options::LogConfig;
pub use store::{Bounds, LogStore};
pub use types::{LogEntry, LogId, MissingField, Payload, Vote};

pub(crate) use recover::next_index;
pub(crate) use types::show;
