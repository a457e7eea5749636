//! The state on disk: everything that follows from the Raft log.
//!
//! Contract. [`StateStore::apply`] writes what a block changes as one batch, with the id of its Raft entry in it, and
//! publishes a [`ReadView`]. A view is of one moment, never changes and needs nobody's leave; everything the API
//! answers comes through one. The write-ahead log is off: after a crash the store is as of some flush, whole, and
//! [`StateStore::durable`] says which. Whatever is damaged is a [`StoreFault`](super::faults::StoreFault) when it is
//! read, never another answer: RocksDB checks its blocks, tiles are checked against those above them, buckets of the
//! state tree against their hashes, roots against the last commit leaf at every start.
//!
//! | table | row |
//! |---|---|
//! | `default` | what was applied, the cluster's state; each ledger's head |
//! | `blocks` | leaves and operations in runs ([`runs`]) |
//! | `contents` | values, attributes, meta, salts: erasable ([`contents`]) |
//! | `leaves` | key → newest write: log index, position, operation |
//! | `revisions` | key, overwritten revision → log index |
//! | `buckets` | first key → hash and count of a bucket of the state tree |
//! | `tiles` | full tiles of the log tree |
//! | `requests` | request id → log indexes and until when each is known |
//! | `cosignatures` | size → who signed that checkpoint ([`cosignatures`]); not replicated |
//! | `meta` | what was applied, the heads, and the proof of the beginning of each epoch ([`epochs`]) |
//!
//! Invariants, by the names the simulation uses: *one root per size, ever* (a block is applied right behind the last
//! one) · *the tree over stored leaves equals the published root* (checked at start, at install and by
//! [`scrub`]) · *revision r has prev_index of r−1* · *a known request's answer never changes* (rows only grow).
//!
//! Caveat: the cost of reading an old view of a key grows with the logarithm of its later writes.

mod batch;
mod contents;
mod cosignatures;
mod database;
mod directory;
mod documents;
mod epochs;
mod fill;
mod keys;
mod ledger;
mod load;
mod meta;
mod options;
mod parking;
mod proofs;
mod rows;
mod runs;
mod scrub;
mod seed;
mod snapshot;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod tiles;
mod values;
mod view;

pub use contents::{StoredContent, StoredMeta, TransactionContents};
pub use cosignatures::StoredCosignature;
pub use database::Direction;
pub use directory::FORMAT_VERSION;
pub use documents::Freeze;
pub use epochs::EpochStart;
pub use keys::{AsOf, StateLeaves};
pub use ledger::{LedgerView, Records};
pub use meta::Applied;
pub use options::StateOptions;
pub use runs::LogRecord;
pub(crate) use seed::SEEDED_AT;
pub use seed::{SeedError, Seeded, Seeder};
pub use snapshot::{SnapshotError, StateCopy};
pub use store::StateStore;
pub use view::ReadView;
