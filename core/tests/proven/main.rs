//! Verification against a model ledger: honest answers are understood, lies are refused.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::cast_possible_truncation, reason = "tests: small numbers")]

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod broken;
mod commit;
mod epochs;
mod evidence;
mod flips;
mod honest;
mod lies;
mod receipts;
mod vectors;
