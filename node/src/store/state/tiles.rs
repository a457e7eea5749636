//! The log tree's nodes: full tiles in the store, the right edge in memory.
//!
//! A full tile is 256 hashes, written once and never changed, so one cache serves all views. The partial tiles of
//! the right edge (one per level, at most 16 KiB each) belong to a view: shared with the next view until they
//! change. A full tile read back must have the root that the tile above it says, up to the edge in memory, which
//! was checked against the ledger's head when the store was opened: damage is found before a proof is made of it.

use std::{collections::HashMap, sync::Arc};

use parking::Guarded;
use quorate_core::{
    hash::Hash,
    position::TreeSize,
    tree::tile::{HEIGHT, Tile, TileFull, TileSource, WIDTH},
};
use quorate_ledger::view::LedgerId;

use super::{
    database::{Batch, Database},
    options::Table,
    parking, rows,
};
use crate::store::faults::StoreFault;

/// What a cached tile counts for, bytes: 256 hashes and the 255 nodes over them.
const TILE_BYTES: usize = 16 << 10;

/// How many tiles of `level` are full at `size`.
fn full_tiles(size: TreeSize, level: u8) -> u64 {
    let shift = u32::from(HEIGHT) * (u32::from(level) + 1);
    size.get().checked_shr(shift).unwrap_or(0)
}

/// The partial tiles at the right edge of a ledger's log tree, by level.
///
/// Invariant: at size n the tile of level L holds the last (n >> 8L) mod 256 hashes of that level.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    tiles: Vec<Arc<Tile>>,
}

impl Edge {
    /// Appends a leaf of the tree that has `size` leaves, and writes the tiles that this completes.
    pub(crate) fn push(
        &mut self,
        ledger: LedgerId,
        size: TreeSize,
        leaf_hash: Hash,
        batch: &mut Batch<'_>,
    ) -> Result<(), StoreFault> {
        let mut hash = leaf_hash;
        for level in 0_u8.. {
            let at = usize::from(level);
            if self.tiles.len() == at {
                self.tiles.push(Arc::default());
            }
            let tile = Arc::make_mut(&mut self.tiles[at]);
            let Some(root) = tile.push(hash).map_err(|full| edge_fault(ledger, level, &full))? else {
                break;
            };
            let row = tile.hashes().iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>();
            batch.put(Table::Tiles, &rows::tile(ledger, level, full_tiles(size, level)), &row)?;
            self.tiles[at] = Arc::default();
            hash = root;
        }
        Ok(())
    }

    /// Reads the edge back: the lowest level from `last_leaves` (the hashes of the last size mod 256 leaves), each
    /// other from the roots of the full tiles below it.
    pub(crate) fn load(
        database: &Database,
        ledger: LedgerId,
        size: TreeSize,
        last_leaves: &[Hash],
    ) -> Result<Self, StoreFault> {
        let mut tiles = vec![Arc::new(tile_of(ledger, 0, last_leaves)?)];
        for level in 1_u8.. {
            let below = level - 1;
            let (first, end) = (full_tiles(size, level) * u64::from(WIDTH), full_tiles(size, below));
            if end == 0 {
                break;
            }
            let roots = (first..end)
                .map(|number| {
                    let tile = read_tile(database, ledger, below, number)?;
                    tile.root().ok_or_else(|| short_tile(database, ledger, below, number))
                })
                .collect::<Result<Vec<_>, _>>()?;
            tiles.push(Arc::new(tile_of(ledger, level, &roots)?));
        }
        Ok(Self { tiles })
    }
}

fn tile_of(ledger: LedgerId, level: u8, hashes: &[Hash]) -> Result<Tile, StoreFault> {
    Tile::from_hashes(hashes).map_err(|full| edge_fault(ledger, level, &full))
}

fn edge_fault(ledger: LedgerId, level: u8, full: &TileFull) -> StoreFault {
    StoreFault::damaged(format!("right edge of the log tree of ledger {}, level {level}", ledger.0), full)
}

