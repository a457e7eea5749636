//! The commands that run a cluster rather than use one.
//!
//! Contract: `server` is one node in this process, and everything it is told is in its configuration file. `init`
//! makes the files of a cluster of several machines, `dev` those of a cluster on this one, both through
//! `quorate_node::provision`, so that a development cluster differs from a real one in nothing but its addresses.
//! `join` makes those
//! of one node that was invited, and registers it. `dev` runs each node as a process of its own, started as anybody would start it, so that one can be killed while the
//! others go on. `health` asks a node over plain HTTP whether it is ready, for supervisors that can run a command but
//! have no HTTP client.
//!
//! No command here reads or changes the data of a node; that is the node's own work. (`quorate backup restore` and
//! `quorate recover`, elsewhere, make the data of nodes that never ran.)

pub(crate) mod certificates;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod health;
pub(crate) mod init;
pub(crate) mod join;
mod logging;
mod notify;
mod open_files;
mod probe;
pub(crate) mod recover;
mod runtime;
pub(crate) mod server;
pub(crate) mod stop;

pub(crate) use init::{Nodes, next_steps};
