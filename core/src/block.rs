//! Blocks as their proposers sign them.
//!
//! Contract: a leader signs the hash of every block it proposes, and uses each (term, height) once. A follower
//! acknowledges only a block whose signature is its proposer's and which chains to the block before. So a leader
//! that feeds two followers different blocks has signed its own conviction: two [`VerifiedBlock`]s with one key,
//! cluster, term and height and different hashes ([`VerifiedBlock::equivocates`]).
//!
//! The body is opaque here: the bytes of the Raft entry. Block keys are a node's own, used for nothing else, and
//! listed in the cosigner set; the text in front of what is hashed keeps a block from being anything else signed
//! with Ed25519 in this project.
//!
//! ```text
//! block_hash = H("quorate-block/v1\n" ‖ cluster id (16) ‖ term u64 ‖ height u64
//!                ‖ previous block_hash (32) ‖ H(body))
//! ```

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::hash::{Hash, sha256};
use crate::key::{KeyError, read_public_key};
use crate::name::ClusterId;
use crate::position::{BlockHeight, Term};
use crate::possession::NodeStatement;

/// What is hashed first.
const DOMAIN: &[u8] = b"quorate-block/v1\n";

/// The hash of a block: what its proposer signs, and the next block chains to.
#[must_use]
pub fn block_hash(
    cluster: &ClusterId,
    term: Term,
    height: BlockHeight,
    previous: &Hash,
    body: &[u8],
) -> Hash {
    BlockHeader { cluster: *cluster, term, height, previous: *previous, body_hash: sha256(&[body]) }.hash()
}

/// What a block's hash is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockHeader {
    /// The cluster.
    pub cluster: ClusterId,
    /// The proposer's term.
    pub term: Term,
    /// Number of the block, across all ledgers.
    pub height: BlockHeight,
    /// Hash of the block before; 32 zero bytes for the first.
    pub previous: Hash,
    /// SHA-256 of the body.
    pub body_hash: Hash,
}

impl BlockHeader {
    /// The block's hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        sha256(&[
            DOMAIN,
            self.cluster.as_bytes(),
            &self.term.to_be_bytes(),
            &self.height.to_be_bytes(),
            self.previous.as_bytes(),
            self.body_hash.as_bytes(),
        ])
    }
}

/// The secret key with which a node signs the blocks it proposes. Wiped when dropped, never printed.
pub struct BlockKey {
    secret: SigningKey,
}

impl BlockKey {
    /// The key with this 32-byte Ed25519 seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { secret: SigningKey::from_bytes(seed) }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> BlockPublicKey {
        BlockPublicKey(self.secret.verifying_key())
    }

    /// Signs a block. The caller answers for using each (term, height) once. Deterministic (RFC 8032).
    #[must_use]
    pub fn sign(&self, header: BlockHeader) -> SignedBlock {
        SignedBlock { header, signature: self.secret.sign(header.hash().as_bytes()).to_bytes() }
    }

    /// Proves that this key is held by whom the statement names. Deterministic.
    #[must_use]
    pub fn possess(&self, statement: &NodeStatement) -> [u8; 64] {
        self.secret.sign(&statement.bytes()).to_bytes()
    }
}

impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockKey(secret of {})", self.public())
    }
}

/// The public key of a proposer. Prints as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlockPublicKey(VerifyingKey);

impl BlockPublicKey {
    /// Reads the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// [`KeyError::NotAPoint`], [`KeyError::Weak`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        read_public_key(bytes).map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl TryFrom<&[u8]> for BlockPublicKey {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = <&[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Length { got: bytes.len() })?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Display for BlockPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A block's header with a signature that is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignedBlock {
    /// What is signed.
    pub header: BlockHeader,
    /// Ed25519 over the block's hash.
    pub signature: [u8; 64],
}

