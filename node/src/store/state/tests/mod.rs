//! The state store against the golden vectors, a naive model, crashes, damage and altered snapshots.

mod crash;
mod damage;
mod directory;
mod epochs;
mod erase;
mod frozen;
mod model;
mod seed;
mod snapshot;
pub(crate) mod support;
mod vectors;
