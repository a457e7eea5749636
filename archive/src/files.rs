//! Names of files, and operations on them that survive a crash.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::{error::ArchiveError, storage::Item};

/// Bytes that are compared at once.
const PIECE: usize = 64 << 10;

/// What the name of a file ends with before it is put in the place of another.
pub(crate) const NEW: &str = ".new";

/// What lies in a directory, sorted by name; nothing where there is no directory.
pub(crate) fn list(path: &Path) -> Result<Vec<Item>, ArchiveError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ArchiveError::io("list", path)(error)),
    };
    let item = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        // Of what a link leads to; of the link, if that is not there.
        let metadata = fs::metadata(entry.path()).or_else(|_| entry.metadata())?;
        let bytes = (!metadata.is_dir()).then_some(metadata.len());
        Ok(Item { name: entry.file_name().to_string_lossy().into_owned(), bytes })
    };
    let mut items =
        entries.map(item).collect::<io::Result<Vec<_>>>().map_err(ArchiveError::io("list", path))?;
    items.sort();
    Ok(items)
}

/// Reads a file, if there is one.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, ArchiveError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ArchiveError::io("read", path)(error)),
    }
}

/// Whether a file holds exactly these bytes; read in small pieces.
pub(crate) fn holds(path: &Path, bytes: &[u8]) -> Result<bool, ArchiveError> {
    let compare = || -> io::Result<bool> {
        let (mut file, mut rest, mut piece) = (File::open(path)?, bytes, [0; PIECE]);
        loop {
            let length = file.read(&mut piece)?;
            match (length, rest.split_at_checked(length)) {
                (0, _) => return Ok(rest.is_empty()),
                (_, Some((expected, behind))) if *expected == piece[..length] => rest = behind,
                _ => return Ok(false),
            }
        }
    };
    match compare() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        compared => compared.map_err(ArchiveError::io("read", path)),
    }
}

/// Makes a directory and those above it, durably.
pub(crate) fn create_dir(path: &Path) -> Result<(), ArchiveError> {
    fs::create_dir_all(path).map_err(ArchiveError::io("create", path))?;
    sync_dir(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), ArchiveError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(ArchiveError::io("sync", path))
}

/// Writes a file whose bytes are on disk when this returns. Its name may not be: sync the directory.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(ArchiveError::io("write", path))
}

/// Puts a file in the place of another: a crash leaves the old one or the new one, never a part.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    let mut new = path.as_os_str().to_owned();
    new.push(NEW);
    let new = PathBuf::from(new);
    write(&new, bytes)?;
    fs::rename(&new, path).map_err(ArchiveError::io("replace", path))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), ArchiveError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ArchiveError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_its_bytes_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(!holds(&path, b"").unwrap(), "there is none");
        for length in [0, 1, PIECE, 2 * PIECE + 1] {
            let bytes = vec![7; length];
            write(&path, &bytes).unwrap();
            assert!(holds(&path, &bytes).unwrap(), "{length}");
            assert!(!holds(&path, &vec![7; length + 1]).unwrap(), "{length}: it is shorter");
            for at in [0, length / 2, length.saturating_sub(1)].into_iter().filter(|at| *at < length) {
                let mut altered = bytes.clone();
                altered[at] ^= 1;
                assert!(!holds(&path, &altered).unwrap(), "{length}: byte {at} is another");
                assert!(!holds(&path, &bytes[..at]).unwrap(), "{length}: it is longer");
            }
        }
    }
}
