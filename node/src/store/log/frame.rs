//! Checksums of our own around everything the log store writes.
//!
//! RocksDB checks its blocks when it reads them from disk; it cannot see a bit that flipped in memory
//! between the caller and the block. Each row therefore carries the first 8 bytes of
//! `SHA-256(key length u32 ‖ key ‖ bytes)`, computed where the row is made and checked where it is used.

use sha2::{Digest, Sha256};

use super::fault::LogFault;

/// Bytes a frame adds.
pub(crate) const FRAME_OVERHEAD: usize = 8;

/// SHA-256 over a key and a value, with the key's length in front so that no two pairs collide.
pub(crate) fn pair_digest(key: &[u8], value: &[u8]) -> [u8; 32] {
    let key_len = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut hash = Sha256::new();
    hash.update(key_len.to_be_bytes());
    hash.update(key);
    hash.update(value);
    hash.finalize().into()
}

fn check(key: &[u8], value: &[u8]) -> [u8; FRAME_OVERHEAD] {
    let digest = pair_digest(key, value);
    let mut out = [0; FRAME_OVERHEAD];
    out.copy_from_slice(&digest[..FRAME_OVERHEAD]);
    out
}

/// Appends the checksum of `key` and `value` to `value`.
pub(crate) fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let sum = check(key, &value);
    value.extend_from_slice(&sum);
    value
}

/// Checks and removes the checksum. `row` names the row in the error.
pub(crate) fn unseal<'a>(
    key: &[u8],
    stored: &'a [u8],
    row: impl Fn() -> String,
) -> Result<&'a [u8], LogFault> {
    let Some(at) = stored.len().checked_sub(FRAME_OVERHEAD) else {
        return Err(LogFault::Checksum { row: row() });
    };
    let (value, sum) = stored.split_at(at);
    if sum != check(key, value) {
        return Err(LogFault::Checksum { row: row() });
    }
    Ok(value)
}
