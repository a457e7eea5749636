//! What calls give back: plain values, each of them proven unless the call says otherwise.
//!
//! A [`Read`] is what one key holds. Its `state` tells apart the ways in which there is no value, and its `checkpoint` is
//! what everything in it was proven under; without one, it is the word of a replica
//! ([`ReadOptions::unverified`](crate::ReadOptions::unverified)).

mod log;
mod read;

pub use log::{
    CommitRecord, Committed, Delivery, LogLeaf, LogRecord, OperationRecord, ProvenInclusion, Segment,
    TransactionId, TransactionRecord,
};
pub(crate) use log::{author_from_meta, author_of};
pub use read::{Entry, HistoryEntry, KeyState, Read, Value, Written};
