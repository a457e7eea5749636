//! What `quorate backup` prints.

use serde::Serialize;

use crate::output::json::Checkpoint;

/// `backup`: what `create` made of the directory.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Backup {
    pub(super) directory: String,
    pub(super) cluster: String,
    /// Whether it was added to an earlier backup.
    pub(super) incremental: bool,
    /// Leaves that were added.
    pub(super) added: String,
    pub(super) ledgers: Vec<BackupLedger>,
}

/// A ledger of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BackupLedger {
    pub(super) ledger: String,
    pub(super) added: String,
    #[serde(flatten)]
    pub(super) checkpoint: Checkpoint,
}

/// `exported` and `imported`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Exported {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) cluster: String,
    pub(super) leaves: String,
}

/// `restored` and `recovered`: the cluster that was made.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Continued {
    pub(crate) out: String,
    /// `restored` or `recovered`.
    pub(crate) lineage_kind: String,
    pub(crate) cluster: String,
    /// The cluster that it continues.
    pub(crate) previous: String,
    /// Number of the document in `_system` that says so.
    pub(crate) lineage: String,
    /// `given`, or `inside`: the policy in the backup itself.
    pub(crate) policy: &'static str,
    /// What is known of what was lost.
    pub(crate) loss: Option<String>,
    pub(crate) ledgers: Vec<ContinuedLedger>,
}

/// Where a ledger of it is continued.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ContinuedLedger {
    pub(crate) ledger: String,
    pub(crate) size: String,
    pub(crate) log_root: String,
}

/// `backup_verified`: what `verify` found.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verified {
    pub(super) directory: String,
    pub(super) cluster: String,
    /// `given`, or `inside`: the policy in the backup itself.
    pub(super) policy: &'static str,
    pub(super) policy_fingerprint: String,
    /// Whether a backup into the directory runs, or was interrupted.
    pub(super) unfinished: bool,
    pub(super) leaves: String,
    pub(super) ledgers: Vec<VerifiedLedger>,
}

/// A ledger of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct VerifiedLedger {
    pub(super) ledger: String,
    #[serde(flatten)]
    pub(super) checkpoint: Checkpoint,
    pub(super) state_root: String,
    /// Time of the last block.
    pub(super) time: String,
    pub(super) transactions: String,
    pub(super) keys: String,
    /// Values that were erased, and are not in the backup.
    pub(super) erased: String,
    pub(super) bytes: String,
}
