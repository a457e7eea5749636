//! Ed25519 keys for notes: a ledger's log key, a replica's cosigner key, and the public halves of both.
//!
//! Contract: a [`VerifierKey`] is a name, a signature type and a public key that is worth verifying with; it
//! prints and parses as a vkey (c2sp.org/signed-note). Signatures are verified strictly: one valid encoding of
//! each signature, and no key of small order, with which one signature would fit any text.
//!
//! - [`LogKey`] (type 0x01) signs the text of a note in the log's *name*. Every replica can derive it from the
//!   cluster's secret, so it carries no trust and is never evidence.
//! - [`CosignerKey`] (type 0x04, c2sp.org/tlog-cosignature Ed25519 v1) is a replica's own and never shared. It
//!   carries the trust.
//!
//! The name of a cosigner is not part of what it signs: two vkeys of one public key are one cosigner.
//! [`VerifierKey::same_key`] compares what counts.
//!
//! Secrets are wiped from memory when dropped, are never printed, and come from outside: there is no randomness
//! here. Keys that sign blocks are in [`crate::block`].

mod error;
mod secret;
#[cfg(test)]
mod tests;
mod verifier;

pub use error::KeyError;
pub use secret::{CosignerKey, LogKey};
pub use verifier::{KeyId, SignatureType, VerifierKey};

pub(crate) use verifier::{is_key_name, read_public_key};
