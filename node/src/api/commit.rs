//! Commit: one transaction, exactly once.
//!
//! The request is bounded here, completed (author, meta, salts where the client sent none), and sequenced. What became
//! of it is what the block says, on every replica; the answer is made from the state after that block. If the answer
//! is lost, or certification takes longer than the caller waits, the same idempotency key gives it again.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    answer::{Contents, Meta, RevealedOperation, TransactionProof},
    entry::Salt,
    position::{LogIndex, TreeSize},
};
use quorate_ledger::{
    block,
    outcome::{Committed, RequestOutcome},
};
use quorate_proto::v1;

use super::{
    bounds::{CheckedCommit, WriteLimits},
    checkpoint::Wanted,
    errors::{Problem, Reason},
    interface::{Api, Deadline, check_size},
    proofs::{self, Prover, Shown, misplaced},
};
use crate::{
    signer::Need,
    store::{
        faults::StoreFault,
        state::{LedgerView, StoredContent},
    },
};

/// Who asks: there is no authentication yet.
pub(crate) const AUTHOR: &str = "anonymous";

/// What the answer needs of a request that is on its way.
struct Sent {
    meta: Meta,
    /// The salts drawn here, by operation; `None` where the client sent one or there is none.
    drawn: Vec<Option<Salt>>,
}

impl Api {
    /// Appends one transaction.
    pub(super) async fn answer_commit(
        &self,
        request: v1::CommitRequest,
        deadline: Deadline,
    ) -> Result<v1::CommitResponse, Problem> {
        let limits = WriteLimits { value_len: self.view().cluster().settings.max_value_len };
        let mut checked = CheckedCommit::new(request, limits)?;
        self.check_cosigners(&checked.need, "min_cosigners")?;
        if checked.trusted > TreeSize::ZERO {
            self.find(&checked.ledger, |ledger| check_size(ledger, checked.trusted, "trusted_size")).await?;
        }
        self.check_space()?;
        let drawn = draw_missing(&mut checked.writes)?;
        let wanted = Wanted { trusted: checked.trusted, need: checked.need };
        let (request, meta) = completed(
            checked.ledger.as_str(),
            (checked.idempotency_key, checked.not_after),
            checked.writes,
            checked.preconditions,
        )?;
        let sent = Sent { meta, drawn };
        if checked.certified {
            self.backend().hurry();
        }
        let outcome = self.backend().submit(request, deadline.remaining()).await?;
        let view = self.view();
        let ledger = view.ledger(&checked.ledger).cloned();
        let ledger = || {
            ledger.ok_or_else(|| misplaced(LogIndex::default(), "a ledger that was written to is missing"))
        };
        let (ledger, transaction, size, known) = match outcome {
            RequestOutcome::Rejected(rejection) => return Err(rejection.into()),
            RequestOutcome::Committed(committed) => {
                let size = committed.size;
                (ledger()?, fresh(committed, sent)?, size, false)
            }
            RequestOutcome::Known { index } => {
                let ledger = ledger()?;
                let (transaction, size) = known(&ledger, index, &sent)?;
                (ledger, transaction, size, true)
            }
        };
        if !checked.certified {
            let transaction = Some(transaction.into());
            return Ok(v1::CommitResponse { transaction, checkpoint: None, known });
        }
        self.certify(&ledger, transaction, size, wanted, &deadline, known).await
    }

    /// Waits until the first checkpoint that covers the transaction, or a newer one, is certified.
    async fn certify(
        &self,
        ledger: &Arc<LedgerView>,
        mut transaction: TransactionProof,
        covering: TreeSize,
        wanted: Wanted,
        deadline: &Deadline,
        known: bool,
    ) -> Result<v1::CommitResponse, Problem> {
        let index = transaction.index;
        let checkpoint = async {
            let (ledger, size) = self.covering(ledger, covering, wanted.need, deadline).await?;
            transaction.path = proofs::path(&ledger, index, size)?;
            self.checkpoint_proof(&ledger, size, wanted, deadline).await
        };
        let checkpoint = checkpoint.await.map_err(|problem| match problem {
            Problem::Refused(status) => {
                let text = status.message();
                let advice = "ask again with the same idempotency key";
                Reason::NotCertified
                    .refuse(format!("committed at log index {index}, but {text}; {advice}"))
                    .into()
            }
            fault @ Problem::Fault(_) => fault,
        })?;
        Ok(v1::CommitResponse {
            transaction: Some(transaction.into()),
            checkpoint: Some(checkpoint.into()),
            known,
        })
    }
}

