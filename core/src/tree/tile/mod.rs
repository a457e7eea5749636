//! The log tree in tiles of 256 hashes, as in c2sp.org/tlog-tiles.
//!
//! Tile `(level, index)` holds up to 256 consecutive nodes of tree level 8 × level, from node 256 × index on. A
//! tile of level 0 holds leaf hashes; hash i of level 1 is the root over all 256 hashes of tile i of level 0; and
//! so on up. Nodes between these levels are not stored, they follow from the hashes of one tile. A tile of 256
//! hashes is *full* and never changes again; the last tile of a level may be *partial*, and a partial tile is a
//! prefix of every later state of the same tile.
//!
//! - [`TilePath`] names a tile or an entry bundle, and is printed and parsed as the path under which it is read
//!   over HTTP; [`TilePath::at_size`] and [`tiles_of`] say what there is at a size.
//! - [`Tile`] is a tile together with the nodes that follow from it.
//! - A store implements [`TileSource`]; [`TileReader`] makes it a [`NodeReader`](super::NodeReader), which is all
//!   that proofs need.

mod nodes;
mod path;
mod reader;

pub use nodes::{Tile, TileFull, subroot};
pub use path::{MAX_LEVEL, TileKind, TilePath, TilePathError, tiles_of};
pub use reader::{TileError, TileReader, TileSource};

/// Levels of the tree in one tile.
pub const HEIGHT: u8 = 8;

/// Hashes in a full tile, and entries in a full entry bundle.
pub const WIDTH: u16 = 256;
