//! Ledgers: creating them, and which there are.
//!
//! A ledger is created by a transaction in `_system` that puts its record under a key never written before; the block
//! that carries it gives birth to the ledger on every replica.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    entry::Operation,
    name::LedgerName,
    position::{LogIndex, TreeSize},
};
use quorate_ledger::{
    block,
    outcome::{Rejection, RequestOutcome},
    system::{LedgerRecord, ledger_key},
};
use quorate_proto::v1;

use super::{
    bounds::CheckedCreate,
    commit::{completed, draw},
    errors::{Problem, Reason},
    interface::Api,
    proofs::{self, Prover, Shown, misplaced},
};
use crate::store::state::{Freeze, StoredContent};

impl Api {
    /// Creates a ledger.
    pub(super) async fn answer_create_ledger(
        &self,
        request: v1::CreateLedgerRequest,
    ) -> Result<v1::CreateLedgerResponse, Problem> {
        let checked = CheckedCreate::new(request)?;
        let name = checked.ledger;
        let key = Bytes::from(ledger_key(&name));
        let put = block::Put {
            salt: Bytes::copy_from_slice(&draw()?),
            attributes: Bytes::new(),
            value: self.record_of(&name).encode_to_vec().into(),
            expires_at: 0,
        };
        let write = block::Write { key: key.clone(), put: Some(put), erase: None };
        let new =
            block::Precondition { key: key.clone(), condition: Some(block::Condition::MustNotExist(true)) };
        let once = (checked.idempotency_key, checked.not_after);
        let (request, _) = completed(LedgerName::system().as_str(), once, vec![write], vec![new])?;
        self.check_space()?;
        let index = match self.backend().submit(request, Duration::MAX).await? {
            RequestOutcome::Committed(committed) => committed.index,
            RequestOutcome::Known { index } => index,
            RequestOutcome::Rejected(Rejection::Precondition { .. }) => {
                let problem = format_args!("{name} exists already: a name is never used twice");
                return Err(Reason::LedgerExists.of("ledger", problem).into());
            }
            RequestOutcome::Rejected(rejection) => return Err(rejection.into()),
        };
        Ok(v1::CreateLedgerResponse {
            transaction: Some(self.registration(index, &key)?),
            ledger: Some(self.info(&name)?),
        })
    }

    /// The transaction of `_system` at `index`, if it is the one that put `key`.
    fn registration(&self, index: LogIndex, key: &[u8]) -> Result<v1::Transaction, Problem> {
        let view = self.view();
        let gone = || misplaced(index, "the transaction that registered a ledger has to be here");
        let system = view.ledger(&LedgerName::system()).ok_or_else(gone)?;
        let mut transaction =
            Prover::new(system.clone(), None).transaction(index, Shown::All)?.ok_or_else(gone)?;
        transaction.meta = proofs::meta(system, index)?;
        let [shown] = transaction.operations.as_mut_slice() else {
            return Err(reused());
        };
        if shown.operation.get(Operation::FIXED_LEN..) != Some(key) {
            return Err(reused());
        }
        if let StoredContent::Present(content) = system.content(index, 0)? {
            shown.contents = Some(proofs::contents(content, index)?);
        }
        Ok(transaction.into())
    }

    /// The ledgers of the cluster.
    pub(super) async fn answer_list_ledgers(&self) -> Result<v1::ListLedgersResponse, Problem> {
        self.backend().read_barrier().await?;
        let view = self.view();
        let mut names: Vec<LedgerName> =
            view.ledgers().iter().map(|ledger| ledger.head().name.clone()).collect();
        names.sort_unstable();
        let ledgers = names.iter().map(|name| self.info(name));
        Ok(v1::ListLedgersResponse { ledgers: ledgers.collect::<Result<_, _>>()? })
    }

    fn info(&self, name: &LedgerName) -> Result<v1::LedgerInfo, Problem> {
        let LedgerRecord { name: text, origin, log_vkey } = self.record_of(name);
        let view = self.view();
        let size = view.ledger(name).map_or(TreeSize::ZERO, |ledger| ledger.size()).get();
        let freeze = view.freeze(name)?.map(freeze);
        Ok(v1::LedgerInfo { name: text, origin, log_vkey, size, freeze })
    }

    fn record_of(&self, name: &LedgerName) -> LedgerRecord {
        LedgerRecord {
            name: name.as_str().to_owned(),
            origin: self.parts().origin.ledger(name).as_str().to_owned(),
            log_vkey: self.backend().log_vkey(name),
        }
    }
}

/// On the wire.
pub(super) fn freeze(freeze: Freeze) -> v1::LedgerFreeze {
    let frozen = freeze.record.is_frozen();
    v1::LedgerFreeze { frozen, reason: freeze.record.reason, revision: freeze.revision.get() }
}

fn reused() -> Problem {
    let problem = "this key named another request before: take a new one";
    Reason::IdempotencyKeyReused.of("idempotency_key", problem).into()
}
