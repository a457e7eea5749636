//! Files that hold secrets, and the directories they are in.
//!
//! Contract: a secret is written once, to a file that did not exist, readable by its owner alone from the first
//! byte on, and is on disk (file and directory synced) when the call returns. A secret that others on the
//! machine could read is refused, not used: whoever copied it could act as this node. Nothing here follows the
//! umask.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Permission bits of group and others: none of them may be set.
const OTHERS: u32 = 0o077;

/// Longest key or certificate file that is read, in bytes.
const MAX_FILE_LEN: u64 = 1 << 20;

/// Makes a directory that only its owner can enter, and its parents; one that exists is checked instead.
///
/// # Errors
/// [`FileError::Io`], or [`FileError::OpenDirectory`] if it exists and others may enter it.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(|source| FileError::io("create the directory", path, source))?;
    check_private_dir(path)
}

/// Refuses a directory that anyone but its owner may enter.
///
/// # Errors
/// [`FileError::Io`], [`FileError::OpenDirectory`].
pub fn check_private_dir(path: &Path) -> Result<(), FileError> {
    let metadata =
        fs::metadata(path).map_err(|source| FileError::io("look at the directory", path, source))?;
    if !metadata.is_dir() {
        return Err(FileError::io("use as a directory", path, io::ErrorKind::NotADirectory.into()));
    }
    match metadata.mode() & OTHERS {
        0 => Ok(()),
        _ => Err(FileError::OpenDirectory { path: path.to_owned(), mode: metadata.mode() & 0o777 }),
    }
}

/// Writes a secret to a new file with mode 0600 and syncs it.
///
/// # Errors
/// [`FileError::Io`]; in particular if the file exists, since a key is never overwritten.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_new(path, bytes, 0o600)
}

/// Writes something public, such as a certificate, to a new file with mode 0644 and syncs it.
///
/// # Errors
/// [`FileError::Io`]; in particular if the file exists.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_new(path, bytes, 0o644)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // Without this the name itself may be gone after a power cut.
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|source| FileError::io("write", path, source))
}

/// Reads a secret. Permissions are those of the file that is open, so nobody can swap it in between.
///
/// # Errors
/// [`FileError::Io`], [`FileError::OpenSecret`] if group or others have any access, [`FileError::TooLong`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (file, mode) = open(path)?;
    if mode & OTHERS != 0 {
        return Err(FileError::OpenSecret { path: path.to_owned(), mode: mode & 0o777 });
    }
    read(path, file).map(Zeroizing::new)
}

/// Reads something public, such as a certificate.
///
/// # Errors
/// [`FileError::Io`], [`FileError::TooLong`].
pub fn read_public(path: &Path) -> Result<Vec<u8>, FileError> {
    read(path, open(path)?.0)
}

fn open(path: &Path) -> Result<(File, u32), FileError> {
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata.mode())));
    opened.map_err(|source| FileError::io("read", path, source))
}

fn read(path: &Path, file: File) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let limit = MAX_FILE_LEN.saturating_add(1);
    let read = file.take(limit).read_to_end(&mut bytes);
    read.map_err(|source| FileError::io("read", path, source))?;
    match u64::try_from(bytes.len()) {
        Ok(len) if len <= MAX_FILE_LEN => Ok(bytes),
        _ => Err(FileError::TooLong { path: path.to_owned() }),
    }
}

/// Why a file or directory was not used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system said no.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A secret that others can read.
    #[error(
        "{path} holds a secret but has mode {mode:04o}, so others on this machine can read it; \
         run: chmod 600 {path}",
        path = path.display()
    )]
    OpenSecret {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory that others can enter.
    #[error(
        "the directory {path} has mode {mode:04o}, so others on this machine can enter it; run: chmod 700 {path}",
        path = path.display()
    )]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key or certificate file.
    #[error("{path} is longer than {MAX_FILE_LEN} bytes, so it is no key or certificate; check the path", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

impl FileError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
