//! A node of Quorate that lies. For tests only: nothing that is shipped depends on it (`tests/shipped.rs`).
//!
//! It stands where a real node stands, with that node's certificates and its secret keys, and takes honest answers from
//! real nodes. Towards clients it is a `quorate.v1` server that alters answers and signs checkpoints anew
//! ([`front`]). Towards the other nodes it is a `quorate.peer.v1` server between a leader and a follower that alters
//! blocks and signs them with the leader's block key, or alters snapshots ([`between`]). So every lie is told by what a
//! real node's owner could run, and no hook of it is in the product.
//!
//! [`lie::Lie`] is the list: one for each line of docs/trust.md, "What must be shown to be caught". [`stage`] runs real
//! nodes and a lying process beside them, with a real client in front; [`row`] is what came of it.

pub mod between;
pub mod front;
pub mod lie;
pub mod notes;
pub mod row;
pub mod snapshot;
pub mod stage;
pub mod stolen;
pub mod upstream;

mod alter;
mod streamed;

/// Stands in every build of this package, so that a test can look for it in what is shipped.
pub const MARKER: &str = "quorate-liar: this program lies, and is for tests only";
