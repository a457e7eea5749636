//! What is shown of the witnesses, in the status and the metrics. Nothing is decided by it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use quorate_core::{name::LedgerName, position::TreeSize};

/// What a witness has cosigned of a ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Largest size that it cosigned, as this node knows; zero: none.
    pub size: TreeSize,
    /// When it signed that, seconds since the Unix epoch.
    pub time_s: u64,
    /// Checkpoints that this node sent it.
    pub submitted: u64,
    /// How many of these it cosigned.
    pub accepted: u64,
    /// Why it did not cosign the last one; `None`: it did.
    pub problem: Option<String>,
}

/// A row for each name of a witness's key and each ledger. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<(String, LedgerName), Row>>>);

impl Board {
    /// A copy.
    #[must_use]
    pub fn now(&self) -> BTreeMap<(String, LedgerName), Row> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes a row.
    pub fn change(&self, witness: &str, ledger: &LedgerName, change: impl FnOnce(&mut Row)) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(rows.entry((witness.to_owned(), ledger.clone())).or_default());
    }
}
