//! The interface over a real state store, in one process; every answer is verified as a client verifies it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod commit;
mod commit_stream;
mod epochs;
mod history;
mod keys;
mod log;
mod model;
mod refusals;
mod scan;
mod served;
mod server;
mod subscribe;
mod tables;
mod tokens;
mod verify;
mod world;
