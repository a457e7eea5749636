//! An archive in a directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    error::ArchiveError,
    files,
    storage::{Item, LEDGERS, Storage},
};

/// A directory that holds an archive, or will.
#[derive(Debug, Clone)]
pub struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// The directory `dir`. Nothing is looked at yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Makes the names in a folder, and in those below it, stay.
    fn sync(&self, folder: &str) -> Result<(), ArchiveError> {
        for item in self.list(folder)?.iter().filter(|item| item.bytes.is_none()) {
            self.sync(&format!("{folder}/{}", item.name))?;
        }
        files::sync_dir(&self.path(folder))
    }
}

impl Storage for Folder {
    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.clone() } else { self.dir.join(name) }
    }

    fn list(&self, folder: &str) -> Result<Vec<Item>, ArchiveError> {
        files::list(&self.path(folder))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        files::read(&self.path(name))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            files::create_dir(folder)?;
        }
        files::write(&path, bytes)?;
        if files::holds(&path, bytes)? {
            return Ok(());
        }
        Err(ArchiveError::file(path, "the disk does not give back what was written"))
    }

    fn replace(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<(), ArchiveError> {
        let path = self.path(name);
        if files::read(&path)?.as_deref() != old {
            return Err(ArchiveError::Busy { path: self.dir.clone(), hint: String::new() });
        }
        if self.path(LEDGERS).exists() {
            self.sync(LEDGERS)?;
        }
        files::replace(&path, new)
    }

    fn remove(&self, name: &str) -> Result<(), ArchiveError> {
        files::remove(&self.path(name))
    }

    fn lock(&self, name: &str) -> Result<Box<dyn Send + Sync>, ArchiveError> {
        files::create_dir(&self.dir)?;
        let path = self.path(name);
        let file = fs::File::options().create(true).append(true).open(&path);
        let file = file.map_err(ArchiveError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => {
                Err(ArchiveError::Busy { path: self.dir.clone(), hint: String::new() })
            }
            Err(fs::TryLockError::Error(error)) => Err(ArchiveError::io("lock", path)(error)),
        }
    }
}
