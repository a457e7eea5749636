//! Byte strings of a fixed length.

use bytes::Bytes;
use quorate_core::entry::Salt;
use quorate_core::hash::Hash;

use super::{WireError, WireProblem};

/// Longest path of any tree: a tree has at most 2^64 leaves.
const MAX_PATH: usize = 64;

/// Reads a hash: exactly 32 bytes.
///
/// # Errors
/// [`WireProblem::HashLength`].
pub fn hash_from_wire(field: &str, bytes: &[u8]) -> Result<Hash, WireError> {
    Hash::try_from(bytes).map_err(|_| WireError::new(field, WireProblem::HashLength { got: bytes.len() }))
}

/// Reads a path of hashes.
///
/// # Errors
/// [`WireProblem::HashLength`] for the first element that is none; [`WireProblem::PathLength`] for a path longer
/// than that of any tree.
pub fn path_from_wire(field: &str, path: &[Bytes]) -> Result<Vec<Hash>, WireError> {
    if path.len() > MAX_PATH {
        return Err(WireError::new(field, WireProblem::PathLength { got: path.len() }));
    }
    let hash = |(place, bytes): (usize, &Bytes)| {
        Hash::try_from(bytes.as_ref()).map_err(|_| {
            WireError::new(format!("{field}[{place}]"), WireProblem::HashLength { got: bytes.len() })
        })
    };
    path.iter().enumerate().map(hash).collect()
}

/// A path of hashes for the wire.
#[must_use]
pub fn path_to_wire(path: &[Hash]) -> Vec<Bytes> {
    path.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect()
}

/// Reads a salt: exactly 16 bytes.
///
/// # Errors
/// [`WireProblem::SaltLength`].
pub fn salt_from_wire(field: &str, bytes: &[u8]) -> Result<Salt, WireError> {
    Salt::try_from(bytes).map_err(|_| WireError::new(field, WireProblem::SaltLength { got: bytes.len() }))
}

/// Takes the bytes as a vector, without a copy if nobody else holds them.
pub(super) fn owned(bytes: Bytes) -> Vec<u8> {
    Vec::from(bytes)
}
