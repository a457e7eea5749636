//! Transactions as they are in the log: one by index or request, or all of them as a stream.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use prost::Message;
use quorate_core::{
    answer::TransactionProof,
    entry::Operation,
    position::{LogIndex, TreeSize},
};
use quorate_proto::{convert::EntryParts, v1};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::{
    bounds::{self, Options, Which},
    commit::AUTHOR,
    errors::{Problem, Reason},
    interface::{Api, Deadline, blocking, check_index, check_size},
    proofs::{self, Prover, Shown},
};
use crate::store::state::{LedgerView, LogRecord, StoredContent};

/// Bytes after which a message of the stream ends.
const CHUNK_BYTES: usize = 1 << 20;

/// Leaves in a message of the stream, at most.
const CHUNK_LEAVES: usize = 4_096;

/// A stream of the log.
pub(crate) type Entries = BoxStream<'static, Result<v1::ListTransactionsResponse, Status>>;

impl Api {
    /// One transaction.
    pub(super) async fn answer_get_transaction(
        &self,
        request: v1::GetTransactionRequest,
        deadline: Deadline,
    ) -> Result<v1::GetTransactionResponse, Problem> {
        let name = bounds::ledger(&request.ledger)?;
        let which = bounds::which(&request, AUTHOR)?;
        // `at` has no meaning here.
        let options = Options { at: None, ..Options::new(request.options.as_ref())? };
        let ledger = self.open(&name, &options, &deadline).await?;
        let index = match which {
            Which::Index(index) => {
                check_index(&ledger, Some(index), "index")?;
                index
            }
            Which::Request(id) => match ledger.request(&id)? {
                Some(known) => known.index,
                None => {
                    let problem = format_args!("ledger {name} has no transaction of this request");
                    return Err(Reason::UnknownRequest.of("request", problem).into());
                }
            },
        };
        let view = Arc::clone(&ledger);
        let size = options.prove.then(|| ledger.size());
        let transaction = blocking(move || whole(&view, index, size, request.contents)).await?;
        Ok(v1::GetTransactionResponse {
            checkpoint: self.checkpoint_of(&ledger, &options, &deadline).await?,
            transaction: Some(transaction.into()),
        })
    }

    /// The log itself, from an index on. Nothing is read that the caller has not room for.
    pub(super) async fn answer_list_transactions(
        &self,
        request: v1::ListTransactionsRequest,
    ) -> Result<Entries, Problem> {
        let (name, from, end) = bounds::list_range(&request)?;
        let ledger = self.find(&name, |ledger| check_range(ledger, from, end)).await?;
        let end = match end {
            Some(end) => end,
            None => self.backend().certified_size(&name).min(ledger.size()),
        };
        let permit = self.stream_permit()?;
        let (api, contents) = (self.clone(), Contents::new(request.contents, Bytes::new()));
        // What was in the log then is in every later view: an old one would keep what was replaced since.
        drop(ledger);
        let chunks = stream::try_unfold(from, move |next| {
            let (api, name, contents) = (api.clone(), name.clone(), contents.clone());
            async move {
                if next.get() >= end.get() {
                    return Ok(None);
                }
                let with_contents = contents != Contents::None;
                let chunk = match api.find(&name, |_| Ok(())).await {
                    Ok(view) => blocking(move || chunk(&view, next, end, &contents)).await,
                    Err(problem) => Err(problem),
                };
                let Chunk { entries, next, bytes } = chunk.map_err(|problem| api.refusal(problem))?;
                if with_contents {
                    tokio::time::sleep(api.charge_for_log(bytes)).await;
                }
                Ok(Some((v1::ListTransactionsResponse { entries }, next)))
            }
        });
        // The permit lives as long as the stream.
        Ok(chunks
            .map(move |chunk| {
                let _held = &permit;
                chunk
            })
            .boxed())
    }

    /// How long whoever has read so many bytes of the log has to wait for them.
    pub(super) fn charge_for_log(&self, bytes: usize) -> Duration {
        let mut pace = self.0.log_pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.charge(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// The right to serve a stream for as long as it is held.
    pub(super) fn stream_permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.0.streams).try_acquire_owned().map_err(|_| {
            Reason::TooManyCalls
                .refuse("too many streams are being served: try again later, or ask another replica")
        })
    }
}

