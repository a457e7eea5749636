//! The two kinds of log leaf: one per transaction, and one that closes each block.

use super::EntryError;
use super::limits::{MAX_LEAF, MAX_OPS};
use super::reader::Reader;
use crate::hash::{Hash, leaf_hash};
use crate::position::{Epoch, LogIndex, Micros};

/// Version byte of both kinds.
const VERSION: u8 = 1;
/// Type byte of a transaction leaf.
const TRANSACTION: u8 = 1;
/// Type byte of a commit leaf.
const COMMIT: u8 = 2;

/// The leaf of one committed transaction, 118 bytes encoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TransactionLeaf {
    /// Time of the block: the leader's clock when it sealed the block, or the ledger's previous time if later.
    pub time: Micros,
    /// Until when the request is known as done, and after which it is not executed any more.
    pub not_after: Micros,
    /// How many operations, 1 to [`MAX_OPS`].
    pub op_count: u32,
    /// RFC 6962 root over the encoded operations in request order ([`super::ops_root`]).
    pub ops_root: Hash,
    /// Which request this was ([`super::request_id`]).
    pub request_id: Hash,
    /// [`super::meta_digest`] of the transaction's meta.
    pub meta_digest: Hash,
}

impl TransactionLeaf {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 118;

    /// The encoding.
    ///
    /// ```text
    /// offset 0 version = 1 | 1 type = 1 | 2 time u64 | 10 not_after u64 | 18 op_count u32
    ///   | 22 ops_root 32 | 54 request_id 32 | 86 meta_digest 32
    /// ```
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        join([
            &[VERSION, TRANSACTION],
            &self.time.to_be_bytes(),
            &self.not_after.to_be_bytes(),
            &self.op_count.to_be_bytes(),
            self.ops_root.as_bytes(),
            self.request_id.as_bytes(),
            self.meta_digest.as_bytes(),
        ])
    }

    /// The hash that the log tree holds.
    #[must_use]
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.encode())
    }

    fn decode(mut reader: Reader<'_>) -> Result<Self, EntryError> {
        let leaf = Self {
            time: Micros::new(reader.u64()?),
            not_after: Micros::new(reader.u64()?),
            op_count: reader.u32()?,
            ops_root: reader.hash()?,
            request_id: reader.hash()?,
            meta_digest: reader.hash()?,
        };
        reader.end()?;
        let fits = usize::try_from(leaf.op_count).is_ok_and(|count| (1..=MAX_OPS).contains(&count));
        if !fits {
            return Err(EntryError::OpCount { got: leaf.op_count });
        }
        Ok(leaf)
    }
}

/// The leaf that closes a block in a ledger, 62 bytes encoded. The last leaf at every checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommitLeaf {
    /// Time of the block.
    pub time: Micros,
    /// Log index of the block's first transaction; the leaf's own index if there is none.
    pub first_index: LogIndex,
    /// How many transactions the block has in this ledger.
    pub tx_count: u32,
    /// Root of the state tree after the block.
    pub state_root: Hash,
    /// The cosigner set in force. A block that changes it still carries the old one.
    pub epoch: Epoch,
}

impl CommitLeaf {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 62;

    /// The encoding.
    ///
    /// ```text
    /// offset 0 version = 1 | 1 type = 2 | 2 time u64 | 10 first_index u64 | 18 tx_count u32
    ///   | 22 state_root 32 | 54 epoch u64
    /// ```
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        join([
            &[VERSION, COMMIT],
            &self.time.to_be_bytes(),
            &self.first_index.to_be_bytes(),
            &self.tx_count.to_be_bytes(),
            self.state_root.as_bytes(),
            &self.epoch.to_be_bytes(),
        ])
    }

    /// The hash that the log tree holds.
    #[must_use]
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.encode())
    }

    /// Where this leaf must be: right after its block's transactions. `None` if that is no log index.
    #[must_use]
    pub const fn index(&self) -> Option<LogIndex> {
        // Widening; `From` is not const.
        self.first_index.checked_add(self.tx_count as u64)
    }

    fn decode(mut reader: Reader<'_>) -> Result<Self, EntryError> {
        let leaf = Self {
            time: Micros::new(reader.u64()?),
            first_index: LogIndex::new(reader.u64()?),
            tx_count: reader.u32()?,
            state_root: reader.hash()?,
            epoch: Epoch::new(reader.u64()?),
        };
        reader.end()?;
        Ok(leaf)
    }
}

/// A log leaf as a verifier of this version sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// Version 1, type 1.
    Transaction(TransactionLeaf),
    /// Version 1, type 2.
    Commit(CommitLeaf),
    /// Any other version or type: counts in the tree, says nothing.
    Opaque(Vec<u8>),
}

impl Leaf {
    /// Reads the bytes of a leaf.
    ///
    /// # Errors
    /// [`EntryError`] for a leaf longer than [`MAX_LEAF`], and for one that says it is of a kind known here and
    /// is not its encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > MAX_LEAF {
            return Err(EntryError::LeafLength { len: bytes.len() });
        }
        match bytes {
            [VERSION, TRANSACTION, rest @ ..] => {
                TransactionLeaf::decode(Reader::new("transaction leaf", rest)).map(Self::Transaction)
            }
            [VERSION, COMMIT, rest @ ..] => {
                CommitLeaf::decode(Reader::new("commit leaf", rest)).map(Self::Commit)
            }
            _ => Ok(Self::Opaque(bytes.to_vec())),
        }
    }

    /// The bytes of the leaf.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Transaction(leaf) => leaf.encode().to_vec(),
            Self::Commit(leaf) => leaf.encode().to_vec(),
            Self::Opaque(bytes) => bytes.clone(),
        }
    }
}

/// Puts the parts one after the other. Their lengths add up to `N`: the layouts above, and a test, see to it.
fn join<const N: usize, const PARTS: usize>(parts: [&[u8]; PARTS]) -> [u8; N] {
    let mut bytes = [0; N];
    for (slot, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
        *slot = *byte;
    }
    bytes
}
