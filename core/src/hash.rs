//! SHA-256 values, and the one table of prefixes that keeps the hashed formats apart.
//!
//! Contract: every hash of the project is made through this module, and every kind of input starts with a
//! different byte, so that bytes of one kind can never be passed off as another. The list is the whole of it:
//!
//! | prefix | input |
//! |---|---|
//! | `0x00` | leaf of an RFC 6962 tree (§2.1): `H(0x00 ‖ leaf)` |
//! | `0x01` | node of an RFC 6962 tree: `H(0x01 ‖ left ‖ right)` |
//! | `0x02` | leaf of the state tree |
//! | `0x03` | branch of the state tree |
//! | `0x04` | value of an operation |
//! | `0x05` | meta of a transaction |
//! | `0x06` | request id |
//!
//! Blocks, notes and keys are hashed over text that starts with a printable letter.
//!
//! Comparison is not constant-time: a [`struct@Hash`] is public.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, block_api::compress256};

/// Prefix of a leaf of an RFC 6962 tree.
pub const LEAF_PREFIX: u8 = 0x00;
/// Prefix of an interior node of an RFC 6962 tree.
pub const NODE_PREFIX: u8 = 0x01;
/// Prefix of a leaf of the state tree.
pub const STATE_LEAF_PREFIX: u8 = 0x02;
/// Prefix of a branch of the state tree.
pub const STATE_BRANCH_PREFIX: u8 = 0x03;
/// Prefix of the digest of a value.
pub const VALUE_PREFIX: u8 = 0x04;
/// Prefix of the digest of a transaction's meta.
pub const META_PREFIX: u8 = 0x05;
/// Prefix of a request id.
pub const REQUEST_PREFIX: u8 = 0x06;

/// A SHA-256 value, 32 bytes. Ordered as bytes; printed as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// 32 zero bytes: the root of a state tree without keys, and "no value". Not the hash of anything known.
    pub const ZERO: Self = Self([0; 32]);

    /// Length of 32 bytes in padded base64.
    const BASE64_LEN: usize = 44;

    /// These bytes, taken as they are.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Standard base64 with padding, 44 characters, as in checkpoints and proofs.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads standard base64 with padding. One spelling per value: other alphabets, missing padding, stray
    /// bits in the last character and white space are refused.
    ///
    /// # Errors
    /// [`ParseHashError`] for any text that [`Hash::to_base64`] does not give.
    pub fn from_base64(text: &str) -> Result<Self, ParseHashError> {
        if text.len() != Self::BASE64_LEN {
            return Err(ParseHashError::Base64Length { got: text.len() });
        }
        // One byte more than a hash: 44 characters without padding would hold 33.
        let mut bytes = [0_u8; 33];
        let got = STANDARD.decode_slice(text, &mut bytes).map_err(|_| ParseHashError::Base64)?;
        let hash = bytes.get(..got).ok_or(ParseHashError::Base64)?;
        Ok(Self::try_from(hash)?)
    }

    /// Reads 64 hex digits of either case.
    ///
    /// # Errors
    /// [`ParseHashError::Hex`] for any other text.
    pub fn from_hex(text: &str) -> Result<Self, ParseHashError> {
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseHashError::Hex { got: text.len() })?;
        Ok(Self(bytes))
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = WrongLength;

    fn try_from(bytes: &[u8]) -> Result<Self, WrongLength> {
        <[u8; 32]>::try_from(bytes).map(Self).map_err(|_| WrongLength { got: bytes.len() })
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<Hash> for [u8; 32] {
    fn from(hash: Hash) -> Self {
        hash.0
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes that should be a hash, and are not 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 32 bytes, not {got}")]
pub struct WrongLength {
    /// How many bytes there were.
    pub got: usize,
}

/// Text that should be a hash, and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseHashError {
    /// Not 44 characters.
    #[error("a hash in base64 has 44 characters with its padding, not {got} bytes")]
    Base64Length {
        /// Length of the text in bytes.
        got: usize,
    },
    /// Not canonical standard base64.
    #[error("a hash must be canonical standard base64 (RFC 4648 §4, with padding and no stray bits)")]
    Base64,
    /// Base64 of something else than 32 bytes.
    #[error(transparent)]
    Length(#[from] WrongLength),
    /// Not 64 hex digits.
    #[error("a hash in hex has 64 digits 0-9 a-f; this has {got} bytes or other characters")]
    Hex {
        /// Length of the text in bytes.
        got: usize,
    },
}

/// SHA-256 of the parts, one after the other and nothing between. The caller sees to it that the parts of two
/// different inputs never join to the same bytes: fixed lengths, or a length in front.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Hash {
    // The parts are in memory together, so their lengths add up.
    let len = parts.iter().map(|part| part.len()).sum();
    short(parts, len).unwrap_or_else(|| {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Hash(hasher.finalize().into())
    })
}

/// What SHA-256 begins with (FIPS 180-4 §5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The bytes of a last block in front of the length.
const LAST_BYTES: usize = 56;

/// SHA-256 of parts that fit two blocks with their padding (FIPS 180-4 §5.1.1), `None` of longer ones. Nearly all that is
/// hashed in trees is that short; put together here it takes a fifth less time than through a buffer for any length.
fn short(parts: &[&[u8]], len: usize) -> Option<Hash> {
    let mut blocks = [[0_u8; 64]; 2];
    let mut rest = blocks.as_flattened_mut();
    if rest.len().checked_sub(len)? <= 8 {
        return None;
    }
    for part in parts {
        let (here, behind) = rest.split_at_mut_checked(part.len())?;
        here.copy_from_slice(part);
        rest = behind;
    }
    *rest.first_mut()? = 0x80;
    let used = blocks.get_mut(..if len < LAST_BYTES { 1 } else { 2 })?;
    let bits = u64::try_from(len).ok()?.checked_mul(8)?;
    *used.last_mut()?.last_chunk_mut()? = bits.to_be_bytes();
    let mut state = INITIAL;
    compress256(&mut state, used);
    let mut hash = [0; Hash::LEN];
    hash.as_chunks_mut().0.iter_mut().zip(state).for_each(|(bytes, word)| *bytes = word.to_be_bytes());
    Some(Hash(hash))
}

/// Hash of a leaf of an RFC 6962 tree (§2.1): `H(0x00 ‖ leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[LEAF_PREFIX], leaf])
}

/// Hash of an interior node of an RFC 6962 tree (§2.1): `H(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[NODE_PREFIX], &left.0, &right.0])
}

