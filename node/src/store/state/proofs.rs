//! One ledger as of one size: proofs of the log tree and of the state tree, and the tiles themselves.
//!
//! Sizes and indexes come from callers: beyond the view they give `None`, never a fault.

use quorate_core::{
    hash::Hash,
    position::{LogIndex, TreeSize},
    state_tree::{Query, prove},
    tree::{
        Frontier, TreeError, consistency_path, inclusion_path, root_at,
        tile::{TileError, TileKind, TilePath, TileReader, TileSource},
    },
};
use quorate_ledger::trie::TrieError;

use super::{ledger::LedgerView, tiles::LedgerTiles};
use crate::store::faults::StoreFault;

impl LedgerView {
    /// The root of the log tree at a size up to the view's.
    pub fn root_at(&self, size: TreeSize) -> Result<Option<Hash>, StoreFault> {
        if size > self.size() {
            return Ok(None);
        }
        let root = root_at(&TileReader::new(self.tiles()), size);
        self.answer(root)
    }

    /// The right edge of the log tree at a size up to the view's.
    pub fn frontier_at(&self, size: TreeSize) -> Result<Option<Frontier>, StoreFault> {
        if size > self.size() {
            return Ok(None);
        }
        let frontier = Frontier::read(&TileReader::new(self.tiles()), size);
        self.answer(frontier)
    }

    /// The RFC 6962 inclusion path of a leaf at a size up to the view's.
    pub fn inclusion_path(&self, index: LogIndex, size: TreeSize) -> Result<Option<Vec<Hash>>, StoreFault> {
        if size > self.size() {
            return Ok(None);
        }
        let path = inclusion_path(&TileReader::new(self.tiles()), index, size);
        self.answer(path)
    }

    /// The RFC 6962 consistency path between two sizes up to the view's.
    pub fn consistency_path(&self, old: TreeSize, new: TreeSize) -> Result<Option<Vec<Hash>>, StoreFault> {
        if new > self.size() {
            return Ok(None);
        }
        let path = consistency_path(&TileReader::new(self.tiles()), old, new);
        self.answer(path)
    }

    /// The state proof of a query at the view's size.
    pub fn state_proof(&self, query: &Query) -> Result<Vec<u8>, StoreFault> {
        prove(&self.trie.walk(self), query).map_err(|error| trie_fault(self.database.path(), error))
    }

    /// What c2sp.org/tlog-tiles serves under a path: the hashes of a tile, or the entries of a bundle (each u16
    /// length ‖ leaf). `None` if the view's tree has no such tile.
    pub fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, StoreFault> {
        if !path.is_in(self.size()) {
            return Ok(None);
        }
        let width = usize::from(path.width());
        match path.kind() {
            TileKind::Entries => self.entries(path.index(), width).map(Some),
            TileKind::Hashes { level } => {
                let tile = self.tiles().tile(level, path.index())?;
                let hashes = tile.hashes().iter().take(width);
                Ok(Some(hashes.flat_map(|hash| *hash.as_bytes()).collect()))
            }
        }
    }

    fn entries(&self, bundle: u64, width: usize) -> Result<Vec<u8>, StoreFault> {
        let first = bundle.saturating_mul(u64::from(quorate_core::tree::tile::WIDTH));
        let mut bytes = Vec::new();
        for record in self.records(LogIndex::new(first))?.take(width) {
            let record = record?;
            let len = u16::try_from(record.leaf.len());
            let len = len.map_err(|error| self.damaged_run(record.index, error))?;
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(&record.leaf);
        }
        Ok(bytes)
    }

    /// The tiles of this ledger.
    pub(super) fn tiles(&self) -> LedgerTiles<'_> {
        LedgerTiles {
            database: &self.database,
            cache: &self.cache,
            ledger: self.id(),
            size: self.size(),
            edge: &self.edge,
        }
    }

    fn answer<T>(
        &self,
        result: Result<T, TreeError<TileError<StoreFault>>>,
    ) -> Result<Option<T>, StoreFault> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(TreeError::IndexOutsideTree { .. } | TreeError::SizesOutOfOrder { .. }) => Ok(None),
            Err(TreeError::Reader { source: TileError::Source { source, .. }, .. }) => Err(source),
            Err(error @ TreeError::Reader { source: TileError::TooShort { .. }, .. }) => {
                let place = format!("{}, log tree of {}", self.database.path().display(), self.head.name);
                Err(StoreFault::damaged(place, error))
            }
        }
    }
}

/// A trie's error as a fault.
pub(super) fn trie_fault(path: &std::path::Path, error: TrieError<StoreFault>) -> StoreFault {
    match error {
        TrieError::Source(fault) => fault,
        damaged @ TrieError::Damaged { .. } => StoreFault::damaged(path.display().to_string(), damaged),
    }
}
