//! Signed contradictions, kept in files.
//!
//! Contract: where an answer is not believed because signed statements contradict each other, the proof of it is written
//! at once, into the directory `evidence` beside the trust store, or `--evidence-dir`. A file is named
//! after what is in it (`evidence-LEDGER-SIZE-HASH.json`), so the same proof is one file and none is ever replaced by
//! another. Its form is that of `docs/formats.md`, 4.2; `quorate evidence verify` checks it with public keys alone.

use std::path::{Path, PathBuf};

use quorate_client::{Evidence, EvidenceDir};

use crate::context::{Context, default_trust_dir};
use crate::error::CliError;
use crate::global::Global;

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
    let directory = directory(global, &global.settings()?)?;
    directory.keep(evidence).map_err(CliError::io("write evidence in", directory.path()))
}

/// Where evidence is kept: what `--evidence-dir` says, or beside the trust store.
pub(crate) fn directory(global: &Global, settings: &Context) -> Result<EvidenceDir, CliError> {
    if let Some(directory) = &global.evidence_dir {
        return Ok(EvidenceDir::new(directory));
    }
    let trust = settings.trust_dir.clone().map_or_else(default_trust_dir, Ok)?;
    Ok(EvidenceDir::new(trust.parent().unwrap_or(Path::new(".")).join("evidence")))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

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