/// Root of the RFC 6962 tree without leaves (§2.1): `H("")`.
#[must_use]
pub fn empty_root() -> Hash {
    sha256(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn sha256_joins_its_parts() {
        assert_eq!(sha256(&[b"abc"]).to_string(), ABC);
        assert_eq!(sha256(&[b"a", b"", b"bc"]), Hash::from_hex(ABC).unwrap());
        assert_eq!(format!("{:?}", sha256(&[b"abc"])), ABC);
    }

    #[test]
    fn every_length_is_hashed_alike() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in 0..bytes.len() {
            let (whole, _) = bytes.split_at(len);
            let (front, back) = whole.split_at(len / 3);
            let expected: [u8; 32] = Sha256::digest(whole).into();
            assert_eq!(sha256(&[front, b"", back]), Hash::new(expected), "{len} bytes");
            assert_eq!(short(&[whole], len).is_some(), len < 120, "{len} bytes");
        }
    }

    #[test]
    fn prefixes_come_first() {
        let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
        assert_eq!(left, sha256(&[b"\x00l"]));
        assert_eq!(node_hash(&left, &right), sha256(&[b"\x01", left.as_bytes(), right.as_bytes()]));
        assert_eq!(empty_root(), sha256(&[b""]));
    }

    #[test]
    fn base64_has_one_spelling_per_hash() {
        let hash = sha256(&[b"abc"]);
        let text = hash.to_base64();
        assert_eq!(Hash::from_base64(&text), Ok(hash));
        let bare = text.trim_end_matches('=');
        // The last character before the padding holds 4 bits of the hash; its 2 others must be 0.
        assert_eq!(bare.chars().last(), Some('0'));
        let stray = format!("{}1=", &bare[..42]);
        let others =
            [bare.to_owned(), format!("{bare}A"), format!("{text}\n"), stray, text.replace('/', "_")];
        for other in others {
            assert!(Hash::from_base64(&other).is_err(), "{other}");
        }
    }

    #[test]
    fn other_lengths_are_not_hashes() {
        assert_eq!(Hash::try_from([1_u8; 31].as_slice()), Err(WrongLength { got: 31 }));
        assert_eq!(Hash::try_from([1_u8; 33].as_slice()), Err(WrongLength { got: 33 }));
        assert_eq!(Hash::try_from([1_u8; 32].as_slice()), Ok(Hash::new([1; 32])));
        assert_eq!(Hash::from_hex("00"), Err(ParseHashError::Hex { got: 2 }));
    }
}
