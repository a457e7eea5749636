//! Writes records about artifacts: many in a transaction, several transactions at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use indicatif::ProgressBar;
use quorate_client::{
    CertifiedCheckpoint, Committed, Hash, LogIndex, Precondition, PutOptions, Revision, Transaction, TreeSize,
};

use super::receipts;
use crate::artifact::{Artifact, Record, Status};
use crate::error::CliError;
use crate::output::{json, text};
use crate::session::Session;

/// Most artifacts in a transaction.
pub(super) const BATCH: usize = 500;
/// Most bytes of records in a transaction, unless one record alone has more.
const BATCH_BYTES: usize = 1 << 20;
/// Transactions, or reads, that are under way at a time.
pub(super) const IN_FLIGHT: usize = 4;

/// A record that is to be written.
pub(super) struct Entry {
    pub(super) artifact: Artifact,
    pub(super) value: Vec<u8>,
    /// What must hold; `None`: nothing.
    pub(super) precondition: Option<Precondition>,
}

impl Entry {
    /// The record as bytes.
    pub(super) fn new(
        artifact: Artifact,
        record: &Record,
        precondition: Option<Precondition>,
    ) -> Result<Self, CliError> {
        let value = record.to_bytes().map_err(|error| {
            CliError::other(format!("the record of {} is no JSON: {error}", artifact.name))
        })?;
        Ok(Self { artifact, value, precondition })
    }
}

/// What was written.
#[derive(Default)]
pub(super) struct Recorded {
    /// Index and revision by artifact.
    pub(super) places: BTreeMap<Hash, (LogIndex, Revision)>,
    pub(super) transactions: usize,
    /// The newest checkpoint.
    pub(super) size: TreeSize,
    pub(super) checkpoint: Option<Arc<CertifiedCheckpoint>>,
}

/// Writes them all. Stops at the first error, which then says how many were written for certain.
pub(super) async fn write_records(
    session: &Session,
    entries: Vec<Entry>,
    receipt_dir: Option<&Path>,
    bar: &ProgressBar,
) -> Result<Recorded, CliError> {
    if let Some(directory) = receipt_dir {
        receipts::prepare(directory)?;
    }
    let all = entries.len();
    let mut recorded = Recorded::default();
    let mut answers = std::pin::pin!(commits(session, entries));
    while let Some((batch, answer)) = answers.next().await {
        let kept = match answer {
            Ok(committed) => keep(&mut recorded, &batch, committed, receipt_dir).await,
            Err(error) => Err(error.into()),
        };
        kept.map_err(|error| partly(error, recorded.places.len(), all))?;
        bar.inc(u64::try_from(batch.len()).unwrap_or(0));
    }
    Ok(recorded)
}

/// The transactions with their answers, in order.
fn commits(
    session: &Session,
    entries: Vec<Entry>,
) -> impl Stream<Item = (Vec<Artifact>, Result<Committed, quorate_client::Error>)> {
    let commit = async |batch: Vec<Entry>| {
        let mut transaction = Transaction::new();
        let mut artifacts = Vec::with_capacity(batch.len());
        for entry in batch {
            let options = PutOptions::new().content_type(Record::CONTENT_TYPE);
            transaction = transaction.put_with(entry.artifact.key(), entry.value, options);
            if let Some(precondition) = entry.precondition {
                transaction = transaction.precondition(precondition);
            }
            artifacts.push(entry.artifact);
        }
        (artifacts, session.ledger.commit(transaction).await)
    };
    futures::stream::iter(batches(entries)).map(commit).buffered(IN_FLIGHT)
}

/// Splits the entries, in their order, by number and bytes.
fn batches(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut batches: Vec<Vec<Entry>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let full = |batch: &Vec<Entry>| batch.len() == BATCH || bytes + entry.value.len() > BATCH_BYTES;
        match batches.last_mut().filter(|batch| !full(batch)) {
            Some(batch) => {
                bytes += entry.value.len();
                batch.push(entry);
            }
            None => {
                bytes = entry.value.len();
                batches.push(vec![entry]);
            }
        }
    }
    batches
}

