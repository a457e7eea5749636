//! Evidence that this node met: files in `evidence/` of its data directory (docs/formats.md, 4.2).
//!
//! Contract: what two signed statements prove against their signer is written once, under a name that follows from its
//! content, and never replaced; at most [`MAX_OF_A_KIND`] files of each kind, so that nobody fills a disk with what they
//! sign, nor crowds out one kind with another. `quorate evidence verify` checks a file with public keys alone. Nothing
//! here decides anything: what the contradiction means for this node is decided where it was met.
//!
//! *Crash here:* the file is written under another name, synced and renamed, off the caller's thread. Evidence that is
//! lost with the process is made again when the contradiction is met again.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use quorate_core::{evidence::Evidence, hash::sha256};

/// Name of the directory below the data directory.
pub const DIRECTORY: &str = "evidence";

/// Files kept of each kind, at most: the first ones.
pub const MAX_OF_A_KIND: usize = 16;

/// Hex digits of the hash in a file's name.
const NAME_DIGITS: usize = 16;

/// Keeps evidence. Clones share it.
#[derive(Debug, Clone)]
pub struct EvidenceFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Names of the files that are there or being written.
    names: Mutex<BTreeSet<String>>,
}

impl EvidenceFiles {
    /// Those of a data directory. What cannot be listed counts as not there: evidence is a by-product, and its files
    /// are no part of what this node promised.
    #[must_use]
    pub fn open(data_dir: &Path) -> Self {
        let directory = data_dir.join(DIRECTORY);
        let files = fs::read_dir(&directory).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        let names = names.filter(|name| name.ends_with(".json")).collect();
        Self(Arc::new(Inner { directory, names: Mutex::new(names) }))
    }

    /// Keeps evidence in a file of its own; returns at once.
    pub fn keep(&self, evidence: &Evidence) {
        let text = evidence.to_json();
        let name = name_of(evidence, &text);
        {
            let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
            if names.contains(&name) {
                return;
            }
            // Those that were first are kept: what comes later of a kind adds little, and is in the log of the node.
            let same_kind = names.iter().filter(|name| name.starts_with(&prefix(evidence)));
            if same_kind.count() >= MAX_OF_A_KIND {
                return;
            }
            names.insert(name.clone());
        }
        let (path, kind) = (self.0.directory.join(name), evidence.kind());
        // A thread of its own: callers are async workers and the signer, and this is rare.
        std::thread::spawn(move || match write(&path, &text) {
            Ok(()) => tracing::error!(%kind, file = %path.display(), "evidence that a node lied is kept"),
            Err(error) => tracing::error!(%kind, %error, evidence = text, "evidence cannot be kept"),
        });
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// How many there are, in words for people who ask how this node is; `None` if there are none.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let count = self.count();
        let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        (count > 0)
            .then(|| format!("it keeps evidence that a node lied: {files} in {}", self.0.directory.display()))
    }

    /// How many files there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// How names of a kind begin.
fn prefix(evidence: &Evidence) -> String {
    format!("evidence-{}-", evidence.kind())
}

/// `evidence-KIND-LEDGER-SIZE-HASH.json`, or `evidence-equivocation-HASH.json`: the same proof is one file.
fn name_of(evidence: &Evidence, text: &str) -> String {
    let hash = sha256(&[text.as_bytes()]).to_string();
    let hash = hash.get(..NAME_DIGITS).unwrap_or_default();
    let prefix = prefix(evidence);
    match evidence.notes().last().map(|note| note.checkpoint()) {
        Some(checkpoint) => {
            let ledger = checkpoint.origin.rsplit('/').next().unwrap_or_default();
            format!("{prefix}{ledger}-{}-{hash}.json", checkpoint.size)
        }
        None => format!("{prefix}{hash}.json"),
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use quorate_core::{
        block::{BlockHeader, BlockKey},
        hash::Hash,
        name::ClusterId,
        position::{BlockHeight, Term},
    };

    use super::*;

    fn equivocation(height: u64) -> Evidence {
        let key = BlockKey::from_seed(&[1; 32]);
        let block = |body: u8| {
            let header = BlockHeader {
                cluster: ClusterId::new([7; 16]),
                term: Term::new(1),
                height: BlockHeight::new(height),
                previous: Hash::ZERO,
                body_hash: sha256(&[&[body]]),
            };
            key.sign(header).verify(&key.public()).unwrap()
        };
        Evidence::of_blocks(&block(1), &block(2)).unwrap()
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory.join(DIRECTORY)).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect()
    }

    fn wait_for(directory: &Path, count: usize) -> Vec<PathBuf> {
        for _ in 0..500 {
            if files(directory).len() == count {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        files(directory)
    }

    #[test]
    fn evidence_is_kept_once_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let kept = EvidenceFiles::open(directory.path());
        assert_eq!(kept.count(), 0);
        kept.keep(&equivocation(1));
        kept.keep(&equivocation(1));
        let files = wait_for(directory.path(), 1);
        let [file] = files.as_slice() else { panic!("{files:?}") };
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(Evidence::parse(text.trim_end()).unwrap(), equivocation(1));
        assert_eq!((kept.count(), EvidenceFiles::open(directory.path()).count()), (1, 1));
    }

    #[test]
    fn there_is_a_bound() {
        let directory = tempfile::tempdir().unwrap();
        let kept = EvidenceFiles::open(directory.path());
        let most = u64::try_from(MAX_OF_A_KIND).unwrap();
        (0..most + 3).for_each(|height| kept.keep(&equivocation(height)));
        assert_eq!(wait_for(directory.path(), MAX_OF_A_KIND).len(), MAX_OF_A_KIND);
        assert_eq!(kept.count(), MAX_OF_A_KIND);
    }
}
