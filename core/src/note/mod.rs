//! Signed notes: checkpoints with the signatures below them (c2sp.org/signed-note, c2sp.org/tlog-cosignature).
//!
//! Contract, in three steps that are three types:
//!
//! 1. text, from anywhere: a `&str`;
//! 2. [`SignedNote`]: its form is right; nothing is known of its signatures. Nodes build and print these;
//! 3. [`OpenedNote`]: for the keys it was opened with, every signature in it was verified, and at least one is
//!    there. Only [`SignedNote::open`] makes one.
//!
//! An opened note says who signed, not that this is enough: that is a policy's to say ([`crate::policy`]).
//!
//! Signatures of unknown keys are ignored; one bad signature of a known key rejects the note. A known key may
//! sign twice (it says the same again, later): both are verified, and the later time counts.
//!
//! ```text
//! ledger.example/test/4420823c/default            origin
//! 81                                              size
//! CssS3aebW5aabFpbREK3t+tLQwjdMNYwTcBRWrKFDKg=      root
//!                                                 (empty line)
//! — ledger.example/test/4420823c/default Ek6E...    log, type 0x01: id (4) ‖ Ed25519 (64)
//! — ledger.example/test/4420823c/node/1 KUTo...     replica, type 0x04: id (4) ‖ time u64 ‖ Ed25519 (64)
//! ```
//!
//! Lines are in the canonical order when added here: the log, then nodes by ascending id, then others by name.
//! Reading takes any order, and printing what was read gives the same bytes.

mod cosignature;
mod error;
mod opened;
mod signature;
mod signed;
#[cfg(test)]
mod tests;
pub(crate) mod text;

pub use cosignature::{Cosignature, cosign_message};
pub use error::NoteError;
pub use opened::{OpenedNote, Signer};
pub use signature::NoteSignature;
pub use signed::{MAX_NOTE_BYTES, MAX_SIGNATURES, SignedNote};
