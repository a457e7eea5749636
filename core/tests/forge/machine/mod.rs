//! A machine that forges proofs, and counts which check refuses each forgery.
//!
//! A forgery starts from a valid thing and is altered where its structure allows it: hashes swapped, parts of other
//! proofs, keys, sizes and origins spliced in, leaves re-encoded, lines re-signed with other keys, old checkpoints
//! reused. It is verified as a client would. [`Judged`] says what came of it. **What is accepted is compared with what the
//! model knows to be true:** an altered thing that says what is true (an unknown signature more, a note with one of three
//! cosignatures less) is no forgery and is not counted; for paths of the log tree, whose encoding is unique, only the
//! honest bytes are. Anything else that is accepted is an accepted forgery.

#[allow(dead_code, reason = "other tests use more of the model ledger")]
#[path = "../../support/mod.rs"]
mod support;

mod answers;
mod commits;
mod evidence;
mod logs;
mod notes;
mod questions;
mod receipts;
mod rng;
mod states;
mod tally;
mod work;
mod world;

pub(crate) use work::forge;
