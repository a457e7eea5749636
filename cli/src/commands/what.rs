//! The artifacts a command is about, and their hashes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::artifact::{Artifact, Source, collect, digest_all};
use crate::error::CliError;
use crate::output::Output;
use crate::progress;

/// Which artifacts.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct What {
    /// Files, directories with everything below them, git://PATH@REV for a commit, hash:HEX for a bare SHA-256
    #[arg(value_name = "ARTIFACT", required_unless_present = "git")]
    artifacts: Vec<OsString>,

    /// All commits of a range, as `git rev-list` takes it: HEAD, v1.0..v1.1
    #[arg(long, value_name = "RANGE")]
    git: Option<String>,

    /// The repository of --git
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,

    /// Leave out files and folders of this name below directories; may be repeated
    #[arg(long, value_name = "NAME")]
    exclude: Vec<String>,
}

/// Hashed artifacts.
pub(super) struct Hashed {
    /// All of them, in the order they were named and found.
    pub(super) all: Vec<Artifact>,
    /// The first of each with the same bytes: they have one key.
    pub(super) distinct: Vec<Artifact>,
}

impl What {
    /// Finds and hashes them all. Nothing is written anywhere before this is done.
    pub(super) async fn hash(&self, output: Output) -> Result<Hashed, CliError> {
        let mut sources = self.artifacts.iter().map(Source::parse).collect::<Result<Vec<_>, _>>()?;
        if let Some(range) = &self.git {
            sources.push(Source::range(self.repo.clone(), range)?);
        }
        let excluded = self.exclude.clone();
        let work = tokio::task::spawn_blocking(move || collect(&sources, &excluded));
        let collected =
            work.await.map_err(|error| CliError::other(format!("the search stopped: {error}")))??;
        if let Some(left_out) = collected.left_out() {
            output.hint(&left_out);
        }
        let bar = progress::bar(output, "hashing", collected.found.len());
        let hashed = digest_all(collected.found, || bar.inc(1)).await;
        bar.finish_and_clear();
        let all = hashed?;
        let mut seen = BTreeSet::new();
        let distinct = all.iter().filter(|artifact| seen.insert(artifact.sha256)).cloned().collect();
        Ok(Hashed { all, distinct })
    }
}
