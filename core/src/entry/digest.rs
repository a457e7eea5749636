//! Digests that tie to the log what is stored apart from it.
//!
//! Each starts with a prefix byte of its own ([`crate::hash`]) and has a length in front of every part but the
//! last, so no two inputs share their bytes.

use super::EntryError;
use super::limits::{MAX_AUTHOR, MAX_IDEMPOTENCY_KEY};
use crate::hash::{Hash, META_PREFIX, REQUEST_PREFIX, VALUE_PREFIX, leaf_hash, sha256};
use crate::position::LogIndex;
use crate::tree::{Frontier, MemoryTree, inclusion_path};

/// 16 random bytes that keep a digest from being guessed back into its value once that is erased.
pub type Salt = [u8; 16];

/// Digest of a value: `H(0x04 ‖ salt ‖ attr_len u32 ‖ attributes ‖ value)`.
///
/// Attributes are far below 4 GiB, the size of the largest message; a longer slice has no digest that could be
/// mixed up with another's, since its length is written as all ones.
#[must_use]
pub fn value_digest(salt: &Salt, attributes: &[u8], value: &[u8]) -> Hash {
    let attr_len = u32::try_from(attributes.len()).unwrap_or(u32::MAX);
    sha256(&[&[VALUE_PREFIX], salt, &attr_len.to_be_bytes(), attributes, value])
}

/// Digest of a transaction's meta: `H(0x05 ‖ salt ‖ meta)`.
#[must_use]
pub fn meta_digest(salt: &Salt, meta: &[u8]) -> Hash {
    sha256(&[&[META_PREFIX], salt, meta])
}

/// Name of a request: `H(0x06 ‖ author_len u8 ‖ author ‖ key_len u8 ‖ idempotency key)`. The same key of another
/// author is another request.
///
/// # Errors
/// [`EntryError::AuthorLength`], [`EntryError::IdempotencyKeyLength`].
pub fn request_id(author: &str, idempotency_key: &[u8]) -> Result<Hash, EntryError> {
    let author_len = u8::try_from(author.len())
        .ok()
        .filter(|len| usize::from(*len) <= MAX_AUTHOR)
        .ok_or(EntryError::AuthorLength { len: author.len() })?;
    let key_len = u8::try_from(idempotency_key.len())
        .ok()
        .filter(|len| (1..=MAX_IDEMPOTENCY_KEY).contains(&usize::from(*len)))
        .ok_or(EntryError::IdempotencyKeyLength { len: idempotency_key.len() })?;
    Ok(sha256(&[&[REQUEST_PREFIX, author_len], author.as_bytes(), &[key_len], idempotency_key]))
}

/// RFC 6962 root over encoded operations, in request order.
#[must_use]
pub fn ops_root<I>(ops: I) -> Hash
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut tree = Frontier::new();
    for op in ops {
        tree.push(leaf_hash(op.as_ref()));
    }
    tree.root()
}

/// RFC 6962 inclusion path of the operation at `position` under [`ops_root`], from the leaf's sibling upwards.
/// `None` if there is no such operation.
#[must_use]
pub fn op_path<T: AsRef<[u8]>>(ops: &[T], position: usize) -> Option<Vec<Hash>> {
    let tree = op_tree(ops);
    let leaf = LogIndex::new(u64::try_from(position).ok()?);
    inclusion_path(&tree, leaf, tree.size()).ok()
}

/// The paths of all operations, in their order, as [`op_path`] gives each: every operation is hashed once.
#[must_use]
pub fn op_paths<T: AsRef<[u8]>>(ops: &[T]) -> Vec<Vec<Hash>> {
    let tree = op_tree(ops);
    let places = 0..tree.size().get();
    places.filter_map(|place| inclusion_path(&tree, LogIndex::new(place), tree.size()).ok()).collect()
}

fn op_tree<T: AsRef<[u8]>>(ops: &[T]) -> MemoryTree {
    ops.iter().map(|op| leaf_hash(op.as_ref())).collect()
}
