//! Which leaves a state proof reveals: read off its bytes, before anybody has asked a question.
//!
//! Nothing is verified here. A proof that [`crate::state_tree::verify`] has accepted for *any* query leads to its
//! root over all its revealed leaves, so all of them are then leaves of that tree.

use crate::entry::Operation;
use crate::position::LogIndex;

/// The tags of `docs/formats.md` §2.
const PRUNED: u8 = 1;
const LEAF: u8 = 2;
const BRANCH: u8 = 3;

/// The revealed leaves in the order of the proof. Stops at the first byte that is not of the format.
pub(super) fn revealed_leaves(proof: &[u8]) -> Vec<(LogIndex, Operation)> {
    let mut leaves = Vec::new();
    let mut rest = proof;
    while let Some(after) = next(rest, &mut leaves) {
        rest = after;
    }
    leaves
}

/// Reads one item of the pre-order encoding; gives what follows it.
fn next<'a>(proof: &'a [u8], leaves: &mut Vec<(LogIndex, Operation)>) -> Option<&'a [u8]> {
    let (tag, rest) = proof.split_first()?;
    match *tag {
        PRUNED => rest.get(32..),
        BRANCH => rest.get(2..),
        LEAF => {
            let (index, rest) = rest.split_first_chunk::<8>()?;
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
            let (operation, rest) = rest.split_at_checked(len)?;
            leaves.push((LogIndex::from_be_bytes(*index), Operation::decode(operation).ok()?));
            Some(rest)
        }
        _ => None,
    }
}
