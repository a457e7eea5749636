//! The auditor: recomputes a ledger from its entries alone, and compares with what its replicas signed.
//!
//! Contract: an [`Auditor`] is fed the leaves of a log with their operations, in order, and believes nothing that it
//! did not compute. Every block must follow from what came before:
//!
//! | what | rule |
//! |---|---|
//! | log tree | the leaves hash to the root of each checkpoint that is compared |
//! | operations | decode, lead to the leaf's `ops_root`, name each key once |
//! | revisions | each write continues its key: `revision` + 1, `prev_index` the write before; a delete has something to delete; an erase names an earlier write |
//! | requests | no request id twice while it is known (`not_after`); `not_after` not before the block, nor too far after it |
//! | blocks | times never fall and are one per block; `first_index`, `tx_count` and `epoch` are right |
//! | state tree | its root after the block is the one in the commit leaf |
//!
//! What does not follow is a [`Finding`]: the first one ends the audit. What is wrong with the auditor's own files is an
//! error of its own, never a finding.
//!
//! The position, and the state it takes to go on, are one database file per ledger; a block is in it as a
//! whole or not at all, so after a crash the audit goes on where the file is. Memory is bounded: the branches of the
//! state tree (about 25 bytes per key), and two caches of given size.
//!
//! [`mod@follow`] feeds an auditor from a cluster: the entries from any replica, each checked to be under a certified
//! root; the checkpoints of *every* replica over its own connection.
//!
//! [`LogWitness`] is for other logs: it vouches that they only grow. Of the ledger that is audited, submissions are answered
//! by the audit itself ([`Submissions`]), which has one memory of what it signed.
//!
//! What it cannot see: contents (an auditor reads digests, not values), rejections, and whether an erase names exactly
//! the write it says (only that the key has such a revision).

mod auditor;
mod block;
mod clock;
mod finding;
mod follow;
mod progress;
mod records;
mod store;
mod submission;
mod witness;

pub use auditor::{AuditError, Auditor, Bounds};
pub use finding::Finding;
pub use follow::{FollowError, Followed, Options, Submissions, Submitted, follow};
pub use progress::{Progress, Snapshot};
pub use records::{Answer, LogWitness};
pub use store::StoreError;
pub use submission::{MAX_BODY, Recorded, Refusal, Submission};
pub use witness::Witness;
