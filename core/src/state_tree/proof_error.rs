//! Why a state proof is refused.

use super::leaf::StateLeafError;
use crate::entry::EntryError;
use crate::hash::Hash;

/// A state proof that does not prove the answer. Whoever sent it is at fault, or the way to them: ask another
/// replica. Offsets count the proof's bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateProofError {
    /// The bytes end within a node.
    #[error("state proof ends at byte {at}, within {what}: it was cut short")]
    Truncated {
        /// Where the missing bytes should begin.
        at: usize,
        /// What was being read.
        what: &'static str,
    },
    /// Bytes follow the tree.
    #[error("state proof has {extra} bytes after its tree, from byte {at} on")]
    TrailingBytes {
        /// Where the tree ended.
        at: usize,
        /// How many bytes follow.
        extra: usize,
    },
    /// Not a tag that may stand here.
    #[error(
        "state proof has tag {tag:#04x} at byte {at}; 0x01, 0x02 and 0x03 are known, and 0x00 as the whole proof"
    )]
    Tag {
        /// The byte.
        tag: u8,
        /// Where it stands.
        at: usize,
    },
    /// A branch that is not deeper than the one above it, or deeper than any key reaches.
    #[error(
        "state proof has a branch at bit {depth} (byte {at}); it must lie below bit {least} and not beyond 9216"
    )]
    Depth {
        /// Where the branch stands.
        at: usize,
        /// Its depth.
        depth: u16,
        /// The lowest depth allowed there.
        least: u16,
    },
    /// A revealed leaf whose operation is malformed.
    #[error("state proof reveals a malformed leaf at byte {at}")]
    Leaf {
        /// Where the leaf stands.
        at: usize,
        /// What is wrong with it.
        source: StateLeafError,
    },
    /// A pruned subtree that no revealed leaf places, so that it could hold anything.
    #[error("state proof reveals no leaf below its branch at bit {depth}")]
    NothingRevealed {
        /// The branch's depth.
        depth: u16,
    },
    /// The whole tree is pruned.
    #[error("state proof is one pruned hash: it shows nothing of the tree")]
    NothingShown,
    /// A revealed leaf that does not belong to its side of a branch.
    #[error("state proof reveals a leaf on the wrong side of its branch at bit {depth}")]
    WrongSide {
        /// The branch's depth.
        depth: u16,
    },
    /// Two revealed leaves that part before the branch between them.
    #[error("state proof has a branch at bit {depth} between leaves that part at bit {difference}")]
    WrongBranch {
        /// The branch's depth.
        depth: u16,
        /// Where the leaves part.
        difference: usize,
    },
    /// A pruned subtree that could hold an answer.
    #[error(
        "state proof prunes a side of its branch at bit {depth} where the query has answers: it is incomplete"
    )]
    Incomplete {
        /// The branch's depth.
        depth: u16,
    },
    /// The tree shown is another one.
    #[error("state proof leads to the root {computed}, not to {expected}")]
    WrongRoot {
        /// The root asked for.
        expected: Hash,
        /// The root of the tree shown.
        computed: Hash,
    },
    /// A leaf of the answer that this version cannot read. The root holds it, so the proof itself is not wrong.
    #[error("state leaf of log index {index} holds an operation that this version cannot read")]
    Operation {
        /// The leaf's log index.
        index: u64,
        /// Why not.
        source: EntryError,
    },
    /// A leaf of the answer that is an erase, which changes no state leaf.
    #[error("state leaf of log index {index} holds an erase; only puts and deletes have state leaves")]
    NotAWrite {
        /// The leaf's log index.
        index: u64,
    },
}
