//! SHA-256 of files, read once and in pieces, several files at a time.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _};
use quorate_core::hash::Hash;
use sha2::{Digest as _, Sha256};

use super::{Artifact, Found, Kind};
use crate::error::CliError;

/// How much of a file is in memory at a time, bytes.
const PIECE: usize = 256 * 1024;

/// Hashes everything that is still to be hashed; calls `progress` after each. The order stays.
pub(crate) async fn digest_all(found: Vec<Found>, progress: impl Fn()) -> Result<Vec<Artifact>, CliError> {
    let at_once = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 16);
    let hashed = futures::stream::iter(found).map(digest).buffered(at_once).inspect(|_| progress());
    hashed.try_collect().await
}

async fn digest(found: Found) -> Result<Artifact, CliError> {
    let path = match found {
        Found::Ready(artifact) => return Ok(artifact),
        Found::File(path) => path,
    };
    let work = tokio::task::spawn_blocking(move || file(path));
    work.await.map_err(|error| CliError::other(format!("hashing stopped: {error}")))?
}

fn file(path: PathBuf) -> Result<Artifact, CliError> {
    let (sha256, size) = sha256_of_file(&path)?;
    Ok(Artifact {
        name: path.to_string_lossy().into_owned(),
        kind: Kind::File,
        size,
        sha256,
        metadata: [].into(),
    })
}

/// SHA-256 of a file's bytes, and how many they are.
pub(crate) fn sha256_of_file(path: &Path) -> Result<(Hash, u64), CliError> {
    let mut file = File::open(path).map_err(CliError::io("open", path))?;
    let mut piece = vec![0; PIECE];
    let (mut hasher, mut size) = (Sha256::new(), 0_u64);
    loop {
        let read = match file.read(&mut piece) {
            Ok(0) => return Ok((Hash::new(hasher.finalize().into()), size)),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CliError::io("read", path)(error)),
        };
        hasher.update(&piece[..read]);
        size += u64::try_from(read).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::hash::sha256;

    use super::*;

    #[tokio::test]
    async fn files_of_any_length_have_the_digest_of_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let mut found = Vec::new();
        let mut expected = Vec::new();
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let path = dir.path().join(len.to_string());
            std::fs::write(&path, &bytes).unwrap();
            found.push(Found::File(path));
            expected.push((sha256(&[&bytes]), u64::try_from(len).unwrap()));
        }
        let artifacts = digest_all(found, || ()).await.unwrap();
        let got: Vec<_> = artifacts.iter().map(|artifact| (artifact.sha256, artifact.size)).collect();
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn one_unreadable_file_stops_it_all_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "a").unwrap();
        let found = vec![Found::File(dir.path().join("a")), Found::File(dir.path().join("gone"))];
        let error = digest_all(found, || ()).await.unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
