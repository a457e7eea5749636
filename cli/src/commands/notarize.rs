//! `quorate notarize`: records artifacts as trusted.

use std::path::PathBuf;

use super::what::{Hashed, What};
use super::write_records::{Entry, Recorded, documents, write_records};
use crate::artifact::{Record, Status, parse_attribute};
use crate::clock::Stopwatch;
use crate::convert;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Table, json, text, time};
use crate::progress;
use crate::session::Session;

/// Most artifacts that are listed one by one for people; documents always list all.
pub(super) const LISTED: usize = 20;

/// Record artifacts as trusted: files, directories, commits, hashes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Artifacts are hashed on this machine; only the hash, the name, the size and what you say about
them is recorded. All are hashed before anything is written.

  quorate notarize release.tar.gz --attr build=4711 --signer build@example.org
  quorate notarize dist/ --receipt-dir receipts/
  quorate notarize git://.@v1.0
  quorate notarize --git v1.0..v1.1
  sha256sum app | cut -c1-64 | xargs -I{} quorate notarize hash:{}")]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,

    #[command(flatten)]
    say: Say,

    /// Save a receipt of each artifact there, as `<SHA-256>.tlog-proof`
    #[arg(long, value_name = "DIR")]
    receipt_dir: Option<PathBuf>,
}

/// What is said about artifacts.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Say {
    /// Who says so; recorded and shown as claimed, since nothing proves it
    #[arg(long, value_name = "NAME", env = "QUORATE_SIGNER", hide_env_values = true)]
    signer: Option<String>,

    /// Metadata to record; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_attribute)]
    pub(crate) attr: Vec<(String, String)>,
}

impl Say {
    /// The signer; empty if none is claimed.
    pub(crate) fn signer(&self) -> &str {
        self.signer.as_deref().unwrap_or_default()
    }
}

/// Records.
pub(crate) async fn run(session: &Session, args: Args) -> Result<Exit, CliError> {
    let watch = Stopwatch::start();
    let hashed = args.what.hash(session.output).await?;
    let entry = |artifact: &crate::artifact::Artifact| {
        let record = Record::new(artifact, Status::Trusted, args.say.signer(), &args.say.attr);
        Entry::new(artifact.clone(), &record, None)
    };
    let entries = hashed.distinct.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let bar = progress::bar(session.output, "notarizing", entries.len());
    let recorded = write_records(session, entries, args.receipt_dir.as_deref(), &bar).await;
    bar.finish_and_clear();
    let recorded = recorded?;
    let artifacts =
        documents(&hashed.all, &recorded, Status::Trusted, args.say.signer(), args.receipt_dir.as_deref());
    tell(session, "notarization", "notarized", Status::Trusted, &hashed, &recorded, artifacts, watch)?;
    Ok(Exit::Done)
}

/// Prints what was written.
#[expect(clippy::too_many_arguments, reason = "they are the lines of one report")]
pub(super) fn tell(
    session: &Session,
    kind: &'static str,
    done: &str,
    status: Status,
    hashed: &Hashed,
    recorded: &Recorded,
    artifacts: Vec<json::Artifact>,
    watch: Stopwatch,
) -> Result<(), CliError> {
    let elapsed = watch.elapsed();
    let checkpoint = recorded.checkpoint.as_deref();
    let document = json::Notarization {
        ledger: session.ledger_name.clone(),
        status: status.word(),
        artifacts,
        distinct: hashed.distinct.len().to_string(),
        transactions: recorded.transactions.to_string(),
        size: recorded.size.to_string(),
        seconds: time::seconds_exact(elapsed),
        checkpoint: checkpoint.map(convert::checkpoint),
    };
    session.output.result(kind, &document, |document| {
        let mut listed = String::new();
        if document.artifacts.len() <= LISTED {
            let mut table = Table::new(["SHA-256", "NAME", "INDEX", "REVISION"]);
            for artifact in &document.artifacts {
                let cell = |value: &Option<String>| value.clone().unwrap_or_default();
                let (index, revision) = (cell(&artifact.index), cell(&artifact.revision));
                table.row([artifact.sha256.clone(), artifact.name.clone(), index, revision]);
            }
            listed = table.to_string();
        }
        let all = text::count(hashed.all.len(), "artifact");
        let same = hashed.all.len() - hashed.distinct.len();
        let same = if same == 0 {
            String::new()
        } else {
            format!(" ({} with the same bytes)", text::thousands(same))
        };
        let transactions = text::count(recorded.transactions, "transaction");
        let proof = checkpoint.map(convert::certified_by).unwrap_or_default();
        format!("{listed}{done} {all}{same} in {}, {transactions}; {proof}\n", time::seconds(elapsed))
    })
}
