//! Writing.

use std::sync::Arc;
use std::time::Duration;

use quorate_core::answer::{AnswerError, SentRequest, TransactionProof};
use quorate_core::entry::Salt;
use quorate_core::position::{LogIndex, Micros, TreeSize};
use quorate_proto::v1;

use crate::clock;
use crate::error::{Distrust, Error};
use crate::leader::Route;
use crate::ledger::{Accepted, Ledger, Session};
use crate::options::CheckpointOptions;
use crate::retry::Answered;
use crate::transaction::{Transaction, Wait, encoded_attributes, sent_operations};
use crate::transport::Grouped;
use crate::values::{Committed, TransactionId};
use crate::verify::{self, Rebuilt};

/// The shortest time that a request is known for unless the caller says otherwise: long enough for a person to try
/// again by hand.
const MIN_KNOWN: Duration = Duration::from_secs(60);
/// The longest: what the default settings of a cluster allow, less a minute for clocks that differ.
const MAX_KNOWN: Duration = Duration::from_secs(14 * 60);

/// What was sent, in the form it is compared in.
struct Sent<'a> {
    transaction: &'a Transaction,
    attributes: Vec<Vec<u8>>,
    idempotency_key: Vec<u8>,
    not_after: Micros,
}

impl Ledger {
    /// Commits a transaction, exactly once however often it has to be sent.
    ///
    /// The answer is verified: the leaf is rebuilt from what was sent and proven to be in the log, under a checkpoint
    /// that the policy accepts. With [`Wait::Committed`] nothing is proven yet.
    ///
    /// Small commits that are under way at the same time share a stream and its messages
    /// ([`ClientBuilder::single_commits`](crate::ClientBuilder::single_commits) has each sent as a call of its own). They stay
    /// separate transactions, with receipts and outcomes of their own, and none waits for another to come; a future that
    /// is dropped takes nothing from the others.
    ///
    /// # Errors
    /// [`Error::Rejected`]: nothing was written. [`Error::Unavailable`]: says whether something may have been; committing
    /// the same [`Transaction`] again is only safe if it names its idempotency key.
    /// [`Error::IdempotencyKeyReused`], [`Error::Untrusted`].
    pub async fn commit(&self, transaction: Transaction) -> Result<Committed, Error> {
        let mut transaction = transaction;
        let idempotency_key = transaction.prepare()?;
        let mut session = self.begin_write(&transaction).await?;
        let timeout = transaction.timeout.unwrap_or(session.state.settings.timeout);
        let known_for = timeout.saturating_mul(2).clamp(MIN_KNOWN, MAX_KNOWN);
        let sent = Sent {
            attributes: encoded_attributes(&transaction.writes),
            not_after: transaction.not_after.unwrap_or_else(|| clock::from_now(known_for)),
            transaction: &transaction,
            idempotency_key,
        };
        let request = sent.to_wire(&session);
        let (fleet, plan) = (&session.state.fleet, session.plan(Route::Leader));
        let answered = match session.state.settings.groups_commits {
            true => fleet.call(&Grouped(request), plan).await?,
            false => fleet.call(&request, plan).await?,
        };
        self.verify_commit(&mut session, &sent, answered).await
    }

    /// Begins a write. Where nothing is believed yet, a checkpoint is asked for first: a policy that this cluster does
    /// not meet is found out before anything is written, not by the answer.
    async fn begin_write(&self, transaction: &Transaction) -> Result<Session, Error> {
        let session = self.begin(transaction.timeout).await?;
        if transaction.wait == Wait::Committed || session.trusted_size().is_some() {
            return Ok(session);
        }
        let deadline = session.deadline;
        let (first, accepted) = self.accepted_checkpoint_by(session, CheckpointOptions::latest()).await?;
        first.finish(&accepted).await?;
        let mut session = self.begin(transaction.timeout).await?;
        session.deadline = deadline;
        Ok(session)
    }

