//! Tiles: their names, their nodes, and proofs read from them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use quorate_core::hash::{Hash, leaf_hash};
use quorate_core::position::{LogIndex, TreeSize};
use quorate_core::tree::tile::{
    Tile, TileError, TileFull, TileKind, TilePath, TilePathError, TileReader, TileSource, subroot, tiles_of,
};
use quorate_core::tree::{
    Frontier, MemoryTree, NodeReader, TreeError, consistency_path, inclusion_path, root_at,
};

/// Tiles by level and number, grown leaf by leaf as a store does it.
#[derive(Default)]
struct Tiles(BTreeMap<(u8, u64), Arc<Tile>>);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such tile")]
struct NoTile;

impl TileSource for Tiles {
    type Error = NoTile;

    fn tile(&self, level: u8, index: u64) -> Result<Arc<Tile>, NoTile> {
        self.0.get(&(level, index)).cloned().ok_or(NoTile)
    }
}

impl Tiles {
    fn append(&mut self, at: u64, leaf_hash: Hash) {
        let (mut level, mut at, mut hash) = (0, at, leaf_hash);
        loop {
            let tile = self.0.entry((level, at / 256)).or_default();
            let Some(root) = Arc::make_mut(tile).push(hash).unwrap() else {
                break;
            };
            (level, at, hash) = (level + 1, at / 256, root);
        }
    }

    fn of(tree: &MemoryTree) -> Self {
        let mut tiles = Self::default();
        for (at, hash) in (0..).zip(tree.leaf_hashes()) {
            tiles.append(at, *hash);
        }
        tiles
    }
}