impl Api {
    /// The size under which a transaction is proven that `covering` is the first to cover, and a view that has it.
    async fn covering(
        &self,
        ledger: &Arc<LedgerView>,
        covering: TreeSize,
        need: Need,
        deadline: &Deadline,
    ) -> Result<(Arc<LedgerView>, TreeSize), Problem> {
        if need.looks_outside() {
            let reached =
                self.backend().reach(Arc::clone(ledger), covering, need, deadline.patience()).await?;
            return Ok((reached.view, reached.size));
        }
        let certified = self.backend().certified_size(&ledger.head().name);
        let size = if certified > covering && certified <= ledger.size() { certified } else { covering };
        Ok((Arc::clone(ledger), size))
    }
}

/// A request for the sequencer, with author and meta: the idempotency key and until when it is valid are `once`.
pub(super) fn completed(
    ledger: &str,
    once: (Bytes, u64),
    writes: Vec<block::Write>,
    preconditions: Vec<block::Precondition>,
) -> Result<(block::Request, Meta), Problem> {
    let (idempotency_key, not_after) = once;
    let meta =
        Meta { salt: draw()?, bytes: v1::TransactionMeta { author: AUTHOR.to_owned() }.encode_to_vec() };
    let request = block::Request {
        ledger: ledger.to_owned(),
        author: AUTHOR.to_owned(),
        idempotency_key,
        not_after,
        meta: meta.bytes.clone().into(),
        meta_salt: Bytes::copy_from_slice(&meta.salt),
        preconditions,
        writes,
    };
    Ok((request, meta))
}

/// 16 random bytes.
pub(super) fn draw() -> Result<Salt, Problem> {
    let mut salt = Salt::default();
    getrandom::fill(&mut salt).map_err(|error| StoreFault::io("the system's random numbers", error))?;
    Ok(salt)
}

/// Draws a salt for each put that came without one.
fn draw_missing(writes: &mut [block::Write]) -> Result<Vec<Option<Salt>>, Problem> {
    let draw_one = |write: &mut block::Write| {
        let Some(put) = write.put.as_mut().filter(|put| put.salt.is_empty()) else {
            return Ok(None);
        };
        let salt = draw()?;
        put.salt = Bytes::copy_from_slice(&salt);
        Ok(Some(salt))
    };
    writes.iter_mut().map(draw_one).collect()
}

/// The transaction of a request that was just committed.
fn fresh(committed: Committed, sent: Sent) -> Result<TransactionProof, Problem> {
    let Committed { index, leaf, operations, .. } = committed;
    let revealed = operations.into_iter().zip(sent.drawn).zip(0_u32..);
    let operations = revealed.map(|((operation, salt), position)| RevealedOperation {
        operation: operation.to_vec(),
        position,
        path: Vec::new(),
        contents: salt.map(only_salt),
    });
    let operations = operations.collect();
    Ok(TransactionProof { index, leaf, path: Vec::new(), operations, meta: Some(sent.meta) })
}

/// The transaction that answered the request the first time, and the size of the first checkpoint that covers it.
fn known(
    ledger: &Arc<LedgerView>,
    index: LogIndex,
    sent: &Sent,
) -> Result<(TransactionProof, TreeSize), Problem> {
    let gone = || misplaced(index, "the transaction of a known request has to be here");
    let mut transaction =
        Prover::new(Arc::clone(ledger), None).transaction(index, Shown::All)?.ok_or_else(gone)?;
    transaction.meta = proofs::meta(ledger, index)?;
    for (shown, drawn) in transaction.operations.iter_mut().zip(&sent.drawn) {
        let position = u16::try_from(shown.position).map_err(|error| misplaced(index, error))?;
        if drawn.is_some()
            && let StoredContent::Present(content) = ledger.content(index, position)?
        {
            shown.contents = Some(only_salt(proofs::contents(content, index)?.salt));
        }
    }
    let size = ledger.checkpoint_with(index)?.ok_or_else(gone)?;
    Ok((transaction, size))
}

/// The one part of the contents that the client does not have: a salt that was drawn here.
fn only_salt(salt: Salt) -> Contents {
    Contents { salt, ..Contents::default() }
}
