//! The transition function of a ledger: what a block does to it. Pure, synchronous, no clock, no randomness.
//!
//! [`apply`](apply::apply) takes a [`View`](view::View) of what is stored, the state trees, and a
//! [`Block`](block::Block), and returns [`Effects`](effects::Effects): everything that changes, as data.
//! The store writes them as one batch. The same inputs give the same effects on every replica, platform and
//! version: nothing here depends on time, chance, hash-map order, batch boundaries or caches.
//!
//! What cannot be done is a [`Rejection`](outcome::Rejection): a replicated outcome that leaves no trace.
//! A failed read of the view is the store's fault and is passed through; it never becomes an outcome. To keep
//! the two apart, a request is judged in three steps: its form (`judge`, pure), the facts it depends on (read by
//! `open_ledger`, may fault), and the judgement over those facts (`judge` and [`system`], pure).
#![forbid(unsafe_code)]

pub mod apply;
pub mod block;
pub mod effects;
mod judge;
mod keys;
mod open_ledger;
pub mod outcome;
pub mod registry;
pub mod replay;
pub mod system;
pub mod trie;
pub mod view;
