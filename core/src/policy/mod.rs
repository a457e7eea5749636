//! Trust policies: which keys count, and how many of them (c2sp.org/tlog-policy).
//!
//! Contract: [`Policy::open`] turns the text of a note into a [`CertifiedCheckpoint`], and nothing else makes
//! one. It checks the form, that the origin is one of the policy's logs and that this log signed, every
//! signature by a key of the policy (one bad one refuses the note), and the quorum.
//!
//! ```text
//! log <vkey> [<url>]                      the origin is the name of the vkey; type 0x01
//! witness <name> <vkey> [<url>]           a replica or an outside witness; type 0x04
//! group <name> <k|all|any> <name>...      k of these; each name is a member at most once in the whole file
//! quorum <name|none>                      what must have cosigned; exactly one such line
//! ```
//!
//! Lines end with a newline, items are separated by spaces and tabs, `#` starts a comment line, names come
//! before their use, `none` is no name of anything. Octets above 0x7f are opaque. Beyond the specification, all
//! public keys of a policy are pairwise distinct, log or witness: a quorum counts keys, and the name of a
//! cosigner is not signed.
//!
//! A policy that cannot be met does not parse. One that promises little does: [`Policy::promise`] says how much.
//! Nothing here looks at a clock: [`CertifiedCheckpoint::kth_newest_time`] is for the caller to compare.

mod certified;
mod error;
mod parse;
mod print;
mod quorum;
mod replace;
mod rules;
#[cfg(test)]
mod tests;

pub use certified::CertifiedCheckpoint;
pub use error::{PolicyError, PolicyFileError, PolicyProblem};
use quorum::Member;
pub use quorum::Promise;
pub use replace::ReplaceError;
pub use rules::{Label, Log, MAX_POLICY_BYTES, Policy, Witness};
