//! From tiles to nodes.

use std::sync::Arc;

use super::{HEIGHT, Tile};
use crate::hash::Hash;
use crate::tree::NodeReader;

/// Gives the tiles of one log tree.
pub trait TileSource {
    /// Why a tile could not be read.
    type Error;

    /// Tile number `index` of tile level `level`, with at least the hashes that the size being proven has of
    /// it. A tile of a later size will do, since nodes never change once complete.
    ///
    /// # Errors
    /// Whatever keeps the tile from being read; a tile that is not there is an error too.
    fn tile(&self, level: u8, index: u64) -> Result<Arc<Tile>, Self::Error>;
}

impl<S: TileSource + ?Sized> TileSource for &S {
    type Error = S::Error;

    fn tile(&self, level: u8, index: u64) -> Result<Arc<Tile>, Self::Error> {
        (**self).tile(level, index)
    }
}

/// Reads nodes from tiles: each from the one tile that it lies in.
#[derive(Debug, Clone, Copy)]
pub struct TileReader<S>(S);

impl<S: TileSource> TileReader<S> {
    /// Reads from this source, or from a reference to one.
    pub const fn new(source: S) -> Self {
        Self(source)
    }
}

impl<S: TileSource> NodeReader for TileReader<S> {
    type Error = TileError<S::Error>;

    fn read(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        let (tile_level, level_in_tile) = (level / HEIGHT, level % HEIGHT);
        // At this level a tile spans 2^levels_above nodes; 1 to 8.
        let levels_above = u32::from(HEIGHT.saturating_sub(level_in_tile));
        let tile_index = index.checked_shr(levels_above).unwrap_or(0);
        let first = tile_index.checked_shl(levels_above).unwrap_or(0);
        let tile = self.0.tile(tile_level, tile_index).map_err(|source| TileError::Source {
            level: tile_level,
            index: tile_index,
            source,
        })?;
        tile.node(level_in_tile, index.saturating_sub(first)).ok_or(TileError::TooShort {
            level: tile_level,
            index: tile_index,
            got: tile.hashes().len(),
        })
    }
}

/// Why a node could not be read from its tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E> {
    /// The source failed.
    #[error("cannot read tile {index} of tile level {level}")]
    Source {
        /// Tile level.
        level: u8,
        /// Number of the tile in its level.
        index: u64,
        /// What the source said.
        source: E,
    },
    /// The tile does not reach as far as the node.
    #[error("tile {index} of tile level {level} has only {got} hashes, too few for the node asked for")]
    TooShort {
        /// Tile level.
        level: u8,
        /// Number of the tile in its level.
        index: u64,
        /// How many hashes the tile has.
        got: usize,
    },
}
