//! `quorate doctor`: what is wrong with a node or a cluster, and what to do next.
//!
//! * [`command`] — the command and its output
//! * [`cluster`] — what is asked over the network: who answers, clocks, certificates, roots

mod cluster;
mod command;

pub(crate) use command::{Args, run};
