//! Transactions as they are in the log: one by index or request, or all of them as a stream.

use std::{sync::Arc, time::Duration};

use futures::stream::{self, BoxStream, StreamExt};
use prost::Message;
use quorate_core::{
    answer::TransactionProof,
    entry::OpKind,
    position::{LogIndex, TreeSize},
};
use quorate_proto::{convert::EntryParts, v1};
use tonic::Status;

use super::{
    bounds::{self, Options, Which},
    checkpoint::Wanted,
    commit::AUTHOR,
    errors::{Problem, Reason},
    interface::{Api, Deadline, blocking, check_index},
    proofs::{self, Prover, Shown},
};
use crate::store::state::{LedgerView, LogRecord, StoredContent, StoredMeta};

/// Bytes after which a message of the stream ends.
const CHUNK_BYTES: usize = 1 << 20;

/// Leaves in a message of the stream, at most.
const CHUNK_LEAVES: usize = 4_096;

/// A stream of the log.
pub(crate) type Entries = BoxStream<'static, Result<v1::ListTransactionsResponse, Status>>;

impl Api {
    /// One transaction.
    pub(super) async fn get_transaction(
        &self,
        request: v1::GetTransactionRequest,
        deadline: Deadline,
    ) -> Result<v1::GetTransactionResponse, Problem> {
        let name = bounds::ledger(&request.ledger)?;
        let which = bounds::which(&request, AUTHOR)?;
        // `at` has no meaning here.
        let options = Options { at: None, ..Options::new(request.options.as_ref())? };
        let ledger = self.open(&name, &options).await?;
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
    pub(super) async fn list_transactions(
        &self,
        request: v1::ListTransactionsRequest,
        _deadline: Deadline,
    ) -> Result<Entries, Problem> {
        let (name, from, end) = bounds::list_range(&request)?;
        let ledger = self.find(&name, |ledger| check_range(ledger, from, end)).await?;
        let end = match end {
            Some(end) => end,
            None => self.backend().certified_size(&name).min(ledger.size()),
        };
        let permit = Arc::clone(&self.0.streams).try_acquire_owned().map_err(|_| {
            Reason::TooManyCalls.refuse("too many streams are being served: try again later, or ask another replica")
        })?;
        let (api, contents) = (self.clone(), request.contents);
        let chunks = stream::try_unfold(from, move |next| {
            let (api, view) = (api.clone(), Arc::clone(&ledger));
            async move {
                if next.get() >= end.get() {
                    return Ok(None);
                }
                let chunk = blocking(move || chunk(&view, next, end, contents)).await;
                let (entries, next) = chunk.map_err(|problem| api.refusal(problem))?;
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

    /// That a leaf is in the log.
    pub(super) async fn inclusion_proof(
        &self,
        request: v1::InclusionProofRequest,
        _deadline: Deadline,
    ) -> Result<v1::InclusionProofResponse, Problem> {
        let name = bounds::ledger(&request.ledger)?;
        let index = LogIndex::new(request.index);
        let asked = TreeSize::new(request.size);
        let ledger = self.find(&name, |ledger| check_size(ledger, asked, "size")).await?;
        let size = self.or_certified(&ledger, asked).await?;
        if !size.contains(index) {
            let problem = format_args!("log index {index} is not in the tree of size {size}");
            return Err(Reason::IndexBeyondEnd.of("index", problem).into());
        }
        let proof = proofs::leaf(&ledger, index, size)?;
        Ok(quorate_proto::convert::LeafAt { index, size, proof }.into())
    }

    /// That one size of the log is a prefix of another.
    pub(super) async fn consistency_proof(
        &self,
        request: v1::ConsistencyProofRequest,
        _deadline: Deadline,
    ) -> Result<v1::ConsistencyProofResponse, Problem> {
        let name = bounds::ledger(&request.ledger)?;
        let (old, asked) = (TreeSize::new(request.old_size), TreeSize::new(request.new_size));
        if old == TreeSize::ZERO {
            let problem = "0: every tree continues the empty one; the smaller size is at least 1";
            return Err(Reason::SizesOutOfOrder.of("old_size", problem).into());
        }
        let ledger = self
            .find(&name, |ledger| {
                check_size(ledger, old, "old_size")?;
                check_size(ledger, asked, "new_size")
            })
            .await?;
        let new = self.or_certified(&ledger, asked).await?;
        if old > new {
            let problem = format_args!("{old} is larger than the new size, {new}");
            return Err(Reason::SizesOutOfOrder.of("old_size", problem).into());
        }
        let path = super::checkpoint::consistency_between(&ledger, old, new)?;
        let path = quorate_proto::convert::path_to_wire(&path);
        Ok(v1::ConsistencyProofResponse { old_size: old.get(), new_size: new.get(), path })
    }

    /// The size asked for, or the latest certified one where none was.
    async fn or_certified(&self, ledger: &LedgerView, asked: TreeSize) -> Result<TreeSize, Problem> {
        if asked > TreeSize::ZERO {
            return Ok(asked);
        }
        let certified = self.backend().certified_size(&ledger.head().name).min(ledger.size());
        if certified > TreeSize::ZERO {
            return Ok(certified);
        }
        let problem = "no checkpoint of this ledger is certified yet: try again in a moment";
        Err(Reason::NotCertified.of("ledger", problem).into())
    }

    /// The cosigned checkpoint of a ledger.
    pub(super) async fn get_checkpoint(
        &self,
        request: v1::GetCheckpointRequest,
        deadline: Deadline,
    ) -> Result<v1::GetCheckpointResponse, Problem> {
        let name = bounds::ledger(&request.ledger)?;
        let patience = bounds::wait(request.wait_ms)?.min(deadline.patience());
        let until = Deadline::after(&self.parts().clock, patience);
        let cosigners = usize::try_from(request.min_cosigners).unwrap_or(usize::MAX);
        self.check_cosigners(cosigners, "min_cosigners")?;
        let (asked, trusted) = (TreeSize::new(request.size), TreeSize::new(request.trusted_size));
        let enough = |ledger: &LedgerView| check_size(ledger, asked, "size");
        let mut found = self.find(&name, enough).await;
        while found.is_err() && until.remaining() > Duration::ZERO && self.view().ledger(&name).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            found = self.find(&name, enough).await;
        }
        let ledger = found?;
        super::interface::check_trusted(&ledger, trusted, "trusted_size")?;
        let certified = self.backend().certified_size(&name).min(ledger.size());
        let size = match (asked, certified) {
            (TreeSize::ZERO, TreeSize::ZERO) => ledger.size(),
            (TreeSize::ZERO, certified) => certified,
            (asked, _) => asked,
        };
        check_checkpoint(&ledger, size)?;
        let checkpoint = self.checkpoint(&ledger, size, Wanted { trusted, cosigners }, &until).await?;
        Ok(v1::GetCheckpointResponse { checkpoint: Some(checkpoint.into()) })
    }
}
