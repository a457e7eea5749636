//! The state tree: what is true now, as one hash, with proofs of presence, of absence and of completeness.
//!
//! Contract: an ordered Merkle crit-bit tree over the keys themselves (`docs/formats.md`, "The state tree").
//! Its root depends on the set of leaves alone, never on the order of writes, on batches, caches or layout. A
//! key is read as a bit string ([`Bits`]): each byte a 1 and its 8 bits, then a final 0. That makes the strings
//! prefix-free and gives them the order of the keys.
//!
//! | keys | hash |
//! |---|---|
//! | none | 32 zero bytes |
//! | one | [`leaf_hash`]: `H(0x02 ‖ index ‖ H(0x00 ‖ op))` |
//! | several | [`branch_hash`]: `H(0x03 ‖ d ‖ left ‖ right)`, `d` the first bit at which they do not all agree |
//!
//! A proof ([`prove()`]) is the tree with everything pruned that cannot hold an answer to a [`Query`]. [`verify()`]
//! gives the *complete* answer, or refuses: a leaf cannot be left out, because a pruned subtree is accepted only
//! where the bits all its keys begin with lie outside the query.
//!
//! | part | for whom |
//! |---|---|
//! | [`verify()`], [`VerifiedAnswer`] | everyone who checks |
//! | [`Walk`], [`prove()`] | whoever stores a tree, in any layout |
//! | [`SortedBuilder`], [`root_of_sorted`] | one pass over keys in order: rebuilding, scrubbing, oracles |
//! | [`CritTree`] | a tree in memory with its hashes; its tips are leaves or whole subtrees kept elsewhere |
//! | [`Layered`] | a proof over such a tree and the subtrees (buckets) below it |
//! | [`MemoryStateTree`] | everything in memory |
//!
//! A writer who makes each key extend the last gets a tree as deep as 9,217: nothing here recurses.

mod bits;
mod crit;
mod edit;
mod encoding;
mod layered;
mod leaf;
mod memory;
mod proof_error;
mod prove;
mod query;
mod sorted;
mod verify;

pub use bits::{BitPrefix, Bits, KeyRange, first_difference};
pub use crit::{CritTree, NodeRef, OpenedRef, Place, StateTip, Tip};
pub use edit::Edit;
pub use layered::{Buckets, Layered, LayeredNode};
pub use leaf::{StateLeaf, StateLeafError, StateTreeError, branch_hash, leaf_hash};
pub use memory::MemoryStateTree;
pub use proof_error::StateProofError;
pub use prove::{Opened, Walk, prove};
pub use query::{Query, QueryBits};
pub use sorted::{SortedBuilder, build_sorted, root_of_sorted};
pub use verify::{OutsideQuery, VerifiedAnswer, VerifiedStateLeaf, verify};
