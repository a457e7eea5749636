//! The documents of `_system` that are not about epochs: which ledgers are frozen, and whether all documents are of a kind that
//! this version knows.

use std::collections::BTreeMap;

use quorate_core::{name::LedgerName, position::Revision, state_tree::KeyRange};
use quorate_ledger::system::{FROZEN_PREFIX, FreezeRecord, Unreadable, check_known, frozen_key};

use super::{
    contents::StoredContent,
    database::{Direction, after_prefix},
    epochs,
    view::ReadView,
};
use crate::store::faults::StoreFault;

/// The newest document of a ledger that was frozen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// How many of them there were.
    pub revision: Revision,
    /// What it says.
    pub record: FreezeRecord,
}

impl ReadView {
    /// Whether a ledger is frozen; `None` where it never was.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn freeze(&self, ledger: &LedgerName) -> Result<Option<Freeze>, StoreFault> {
        let Some(system) = self.system() else {
            return Ok(None);
        };
        let key = frozen_key(ledger);
        let (Some(write), Some(record)) = (system.newest(&key)?, epochs::newest(system, &key)?) else {
            return Ok(None);
        };
        let revision = write.op().get(1..9).and_then(|bytes| bytes.first_chunk::<8>());
        let revision = revision.map_or(Revision::FIRST, |bytes| Revision::from_be_bytes(*bytes));
        Ok(Some(Freeze { revision, record }))
    }
}

/// The ledgers that take no transactions, with the reason of each.
pub(super) fn frozen(view: &ReadView) -> Result<BTreeMap<LedgerName, String>, StoreFault> {
    let Some(system) = view.system() else {
        return Ok(BTreeMap::new());
    };
    let documents: Vec<FreezeRecord> = epochs::all(system, FROZEN_PREFIX)?;
    let frozen = documents.into_iter().filter(FreezeRecord::is_frozen);
    let named = frozen.map(|record| match LedgerName::new(&record.ledger) {
        Ok(name) => Ok((name, record.reason)),
        Err(error) => Err(view.database.damaged(super::options::Table::Meta, FROZEN_PREFIX, error)),
    });
    named.collect()
}

/// Whether this version knows every document: a newer one may have written others, and would go on differently.
pub(super) fn check(view: &ReadView) -> Result<(), StoreFault> {
    let Some(system) = view.system() else {
        return Ok(());
    };
    let everything = KeyRange { first: Vec::new(), end: after_prefix(&[]) };
    for write in system.state_leaves(&everything, Direction::Ascending, system.size())? {
        let write = write?;
        let StoredContent::Present(content) = system.written(write.index(), write.key())? else {
            return Err(system.damaged_run(write.index(), "a document of _system has to be here"));
        };
        check_known(write.key(), &content.value).map_err(|problem| match problem {
            Unreadable::Malformed(_) => system.damaged_run(write.index(), problem),
            Unreadable::Newer(_) => {
                let place = format!("{}, _system, index {}", view.database.path().display(), write.index());
                StoreFault::newer(place, problem)
            }
        })?;
    }
    Ok(())
}
