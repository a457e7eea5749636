//! Clusters that continue the history of another one: restored from a backup, or recovered after the loss of a quorum.
//!
//! Contract: the new cluster has an id, an origin, keys and certificates of its own, and every leaf of the old one. Each
//! node's data directory holds that history before the node is started, as if it were a snapshot at the Raft entry 0 of
//! term 0: a group that was initialised, so that a node without it gets a snapshot and never a replay on nothing. The
//! cluster file names the sizes and roots that are continued ([`ContinuedFile`]); a node compares at every start. The first
//! transaction of the new cluster writes the lineage into `_system`, where it stays.
//!
//! Everything is made beside its place and renamed into it: **if we crash**, there is no cluster yet.

mod file;
mod make;
mod recover;
mod restore;

pub use file::{Continued, ContinuedFile, ContinuedLedgerFile};
pub use make::ContinueError;
pub use quorate_ledger::system::Lineage;
pub use recover::{Recovered, Survivor, recover};
pub use restore::{Restored, restore};
