//! The auditor as an outside witness: cosigns what it recomputed, with a key of its own.
//!
//! Contract: what is signed was recomputed up to that size, states included. What is about to be signed is on disk before
//! the signature leaves: never two roots for one size, never a smaller size, never an earlier time.

use quorate_client::CertifiedCheckpoint;
use quorate_core::key::CosignerKey;
use quorate_core::note::SignedNote;
use quorate_core::policy::Policy;

use crate::auditor::{AuditError, Auditor};
use crate::clock;
use crate::records::{Answer, signature_line};
use crate::submission::{Refusal, Submission};

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

    /// Answers a submission of the ledger that is audited: every check of c2sp.org/tlog-witness, against the one memory of
    /// what was signed, and the root that was recomputed besides. Only sizes up to the auditor's.
    ///
    /// # Errors
    /// [`AuditError`]: the auditor's files. Never a finding: whoever has the log's key can submit what it likes.
    pub(crate) fn answer(
        &self,
        auditor: &Auditor,
        submission: &Submission,
        logs: &Policy,
    ) -> Result<Answer, AuditError> {
        let checkpoint = match submission.judge(logs, auditor.promised()?) {
            Ok(checkpoint) => checkpoint,
            Err(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let size = checkpoint.size;
        match auditor.root_at(size) {
            Some(root) if root == checkpoint.root => {}
            Some(_) => return Ok(Answer::Refused(Refusal::OtherRoot(size))),
            None => return Ok(Answer::Refused(Refusal::NotRecomputed(size))),
        }
        let Some(time) = auditor.promise_at((size, checkpoint.root), clock::now_secs())? else {
            return Ok(Answer::Refused(Refusal::NotRecomputed(size)));
        };
        let line = signature_line(&self.key, checkpoint.clone(), time);
        Ok(Answer::Cosigned(line.map_err(|error| auditor.unusable(error))?))
    }
}
