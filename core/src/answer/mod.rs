//! Verifies the answers of a server: what was asked is what is proven.
//!
//! Contract: everything here is called with the *question* and with bytes of an untrusted server, under a
//! checkpoint that a policy has certified ([`CertifiedCheckpoint`](crate::policy::CertifiedCheckpoint)). What
//! comes back are types that only verification makes; an error ([`AnswerError`]) means the answer is not believed,
//! and says why. Nothing is taken from an answer that its proof does not cover.
//!
//! | question | verified by | gives |
//! |---|---|---|
//! | what does this key hold? | [`Proven::get`], [`Proven::get_many`] | [`Reading`]: value, absent, erased |
//! | which keys are in this range? | [`Proven::scan`], [`Scan`] | [`Page`]: all of them, none left out |
//! | how did this key get here? | [`Proven::history`] | [`HistoryPage`]: every write, none left out |
//! | what was it as of log index N? | [`Proven::as_of`] | the same, as of then ([`AsOf`]) |
//! | what happened at this index? | [`Proven::transaction`], [`Proven::request`] | [`IncludedTransaction`] |
//! | did my write get in? | [`SentRequest::rebuild`] | [`RebuiltTransaction`], then [`IncludedTransaction`] |
//!
//! An answer arrives as one [`Bundle`]: the commit leaf at size − 1 (which holds the state root), state proofs,
//! transactions with the operations they show, and contents. [`Proven::open`] verifies all of it once.
//!
//! Absence is proven, never concluded: a key that was never written by the state tree, a deleted one by its
//! tombstone, an expired one by its put, an erased value by the erase operation in the log. A value that is just
//! not there is an error.
//!
//! A put reads as expired if its `expires_at` is not after [`CertifiedState::time`]; as of an earlier index, not
//! after the time of the leaf there ([`AsOf::time`]).
//!
//! What this cannot see: whether a later checkpoint exists (freshness is the policy's and the caller's business),
//! and rejected requests, which leave nothing in the log.

mod as_of;
mod bundle;
mod commit;
mod contents;
mod error;
mod history;
mod latest;
mod range;
mod reading;
mod scan;
mod state;
mod transaction;

pub use as_of::AsOf;
pub use bundle::{Bundle, Proven};
pub use commit::{AddedToOperation, CommitAnswer, RebuiltTransaction, SentOperation, SentRequest};
pub use contents::{Content, Contents};
pub use error::AnswerError;
pub use history::{HistoryCursor, HistoryEntry, HistoryPage};
pub use range::{Direction, KeyRange};
pub use reading::{Absent, Erased, Reading, Value};
pub use scan::{Page, Scan};
pub use state::CertifiedState;
pub use transaction::{
    IncludedOperation, IncludedTransaction, LeafProof, Meta, ProvenWrite, RevealedOperation, TransactionProof,
};

pub(crate) use error::key_text;
pub(crate) use transaction::Paths;
