//! The whole client against a cluster of three replicas in this process: honest, failing, and lying.

#![expect(clippy::unwrap_used, reason = "tests")]

mod agreement;
mod epochs;
mod failover;
mod grouped;
mod honest;
mod lies;
mod subscribe;
mod support;
