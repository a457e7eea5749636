//! `quorate untrust` and `quorate unsupport`: append another status.

use futures::{StreamExt as _, TryStreamExt as _};
use quorate_client::{Precondition, Read, Value};

use super::notarize::{Say, tell};
use super::what::What;
use super::write_records::{BATCH, Entry, IN_FLIGHT, documents, write_records};
use crate::artifact::{Artifact, Record, Status};
use crate::clock::Stopwatch;
use crate::error::CliError;
use crate::exit::Exit;
use crate::progress;
use crate::session::Session;

/// Record that artifacts are not to be relied on any more
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A record is appended; neither the artifacts nor their older records are touched, and name and
metadata are kept. An artifact that was never notarized gets its first record. If somebody
writes about one of them at the same moment, nothing of that transaction is written.")]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,

    #[command(flatten)]
    say: Say,
}

/// What is written, and how it is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retraction {
    status: Status,
    done: &'static str,
}

/// `quorate untrust`.
pub(crate) const UNTRUST: Retraction = Retraction { status: Status::Untrusted, done: "untrusted" };
/// `quorate unsupport`.
pub(crate) const UNSUPPORT: Retraction = Retraction { status: Status::Unsupported, done: "unsupported" };

/// Records.
pub(crate) async fn run(session: &Session, args: Args, retraction: Retraction) -> Result<Exit, CliError> {
    let watch = Stopwatch::start();
    let hashed = args.what.hash(session.output).await?;
    let newest = read_newest(session, &hashed.distinct).await?;
    let pairs = hashed.distinct.iter().zip(&newest);
    let entries = pairs.map(|(artifact, read)| entry(artifact, read, &args.say, retraction.status));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let bar = progress::bar(session.output, "recording", entries.len());
    let recorded = write_records(session, entries, None, &bar).await;
    bar.finish_and_clear();
    let recorded = recorded?;
    let artifacts = documents(&hashed.all, &recorded, retraction.status, args.say.signer(), None);
    tell(session, "retraction", retraction.done, retraction.status, &hashed, &recorded, artifacts, watch)?;
    Ok(Exit::Done)
}

/// What the ledger holds about each artifact now.
pub(super) async fn read_newest(
    session: &Session,
    artifacts: &[Artifact],
) -> Result<Vec<Read<Option<Value>>>, CliError> {
    let bar = progress::bar(session.output, "reading", artifacts.len());
    let batches: Vec<Vec<String>> =
        artifacts.chunks(BATCH).map(|batch| batch.iter().map(Artifact::key).collect()).collect();
    let read = async |keys: Vec<String>| {
        let read = session.ledger.get_many(&keys, session.read_options()).await?;
        bar.inc(u64::try_from(keys.len()).unwrap_or(0));
        match read.len() == keys.len() {
            true => Ok(read),
            false => {
                Err(CliError::other(format!("{} keys were asked for, {} answered", keys.len(), read.len())))
            }
        }
    };
    let reads = futures::stream::iter(batches).map(read).buffered(IN_FLIGHT).try_collect::<Vec<_>>().await;
    bar.finish_and_clear();
    Ok(reads?.concat())
}

/// The record to append: the newest one with another status, or a first one. Written only if it is still the newest.
fn entry(
    artifact: &Artifact,
    read: &Read<Option<Value>>,
    say: &Say,
    status: Status,
) -> Result<Entry, CliError> {
    let key = artifact.key();
    let revision = read.written.as_ref().map(|written| written.revision);
    let before = read.value.as_ref().and_then(|value| Record::read(key.as_bytes(), &value.value));
    let record = match before {
        Some(record) => record.restated(status, say.signer(), &say.attr),
        None => Record::new(artifact, status, say.signer(), &say.attr),
    };
    let unchanged = Precondition::RevisionEquals(key.into(), revision);
    Entry::new(artifact.clone(), &record, Some(unchanged))
}
