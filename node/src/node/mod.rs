//! One node, put together: what it opens, in which order it starts, how it founds a cluster, how it stops.
//!
//! The order matters. Everything that can be wrong with the configuration, keys, certificates, ports and directories is
//! found before Raft is started, because a node that is started votes. The signer is started before consensus, so that
//! it sees every checkpoint in order. Clients are let in last.
//!
//! A fault (a diverged state, a damaged store) stops consensus, signing and serving; the process stays and says so in
//! `Status` and `/readyz` until it is stopped, and keeps its files.

mod found;
mod open;
mod run;

pub use open::OpenError;
pub use run::{RunError, Running, run};