fn short_tile(database: &Database, ledger: LedgerId, level: u8, number: u64) -> StoreFault {
    database.damaged(
        Table::Tiles,
        &rows::tile(ledger, level, number),
        "a tile here has 256 hashes of 32 bytes",
    )
}

fn read_tile(database: &Database, ledger: LedgerId, level: u8, number: u64) -> Result<Tile, StoreFault> {
    let key = rows::tile(ledger, level, number);
    let row = database.get(Table::Tiles, &key)?;
    let row = row.ok_or_else(|| database.damaged(Table::Tiles, &key, "the tile is missing"))?;
    let (hashes, rest) = row.as_chunks::<{ Hash::LEN }>();
    let hashes = hashes.iter().map(|hash| Hash::new(*hash)).collect::<Vec<_>>();
    let tile = tile_of(ledger, level, &hashes)?;
    if !tile.is_full() || !rest.is_empty() {
        return Err(short_tile(database, ledger, level, number));
    }
    Ok(tile)
}

/// Full tiles that were read lately, of all ledgers; bounded.
///
/// Two generations: what is read moves to the young one; when that is half of the bound, the old one is dropped
/// and the young one grows old.
pub(crate) struct TileCache {
    capacity: usize,
    generations: Guarded<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<TileKey, Arc<Tile>>,
    old: HashMap<TileKey, Arc<Tile>>,
}

/// Ledger, level, number.
type TileKey = (u32, u8, u64);

impl std::fmt::Debug for TileCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TileCache").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl TileCache {
    /// A cache of about `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { capacity: (bytes / TILE_BYTES / 2).max(1), generations: Guarded::default() }
    }

    fn get(&self, key: TileKey) -> Option<Arc<Tile>> {
        let mut generations = self.generations.lock();
        if let Some(tile) = generations.young.get(&key) {
            return Some(Arc::clone(tile));
        }
        let tile = generations.old.remove(&key)?;
        generations.insert(self.capacity, key, Arc::clone(&tile));
        Some(tile)
    }

    fn insert(&self, key: TileKey, tile: Arc<Tile>) {
        self.generations.lock().insert(self.capacity, key, tile);
    }
}

impl Generations {
    fn insert(&mut self, capacity: usize, key: TileKey, tile: Arc<Tile>) {
        if self.young.len() >= capacity {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, tile);
    }
}

/// The tiles of one ledger as of one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LedgerTiles<'v> {
    pub(crate) database: &'v Database,
    pub(crate) cache: &'v TileCache,
    pub(crate) ledger: LedgerId,
    pub(crate) size: TreeSize,
    pub(crate) edge: &'v Edge,
}

impl TileSource for LedgerTiles<'_> {
    type Error = StoreFault;

    fn tile(&self, level: u8, index: u64) -> Result<Arc<Tile>, StoreFault> {
        let full = full_tiles(self.size, level);
        if index >= full {
            let edge = self.edge.tiles.get(usize::from(level)).filter(|_| index == full);
            return edge.cloned().ok_or_else(|| {
                let key = rows::tile(self.ledger, level, index);
                let problem = format!("at size {} there is no such tile", self.size);
                self.database.damaged(Table::Tiles, &key, problem)
            });
        }
        let key = (self.ledger.0, level, index);
        if let Some(tile) = self.cache.get(key) {
            return Ok(tile);
        }
        let tile = Arc::new(read_tile(self.database, self.ledger, level, index)?);
        // At most as deep as the tree has levels of tiles; ends at the edge.
        let above = self.tile(level + 1, index / u64::from(WIDTH))?;
        let expected = above.node(0, index % u64::from(WIDTH));
        if expected.is_none() || tile.root() != expected {
            let place = self.database.place(Table::Tiles, &rows::tile(self.ledger, level, index));
            return Err(StoreFault::mismatch(place, show(expected), show(tile.root())));
        }
        self.cache.insert(key, Arc::clone(&tile));
        Ok(tile)
    }
}

fn show(root: Option<Hash>) -> String {
    root.map_or_else(|| "no root".to_owned(), |root| format!("root {root}"))
}
