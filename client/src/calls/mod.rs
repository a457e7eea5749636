//! The calls, one file per question. Each is short: ask, accept the checkpoint, verify, store, answer.

mod cluster;
mod commit;
mod compare;
mod get;
mod history;
mod proofs;
mod receipts;
mod scan;
mod transactions;

pub use cluster::{LedgerInfo, LedgerStatus, Member, SnapshotTransfer, Status};
pub use compare::{Comparison, ReplicaCheckpoint};
pub use history::{History, HistoryPage};
pub use scan::{Scan, ScanPage};
