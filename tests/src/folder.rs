//! Folders as values: what is in one, byte for byte, and copies of one.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use quorate_core::hash::{Hash, sha256};

/// Every file below a folder with the hash of its bytes, and every folder, by relative path.
///
/// # Errors
/// What the file system says.
pub fn contents(folder: &Path) -> io::Result<BTreeMap<PathBuf, Option<Hash>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below))? {
            let entry = entry?;
            let name = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(name.clone());
                found.insert(name, None);
            } else {
                let hash = sha256(&[&fs::read(entry.path())?]);
                found.insert(name, Some(hash));
            }
        }
    }
    Ok(found)
}

/// Copies a folder with everything below it; modes are kept.
///
/// # Errors
/// What the file system says.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
