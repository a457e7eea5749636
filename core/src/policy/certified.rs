//! Checkpoints that a policy accepts.

use std::cmp::Reverse;

use super::{Policy, PolicyError};
use crate::checkpoint::Checkpoint;
use crate::key::VerifierKey;
use crate::note::{OpenedNote, SignedNote, Signer};

/// A checkpoint that is signed by its log and cosigned by a quorum of the policy it was opened with.
///
/// ```compile_fail,E0451
/// use quorate_core::{note::OpenedNote, policy::CertifiedCheckpoint};
/// // Only `Policy::open` and `Policy::certify` make one.
/// fn forge(opened: OpenedNote) -> CertifiedCheckpoint {
///     CertifiedCheckpoint { opened, quorum_time: None }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedCheckpoint {
    opened: OpenedNote,
    quorum_time: Option<u64>,
}

impl CertifiedCheckpoint {
    /// The checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        self.opened.checkpoint()
    }

    /// The note with everything in it; prints as the text that was opened.
    #[must_use]
    pub const fn note(&self) -> &SignedNote {
        self.opened.note()
    }

    /// The note with its verified signers.
    #[must_use]
    pub const fn opened(&self) -> &OpenedNote {
        &self.opened
    }

    /// The keys of the policy that signed, the log's among them.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        self.opened.signers()
    }

    /// The cosigners of the policy that signed, and when, in seconds since the Unix epoch.
    pub fn cosigners(&self) -> impl Iterator<Item = (&VerifierKey, u64)> {
        self.opened.cosigners()
    }

    /// The k-th newest cosignature time, in seconds since the Unix epoch: the latest time at which or after which
    /// a whole quorum cosigned. To make it later than it is takes as many liars as to meet the policy without
    /// the honest. `None` if the policy asks for no cosignature.
    #[must_use]
    pub const fn kth_newest_time(&self) -> Option<u64> {
        self.quorum_time
    }
}

impl Policy {
    /// Reads and judges the text of a note.
    ///
    /// # Errors
    /// [`PolicyError`] says which check failed, and what it would take.
    pub fn open(&self, note: &str) -> Result<CertifiedCheckpoint, PolicyError> {
        self.certify(SignedNote::parse(note)?)
    }

    /// The same for a note that is read already.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn certify(&self, note: SignedNote) -> Result<CertifiedCheckpoint, PolicyError> {
        let origin = note.checkpoint().origin.clone();
        self.check_origin(&origin)?;
        let opened = note.open(&self.keys)?;
        let is_log = |key: &VerifierKey| self.logs.iter().any(|log| log.key == *key);
        if !opened.signers().iter().any(|signer| is_log(signer.key()) && signer.key().name() == origin) {
            return Err(PolicyError::NotSignedByLog { origin });
        }
        let quorum_time = self.quorum_time(&opened)?;
        Ok(CertifiedCheckpoint { opened, quorum_time })
    }

    fn check_origin(&self, origin: &str) -> Result<(), PolicyError> {
        if self.logs.is_empty() {
            return Err(PolicyError::NoLog);
        }
        if self.log(origin).is_none() {
            let logs: Vec<&str> = self.logs.iter().map(|log| log.key.name()).collect();
            return Err(PolicyError::UnknownOrigin { origin: origin.to_owned(), logs: logs.join(", ") });
        }
        Ok(())
    }

    /// When the quorum was met, taking cosignatures from the newest backwards.
    fn quorum_time(&self, opened: &OpenedNote) -> Result<Option<u64>, PolicyError> {
        let time_of = |index: usize| {
            let witness = self.witnesses.get(index)?;
            let mut cosigners = opened.cosigners();
            cosigners.find_map(|(key, time)| (*key == witness.key).then_some(time))
        };
        if self.is_met_by(|_| false) {
            return Ok(None);
        }
        let mut times: Vec<u64> = opened.cosigners().map(|(_, time)| time).collect();
        times.sort_unstable_by_key(|time| Reverse(*time));
        let met_since = |since: u64| self.is_met_by(|index| time_of(index).is_some_and(|time| time >= since));
        if let Some(time) = times.into_iter().find(|since| met_since(*since)) {
            return Ok(Some(time));
        }
        let counted = self.counted();
        let missing = counted.iter().filter(|(index, _)| time_of(*index).is_none());
        let missing: Vec<String> = missing.map(|(_, witness)| witness.name.to_string()).collect();
        Err(PolicyError::NotMet {
            have: counted.len().saturating_sub(missing.len()),
            need: self.threshold(),
            missing,
        })
    }
}
