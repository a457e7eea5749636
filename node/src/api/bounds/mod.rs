//! Bounds: every field of every request is checked here, before any work is done for it.
//!
//! Contract: a request goes in as it arrived, and comes out as the values the rest of the interface works with, or is
//! refused with the field named (`writes[2].put.key`). What depends on the state of a ledger (whether it exists, how
//! large it is) is judged where that state is read.
//!
//! * [`field`] — single fields: names, keys, limits
//! * [`commit`] — requests that write
//! * [`read`] — requests that read

mod commit;
mod field;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use commit::{CheckedCommit, CheckedCreate, WriteLimits};
pub(crate) use field::{ledger, need, wait};
pub(crate) use read::{
    Consistency, Options, ScanQuestion, Subscription, Which, get, get_many, history, list_range, scan,
    subscription, which,
};
