//! Complete listings of a range or prefix, page by page.

use super::bundle::{Proven, state_write};
use super::error::AnswerError;
use super::range::{Direction, KeyRange};
use super::reading::Reading;
use super::transaction::ProvenWrite;
use crate::hash::Hash;
use crate::position::TreeSize;

/// One page of a scan: all keys of the range it covers.
#[derive(Debug, Clone)]
pub struct Page {
    readings: Vec<Reading>,
    rest: Option<KeyRange>,
}

impl Page {
    pub(super) const fn new(readings: Vec<Reading>, rest: Option<KeyRange>) -> Self {
        Self { readings, rest }
    }

    /// Every key of the covered range that was ever written, in the scan's direction: values, and keys that
    /// read as absent with the proof why.
    #[must_use]
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// Takes the readings out.
    #[must_use]
    pub fn into_readings(self) -> Vec<Reading> {
        self.readings
    }

    /// The part of the range that is still to be asked for. `None`: the listing is complete.
    #[must_use]
    pub const fn rest(&self) -> Option<&KeyRange> {
        self.rest.as_ref()
    }
}

impl Proven {
    /// A page of a scan at the checkpoint. `asked` is the range, or what the page before left of it;
    /// `covered` is the part of it that the server says this page covers: all of it, or less because of a
    /// limit. That nothing in the covered part is left out is proven; so a limited page is a complete answer
    /// to a narrower question, never an incomplete one.
    ///
    /// Needs the commit leaf; one state proof, for `covered` as a range; the contents of the puts it reveals
    /// that are not expired; for erased ones, the transaction with the erase operation.
    ///
    /// # Errors
    /// [`AnswerError`] if `covered` is not where the scan continues, or anything is missing or not proven.
    pub fn scan(
        &self,
        asked: &KeyRange,
        direction: Direction,
        covered: &KeyRange,
    ) -> Result<Page, AnswerError> {
        let rest = asked.after(covered, direction)?;
        let time = self.state()?.time();
        let writes = self.writes_in(covered, direction)?;
        let readings = writes.into_iter().map(|write| self.read(write, time)).collect::<Result<_, _>>()?;
        Ok(Page::new(readings, rest))
    }

    /// The newest write of every key in the range.
    pub(super) fn writes_in(
        &self,
        covered: &KeyRange,
        direction: Direction,
    ) -> Result<Vec<ProvenWrite>, AnswerError> {
        self.expect_state_proofs(1)?;
        let answer = self.query(0, &covered.query())?;
        let writes = answer.leaves().iter().map(|leaf| state_write(leaf.index(), leaf.op()));
        let mut writes = writes.collect::<Result<Vec<_>, _>>()?;
        if direction == Direction::Descending {
            writes.reverse();
        }
        Ok(writes)
    }
}

/// A scan in progress: keeps what is left to ask for, and holds all pages to one checkpoint.
#[derive(Debug, Clone)]
pub struct Scan {
    rest: Option<KeyRange>,
    direction: Direction,
    pinned: Option<(TreeSize, Hash)>,
}

impl Scan {
    /// A scan of this range that has not begun.
    #[must_use]
    pub const fn new(range: KeyRange, direction: Direction) -> Self {
        Self { rest: Some(range), direction, pinned: None }
    }

    /// What to ask for next. `None`: the listing is complete.
    #[must_use]
    pub const fn rest(&self) -> Option<&KeyRange> {
        self.rest.as_ref()
    }

    /// The size at which the next page must be: that of the first page.
    #[must_use]
    pub fn pinned(&self) -> Option<TreeSize> {
        self.pinned.map(|(size, _)| size)
    }

    /// Verifies the next page ([`Proven::scan`]). After an error the scan stands where it stood.
    ///
    /// # Errors
    /// As [`Proven::scan`]; [`AnswerError::CheckpointMoved`] if the page is of another size than the first;
    /// [`AnswerError::EmptyPage`] if the listing was already complete.
    pub fn page(&mut self, proven: &Proven, covered: &KeyRange) -> Result<Vec<Reading>, AnswerError> {
        let asked = self.rest.as_ref().ok_or(AnswerError::EmptyPage)?;
        let tree = proven.checkpoint().checkpoint();
        let got = (tree.size, tree.root);
        if let Some((pinned, _)) = self.pinned.filter(|pinned| *pinned != got) {
            return Err(AnswerError::CheckpointMoved { pinned, got: tree.size });
        }
        let page = proven.scan(asked, self.direction, covered)?;
        self.pinned = Some(got);
        self.rest = page.rest;
        Ok(page.readings)
    }
}
