//! Names of files, and operations on them that survive a crash.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use quorate_core::{name::LedgerName, position::LogIndex};

use crate::{error::ArchiveError, manifest::MANIFEST};

/// There while a backup runs.
pub(crate) const UNFINISHED: &str = "UNFINISHED";
/// Held by the one who writes.
pub(crate) const LOCK: &str = "lock";
/// The folder with one folder per ledger.
pub(crate) const LEDGERS: &str = "ledgers";
/// What the name of a segment ends with.
const SEGMENT: &str = ".segment";
/// The manifest before it is renamed.
pub(crate) const NEW_MANIFEST: &str = "manifest.json.new";

/// The folder of a ledger.
pub(crate) fn ledger_folder(dir: &Path, ledger: &LedgerName) -> PathBuf {
    dir.join(LEDGERS).join(ledger.as_str())
}

/// The segment that begins with a leaf.
pub(crate) fn segment_path(dir: &Path, ledger: &LedgerName, first: LogIndex) -> PathBuf {
    ledger_folder(dir, ledger).join(format!("{:020}{SEGMENT}", first.get()))
}

/// The first leaf of a segment, by its name.
pub(crate) fn first_of(name: &str) -> Option<LogIndex> {
    let digits = name.strip_suffix(SEGMENT)?;
    let well_formed = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| well_formed).map(LogIndex::new)
}

/// The names in a directory, sorted; none where there is no directory.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, ArchiveError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ArchiveError::io("list", path)(error)),
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(ArchiveError::io("list", path))?;
    names.sort();
    Ok(names)
}

/// Reads a file, if there is one.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, ArchiveError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ArchiveError::io("read", path)(error)),
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

/// Replaces the manifest: a crash leaves the old one or the new one, never a part.
pub(crate) fn replace_manifest(dir: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    let (new, path) = (dir.join(NEW_MANIFEST), dir.join(MANIFEST));
    write(&new, bytes)?;
    fs::rename(&new, &path).map_err(ArchiveError::io("replace", &path))?;
    sync_dir(dir)
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), ArchiveError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ArchiveError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Takes the lock of an archive, until the file is dropped or the process ends.
pub(crate) fn lock(dir: &Path) -> Result<File, ArchiveError> {
    let path = dir.join(LOCK);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(ArchiveError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(ArchiveError::Busy { path: dir.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(ArchiveError::io("lock", path)(error)),
    }
}
