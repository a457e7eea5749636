//! That one log tree is a prefix of another (RFC 6962 §2.1.2, RFC 9162 §2.1.4).

use super::ProofError;
use super::chain::{Shape, climb, climb_border, climb_left_only, same_root};
use crate::hash::Hash;
use crate::position::TreeSize;

/// Verifies that the tree of `new_size` leaves with `new_root` begins with the tree of `old_size` leaves with
/// `old_root`. The path is that of [`crate::tree::consistency_path`]; between equal sizes it is empty and the roots
/// must be equal.
///
/// # Errors
/// [`ProofError`] unless 1 ≤ old ≤ new, the path has exactly the length it must have, and it leads to both roots.
/// Size 0 is refused because every tree begins with the empty one: a success would say nothing about the
/// new root.
pub fn verify(
    old_size: TreeSize,
    old_root: &Hash,
    new_size: TreeSize,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), ProofError> {
    let roots = roots_from_path(old_size, old_root, new_size, path)?;
    // The new one first: only under the right new root does another old root mean anything.
    same_root(new_size, new_root, roots.new)?;
    same_root(old_size, old_root, roots.old)
}

/// The roots that a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roots {
    /// Of the tree of the old size.
    pub old: Hash,
    /// Of the tree of the new size.
    pub new: Hash,
}

/// The roots that the path leads to. They prove nothing until the new one has been compared with a root
/// that is known: then the old one is the only root that the tree had at the old size.
///
/// `old_root` is where the path begins if the old size is a power of two, or equal to the new size: such a path does
/// not hold it, and [`Roots::old`] is just this value again. Otherwise it is not used.
///
/// # Errors
/// [`ProofError`] unless 1 ≤ old ≤ new and the path has exactly the length it must have.
pub fn roots_from_path(
    old_size: TreeSize,
    old_root: &Hash,
    new_size: TreeSize,
    path: &[Hash],
) -> Result<Roots, ProofError> {
    let (Some(old_last), Some(new_last), true) =
        (old_size.last_index(), new_size.last_index(), old_size <= new_size)
    else {
        return Err(ProofError::SizesOutOfOrder { old: old_size, new: new_size });
    };
    if old_size == new_size {
        return match path {
            [] => Ok(Roots { old: *old_root, new: *old_root }),
            _ => Err(ProofError::WrongLength { expected: 0, got: path.len() }),
        };
    }
    // Both trees share the way up from the last peak of the old one. What stands on its left belongs to both,
    // what stands on its right to the new one only.
    let level = old_size.get().trailing_zeros();
    let shape = Shape::new(old_last.get(), new_last.get()).above(level);
    // Where the old tree is that peak alone, its root is known and the path leaves it out.
    let one_peak = old_size.get().is_power_of_two();
    let expected = shape.len().saturating_add(usize::from(!one_peak));
    let wrong_length = ProofError::WrongLength { expected, got: path.len() };
    let (start, siblings) =
        if one_peak { (old_root, path) } else { path.split_first().ok_or(wrong_length)? };
    let (inner, border) = shape.split(siblings).ok_or(wrong_length)?;
    let sides = old_last.get().checked_shr(level).unwrap_or(0);
    Ok(Roots {
        old: climb_border(climb_left_only(*start, inner, sides), border),
        new: climb_border(climb(*start, inner, sides), border),
    })
}
