//! Leaves and branches of the state tree: what is hashed, and what can be wrong with it.

use crate::entry::{MAX_KEY_LEN, Operation};
use crate::hash::{self, Hash, STATE_BRANCH_PREFIX, STATE_LEAF_PREFIX};
use crate::position::LogIndex;

/// Hash of a leaf: `H(0x02 ‖ index u64 ‖ H(0x00 ‖ op))`. `op` is the encoded operation, which holds the key;
/// `index` is the log index of the transaction that wrote it.
#[must_use]
pub fn leaf_hash(index: LogIndex, op: &[u8]) -> Hash {
    let op_hash = hash::leaf_hash(op);
    hash::sha256(&[&[STATE_LEAF_PREFIX], &index.get().to_be_bytes(), op_hash.as_bytes()])
}

/// Hash of a branch: `H(0x03 ‖ d u16 ‖ left ‖ right)`. Left are the keys with bit 0 at position `d`.
#[must_use]
#[inline]
pub fn branch_hash(d: u16, left: &Hash, right: &Hash) -> Hash {
    let [high, low] = d.to_be_bytes();
    hash::sha256(&[&[STATE_BRANCH_PREFIX, high, low], left.as_bytes(), right.as_bytes()])
}

/// A leaf of the state tree: a key's newest write. The operation is 63 bytes and a key of 1 to 1,024 bytes; what
/// the 63 bytes say is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateLeaf {
    index: LogIndex,
    op: Vec<u8>,
}

impl StateLeaf {
    /// A leaf from the log index of the key's newest write and that write's encoded operation.
    ///
    /// # Errors
    /// [`StateLeafError`] if the operation is not exactly 63 bytes and its key.
    pub fn new(index: LogIndex, op: Vec<u8>) -> Result<Self, StateLeafError> {
        key_of(&op)?;
        Ok(Self { index, op })
    }

    /// Log index of the transaction that wrote the key last.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// The encoded operation.
    #[must_use]
    pub fn op(&self) -> &[u8] {
        &self.op
    }

    /// The key.
    #[must_use]
    #[inline]
    pub fn key(&self) -> &[u8] {
        self.op.get(Operation::FIXED_LEN..).unwrap_or_default()
    }

    /// The leaf's hash; see [`leaf_hash`].
    #[must_use]
    pub fn hash(&self) -> Hash {
        leaf_hash(self.index, &self.op)
    }

    /// The encoded operation, taken out.
    #[must_use]
    pub fn into_op(self) -> Vec<u8> {
        self.op
    }
}

/// The key of an encoded operation, if that is exactly 63 bytes and a key of the length it states.
pub(crate) fn key_of(op: &[u8]) -> Result<&[u8], StateLeafError> {
    let (fixed, key) =
        op.split_at_checked(Operation::FIXED_LEN).ok_or(StateLeafError::Short { got: op.len() })?;
    let stated = fixed.last_chunk::<2>().map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
    if stated == 0 || stated > MAX_KEY_LEN {
        return Err(StateLeafError::KeyLength { stated });
    }
    if stated != key.len() {
        return Err(StateLeafError::WrongLength { stated, got: key.len() });
    }
    Ok(key)
}

/// Bytes that should be the operation of a state leaf, and are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateLeafError {
    /// Fewer bytes than the fixed part.
    #[error("an operation has 63 bytes before its key; this has {got} in all")]
    Short {
        /// How many bytes there were.
        got: usize,
    },
    /// A key length outside the format.
    #[error("key_len of an operation is {stated}; it must be 1 to 1024")]
    KeyLength {
        /// The length in the operation.
        stated: usize,
    },
    /// More or fewer bytes than the key length says.
    #[error("key_len of an operation is {stated}, but {got} bytes follow its fixed part")]
    WrongLength {
        /// The length in the operation.
        stated: usize,
        /// How many bytes there were.
        got: usize,
    },
}

/// Why a tree could not be built or changed as asked. The tree is then as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateTreeError {
    /// A leaf that is none.
    #[error(transparent)]
    Leaf(#[from] StateLeafError),
    /// Keys that are not strictly ascending.
    #[error(
        "key number {number} (from 0) of a state tree is not above the one before it: keys must be sorted, and occur once"
    )]
    OutOfOrder {
        /// Which key, counted from 0.
        number: usize,
    },
    /// More tips than an in-memory tree can number.
    #[error("an in-memory state tree holds at most 2147483647 tips")]
    Full,
    /// Replacement tips of which one does not belong where the old one was.
    #[error("tips can replace one only within its region, the keys that begin with the same {bits} bits")]
    OutsideRegion {
        /// Number of bits the region has in common.
        bits: usize,
    },
    /// Nothing to replace, or nothing to replace it with.
    #[error("a tip can be replaced only in a tree that is not empty, and by one tip or more")]
    NothingToReplace,
}