/// Of which transactions the contents come along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Of none.
    None,
    /// Of those with an operation on a key that starts so; all do if this is empty.
    Under(Bytes),
}

impl Contents {
    /// As the fields of a request say.
    pub(crate) fn new(wanted: bool, prefix: Bytes) -> Self {
        if wanted { Self::Under(prefix) } else { Self::None }
    }

    fn are_of(&self, operations: &[Vec<u8>]) -> bool {
        match self {
            Self::None => false,
            Self::Under(prefix) => operations.iter().any(|operation| {
                operation.get(Operation::FIXED_LEN..).is_some_and(|key| key.starts_with(prefix))
            }),
        }
    }
}

/// The whole transaction at an index, with its meta; `contents`: with what its puts wrote.
fn whole(
    ledger: &Arc<LedgerView>,
    index: LogIndex,
    size: Option<TreeSize>,
    contents: bool,
) -> Result<TransactionProof, Problem> {
    let found = Prover::new(Arc::clone(ledger), size).transaction(index, Shown::All)?;
    let mut transaction = found.ok_or_else(|| {
        let problem =
            format_args!("the leaf at log index {index} is that of a checkpoint, not of a transaction");
        Problem::from(Reason::NotATransaction.of("index", problem))
    })?;
    transaction.meta = proofs::meta(ledger, index)?;
    if contents && let Some(stored) = ledger.contents(index)? {
        for (shown, held) in transaction.operations.iter_mut().zip(stored.operations) {
            if let StoredContent::Present(content) = held {
                shown.contents = Some(proofs::contents(content, index)?);
            }
        }
    }
    Ok(transaction)
}

fn check_range(ledger: &LedgerView, from: LogIndex, end: Option<TreeSize>) -> Result<(), Status> {
    let size = ledger.size();
    if from > size.next_index() {
        let problem = format_args!("log index {from} is beyond the end: the ledger has size {size}");
        return Err(Reason::IndexBeyondEnd.of("from", problem));
    }
    check_size(ledger, end.unwrap_or(TreeSize::ZERO), "to")
}

/// A part of the log.
pub(super) struct Chunk {
    pub(super) entries: Vec<v1::LogEntry>,
    /// Where it goes on.
    pub(super) next: LogIndex,
    /// Encoded bytes of the entries.
    pub(super) bytes: usize,
}

/// The next entries of a stream.
pub(super) fn chunk(
    ledger: &LedgerView,
    from: LogIndex,
    end: TreeSize,
    contents: &Contents,
) -> Result<Chunk, Problem> {
    let (mut entries, mut bytes, mut next) = (Vec::new(), 0_usize, from);
    for record in ledger.records(from)? {
        if !end.contains(next) || bytes >= CHUNK_BYTES || entries.len() >= CHUNK_LEAVES {
            break;
        }
        let record = record?;
        next = record.index.next().unwrap_or(record.index);
        let entry = v1::LogEntry::from(entry(ledger, record, contents)?);
        bytes = bytes.saturating_add(entry.encoded_len());
        entries.push(entry);
    }
    Ok(Chunk { entries, next, bytes })
}

fn entry(ledger: &LedgerView, record: LogRecord, contents: &Contents) -> Result<EntryParts, Problem> {
    let LogRecord { index, leaf, operations } = record;
    let mut entry = EntryParts { index, leaf, operations, ..EntryParts::default() };
    if !contents.are_of(&entry.operations) {
        return Ok(entry);
    }
    let Some(stored) = ledger.contents(index)? else {
        return Ok(entry);
    };
    entry.meta = proofs::shown_meta(stored.meta, index)?;
    let held = stored.operations.into_iter().map(|held| match held {
        StoredContent::Present(content) => proofs::contents(content, index).map(Some),
        StoredContent::Nothing | StoredContent::Erased { .. } => Ok(None),
    });
    entry.contents = held.collect::<Result<_, _>>()?;
    Ok(entry)
}
