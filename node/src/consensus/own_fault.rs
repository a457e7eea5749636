//! What went wrong in this node's own stores, in their words.
//!
//! openraft is told of it as an I/O error and stops; what it reports then has its own description around ours. People
//! are shown ours.

use std::{
    fmt::Display,
    io,
    sync::{Arc, OnceLock},
};

/// The first failure of a store. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnFault(Arc<OnceLock<String>>);

impl OwnFault {
    /// Keeps the failure, unless there was one before, and makes of it what openraft wants.
    pub(crate) fn of(&self, failure: impl Display) -> io::Error {
        let text = failure.to_string();
        let error = io::Error::other(text.clone());
        self.0.get_or_init(|| text);
        error
    }

    /// The failure; `other` when none was kept.
    pub(crate) fn or(&self, other: &impl Display) -> String {
        self.0.get().cloned().unwrap_or_else(|| other.to_string())
    }
}
