//! The hashes of one tile, and the nodes over them.

use super::{HEIGHT, WIDTH};
use crate::hash::{Hash, node_hash};

/// [`WIDTH`], as a length.
const FULL: usize = WIDTH as usize;

/// A tile, full or partial, with all complete nodes over its hashes, so that each is read in constant time.
/// About 16 KiB when full.
///
/// Nodes are numbered within the tile: level 0 are its hashes, level 8 is the one over all 256.
///
/// Invariant: `inner` holds the complete nodes of levels 1 to 8 in the order in which they become complete as
/// hashes are appended. After n hashes there are n − popcount(n) of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tile {
    hashes: Vec<Hash>,
    inner: Vec<Hash>,
}

impl Tile {
    /// A tile without hashes.
    #[must_use]
    pub const fn new() -> Self {
        Self { hashes: Vec::new(), inner: Vec::new() }
    }

    /// A tile from its hashes, with one SHA-256 per node.
    ///
    /// # Errors
    /// [`TileFull`] for more than 256 hashes.
    pub fn from_hashes(hashes: &[Hash]) -> Result<Self, TileFull> {
        let mut tile =
            Self { hashes: Vec::with_capacity(hashes.len()), inner: Vec::with_capacity(hashes.len()) };
        for hash in hashes {
            tile.push(*hash)?;
        }
        Ok(tile)
    }

    /// The tile's hashes, in order.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Whether all 256 hashes are there.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.hashes.len() == FULL
    }

    /// Hash of the node over all 256 hashes, which is the next hash of the tile one level up. `None` in a partial
    /// tile.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        self.node(HEIGHT, 0)
    }

    /// Hash of node `index` of `level` within the tile. `None` if the tile does not hold all of the hashes below
    /// it.
    #[must_use]
    pub fn node(&self, level: u8, index: u64) -> Option<Hash> {
        let end = end_of(level, index).filter(|end| *end <= self.hashes.len())?;
        let last = end.checked_sub(1)?;
        match usize::from(level).checked_sub(1) {
            None => self.hashes.get(last).copied(),
            // It became complete with its last hash, after the smaller nodes that end there.
            Some(smaller) => self.inner.get(inner_before(last).checked_add(smaller)?).copied(),
        }
    }

    /// Appends a hash. Returns the root if this made the tile full: that is to be appended one level up.
    ///
    /// # Errors
    /// [`TileFull`] if all 256 hashes are there already.
    pub fn push(&mut self, hash: Hash) -> Result<Option<Hash>, TileFull> {
        if self.is_full() {
            return Err(TileFull);
        }
        self.hashes.push(hash);
        let mut node = hash;
        let mut nodes = self.hashes.len();
        let mut level = 0;
        // The node made last is its level's number `nodes` from 1. Where that is even it completes a pair.
        while nodes & 1 == 0 {
            let Some(left) =
                u64::try_from(nodes).ok().and_then(|nodes| self.node(level, nodes.checked_sub(2)?))
            else {
                break;
            };
            node = node_hash(&left, &node);
            self.inner.push(node);
            nodes >>= 1;
            level = level.saturating_add(1);
        }
        Ok(self.root())
    }
}

/// Number of nodes of levels 1 to 8 that are complete after this many hashes.
fn inner_before(hashes: usize) -> usize {
    hashes.saturating_sub(hashes.count_ones() as usize)
}

/// The number of hashes a tile must have for this node to be complete. `None` outside any tile.
fn end_of(level: u8, index: u64) -> Option<usize> {
    if level > HEIGHT || index >= u64::from(WIDTH) {
        return None;
    }
    usize::try_from(index).ok()?.checked_add(1)?.checked_shl(u32::from(level)).filter(|end| *end <= FULL)
}

/// Hash of node `index` of `level` within a tile (level 0 are the tile's hashes, level 8 is the one over all
/// 256), from the hashes alone: 2^level − 1 SHA-256. For one node of a tile that is not kept; otherwise a
/// [`Tile`] is cheaper. `None` if the hashes below the node are not all there.
#[must_use]
pub fn subroot(hashes: &[Hash], level: u8, index: u64) -> Option<Hash> {
    let end = end_of(level, index)?;
    let width = 1_usize.checked_shl(u32::from(level))?;
    complete_root(hashes.get(end.checked_sub(width)?..end)?)
}

/// Root over a power of two of hashes, at most 256: the recursion is at most 8 deep.
fn complete_root(hashes: &[Hash]) -> Option<Hash> {
    match hashes {
        [] => None,
        [hash] => Some(*hash),
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            Some(node_hash(&complete_root(left)?, &complete_root(right)?))
        }
    }
}

/// A hash too many for a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tile holds at most 256 hashes")]
pub struct TileFull;
