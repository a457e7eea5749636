//! That a leaf stands at a position of a log tree (RFC 6962 §2.1.1, RFC 9162 §2.1.3).

use super::ProofError;
use super::chain::{Shape, climb, climb_border, same_root};
use crate::hash::Hash;
use crate::position::{LogIndex, TreeSize};

/// Verifies that the tree of `size` leaves with this root has at `index` the leaf with this hash
/// ([`crate::hash::leaf_hash`]). The path is that of [`crate::tree::inclusion_path`].
///
/// # Errors
/// [`ProofError`] if index ≥ size, the path does not have exactly the length it must have, or it does not lead to
/// the root.
pub fn verify(
    leaf_hash: &Hash,
    index: LogIndex,
    size: TreeSize,
    path: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    same_root(size, root, root_from_path(leaf_hash, index, size, path)?)
}

/// The root that the path leads to. It proves nothing until it has been compared with a root that is known.
///
/// # Errors
/// [`ProofError`] if index ≥ size or the path does not have exactly the length it must have.
pub fn root_from_path(
    leaf_hash: &Hash,
    index: LogIndex,
    size: TreeSize,
    path: &[Hash],
) -> Result<Hash, ProofError> {
    let Some(last) = size.last_index().filter(|last| index <= *last) else {
        return Err(ProofError::IndexOutsideTree { index, size });
    };
    let shape = Shape::new(index.get(), last.get());
    let wrong_length = ProofError::WrongLength { expected: shape.len(), got: path.len() };
    let (inner, border) = shape.split(path).ok_or(wrong_length)?;
    Ok(climb_border(climb(*leaf_hash, inner, index.get()), border))
}
