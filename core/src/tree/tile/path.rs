//! Names of tiles and entry bundles, and which of them there are at a size.

use std::fmt;
use std::str::FromStr;

use super::{HEIGHT, WIDTH};
use crate::position::TreeSize;
use crate::tree::node::at_level;

/// The highest tile level that a tree can have: its hashes stand for 2^56 leaves each.
pub const MAX_LEVEL: u8 = 7;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TileKind {
    /// Hashes of tree level 8 × `level`, 32 bytes each.
    Hashes {
        /// Tile level, 0 to [`MAX_LEVEL`].
        level: u8,
    },
    /// The leaves themselves, each as its length (u16, big-endian) and its bytes.
    Entries,
}

impl TileKind {
    /// The tile level: entries lie beside the tiles of level 0.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::Hashes { level } => level,
            Self::Entries => 0,
        }
    }

    /// How many hashes or entries of this kind a tree of this size has, over all tiles.
    #[must_use]
    pub fn count_at(self, size: TreeSize) -> u64 {
        at_level(size.get(), self.level().saturating_mul(HEIGHT))
    }
}

/// Names a tile: kind, number from 0, and width (1 to 256 hashes or entries).
///
/// Printed and parsed as in c2sp.org/tlog-tiles: `tile/<L>/<N>` or `tile/entries/<N>`, with `.p/<W>` where the tile
/// is partial. N stands in groups of three digits, all but the last with an `x` in front: 1234067 is
/// `x001/x234/067`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TilePath {
    /// The tile of this kind, number and width.
    ///
    /// # Errors
    /// [`TilePathError::Level`] above [`MAX_LEVEL`], [`TilePathError::Width`] outside 1 to 256.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TilePathError> {
        if kind.level() > MAX_LEVEL {
            return Err(TilePathError::Level { level: kind.level() });
        }
        if !(1..=WIDTH).contains(&width) {
            return Err(TilePathError::Width { width });
        }
        Ok(Self { kind, index, width })
    }

    /// The tile as a tree of this size has it: full, or partial at the right edge. `None` where the tree has
    /// nothing of it.
    #[must_use]
    pub fn at_size(kind: TileKind, index: u64, size: TreeSize) -> Option<Self> {
        let first = index.checked_mul(u64::from(WIDTH))?;
        let left = kind.count_at(size).checked_sub(first)?;
        let width = u16::try_from(left).unwrap_or(WIDTH).min(WIDTH);
        Self::new(kind, index, width).ok()
    }

    /// Whether a tree of this size has all of it. A partial tile stays a prefix of the tile as it grows.
    #[must_use]
    pub fn is_in(&self, size: TreeSize) -> bool {
        Self::at_size(self.kind, self.index, size).is_some_and(|there| self.width <= there.width)
    }

    /// What it holds.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its tile level; 0 for entries.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.kind.level()
    }

    /// Its number among those of its kind, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it holds all 256, and so never changes again.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == WIDTH
    }
}

/// All hash tiles of a tree of this size, lowest level first, each as wide as it is there.
pub fn tiles_of(size: TreeSize) -> impl Iterator<Item = TilePath> {
    (0..=MAX_LEVEL).map(|level| TileKind::Hashes { level }).flat_map(move |kind| {
        let tiles = kind.count_at(size).div_ceil(u64::from(WIDTH));
        (0..tiles).filter_map(move |index| TilePath::at_size(kind, index, size))
    })
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes { level } => write!(f, "tile/{level}")?,
            TileKind::Entries => f.write_str("tile/entries")?,
        }
        let digits = self.index.to_string();
        let digits = format!("{digits:0>width$}", width = digits.len().next_multiple_of(3));
        let mut groups = digits.as_bytes().chunks(3).map(String::from_utf8_lossy).peekable();
        while let Some(group) = groups.next() {
            let mark = if groups.peek().is_some() { "x" } else { "" };
            write!(f, "/{mark}{group}")?;
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TilePath {
    type Err = TilePathError;

    /// Reads a path. One spelling per tile: the width of a full tile, leading zeros and the like are refused.
    fn from_str(text: &str) -> Result<Self, TilePathError> {
        let path = read(text).ok_or(TilePathError::Syntax)??;
        // Read loosely, then held to the one spelling: simpler than each rule on its own.
        if path.to_string() == text { Ok(path) } else { Err(TilePathError::Syntax) }
    }
}

/// Reads a path in any spelling; `None` if it is no path at all.
fn read(text: &str) -> Option<Result<TilePath, TilePathError>> {
    let (kind, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes { level: level.parse().ok()? },
    };
    let (groups, width) = match rest.split_once(".p/") {
        Some((groups, width)) => (groups, width.parse().ok()?),
        None => (rest, WIDTH),
    };
    let index = groups.split('/').try_fold(0_u64, |index, group| {
        let group: u16 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        index.checked_mul(1000)?.checked_add(u64::from(group))
    })?;
    Some(TilePath::new(kind, index, width))
}

/// Not the name of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TilePathError {
    /// Not of the form of c2sp.org/tlog-tiles.
    #[error(
        "not the path of a tile: it must read tile/<level>/<number> or tile/entries/<number>, with .p/<width> if \
         partial, and the number in groups like x001/x234/067"
    )]
    Syntax,
    /// No tree has this level.
    #[error("tile level {level} does not exist: it must be from 0 to 7")]
    Level {
        /// The level given.
        level: u8,
    },
    /// Not the width of a tile.
    #[error("tile width {width} does not exist: it must be from 1 to 256")]
    Width {
        /// The width given.
        width: u16,
    },
}
