//! All of RocksDB: the only module that knows it.
//!
//! Two databases, because their durability differs. [`log`] holds the Raft log, votes and what this node signed:
//! write-ahead log on, group fsync, nothing is ever lost silently. [`state`] holds what applying the log made:
//! write-ahead log off, flushed now and then as a whole; after a crash it is as of the last flush and the Raft
//! log, which is purged only below what is flushed, brings it forward again.
//!
//! A failed or contradictory read is a [`StoreFault`](faults::StoreFault), never "absent" and never a rejection:
//! it stops the node. What can be wrong with a directory before it is used is an [`OpenError`](faults::OpenError).

pub mod faults;
pub mod log;
pub mod state;
