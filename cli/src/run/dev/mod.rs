//! `quorate dev`: a cluster on this machine.
//!
//! Contract: real nodes, each a process of its own with its own disk, keys, certificates and ports, started as
//! `quorate server --config` would start it on a server. They end with this process, however it ends: each holds the
//! end of a pipe. Data, keys and ports are kept, so that starting again continues; `--fresh` starts from nothing. A node
//! that dies is reported, and started again after a pause, as a supervisor would: what its death and its return do to the
//! cluster is what people want to see here. One that dies young again and again is given up; one that was asked to stop
//! stays stopped.
//!
//! ```text
//! DIR/dev.lock     held while the cluster runs: one `quorate dev` per folder
//! DIR/authority/   DIR/client/   DIR/node-N/    as `quorate init` makes them
//! DIR/node-N/quorate.log                        what the node said
//! DIR/trust/       the trust store of the context `dev`
//! ```

mod child;
mod command;
mod crew;
mod folder;
mod ports;
mod report;

pub(crate) use command::{Args, run};