impl SignedBlock {
    /// Checks that `proposer` signed this, strictly.
    ///
    /// # Errors
    /// [`BlockError::BadSignature`].
    pub fn verify(&self, proposer: &BlockPublicKey) -> Result<VerifiedBlock, BlockError> {
        let hash = self.header.hash();
        proposer.0.verify_strict(hash.as_bytes(), &Signature::from_bytes(&self.signature)).map_err(|_| {
            BlockError::BadSignature {
                term: self.header.term,
                height: self.header.height,
                proposer: proposer.to_string(),
            }
        })?;
        Ok(VerifiedBlock { block: *self, hash, proposer: *proposer })
    }
}

/// A block that its proposer signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedBlock {
    block: SignedBlock,
    hash: Hash,
    proposer: BlockPublicKey,
}

impl VerifiedBlock {
    /// What was signed.
    #[must_use]
    pub const fn header(&self) -> &BlockHeader {
        &self.block.header
    }

    /// Header and signature, as they can be handed on.
    #[must_use]
    pub const fn signed(&self) -> &SignedBlock {
        &self.block
    }

    /// The block's hash.
    #[must_use]
    pub const fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Who signed it.
    #[must_use]
    pub const fn proposer(&self) -> &BlockPublicKey {
        &self.proposer
    }

    /// Checks that `body` is what was signed.
    ///
    /// # Errors
    /// [`BlockError::OtherBody`].
    pub fn check_body(&self, body: &[u8]) -> Result<(), BlockError> {
        let got = sha256(&[body]);
        let signed = self.block.header.body_hash;
        if got == signed {
            Ok(())
        } else {
            let height = self.block.header.height;
            Err(BlockError::OtherBody { height, signed, got })
        }
    }

    /// Checks that this block comes right after one with this height and hash; `None`: that it is the first.
    ///
    /// # Errors
    /// [`BlockError::NotNext`].
    pub fn check_follows(&self, previous: Option<(BlockHeight, Hash)>) -> Result<(), BlockError> {
        let header = self.header();
        let (height, hash) = match previous {
            Some((height, hash)) => (height.next(), hash),
            None => (Some(BlockHeight::new(0)), Hash::ZERO),
        };
        if height == Some(header.height) && hash == header.previous {
            return Ok(());
        }
        Err(BlockError::NotNext { height: header.height, previous: header.previous, expected_previous: hash })
    }

    /// Whether both together prove that their one proposer signed two blocks for one (cluster, term, height).
    #[must_use]
    pub fn equivocates(&self, other: &Self) -> bool {
        let (a, b) = (self.header(), other.header());
        let same_place = a.cluster == b.cluster && a.term == b.term && a.height == b.height;
        same_place && self.proposer == other.proposer && self.hash != other.hash
    }
}

