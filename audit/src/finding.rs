//! What does not follow.

use quorate_core::hash::Hash;
use quorate_core::position::{LogIndex, TreeSize};

/// The first thing in a log that does not follow from what is before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ledger {ledger}, leaf {index}: {what}")]
pub struct Finding {
    /// Origin of the ledger.
    pub ledger: String,
    /// The leaf at which it shows.
    pub index: LogIndex,
    /// What is wrong, with both values where there are two.
    pub what: String,
}

impl Finding {
    /// The finding as a file: what is wrong, and the certified note under which the entries were served. Anybody who
    /// reads the ledger's entries up to that size can check it.
    #[must_use]
    pub fn to_json(&self, note: Option<&str>) -> String {
        let document = serde_json::json!({
            "version": 1,
            "kind": "audit",
            "ledger": self.ledger,
            "index": self.index.to_string(),
            "what": self.what,
            "note": note,
        });
        format!("{document:#}\n")
    }

    /// Another root than the one computed.
    pub(crate) fn root(ledger: &str, size: TreeSize, computed: &Hash, shown: &Hash, by: &str) -> Self {
        Self {
            ledger: ledger.to_owned(),
            index: size.last_index().unwrap_or_default(),
            what: format!("{by} shows the root {shown} at size {size}; the entries lead to {computed}"),
        }
    }
}
