//! What the cluster file says of the history that is continued, and the check at every start.

use quorate_core::{
    hash::Hash,
    name::{ClusterOrigin, LedgerName},
    position::TreeSize,
};
use serde::{Deserialize, Serialize};

use crate::store::{faults::StoreFault, state::ReadView};

/// The section `[continues]` of a cluster file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContinuedFile {
    /// `restored` or `recovered`.
    pub kind: String,
    /// Origin of the cluster before.
    pub previous: String,
    /// Where each of its ledgers is continued.
    #[serde(rename = "ledger")]
    pub ledgers: Vec<ContinuedLedgerFile>,
}

/// A ledger in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContinuedLedgerFile {
    /// Its name.
    pub name: String,
    /// Its size where it is continued.
    pub size: u64,
    /// Its log root there, 64 hex digits.
    pub root: String,
}

/// The same, checked.
#[derive(Debug, Clone)]
pub struct Continued {
    /// `restored` or `recovered`.
    pub kind: String,
    /// Origin of the cluster before.
    pub previous: ClusterOrigin,
    /// Name, size and log root of each ledger.
    pub ledgers: Vec<(LedgerName, TreeSize, Hash)>,
}

impl Continued {
    /// Checks what a cluster file says; the error names the key.
    pub fn from_file(file: &ContinuedFile) -> Result<Self, String> {
        if !["restored", "recovered"].contains(&file.kind.as_str()) {
            return Err(format!("kind: {:?} is neither \"restored\" nor \"recovered\"", file.kind));
        }
        let previous = ClusterOrigin::parse(&file.previous).map_err(|error| format!("previous: {error}"))?;
        let ledger = |ledger: &ContinuedLedgerFile| {
            let name = LedgerName::new(&ledger.name).map_err(|error| format!("ledger: {error}"))?;
            let root =
                Hash::from_hex(&ledger.root).map_err(|error| format!("ledger {name}: root: {error}"))?;
            Ok((name, TreeSize::new(ledger.size), root))
        };
        let ledgers = file.ledgers.iter().map(ledger).collect::<Result<Vec<_>, String>>()?;
        Ok(Self { kind: file.kind.clone(), previous, ledgers })
    }

    /// As the cluster file says it.
    #[must_use]
    pub fn to_file(&self) -> ContinuedFile {
        let ledger = |(name, size, root): &(LedgerName, TreeSize, Hash)| ContinuedLedgerFile {
            name: name.as_str().to_owned(),
            size: size.get(),
            root: root.to_string(),
        };
        ContinuedFile {
            kind: self.kind.clone(),
            previous: self.previous.as_str().to_owned(),
            ledgers: self.ledgers.iter().map(ledger).collect(),
        }
    }

    /// Whether a state that is not empty holds this history.
    ///
    /// # Errors
    /// A fault that names the ledger.
    pub fn check(&self, view: &ReadView) -> Result<(), StoreFault> {
        for (name, size, root) in &self.ledgers {
            let found = match view.ledger(name) {
                Some(ledger) => ledger.root_at(*size)?,
                None => None,
            };
            if found != Some(*root) {
                let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
                return Err(StoreFault::mismatch(
                    format!("the history of ledger {name} that this cluster continues"),
                    format!("the log root {root} at size {size}, as in the cluster file"),
                    found,
                ));
            }
        }
        Ok(())
    }
}
