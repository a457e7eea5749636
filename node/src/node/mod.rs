//! One node, put together: what it opens, in which order it starts, how it founds a cluster, how it stops.
//!
//! The order matters. Everything that can be wrong with the configuration, keys, certificates, ports and directories is
//! found before Raft is started, because a node that is started votes. The signer is started before consensus, so that
//! it sees every checkpoint in order. Clients are let in last. Other nodes are answered from the beginning, but only to
//! say whether they may take part: a node with an empty data directory asks that before its Raft is started, because the
//! directory may be a new one in place of a lost one (`admission`).
//!
//! A fault (a diverged state, a damaged store) stops consensus, signing and serving; the process stays and says so in
//! `Status` and `/readyz` until it is stopped, and keeps its files. Damage that is found at the start, such as a log that
//! ends before what was promised, is such a fault: nothing of the node is started but what says so (`stopped`). A wrong
//! configuration, somebody else's directory or a port in use end the process instead.

mod admission;
mod conviction;
mod door;
mod found;
mod handover;
mod open;
mod prepare;
mod register;
mod run;
mod stopped;

pub use admission::AdmissionError;
pub use open::{OpenError, check_keys};
pub(crate) use prepare::first_life;
pub use register::RegisterError;
pub use run::{RunError, Running, run};
