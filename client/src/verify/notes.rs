//! Notes that were opened before, so that a block's signatures are verified once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use quorate_core::hash::{Hash, sha256};
use quorate_core::policy::{CertifiedCheckpoint, Policy, PolicyError};

/// How many opened notes are remembered.
const CAPACITY: usize = 1_024;

/// A policy, and the notes that it has certified lately.
#[derive(Debug)]
pub(crate) struct Notes {
    policy: Arc<Policy>,
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    /// By the SHA-256 of the text.
    notes: HashMap<Hash, Arc<CertifiedCheckpoint>>,
    /// From the oldest to the newest.
    order: VecDeque<Hash>,
}

impl Notes {
    pub(crate) fn new(policy: Arc<Policy>) -> Self {
        Self { policy, opened: Mutex::default() }
    }

    /// Opens a note, or finds it opened.
    ///
    /// # Errors
    /// [`PolicyError`]. Failures are not remembered: they are somebody's fault, and rare.
    pub(crate) fn open(&self, note: &str) -> Result<Arc<CertifiedCheckpoint>, PolicyError> {
        let digest = sha256(&[note.as_bytes()]);
        if let Some(known) = self.lock().notes.get(&digest) {
            return Ok(Arc::clone(known));
        }
        // Not under the lock: several calls may verify the same note once each, none waits for another.
        let certified = Arc::new(self.policy.open(note)?);
        let mut opened = self.lock();
        if opened.notes.insert(digest, Arc::clone(&certified)).is_none() {
            opened.order.push_back(digest);
        }
        if opened.order.len() > CAPACITY
            && let Some(oldest) = opened.order.pop_front()
        {
            opened.notes.remove(&oldest);
        }
        drop(opened);
        Ok(certified)
    }

    /// A panic while it was held leaves at worst a note that is not in the order, and stays.
    fn lock(&self) -> std::sync::MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
