//! The bytes of a state proof: the tree in pre-order.
//!
//! | bytes | node |
//! |---|---|
//! | `0x00` | no keys at all; only ever the whole proof |
//! | `0x01 ‖ hash (32)` | a pruned subtree |
//! | `0x02 ‖ index u64 ‖ op_len u32 ‖ op` | a revealed leaf |
//! | `0x03 ‖ d u16 ‖ left ‖ right` | a branch |

use super::leaf::StateLeaf;
use crate::hash::Hash;

/// No keys at all.
pub(crate) const EMPTY: u8 = 0x00;
/// A pruned subtree.
pub(crate) const PRUNED: u8 = 0x01;
/// A revealed leaf.
pub(crate) const LEAF: u8 = 0x02;
/// A branch.
pub(crate) const BRANCH: u8 = 0x03;

/// The last bit position at which keys of 1,024 bytes can part: a tree has at most one branch more above a leaf.
pub(crate) const MAX_DEPTH: u16 = 9 * 1024;

/// Appends a pruned subtree.
pub(crate) fn put_pruned(out: &mut Vec<u8>, hash: &Hash) {
    out.push(PRUNED);
    out.extend_from_slice(hash.as_bytes());
}

/// Appends a revealed leaf.
pub(crate) fn put_leaf(out: &mut Vec<u8>, leaf: &StateLeaf) {
    // A leaf's operation has at most 63 + 1,024 bytes: u16 holds its length, of which two bytes are 0.
    let len = u16::try_from(leaf.op().len()).unwrap_or(u16::MAX);
    out.push(LEAF);
    out.extend_from_slice(&leaf.index().get().to_be_bytes());
    out.extend_from_slice(&u32::from(len).to_be_bytes());
    out.extend_from_slice(leaf.op());
}

/// Appends the head of a branch; its children follow, left first.
pub(crate) fn put_branch(out: &mut Vec<u8>, d: u16) {
    out.push(BRANCH);
    out.extend_from_slice(&d.to_be_bytes());
}
