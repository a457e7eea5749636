//! What keys hold at the checkpoint itself.

use super::bundle::Proven;
use super::error::AnswerError;
use super::reading::{Absent, Reading};

impl Proven {
    /// What a key holds now: its value, or the proof that it has none.
    ///
    /// Needs the commit leaf; one state proof, for the key; the contents of the put it reveals; and if those
    /// were erased, the transaction with the erase operation.
    ///
    /// # Errors
    /// [`AnswerError`] if any of that is missing or does not prove this key.
    pub fn get(&self, key: &[u8]) -> Result<Reading, AnswerError> {
        self.get_many(&[key])?.pop().ok_or(AnswerError::StateProofCount { wanted: 1, got: 0 })
    }

    /// What several keys hold now, all at the same checkpoint: as [`Proven::get`], with one state proof per
    /// key in the order of the keys.
    ///
    /// # Errors
    /// As [`Proven::get`]; and [`AnswerError::StateProofCount`] unless there is one proof per key.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Reading>, AnswerError> {
        self.expect_state_proofs(keys.len())?;
        let time = self.state()?.time();
        let read = |(place, key): (usize, &K)| match self.newest(place, key.as_ref())? {
            Some(write) => self.read(write, time),
            None => Ok(Reading::Absent(Absent::NeverWritten { key: key.as_ref().to_vec() })),
        };
        keys.iter().enumerate().map(read).collect()
    }

    /// Refuses an answer with more or fewer state proofs than the question has keys.
    pub(super) fn expect_state_proofs(&self, wanted: usize) -> Result<(), AnswerError> {
        let got = self.state_proof_count();
        (got == wanted).then_some(()).ok_or(AnswerError::StateProofCount { wanted, got })
    }
}
