//! The commands, one module each.
//!
//! Contract: `Args` is what clap reads; `run` carries it out, writes the result to stdout and gives the exit code. An
//! error has had no result written before it, except by `authenticate` and `status`, whose result is what is wrong.

pub(crate) mod authenticate;
pub(crate) mod checkpoint;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod delete;
pub(crate) mod evidence;
pub(crate) mod files;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod inspect;
pub(crate) mod ledger;
pub(crate) mod member;
pub(crate) mod notarize;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod put;
mod receipts;
pub(crate) mod retract;
pub(crate) mod scan;
pub(crate) mod status;
mod status_upkeep;
pub(crate) mod tx;
pub(crate) mod verify;
pub(crate) mod watch;
mod what;
mod write;
mod write_records;

pub(crate) use write::WaitFor;
