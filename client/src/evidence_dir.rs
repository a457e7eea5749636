//! Signed contradictions, kept in files.
//!
//! Contract: a file is named after what is in it (`evidence-LEDGER-SIZE-HASH.json`), so the same proof is one file and
//! none is ever replaced by another. It is written beside its place, made durable and renamed, so it is whole or not
//! there. Its form is that of `docs/formats.md`, 4.2; public keys are all that it takes to check it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use quorate_core::evidence::Evidence;
use quorate_core::hash::sha256;

/// Hex digits of the hash in a file's name.
const NAME_DIGITS: usize = 16;

/// A directory in which evidence is kept. It is made when there is something to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceDir(PathBuf);

impl EvidenceDir {
    /// This directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes evidence to its file, which is given. What is there already stays.
    ///
    /// # Errors
    /// What the operating system says. The caller still has the evidence.
    pub fn keep(&self, evidence: &Evidence) -> io::Result<PathBuf> {
        let json = evidence.to_json();
        let path = self.0.join(name(evidence, &json));
        if path.try_exists()? {
            return Ok(path);
        }
        fs::create_dir_all(&self.0)?;
        let new = path.with_extension(format!("{}.new", std::process::id()));
        let mut file = File::create(&new)?;
        file.write_all(format!("{json}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.0)?.sync_all()?;
        Ok(path)
    }
}

fn name(evidence: &Evidence, json: &str) -> String {
    let hash = sha256(&[json.as_bytes()]).to_string();
    let hash = hash.get(..NAME_DIGITS).unwrap_or_default();
    // The later note is the one of the larger size.
    match evidence.notes().last().map(|note| note.checkpoint()) {
        Some(checkpoint) => {
            let ledger = checkpoint.origin.rsplit('/').next().unwrap_or_default();
            format!("evidence-{ledger}-{}-{hash}.json", checkpoint.size)
        }
        None => format!("evidence-blocks-{hash}.json"),
    }
}
