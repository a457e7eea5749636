//! `quorate backup restore`: from an archive to a new cluster.

use std::path::Path;

use quorate_archive::Archive;
use quorate_node::cluster::{Cluster, SettingsFile};
use quorate_node::continuation::{ContinueError, restore};

use super::args::RestoreArgs;
use super::documents::{Continued, ContinuedLedger};
use super::verify::{Judge, leaves};
use crate::clock;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::progress;
use crate::run::next_steps;

/// Restores.
pub(super) fn run(global: &Global, args: &RestoreArgs) -> Result<Exit, CliError> {
    let archive = Archive::open_in(args.from.open()?)?;
    let judge = Judge::of(global, &archive)?;
    let name = args.name.clone().unwrap_or_else(|| archive.manifest().cluster.name().to_owned());
    let plan = args.nodes.plan(name, SettingsFile::default());
    let total = usize::try_from(leaves(&archive)).unwrap_or(usize::MAX);
    let bar = progress::bar(global.output(), "restoring", total);
    let restored = restore(&archive, &judge.policy, &plan, &args.out, clock::now(), |done| bar.inc(done));
    bar.finish_and_clear();
    let restored = restored.map_err(failed)?;
    let document = document(&args.out, &restored.cluster, &restored.lineage, judge.word());
    let steps = next_steps(&args.out, &args.nodes, &restored.cluster);
    global.output().result("restored", &document, |document| text(document, &steps))?;
    Ok(Exit::Done)
}

/// An error of the making, with its exit code.
pub(crate) fn failed(error: ContinueError) -> CliError {
    match error {
        ContinueError::Archive(error) => error.into(),
        error @ (ContinueError::Occupied(_) | ContinueError::Plan(_)) => {
            CliError::usage(error.to_string(), "`quorate backup restore --help` shows an example")
        }
        error @ ContinueError::Seed(_) => CliError::Unverified {
            message: error.to_string(),
            next: "nothing was made; use another copy of the backup, and keep this one for examination"
                .to_owned(),
        },
        error => CliError::other(error.to_string()),
    }
}

/// What was made, as a document.
pub(crate) fn document(
    out: &Path,
    cluster: &Cluster,
    lineage: &quorate_node::continuation::Lineage,
    policy: &'static str,
) -> Continued {
    let ledgers = lineage.ledgers.iter().map(|ledger| ContinuedLedger {
        ledger: ledger.name.clone(),
        size: ledger.size.to_string(),
        log_root: hex::encode(&ledger.root),
    });
    Continued {
        out: out.display().to_string(),
        lineage_kind: lineage.kind.clone(),
        cluster: cluster.origin.to_string(),
        previous: lineage.previous.clone(),
        lineage: lineage.number.to_string(),
        policy,
        loss: Some(lineage.loss.clone()).filter(|loss| !loss.is_empty()),
        ledgers: ledgers.collect(),
    }
}

/// The same for people.
pub(crate) fn text(document: &Continued, steps: &str) -> String {
    let ledgers = document.ledgers.len();
    format!(
        "{} in {}: the cluster {} continues {} ({ledgers} ledgers), and says so in _system under lineage/{}\n\n{steps}\n\
         Clients of {} do not believe it until they are given the policies in {}/client.\n",
        document.lineage_kind,
        document.out,
        document.cluster,
        document.previous,
        document.lineage,
        document.previous,
        document.out
    )
}
