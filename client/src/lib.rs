//! The client of a Quorate cluster: every answer verified.
//!
//! ```no_run
//! use std::sync::Arc;
//! use quorate_client::{Client, FileTrust, Policy, ReadOptions, Transaction};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder()
//!     .endpoints(["https://127.0.0.1:7400", "https://127.0.0.1:7402", "https://127.0.0.1:7404"])
//!     .ca_pem(std::fs::read("ca.pem")?)
//!     .policy(Policy::parse(std::fs::read("policy.txt")?)?)
//!     .trust(Arc::new(FileTrust::open("trust")?))
//!     .build()?;
//! let ledger = client.ledger("default");
//! let committed = ledger.commit(Transaction::new().put("greeting", "hello")).await?;
//! if let Some(receipt) = committed.receipt() {
//!     std::fs::write("greeting.tlog-proof", receipt.to_string())?;
//! }
//! let read = ledger.get("greeting", ReadOptions::new()).await?;
//! println!("{:?} at size {}", read.value, read.size);
//! # Ok(())
//! # }
//! ```
//!
//! Contract: what a call returns was proven by the cluster to the policy's satisfaction, goes together with
//! everything this client believed before ([`TrustStore`]), and is what was asked. If not, the call fails with
//! [`Error::Untrusted`], with evidence where the contradiction is signed; that is never retried. A write is executed
//! exactly once, however often it has to be sent. Which replica answers never matters for what is believed.
//!
//! What is not proven, and says so: [`Wait::Committed`], [`ReadOptions::unverified`], [`Client::status`], rejections,
//! and that there is nothing newer than what a replica shows (see [`Consistency`]).
//!
//! `transport` is the network, `verify` the proofs, `trust` the memory; none of the three knows the others.

mod agreement;
mod calls;
mod client;
mod clock;
mod config;
mod error;
mod evidence_dir;
mod leader;
mod ledger;
mod membership;
mod options;
mod random;
mod registry;
mod retry;
mod transaction;
mod transport;
mod trust;
mod values;
mod verify;
mod window;

pub use agreement::Agreement;
pub use calls::{Admin, Frozen, InvitationInfo, Invited, MemberInfo, Members, PeerAddress};
pub use calls::{
    Comparison, Continuation, Freeze, History, HistoryPage, LedgerInfo, LedgerStatus, Lineage, LineageLedger,
    Member, RefusedPeer, ReplicaCheckpoint, Scan, ScanPage, SnapshotTransfer, Standing, Status, Subscription,
    WitnessStatus,
};
pub use client::Client;
pub use config::ClientBuilder;
pub use error::{ConfigError, Distrust, Error, FailedPrecondition, Outcome, Rejection, TrustError};
pub use evidence_dir::EvidenceDir;
pub use ledger::Ledger;
pub use options::{CheckpointOptions, Consistency, ReadOptions};
pub use transaction::{Precondition, PutOptions, Transaction, Wait};
pub use trust::{FileTrust, MemoryTrust, Swap, TrustStore};
pub use values::{
    CommitRecord, Committed, Delivery, Entry, HistoryEntry, KeyState, LogLeaf, LogRecord, OperationRecord,
    ProvenInclusion, Read, Segment, TransactionId, TransactionRecord, Value, Written,
};

/// A leaf of the log as it is on the wire.
pub use quorate_proto::v1::LogEntry;

/// The core types that calls take and give.
pub use quorate_core::{
    checkpoint::Checkpoint,
    evidence::Evidence,
    hash::Hash,
    policy::{CertifiedCheckpoint, Policy},
    position::{LogIndex, Micros, NodeId, Revision, TreeSize},
    receipt::{Receipt, VerifiedReceipt},
    state_tree::Query,
};