fn tree(size: u64) -> MemoryTree {
    (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn hashes(level: u8, index: u64, width: u16) -> TilePath {
    TilePath::new(TileKind::Hashes { level }, index, width).unwrap()
}

#[test]
fn paths_read_as_the_specification_writes_them() {
    let entries = |index, width| TilePath::new(TileKind::Entries, index, width).unwrap();
    for (tile, path) in [
        (hashes(0, 0, 256), "tile/0/000"),
        (hashes(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (hashes(0, 1_234_067, 12), "tile/0/x001/x234/067.p/12"),
        (hashes(3, 999, 1), "tile/3/999.p/1"),
        (hashes(1, 1000, 255), "tile/1/x001/000.p/255"),
        (hashes(7, u64::MAX, 256), "tile/7/x018/x446/x744/x073/x709/x551/615"),
        (entries(5, 256), "tile/entries/005"),
        (entries(1_000_000, 7), "tile/entries/x001/x000/000.p/7"),
    ] {
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
    }
}

#[test]
fn every_other_spelling_of_a_path_is_refused() {
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile//000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/00/000",
        "tile/+1/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/x001/x002",
        "tile/0/xx01/002",
        "tile/0/X001/002",
        "tile/0/x1/002",
        "tile/0/-01",
        "tile/0/+01",
        "tile/0/1000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/entry/000",
        "tile/data/000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/ 01",
        "tile/256/000",
        "checkpoint",
    ] {
        assert_eq!(path.parse::<TilePath>(), Err(TilePathError::Syntax), "{path}");
    }
    assert_eq!("tile/0/000.p/0".parse::<TilePath>(), Err(TilePathError::Width { width: 0 }));
    assert_eq!("tile/0/000.p/257".parse::<TilePath>(), Err(TilePathError::Width { width: 257 }));
    assert_eq!("tile/8/000".parse::<TilePath>(), Err(TilePathError::Level { level: 8 }));
}

#[test]
fn a_size_has_these_tiles_and_no_others() {
    let names = |size| tiles_of(TreeSize::new(size)).map(|tile| tile.to_string()).collect::<Vec<_>>();
    assert!(names(0).is_empty());
    assert_eq!(names(1), ["tile/0/000.p/1"]);
    assert_eq!(names(256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(names(520), ["tile/0/000", "tile/0/001", "tile/0/002.p/8", "tile/1/000.p/2"]);
    let names = names(256 * 256);
    assert_eq!((names.len(), &*names[255]), (258, "tile/0/255"));
    assert_eq!(names[256..], ["tile/1/000", "tile/2/000.p/1"]);
}

#[test]
fn a_partial_tile_stays_readable_as_the_tree_grows() {
    let tile = hashes(0, 1, 8);
    for (size, there) in [(263, false), (264, true), (400, true), (512, true), (513, true)] {
        assert_eq!(tile.is_in(TreeSize::new(size)), there, "{size}");
    }
    assert!(!hashes(0, u64::MAX, 1).is_in(TreeSize::new(u64::MAX)));
    assert!(hashes(7, 0, 255).is_in(TreeSize::new(u64::MAX)));
    assert_eq!(TilePath::at_size(TileKind::Entries, 1, TreeSize::new(300)).unwrap().width(), 44);
}

#[test]
fn a_tile_knows_exactly_the_nodes_that_its_hashes_complete() {
    let tree = tree(256);
    for width in 0..=256 {
        let tile = Tile::from_hashes(&tree.leaf_hashes()[..width]).unwrap();
        assert_eq!(tile.hashes(), &tree.leaf_hashes()[..width]);
        for level in 0..=9_u8 {
            for index in 0..=257_u64 {
                let complete = level <= 8 && (index + 1) << level <= width.try_into().unwrap();
                let node = complete.then(|| tree.read(level, index).unwrap());
                assert_eq!(tile.node(level, index), node, "{level} {index} of {width}");
                assert_eq!(subroot(tile.hashes(), level, index), node, "{level} {index} of {width}");
            }
        }
        assert_eq!(tile.root().is_some(), tile.is_full());
    }
    assert_eq!(Tile::from_hashes(&[Hash::ZERO; 257]), Err(TileFull));
    assert_eq!(Tile::new().node(0, u64::MAX), None);
    assert_eq!(subroot(&[Hash::ZERO; 300], 0, 256), None);
}

#[test]
fn proofs_from_tiles_are_those_of_the_tree_through_three_levels() {
    let tree = tree(2 * 65_536 + 3 * 256 + 77);
    let tiles = Tiles::of(&tree);
    let reader = TileReader::new(&tiles);
    let shapes = tiles_of(tree.size()).map(|path| ((path.level(), path.index()), usize::from(path.width())));
    let stored = tiles.0.iter().map(|(at, tile)| (*at, tile.hashes().len()));
    assert!(shapes.eq(stored), "a store grown by leaves has the tiles of its size");
    let size = tree.size();
    assert_eq!(root_at(&reader, size).unwrap(), tree.root());
    assert_eq!(Frontier::read(&reader, size).unwrap().root(), tree.root());
    for at in [0, 255, 256, 65_535, 65_536, 131_071, 131_072, 131_900, size.get() - 1] {
        let at = LogIndex::new(at);
        let path = inclusion_path(&tree, at, size).unwrap();
        assert_eq!(inclusion_path(&reader, at, size).unwrap(), path);
        let old = at.size_through().unwrap();
        let path = consistency_path(&tree, old, size).unwrap();
        assert_eq!(consistency_path(&reader, old, size).unwrap(), path);
    }
}

#[test]
fn a_missing_or_short_tile_is_an_error_and_not_a_hash() {
    let mut tiles = Tiles::of(&tree(600));
    let missing = TileError::Source { level: 1, index: 1, source: NoTile };
    assert_eq!(TileReader::new(&tiles).read(8, 256), Err(missing));
    let short = TileError::TooShort { level: 0, index: 2, got: 88 };
    assert_eq!(TileReader::new(&tiles).read(0, 600), Err(short));
    assert!(tiles.0.remove(&(0, 1)).is_some());
    let refused = inclusion_path(&TileReader::new(&tiles), LogIndex::new(300), TreeSize::new(600));
    assert!(matches!(refused, Err(TreeError::Reader { source: TileError::Source { index: 1, .. }, .. })));
}

proptest! {
    #[test]
    fn paths_round_trip(level in 0_u8..=8, index in any::<u64>(), shift in 0_u32..64, width in 1_u16..=256) {
        let kind = if level == 8 { TileKind::Entries } else { TileKind::Hashes { level } };
        let tile = TilePath::new(kind, index >> shift, width).unwrap();
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
    }

    #[test]
    fn parsing_is_the_inverse_of_printing(text in "tile/([0-9]|entries)(/x?[0-9]{1,3}){1,3}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = text.parse::<TilePath>() {
            prop_assert_eq!(tile.to_string(), text);
        }
    }

    #[test]
    fn proofs_from_tiles_are_those_of_the_tree(total in 1_u64..1500, a in any::<u64>(), b in any::<u64>()) {
        let tree = tree(total);
        let tiles = Tiles::of(&tree);
        let reader = TileReader::new(&tiles);
        let size = TreeSize::new(1 + a % total);
        let at = LogIndex::new(b % size.get());
        prop_assert_eq!(root_at(&reader, size).unwrap(), root_at(&tree, size).unwrap());
        let path = inclusion_path(&tree, at, size).unwrap();
        prop_assert_eq!(inclusion_path(&reader, at, size).unwrap(), path);
        let old = at.size_through().unwrap();
        let path = consistency_path(&tree, old, size).unwrap();
        prop_assert_eq!(consistency_path(&reader, old, size).unwrap(), path);
    }
}
