//! The chain of cosigner sets: from the replicas that a policy names to those of today.
//!
//! Contract: a cluster's cosigner set is the document under the key `cosigners` of its ledger `_system`
//! (`docs/formats.md`); each change of it counts its epoch up by one. An [`EpochChain`] begins with a policy and moves
//! from one set to the next by an [`EpochLink`]: a checkpoint of `_system` whose state holds the next document, signed by
//! a quorum of the set that goes *and* by one of the set that comes. So whoever trusts the one set can trust the other,
//! and nobody outside of both can make a link.
//!
//! Refused are links that skip an epoch or go back, that only one of the two sets signed, whose document is not the
//! one that the state proof shows, or contradicts itself, and sets that use a key or a node id again which an earlier
//! set had and gave up: who left a cluster does not come back as somebody else.
//!
//! The rule of the policy (how many of how many, and which witnesses besides) is the client's own; it is carried over to
//! each set ([`Policy::with_replicas`](crate::policy::Policy::with_replicas)).
//!
//! What this cannot see: whether there is a later set. And who holds enough keys of an old set can write another
//! history for a client that stopped there: keys of nodes that left are to be destroyed.

mod chain;
mod document;
mod error;

pub use chain::{EpochChain, EpochLink, Member};
pub use document::{COSIGNERS_KEY, Cosigner, CosignerSet};
pub use error::EpochError;
