//! What keys held as of an earlier log index, proven through their histories.
//!
//! The value as of N is the write with index i ≤ N for which the *next* write comes after N. Two things show
//! that: the state tree at a later size, whose newest write of the key is i; or the next write j > N itself,
//! which names i as the one before it. A first write j > N, or absence at a later size, shows that there was
//! nothing.

use super::bundle::Proven;
use super::error::{AnswerError, key_text};
use super::history::previous;
use super::range::{Direction, KeyRange};
use super::reading::{Absent, Reading};
use super::scan::Page;
use super::transaction::{ProvenWrite, include};
use crate::entry::Leaf;
use crate::position::{LogIndex, Micros};

/// An answer, read as of an earlier log index. Made by [`Proven::as_of`].
#[derive(Debug, Clone)]
pub struct AsOf<'a> {
    proven: &'a Proven,
    index: LogIndex,
    time: Micros,
}

impl Proven {
    /// Reads this answer as of a log index, with everything up to and including that leaf.
    ///
    /// Expiry is judged by the time of that leaf: what the log itself says of the time then, so that the answer
    /// is the same whenever it is asked. Needs that leaf (`point`) under the checkpoint; the checkpoint's own
    /// last index needs only the commit leaf.
    ///
    /// # Errors
    /// [`AnswerError`] if the index lies beyond the checkpoint or its leaf is not proven.
    pub fn as_of(&self, index: LogIndex) -> Result<AsOf<'_>, AnswerError> {
        let tree = self.checkpoint().checkpoint();
        if !tree.size.contains(index) {
            return Err(AnswerError::NotInTree { index, size: tree.size });
        }
        let time = match &self.point {
            None if tree.size.last_index() == Some(index) => self.state()?.commit().time,
            None => {
                return Err(AnswerError::Missing { part: "the leaf at the log index asked about" });
            }
            Some(point) => {
                include(tree, index, &point.leaf, &point.path)?;
                match Leaf::decode(&point.leaf)? {
                    Leaf::Transaction(leaf) => leaf.time,
                    Leaf::Commit(leaf) => leaf.time,
                    Leaf::Opaque(_) => {
                        return Err(AnswerError::WrongLeaf { index, wanted: "known" });
                    }
                }
            }
        };
        Ok(AsOf { proven: self, index, time })
    }
}

impl AsOf<'_> {
    /// The log index it is about.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// The time of that leaf, by which expiry is judged.
    #[must_use]
    pub const fn time(&self) -> Micros {
        self.time
    }

    /// What a key held.
    ///
    /// Needs either the commit leaf and the state proof of the key, or no state proof and the transaction of
    /// the next write. Unless the state proof's write is the answer: the transaction of the write that is; and
    /// if neither the state proof nor that shows it, the transaction of the next write after the log index.
    ///
    /// # Errors
    /// [`AnswerError`] if any of that is missing or does not prove this key.
    pub fn get(&self, key: &[u8]) -> Result<Reading, AnswerError> {
        if self.proven.state_proof_count() == 0 {
            return self.read(key, self.written_before(self.next_shown(key)?)?);
        }
        self.get_many(&[key])?.pop().ok_or(AnswerError::StateProofCount { wanted: 1, got: 0 })
    }

    /// What several keys held: as [`AsOf::get`], with one state proof per key in the order of the keys.
    ///
    /// # Errors
    /// As [`AsOf::get`]; and [`AnswerError::StateProofCount`] unless there is one proof per key.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Reading>, AnswerError> {
        self.proven.expect_state_proofs(keys.len())?;
        let read = |(place, key): (usize, &K)| {
            let newest = self.proven.newest(place, key.as_ref())?;
            self.read(key.as_ref(), newest.map_or(Ok(None), |newest| self.resolve(newest))?)
        };
        keys.iter().enumerate().map(read).collect()
    }

    /// A page of a scan: every key of the covered range that had been written by then.
    ///
    /// Needs the commit leaf and one state proof for `covered` as a range at the later size: keys are never
    /// taken out of the state tree, so none that existed then is missing now. For each revealed key written
    /// since, what [`AsOf::get`] needs. Pages may be of different checkpoints.
    ///
    /// # Errors
    /// As [`Proven::scan`] and [`AsOf::get`].
    pub fn scan(
        &self,
        asked: &KeyRange,
        direction: Direction,
        covered: &KeyRange,
    ) -> Result<Page, AnswerError> {
        let rest = asked.after(covered, direction)?;
        let mut readings = Vec::new();
        for newest in self.proven.writes_in(covered, direction)? {
            if let Some(write) = self.resolve(newest)? {
                readings.push(self.proven.read(write, self.time)?);
            }
        }
        Ok(Page::new(readings, rest))
    }

    fn read(&self, key: &[u8], write: Option<ProvenWrite>) -> Result<Reading, AnswerError> {
        match write {
            Some(write) => self.proven.read(write, self.time),
            None => Ok(Reading::Absent(Absent::NeverWritten { key: key.to_vec() })),
        }
    }

    /// From a key's newest write at the checkpoint to the one that held as of the index.
    fn resolve(&self, newest: ProvenWrite) -> Result<Option<ProvenWrite>, AnswerError> {
        if newest.index() <= self.index {
            return Ok(Some(newest));
        }
        let next = match self.is_next(&newest)? {
            true => newest,
            false => self.next_shown(newest.key())?,
        };
        self.written_before(next)
    }

    /// The next write of the key after the index, shown in its transaction.
    fn next_shown(&self, key: &[u8]) -> Result<ProvenWrite, AnswerError> {
        let missing = || AnswerError::MissingNextWrite { key: key_text(key), after: self.index };
        let next = self.proven.write_after(key, Some(self.index)).ok_or_else(missing)?;
        self.is_next(&next)?.then_some(next).ok_or_else(missing)
    }

    /// Whether a write after the index is the first one after it: the one before is not.
    fn is_next(&self, write: &ProvenWrite) -> Result<bool, AnswerError> {
        Ok(previous(write)?.is_none_or(|(before, _)| before <= self.index))
    }

    /// The write that the next one names as the one before; `None` if it is the first.
    fn written_before(&self, next: ProvenWrite) -> Result<Option<ProvenWrite>, AnswerError> {
        let Some((index, revision)) = previous(&next)? else {
            return Ok(None);
        };
        let (write, _) = self.proven.chained(next.key(), index, revision)?;
        Ok(Some(write))
    }
}
