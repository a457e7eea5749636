//! Agreement on the order of blocks: all of openraft, and the only module that knows it.
//!
//! Contract. [`Consensus::submit`] puts a block into the log of the leader; when its [`Proposal`] gives an
//! outcome, the block is on the disks of a majority and applied here. An error says whether it can still
//! happen ([`ProposeError::OutcomeUnknown`]) or not. [`Consensus::read_barrier`] makes a local read
//! linearizable, on any member. Entries reach the state through [`Machine`], other nodes through
//! [`PeerTransport`], and blocks of a leader pass the [`BlockGuard`] before Raft sees them.
//!
//! Where things are: `log_storage`, `state_machine` and `network` are what openraft asks for; `inbound` is what peers
//! ask for; `members` changes who takes part; `codec` maps messages, `types` maps types; `reads` is the read barrier; `maintenance` flushes and
//! purges. Own Protocol Buffers on the wire and on disk, never openraft's encodings.
//!
//! Invariants, by the names the simulation uses: *applied ≤ committed* · *purge ≤ flushed* · one block per (term, height) and
//! proposer (a block enters the log only in the term it was signed for).
//!
//! Caveat: Raft survives crashes, not lies. What is checked here keeps a wrong peer from crashing or
//! corrupting this node; that it cannot deceive a client is the work of signatures and proofs.

mod applier;
mod codec;
mod envelope;
mod guard;
mod inbound;
mod link;
mod log_storage;
mod machine;
mod maintenance;
mod members;
mod network;
mod node;
mod own_fault;
mod reads;
mod settings;
mod snapshot_files;
mod snapshot_kept;
mod snapshot_receive;
mod snapshot_send;
mod state_machine;
mod status;
#[cfg(test)]
mod tests;
mod transport;
mod types;

pub use crate::store::log::{LogEntry, LogId, Payload, Vote};
pub use codec::Malformed;
pub use envelope::EnvelopeError;
pub use guard::{BlockGuard, Refusal};
pub use machine::{CommittedEntry, Copied, InstallError, Machine, Outcome, Position, SnapshotHandle};
pub use members::Progress;
pub use node::{Consensus, MembershipError, Proposal, ProposeError, StartError};
pub use reads::ReadError;
pub use settings::{ConsensusConfig, SnapshotSettings};
pub use status::{Role, Status};
pub use transport::{AppendAnswers, PeerError, PeerTransport};
pub use types::{Member, Membership, NodeId};

/// The bytes of a [`Payload::Membership`].
#[must_use]
pub fn encode_membership(membership: &Membership) -> bytes::Bytes {
    codec::encode_membership(membership)
}

/// Decodes the bytes of a [`Payload::Membership`].
///
/// # Errors
/// [`Malformed`] when they are not an encoded membership.
pub fn decode_membership(bytes: &[u8]) -> Result<Membership, Malformed> {
    codec::decode_membership(bytes)
}
