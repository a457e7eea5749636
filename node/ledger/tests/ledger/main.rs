//! The transition function and its state trees, against the golden vectors, an independent model, and damage.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::cast_possible_truncation, reason = "tests: small numbers")]

mod damage;
mod deep;
mod frozen;
mod histories;
mod lineage;
mod membership;
mod replay;
mod requests;
mod support;
mod system;
mod trie;
mod vectors;
