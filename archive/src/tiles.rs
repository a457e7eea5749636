//! The tiles of an export (c2sp.org/tlog-tiles): hashes of all levels of a log, and its leaves.

use std::{fs, path::PathBuf};

use quorate_core::{
    hash::{Hash, leaf_hash},
    tree::Frontier,
};

use crate::{error::ArchiveError, files};

/// Hashes of a full tile, and entries of a full bundle.
const TILE: usize = 256;

/// Tiles and entry bundles as leaves come in: written, or compared with those that are there.
pub(crate) struct Tiles {
    folder: PathBuf,
    /// Whether the files are compared with what they have to be, instead of written.
    compared: bool,
    /// The hashes of each level that are in no full tile yet, and how many full tiles it has.
    levels: Vec<(Vec<Hash>, u64)>,
    /// The bundle of entries that is not full yet, and how many entries it has.
    entries: Vec<u8>,
    count: u64,
}

impl Tiles {
    /// Written below a folder.
    pub(crate) fn written(folder: PathBuf) -> Self {
        Self { folder, compared: false, levels: Vec::new(), entries: Vec::new(), count: 0 }
    }

    /// Compared with what is below a folder.
    pub(crate) fn compared(folder: PathBuf) -> Self {
        Self { compared: true, ..Self::written(folder) }
    }

    /// Takes in the next leaf.
    pub(crate) fn push(&mut self, leaf: &[u8]) -> Result<(), ArchiveError> {
        let length = u16::try_from(leaf.len()).map_err(|error| ArchiveError::file(&self.folder, error))?;
        self.entries.extend_from_slice(&length.to_be_bytes());
        self.entries.extend_from_slice(leaf);
        self.count = self.count.saturating_add(1);
        let width = u64::try_from(TILE).unwrap_or(u64::MAX);
        if self.count.is_multiple_of(width) {
            let bundle = std::mem::take(&mut self.entries);
            self.write("entries", self.count / width - 1, TILE, &bundle)?;
        }
        let (mut level, mut hash) = (0, leaf_hash(leaf));
        loop {
            if self.levels.len() == level {
                self.levels.push((Vec::with_capacity(TILE), 0));
            }
            let Some((hashes, full)) = self.levels.get_mut(level) else { return Ok(()) };
            hashes.push(hash);
            if hashes.len() < TILE {
                return Ok(());
            }
            let (tile, number) = (std::mem::take(hashes), *full);
            *full = full.saturating_add(1);
            self.write(&level.to_string(), number, TILE, &bytes_of(&tile))?;
            hash = Frontier::from_iter(tile).root();
            level += 1;
        }
    }

    /// Writes what is not full.
    pub(crate) fn finish(self) -> Result<(), ArchiveError> {
        let width = u64::try_from(TILE).unwrap_or(u64::MAX);
        let rest = usize::try_from(self.count % width).unwrap_or_default();
        if rest > 0 {
            self.write("entries", self.count / width, rest, &self.entries)?;
        }
        for (level, (hashes, full)) in self.levels.iter().enumerate() {
            if !hashes.is_empty() {
                self.write(&level.to_string(), *full, hashes.len(), &bytes_of(hashes))?;
            }
        }
        Ok(())
    }

    fn write(&self, level: &str, number: u64, width: usize, bytes: &[u8]) -> Result<(), ArchiveError> {
        let path = self.folder.join(level).join(tile_name(number, width));
        if self.compared {
            return match files::read(&path)? {
                Some(found) if found == bytes => Ok(()),
                Some(_) => Err(ArchiveError::file(path, "the tile does not follow from the leaves")),
                None => Err(ArchiveError::file(path, "the tile is missing")),
            };
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(ArchiveError::io("create", folder))?;
        }
        fs::write(&path, bytes).map_err(ArchiveError::io("write", &path))
    }
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Groups of three digits, all but the last marked with an x; then the width of a partial tile.
fn tile_name(number: u64, width: usize) -> String {
    let mut name = format!("{:03}", number % 1_000);
    let mut rest = number / 1_000;
    while rest > 0 {
        name = format!("x{:03}/{name}", rest % 1_000);
        rest /= 1_000;
    }
    if width == TILE { name } else { format!("{name}.p/{width}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_named_as_the_specification_does() {
        assert_eq!(tile_name(1_234_067, TILE), "x001/x234/067");
        assert_eq!(tile_name(0, 17), "000.p/17");
        assert_eq!(tile_name(1_000, TILE), "x001/000");
    }
}
