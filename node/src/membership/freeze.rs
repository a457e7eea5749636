//! Ledgers that take no transactions, as operators ask for it.
//!
//! Contract: as for the members ([`office`](super::office)). The document is judged on a state that has everything agreed on
//! before, and becomes one transaction that is conditional on the document it replaces. Asking for what is so already is no
//! error and writes nothing; of two operators who decide differently on the same picture one is refused. It does not look
//! at the disk: freezing is what one does when that is full.

use prost::Message;
use quorate_core::{
    name::LedgerName,
    position::{Revision, TreeSize},
};
use quorate_ledger::{
    block::Condition,
    outcome::{Rejection, RequestOutcome},
    system::{FreezeRecord, FreezeState, MAX_FREEZE_REASON, frozen_key},
};

use super::{Office, documents, refusal::Refusal};
use crate::store::{faults::StoreFault, state::Freeze};

/// What an operator asks for.
#[derive(Debug, Clone, Copy)]
pub struct Freezing<'a> {
    /// The ledger.
    pub ledger: &'a LedgerName,
    /// Whether it is to take transactions or none.
    pub state: FreezeState,
    /// Why.
    pub reason: &'a str,
    /// Refuse unless the ledger's newest document has this revision (0: it was never frozen).
    pub expected: Option<u64>,
}

/// What a ledger is now.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// Its newest document; `None`: it was never frozen.
    pub freeze: Option<Freeze>,
    /// Its size. A frozen ledger does not grow.
    pub size: TreeSize,
}

impl Frozen {
    fn is_frozen(&self) -> bool {
        self.freeze.as_ref().is_some_and(|freeze| freeze.record.is_frozen())
    }

    fn revision(&self) -> u64 {
        self.freeze.as_ref().map_or(0, |freeze| Revision::get(freeze.revision))
    }
}

impl Office {
    /// Freezes or thaws a ledger.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn freeze(&self, asked: Freezing<'_>) -> Result<Frozen, Refusal> {
        let Freezing { ledger, state, reason, expected } = asked;
        if ledger.is_system() {
            return Err(Refusal::NotFreezable(ledger.clone()));
        }
        if reason.len() > MAX_FREEZE_REASON {
            return Err(Refusal::ReasonTooLong { bytes: reason.len(), most: MAX_FREEZE_REASON });
        }
        let _one_at_a_time = self.alone().await;
        self.lead().await?;
        let before = self.frozen(ledger)?.ok_or_else(|| Refusal::UnknownLedger(ledger.clone()))?;
        let found = before.revision();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(Refusal::Freeze { ledger: ledger.clone(), expected, found });
        }
        let wanted = state == FreezeState::Frozen;
        if before.is_frozen() == wanted {
            return Ok(before);
        }
        let record = FreezeRecord::new(ledger, state, reason);
        let unchanged = vec![(frozen_key(ledger), Condition::RevisionEquals(found))];
        let written = vec![(frozen_key(ledger), record.encode_to_vec())];
        let outcome = self.submit(written, unchanged).await?;
        let after = self.frozen(ledger)?.ok_or_else(|| Refusal::UnknownLedger(ledger.clone()))?;
        match outcome {
            RequestOutcome::Committed(_) | RequestOutcome::Known { .. } => Ok(after),
            // Somebody was faster, and wanted the same.
            RequestOutcome::Rejected(Rejection::Precondition { .. }) if after.is_frozen() == wanted => {
                Ok(after)
            }
            RequestOutcome::Rejected(Rejection::Precondition { .. }) => {
                Err(Refusal::Freeze { ledger: ledger.clone(), expected: found, found: after.revision() })
            }
            RequestOutcome::Rejected(rejection) => Err(Refusal::Rules(rejection.to_string())),
        }
    }

    /// What a ledger is as of the last applied block; `None` where there is none of this name.
    fn frozen(&self, ledger: &LedgerName) -> Result<Option<Frozen>, StoreFault> {
        let view = self.parts().state.view();
        let Some(head) = view.ledger(ledger) else {
            return Ok(None);
        };
        Ok(Some(Frozen { freeze: view.freeze(ledger)?, size: head.size() }))
    }

    /// Agrees on documents, if the conditions hold.
    async fn submit(
        &self,
        written: Vec<(Vec<u8>, Vec<u8>)>,
        conditions: Vec<(Vec<u8>, Condition)>,
    ) -> Result<RequestOutcome, Refusal> {
        let key = documents::salt().map_err(Refusal::System)?;
        let clock = &self.parts().clock;
        let request = documents::request(key, written, conditions, clock).map_err(Refusal::System)?;
        Ok(self.parts().sequencer.submit(request).await?)
    }
}
