//! Builds roots, inclusion proofs and consistency proofs from complete nodes, for any size.
//!
//! Both proofs are the same climb: from a node to the root, taking the sibling wherever there is one. At most
//! one sibling on the way is not a complete node, the one that holds the right edge of the tree; it is joined
//! from the peaks below it.

use super::node::{NodeReader, TreeError, at_level, join, peaks, read};
use crate::hash::{Hash, empty_root};
use crate::position::{LogIndex, TreeSize};

/// Root of the tree at this size (RFC 6962 §2.1), from at most 64 nodes.
///
/// # Errors
/// [`TreeError::Reader`] where a node cannot be read.
pub fn root_at<R: NodeReader + ?Sized>(reader: &R, size: TreeSize) -> Result<Hash, TreeError<R::Error>> {
    edge_root(reader, 64, size.get())
}

/// Inclusion proof of leaf `index` in the tree of `size` leaves: the audit path of RFC 6962 §2.1.1, from the
/// leaf's sibling up to below the root. At most 64 hashes.
///
/// # Errors
/// [`TreeError::IndexOutsideTree`] unless index < size; [`TreeError::Reader`] where a node cannot be read.
pub fn inclusion_path<R: NodeReader + ?Sized>(
    reader: &R,
    index: LogIndex,
    size: TreeSize,
) -> Result<Vec<Hash>, TreeError<R::Error>> {
    let Some(last) = size.last_index().filter(|last| index <= *last) else {
        return Err(TreeError::IndexOutsideTree { index, size });
    };
    let mut path = Vec::with_capacity(height(last));
    climb(reader, (0, index.get()), size.get(), last.get(), &mut path)?;
    Ok(path)
}

/// Consistency proof (RFC 6962 §2.1.2) that the tree of `old` leaves is a prefix of the tree of `new` leaves.
/// Empty between equal sizes; at most 65 hashes.
///
/// # Errors
/// [`TreeError::SizesOutOfOrder`] unless 1 ≤ old ≤ new (every tree begins with the empty one, so a proof
/// from size 0 would say nothing); [`TreeError::Reader`] where a node cannot be read.
pub fn consistency_path<R: NodeReader + ?Sized>(
    reader: &R,
    old: TreeSize,
    new: TreeSize,
) -> Result<Vec<Hash>, TreeError<R::Error>> {
    // The proof hangs on the last peak of the old tree. It is the same node in the new one, and what is
    // left of it on the way up are the other old peaks.
    let (Some(last), Some((level, index)), true) = (new.last_index(), peaks(old.get()).next(), old <= new)
    else {
        return Err(TreeError::SizesOutOfOrder { old, new });
    };
    if old == new {
        return Ok(Vec::new());
    }
    let mut path = Vec::with_capacity(height(last).saturating_add(1));
    if index != 0 {
        // Where the old tree is one peak alone the verifier has it already: it is the old root.
        path.push(read(reader, level, index)?);
    }
    climb(reader, (level, index), new.get(), last.get(), &mut path)?;
    Ok(path)
}

/// How many levels lie above the leaves of a tree that ends with this one.
fn height(last: LogIndex) -> usize {
    u64::BITS.saturating_sub(last.get().leading_zeros()) as usize
}

/// Collects the siblings from a node up to below the root of the tree of `size` leaves, which ends with the leaf
/// `last`.
fn climb<R: NodeReader + ?Sized>(
    reader: &R,
    from: (u8, u64),
    size: u64,
    last: u64,
    path: &mut Vec<Hash>,
) -> Result<(), TreeError<R::Error>> {
    let (mut level, mut node) = from;
    // The level's last node, complete or not.
    let mut last = at_level(last, level);
    while last > 0 {
        let sibling = node ^ 1;
        if sibling <= last {
            path.push(subtree_root(reader, level, sibling, size)?);
        }
        node >>= 1;
        last >>= 1;
        level = level.saturating_add(1);
    }
    Ok(())
}

/// Root over the leaves that the tree of `size` leaves has of node `(level, index)`: all of them, or those up
/// to the right edge.
fn subtree_root<R: NodeReader + ?Sized>(
    reader: &R,
    level: u8,
    index: u64,
    size: u64,
) -> Result<Hash, TreeError<R::Error>> {
    if index < at_level(size, level) { read(reader, level, index) } else { edge_root(reader, level, size) }
}

/// Root over the leaves beyond the last complete node of `level`: the tree's peaks below that level, joined.
fn edge_root<R: NodeReader + ?Sized>(reader: &R, level: u8, size: u64) -> Result<Hash, TreeError<R::Error>> {
    let nodes = peaks(size).take_while(|(peak_level, _)| *peak_level < level);
    let root = join(nodes.map(|(level, index)| read(reader, level, index)))?;
    Ok(root.unwrap_or_else(empty_root))
}
