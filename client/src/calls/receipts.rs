//! Single transactions, and receipts: files that prove by themselves.

use std::time::Duration;

use quorate_core::answer::{Proven, Reading, TransactionProof};
use quorate_core::position::LogIndex;
use quorate_core::receipt::Receipt;
use quorate_proto::v1;

use crate::error::{Distrust, Error};
use crate::leader::Route;
use crate::ledger::{Accepted, Ledger};
use crate::options::ReadOptions;
use crate::values::{TransactionId, TransactionRecord};
use crate::verify;

impl Ledger {
    /// A transaction, by log index or by the request that asked for it, with what its puts wrote.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the replica says there is none: the leaf may be that of a commit, or the request no
    /// longer known.
    pub async fn transaction(&self, id: impl Into<TransactionId>) -> Result<TransactionRecord, Error> {
        let id = id.into();
        let (_, proven, proof) = self.proven_transaction(&id, true, None).await?;
        let included = proven.transaction(proof.index);
        included.map(|included| TransactionRecord::of(&proven, included)).map_err(|error| {
            // The same index was found in it a moment ago, by the function that proved it.
            Error::untrusted(&"the answer".into(), error)
        })
    }

    /// A receipt of the transaction at a log index, self-contained, values included. What was erased since is not in
    /// it.
    ///
    /// # Errors
    /// As [`Ledger::transaction`].
    pub async fn receipt_for(&self, index: LogIndex) -> Result<Receipt, Error> {
        let (accepted, _, proof) = self.proven_transaction(&TransactionId::Index(index), true, None).await?;
        Ok(Receipt::of_transaction(accepted.ground.certified.note().clone(), &proof))
    }

    /// A receipt of what a key holds now: of its value, or that it has none.
    ///
    /// # Errors
    /// [`Error`]; [`Error::InvalidArgument`] if the value was erased, of which no such receipt can be made.
    pub async fn state_receipt(&self, key: impl AsRef<[u8]>) -> Result<Receipt, Error> {
        let proven = self.proven_get(key.as_ref(), ReadOptions::new()).await?;
        let values = match proven.reading {
            Reading::Value(value) => vec![(value.write().operation().encode(), value.into_contents())],
            Reading::Absent(_) => Vec::new(),
            Reading::Erased(erased) => {
                let message = format!(
                    "its value was erased by transaction {}; that transaction's receipt shows it",
                    erased.at()
                );
                return Err(Error::invalid("key", message));
            }
        };
        let ground = proven.accepted.ground;
        let note = ground.certified.note().clone();
        Receipt::of_state(note, ground.commit, proven.state_proof, values)
            .map_err(|error| Error::untrusted(&"the answer".into(), Distrust::Receipt(error)))
    }

    /// A verified transaction with its proof.
    pub(super) async fn proven_transaction(
        &self,
        id: &TransactionId,
        contents: bool,
        timeout: Option<Duration>,
    ) -> Result<(Accepted, Proven, TransactionProof), Error> {
        use v1::get_transaction_request::Which;
        let mut session = self.begin(timeout).await?;
        let which = match id {
            TransactionId::Index(index) => Which::Index(index.get()),
            TransactionId::Request { author, idempotency_key } => Which::Request(v1::RequestName {
                author: author.clone().unwrap_or_default(),
                idempotency_key: idempotency_key.clone().into(),
            }),
        };
        let request = v1::GetTransactionRequest {
            ledger: session.state.name(),
            which: Some(which),
            options: Some(session.read_options(ReadOptions::new())),
            contents,
        };
        let answered = session.state.fleet.call(&request, session.plan(Route::Any)).await?;
        let (replica, response) = (answered.replica, answered.response);
        let accepted = self.accept(&mut session, &replica, response.checkpoint, None).await?;
        let transaction = response.transaction.ok_or(Distrust::Missing { part: "the transaction" });
        let transaction = session.believe(&replica, transaction)?;
        let caller = session.state.settings.author.as_deref();
        let proven = verify::get_transaction(&accepted.ground, id, caller, transaction);
        let (proven, proof) = session.believe(&replica, proven)?;
        session.finish(&accepted).await?;
        Ok((accepted, proven, proof))
    }
}