    async fn verify_commit(
        &self,
        session: &mut Session,
        sent: &Sent<'_>,
        answered: Answered<v1::CommitResponse>,
    ) -> Result<Committed, Error> {
        let Answered { response, replica } = answered;
        let accepted = match sent.transaction.wait {
            Wait::Certified => Some(
                self.accept(session, &replica, response.checkpoint, sent.transaction.min_cosigners).await?,
            ),
            Wait::Committed => None,
        };
        let proof = session.believe(&replica, transaction_proof(response.transaction))?;
        let author = session.state.settings.author.as_deref();
        let rebuilt = match verify::rebuild(&sent.request(author, response.known, &[]), &proof) {
            Err(Distrust::Answer(AnswerError::KeyReused { index })) => {
                if let Some(accepted) = &accepted {
                    let in_log = verify::prove_leaf(&proof, &accepted.ground.certified);
                    session.believe(&replica, in_log)?;
                }
                let salts = self.salts_of_same_request(sent, index).await?;
                verify::rebuild(&sent.request(author, response.known, &salts), &proof)
            }
            rebuilt => rebuilt,
        };
        let rebuilt = session.believe(&replica, rebuilt)?;
        let committed = committed(rebuilt, accepted.as_ref(), response.known);
        let committed = session.believe(&replica, committed.map_err(Distrust::from))?;
        if let Some(accepted) = &accepted {
            session.finish(accepted).await?;
        }
        Ok(committed)
    }

    /// The key was used before, under other salts: by the same request, made by somebody who did not keep them, or by
    /// another. Gives the salts of the first time, if it is the same.
    async fn salts_of_same_request(
        &self,
        sent: &Sent<'_>,
        index: LogIndex,
    ) -> Result<Vec<Option<Salt>>, Error> {
        let (_, proven, _) = self.proven_transaction(&TransactionId::Index(index), true, None).await?;
        let reused = Error::IdempotencyKeyReused { index };
        let Ok(included) = proven.transaction(index) else {
            return Err(reused);
        };
        let contents =
            verify::same_request_as(&sent.request(None, true, &[]).operations, included).ok_or(reused)?;
        Ok(contents.into_iter().map(|contents| contents.map(|contents| contents.salt)).collect())
    }
}

impl Sent<'_> {
    fn to_wire(&self, session: &Session) -> v1::CommitRequest {
        let transaction = self.transaction;
        let wait = match transaction.wait {
            Wait::Certified => v1::Wait::Certified,
            Wait::Committed => v1::Wait::Committed,
        };
        let (witnesses, min_witnesses) = session.state.outside();
        v1::CommitRequest {
            ledger: session.state.name(),
            idempotency_key: self.idempotency_key.clone().into(),
            not_after: self.not_after.get(),
            writes: transaction.writes_to_wire(),
            preconditions: transaction.preconditions_to_wire(),
            wait: wait.into(),
            trusted_size: session.trusted_size().map_or(0, TreeSize::get),
            min_cosigners: session.state.min_cosigners(transaction.min_cosigners),
            witnesses,
            min_witnesses,
        }
    }

    /// The request to rebuild the leaf from; `salts` take the place of the ones that were sent. The leaf of a request
    /// that was known already has the time limit that was sent the first time.
    fn request<'a>(
        &'a self,
        author: Option<&'a str>,
        known: bool,
        salts: &[Option<Salt>],
    ) -> SentRequest<'a> {
        SentRequest {
            author,
            idempotency_key: &self.idempotency_key,
            not_after: (!known).then_some(self.not_after),
            operations: sent_operations(&self.transaction.writes, &self.attributes, salts),
        }
    }
}

fn transaction_proof(transaction: Option<v1::Transaction>) -> Result<TransactionProof, Distrust> {
    let transaction = transaction.ok_or(Distrust::Missing { part: "the transaction" })?;
    Ok(TransactionProof::try_from(transaction).map_err(|error| error.within("transaction"))?)
}

/// What the caller gets: proven if there is a checkpoint.
fn committed(rebuilt: Rebuilt, accepted: Option<&Accepted>, known: bool) -> Result<Committed, AnswerError> {
    let transaction = &rebuilt.transaction;
    let index = transaction.index();
    let least = index.size_through().unwrap_or_default();
    let mut committed = Committed {
        index,
        size: least,
        time: transaction.leaf().time,
        revisions: transaction.operations().iter().map(|operation| operation.revision).collect(),
        checkpoint: None,
        known,
        proof: None,
    };
    if let Some(accepted) = accepted {
        let certified = &accepted.ground.certified;
        rebuilt.certify(certified)?;
        committed.size = certified.checkpoint().size;
        committed.checkpoint = Some(Arc::clone(certified));
        committed.proof = Some(Arc::new(rebuilt));
    }
    Ok(committed)
}