/// Why a block is not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The signature is not the proposer's.
    #[error("block {height} of term {term}: the signature is not by the block key {proposer}")]
    BadSignature {
        /// Its term.
        term: Term,
        /// Its height.
        height: BlockHeight,
        /// The key it should be by, in hex.
        proposer: String,
    },
    /// The body is not the one whose hash was signed.
    #[error("block {height}: its body hashes to {got}, but {signed} was signed")]
    OtherBody {
        /// Its height.
        height: BlockHeight,
        /// Hash in the header.
        signed: Hash,
        /// Hash of the body.
        got: Hash,
    },
    /// The block does not follow the one before.
    #[error("block {height} follows {previous}, but the block before is {expected_previous}")]
    NotNext {
        /// Its height.
        height: BlockHeight,
        /// What it says comes before.
        previous: Hash,
        /// What does come before.
        expected_previous: Hash,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BlockHeader {
        BlockHeader {
            cluster: ClusterId::new([7; 16]),
            term: Term::new(3),
            height: BlockHeight::new(9),
            previous: sha256(&[b"block 8"]),
            body_hash: sha256(&[b"body"]),
        }
    }

    #[test]
    fn the_hash_is_over_the_bytes_of_the_format() {
        let mut bytes = b"quorate-block/v1\n".to_vec();
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(&3_u64.to_be_bytes());
        bytes.extend_from_slice(&9_u64.to_be_bytes());
        bytes.extend_from_slice(header().previous.as_bytes());
        bytes.extend_from_slice(header().body_hash.as_bytes());
        assert_eq!(header().hash(), sha256(&[&bytes]));
        let BlockHeader { cluster, term, height, previous, .. } = header();
        assert_eq!(block_hash(&cluster, term, height, &previous, b"body"), sha256(&[&bytes]));
    }

    #[test]
    fn every_field_is_signed() {
        let key = BlockKey::from_seed(&[1; 32]);
        let signed = key.sign(header());
        let verified = signed.verify(&key.public()).unwrap();
        assert_eq!((verified.hash(), verified.signed()), (&header().hash(), &signed));
        let other = sha256(&[b"other"]);
        for header in [
            BlockHeader { cluster: ClusterId::new([8; 16]), ..header() },
            BlockHeader { term: Term::new(4), ..header() },
            BlockHeader { height: BlockHeight::new(10), ..header() },
            BlockHeader { previous: other, ..header() },
            BlockHeader { body_hash: other, ..header() },
        ] {
            assert!(SignedBlock { header, ..signed }.verify(&key.public()).is_err());
        }
        assert!(signed.verify(&BlockKey::from_seed(&[2; 32]).public()).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_signature_is_refused() {
        let key = BlockKey::from_seed(&[1; 32]);
        for bit in 0..512 {
            let mut signed = key.sign(header());
            signed.signature[bit / 8] ^= 1 << (bit % 8);
            assert!(signed.verify(&key.public()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_body_must_be_the_signed_one() {
        let key = BlockKey::from_seed(&[1; 32]);
        let block = key.sign(header()).verify(&key.public()).unwrap();
        assert_eq!(block.check_body(b"body"), Ok(()));
        assert!(matches!(block.check_body(b"bodY"), Err(BlockError::OtherBody { .. })));
    }

    #[test]
    fn blocks_chain_by_height_and_hash() {
        let key = BlockKey::from_seed(&[1; 32]);
        let verify = |header| key.sign(header).verify(&key.public()).unwrap();
        let block = verify(header());
        let before = (BlockHeight::new(8), header().previous);
        assert_eq!(block.check_follows(Some(before)), Ok(()));
        assert!(block.check_follows(Some((BlockHeight::new(7), header().previous))).is_err());
        assert!(block.check_follows(Some((BlockHeight::new(8), Hash::ZERO))).is_err());
        assert!(block.check_follows(None).is_err());
        let first = verify(BlockHeader { height: BlockHeight::new(0), previous: Hash::ZERO, ..header() });
        assert_eq!(first.check_follows(None), Ok(()));
    }

    #[test]
    fn two_blocks_for_one_place_by_one_key_are_an_equivocation() {
        let (key, other) = (BlockKey::from_seed(&[1; 32]), BlockKey::from_seed(&[2; 32]));
        let verify = |key: &BlockKey, header| key.sign(header).verify(&key.public()).unwrap();
        let block = verify(&key, header());
        let changed = BlockHeader { body_hash: Hash::ZERO, ..header() };
        assert!(block.equivocates(&verify(&key, changed)));
        assert!(!block.equivocates(&verify(&key, header())));
        assert!(!block.equivocates(&verify(&other, changed)));
        assert!(!block.equivocates(&verify(&key, BlockHeader { term: Term::new(4), ..changed })));
        assert!(!block.equivocates(&verify(&key, BlockHeader { height: BlockHeight::new(1), ..changed })));
        let elsewhere = BlockHeader { cluster: ClusterId::new([8; 16]), ..changed };
        assert!(!block.equivocates(&verify(&key, elsewhere)));
    }
}
