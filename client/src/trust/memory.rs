//! A trust store that lives as long as the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use quorate_core::checkpoint::Checkpoint;
use quorate_core::note::SignedNote;

use super::{Swap, TrustStore, may_replace};
use crate::error::TrustError;

/// Believed checkpoints in memory: forgotten when the process ends, so that the next one trusts the first answer
/// anew. For tests and short-lived tools; clients that share one `MemoryTrust` share what they believe.
#[derive(Debug, Default)]
pub struct MemoryTrust {
    stored: Mutex<BTreeMap<String, SignedNote>>,
    epochs: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemoryTrust {
    /// A store that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl TrustStore for MemoryTrust {
    fn load(&self, origin: &str) -> Result<Option<SignedNote>, TrustError> {
        Ok(self.stored.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned())
    }

    fn compare_and_swap(&self, expected: Option<&Checkpoint>, new: &SignedNote) -> Result<Swap, TrustError> {
        let origin = &new.checkpoint().origin;
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let current = stored.get(origin);
        if !may_replace(current, expected, new)? {
            return Ok(Swap::Changed(current.cloned()));
        }
        stored.insert(origin.clone(), new.clone());
        Ok(Swap::Done)
    }

    fn load_epochs(&self, origin: &str) -> Result<Option<Vec<u8>>, TrustError> {
        Ok(self.epochs.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned())
    }

    fn swap_epochs(
        &self,
        origin: &str,
        new: &[u8],
        is_older: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(), TrustError> {
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        if epochs.get(origin).is_none_or(|stored| is_older(stored)) {
            epochs.insert(origin.to_owned(), new.to_vec());
        }
        Ok(())
    }

    fn is_instant(&self) -> bool {
        true
    }
}