/// Notes what a transaction wrote, and saves its receipts.
async fn keep(
    recorded: &mut Recorded,
    batch: &[Artifact],
    committed: Committed,
    receipt_dir: Option<&Path>,
) -> Result<(), CliError> {
    for (artifact, revision) in batch.iter().zip(&committed.revisions) {
        recorded.places.insert(artifact.sha256, (committed.index, *revision));
    }
    recorded.transactions += 1;
    recorded.size = recorded.size.max(committed.size);
    let receipt = receipt_dir.and_then(|_| committed.receipt());
    let newer = |old: &Arc<CertifiedCheckpoint>| old.checkpoint().size < committed.size;
    if recorded.checkpoint.as_ref().is_none_or(newer) {
        recorded.checkpoint = committed.checkpoint;
    }
    let (Some(directory), Some(receipt)) = (receipt_dir, receipt) else {
        return Ok(());
    };
    let directory: PathBuf = directory.to_owned();
    let keys: Vec<String> = batch.iter().map(Artifact::key).collect();
    let work = tokio::task::spawn_blocking(move || receipts::save(&directory, &receipt, &keys));
    let saved =
        work.await.map_err(|error| CliError::other(format!("saving receipts stopped: {error}")))??;
    if saved.len() < batch.len() {
        return Err(CliError::other(format!("{} receipts of {} could be made", saved.len(), batch.len())));
    }
    Ok(())
}

fn partly(error: CliError, done: usize, all: usize) -> CliError {
    CliError::Partly {
        done: format!("{} of {} are recorded for certain", text::thousands(done), text::count(all, "artifact")),
        next: "run the same command again once the cause is gone; what is recorded already gets one more record, \
               which does no harm"
            .to_owned(),
        source: Box::new(error),
    }
}

/// The documents of the artifacts, in the order they were named.
pub(super) fn documents(
    all: &[Artifact],
    recorded: &Recorded,
    status: Status,
    signer: &str,
    receipt_dir: Option<&Path>,
) -> Vec<json::Artifact> {
    let document = |artifact: &Artifact| {
        let place = recorded.places.get(&artifact.sha256);
        json::Artifact {
            name: artifact.name.clone(),
            artifact: artifact.kind.word(),
            sha256: artifact.key(),
            status: status.word(),
            claimed_signer: Some(signer.to_owned()).filter(|signer| !signer.is_empty()),
            index: place.map(|(index, _)| index.to_string()),
            revision: place.map(|(_, revision)| revision.to_string()),
            receipt: receipt_dir.map(|directory| receipts::file_of(directory, &artifact.key())),
        }
    };
    all.iter().map(document).collect()
}

#[cfg(test)]
mod tests {
    use crate::artifact::Kind;

    use super::*;

    fn entry(bytes: usize) -> Entry {
        let artifact = Artifact {
            name: String::new(),
            kind: Kind::Hash,
            size: 0,
            sha256: Hash::ZERO,
            metadata: BTreeMap::new(),
        };
        Entry { artifact, value: vec![0; bytes], precondition: None }
    }

    #[test]
    fn batches_are_bounded_by_number_and_by_bytes() {
        let sizes = |entries: Vec<Entry>| batches(entries).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes((0..1_001).map(|_| entry(10)).collect()), [500, 500, 1]);
        assert_eq!(sizes(vec![entry(BATCH_BYTES + 1), entry(1), entry(BATCH_BYTES), entry(1)]), [1, 1, 1, 1]);
        assert_eq!(sizes(vec![entry(BATCH_BYTES / 2), entry(BATCH_BYTES / 2), entry(1)]), [2, 1]);
        assert!(sizes(Vec::new()).is_empty());
    }
}
