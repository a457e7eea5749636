//! A ledger in memory that answers like an honest node: the model that verification is tested against.
//!
//! It keeps plain records (who wrote what, where) beside the trees, so that a test can say what is true without
//! asking the code under test. [`Ledger`] makes the records, `answers` the proofs.

mod answers;
mod ledger;

pub(crate) use answers::Shown;
pub(crate) use ledger::{Ledger, Op, Record};
