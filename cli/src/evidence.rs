//! Signed contradictions, kept in files.
//!
//! Contract: where an answer is not believed because signed statements contradict each other, the proof of it is written
//! before the command ends, into the directory `evidence` beside the trust store, or `--evidence-dir`. A file is named
//! after what is in it (`evidence-LEDGER-SIZE-HASH.json`), so the same proof is one file and none is ever replaced by
//! another. Its form is that of `docs/formats.md`, 4.2; `quorate evidence verify` checks it with public keys alone.

use std::fs;
use std::path::{Path, PathBuf};

use quorate_client::Evidence;
use sha2::{Digest as _, Sha256};

use crate::commands::files::write_whole;
use crate::context::default_trust_dir;
use crate::error::CliError;
use crate::global::Global;

/// Hex digits of the hash in a file's name.
const NAME_DIGITS: usize = 16;

/// Keeps the evidence that an error carries, and says where; the error itself where it carries none.
pub(crate) fn kept(global: &Global, error: CliError) -> CliError {
    let Some(evidence) = error.evidence() else {
        return error;
    };
    match keep_or_tell(global, evidence) {
        Some(file) => CliError::Proven { source: Box::new(error), file },
        None => error,
    }
}

/// Keeps evidence, and gives its file; what the disk does not take is told instead.
pub(crate) fn keep_or_tell(global: &Global, evidence: &Evidence) -> Option<PathBuf> {
    match keep(global, evidence) {
        Ok(file) => Some(file),
        Err(problem) => {
            global.output().warn(&format!("the evidence cannot be kept: {}", problem.story()));
            global.output().warn(&evidence.to_json());
            None
        }
    }
}

/// Writes evidence to its file, which is given.
fn keep(global: &Global, evidence: &Evidence) -> Result<PathBuf, CliError> {
    let directory = match &global.evidence_dir {
        Some(directory) => directory.clone(),
        None => {
            let trust = global.settings()?.trust_dir;
            let trust = trust.map_or_else(default_trust_dir, Ok)?;
            trust.parent().unwrap_or(Path::new(".")).join("evidence")
        }
    };
    fs::create_dir_all(&directory).map_err(CliError::io("create directory", &directory))?;
    let path = directory.join(name(evidence));
    write_whole(&path, format!("{}\n", evidence.to_json()).as_bytes())?;
    Ok(path)
}

fn name(evidence: &Evidence) -> String {
    let hash = hex::encode(Sha256::digest(evidence.to_json()));
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

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser as _;
    use quorate_core::checkpoint::Checkpoint;
    use quorate_core::hash::Hash;
    use quorate_core::key::CosignerKey;
    use quorate_core::name::{ClusterId, ClusterOrigin, LedgerName};
    use quorate_core::note::SignedNote;
    use quorate_core::position::{NodeId, TreeSize};

    use super::*;
    use crate::cli::Cli;

    /// Node 1 signed two roots for size 7 of `default`; its key.
    pub(crate) fn fork() -> (Evidence, CosignerKey) {
        let cluster = ClusterOrigin::new("test", &ClusterId::new([7; 16])).unwrap();
        let key = CosignerKey::from_seed(&cluster.node(NodeId::new(1)), &[1; 32]).unwrap();
        let origin = cluster.ledger(&LedgerName::new("default").unwrap());
        let notes = [1, 2].map(|byte| {
            let checkpoint = Checkpoint {
                origin: origin.as_str().to_owned(),
                size: TreeSize::new(7),
                root: Hash::new([byte; 32]),
            };
            let mut note = SignedNote::new(checkpoint);
            note.add(key.cosign(note.checkpoint(), 1_790_000_000).unwrap().to_line());
            note.open(&[key.verifier().clone()]).unwrap()
        });
        (Evidence::of_notes(&notes[0], &notes[1]).unwrap(), key)
    }

    #[test]
    fn evidence_is_kept_under_its_own_name_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("proofs").display().to_string();
        let global = Cli::try_parse_from(["quorate", "--evidence-dir", &place, "status"]).unwrap().global;
        let (evidence, _) = fork();
        let path = keep(&global, &evidence).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("evidence-default-7-") && name.ends_with(".json"), "{name}");
        assert_eq!(keep(&global, &evidence).unwrap(), path, "the same proof is one file");
        assert_eq!(fs::read_dir(place).unwrap().count(), 1);
        assert_eq!(Evidence::parse(&fs::read_to_string(path).unwrap()).unwrap(), evidence);
    }
}
