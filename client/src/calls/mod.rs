//! The calls, one file per question. Each is short: ask, accept the checkpoint, verify, store, answer.

mod cluster;
mod commit;
mod compare;
mod get;
mod history;
mod lineage;
mod members;
mod proofs;
mod receipts;
mod scan;
mod subscribe;
mod transactions;

pub use cluster::{
    Freeze, LedgerInfo, LedgerStatus, Member, RefusedPeer, SnapshotTransfer, Status, WitnessStatus,
};
pub use compare::{Comparison, ReplicaCheckpoint, Standing};
pub use history::{History, HistoryPage};
pub use lineage::{Continuation, Lineage, LineageLedger};
pub use members::{Admin, Frozen, InvitationInfo, Invited, MemberInfo, Members, PeerAddress};
pub(crate) use proofs::{MAX_WAIT_MS, checkpoint_request};
pub use scan::{Scan, ScanPage};
pub use subscribe::Subscription;
