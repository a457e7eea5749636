//! The auditor as an outside witness: cosigns what it recomputed, with a key of its own.
//!
//! Contract: what is signed was recomputed up to that size, states included. What is about to be signed is on disk before
//! the signature leaves: never two roots for one size, never a smaller size, never an earlier time.

use quorate_client::CertifiedCheckpoint;
use quorate_core::key::CosignerKey;
use quorate_core::note::SignedNote;

use crate::auditor::{AuditError, Auditor};
use crate::clock;

/// A witness's key, and what it does with it.
#[derive(Debug)]
pub struct Witness {
    key: CosignerKey,
}

impl Witness {
    /// With this key.
    #[must_use]
    pub const fn new(key: CosignerKey) -> Self {
        Self { key }
    }

    /// Cosigns a checkpoint that the auditor is at: its note with this witness's line. `None` if it is at another size,
    /// or has signed a later one.
    ///
    /// # Errors
    /// [`AuditError`]: a finding if the root is not the one recomputed.
    pub fn cosign(
        &self,
        auditor: &mut Auditor,
        certified: &CertifiedCheckpoint,
    ) -> Result<Option<SignedNote>, AuditError> {
        let checkpoint = certified.checkpoint();
        if checkpoint.size != auditor.size() || checkpoint.origin != auditor.origin() {
            return Ok(None);
        }
        auditor.check_root(checkpoint, "the quorum")?;
        let Some(time) = auditor.promise(clock::now_secs())? else {
            return Ok(None);
        };
        let mut note = certified.note().clone();
        match self.key.cosign(checkpoint, time) {
            Ok(cosignature) => note.add(cosignature.to_line()),
            Err(error) => return Err(auditor.unusable(error).into()),
        }
        Ok(Some(note))
    }
}
