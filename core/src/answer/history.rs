//! All writes of a key, none left out.
//!
//! Every write names the one before (`prev_index`) and counts (`revision`). From the newest, which the state
//! tree proves, the chain leads to revision 1; upwards it is the same chain, and it is complete when it has
//! reached the newest.

use super::bundle::Proven;
use super::contents::{Content, Contents};
use super::error::{AnswerError, key_text};
use super::range::Direction;
use super::transaction::{IncludedTransaction, ProvenWrite};
use crate::position::{LogIndex, Revision};

/// Where in the history of a key the next page begins. Made from a key, or by a verified page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryCursor {
    key: Vec<u8>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Descending from the newest write, which the page must prove.
    Newest,
    /// Descending from this write, which a verified one named as the one before it.
    From { index: LogIndex, revision: Revision },
    /// Ascending, after this write, or from the first.
    After(Option<(LogIndex, Revision)>),
}

impl HistoryCursor {
    /// The beginning of a key's history in this direction.
    #[must_use]
    pub fn new(key: &[u8], direction: Direction) -> Self {
        let place = match direction {
            Direction::Ascending => Place::After(None),
            Direction::Descending => Place::Newest,
        };
        Self { key: key.to_vec(), place }
    }

    /// Downwards from a write that is already proven, with that write first: the history as it was then.
    #[must_use]
    pub fn down_from(write: &ProvenWrite) -> Self {
        let place = Place::From { index: write.index(), revision: write.operation().revision };
        Self { key: write.key().to_vec(), place }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// In which direction it goes.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        match self.place {
            Place::After(_) => Direction::Ascending,
            Place::Newest | Place::From { .. } => Direction::Descending,
        }
    }

    /// What to ask a server for: descending, the write to begin with (`None`: the newest); ascending, the
    /// write to begin after (`None`: from the first).
    #[must_use]
    pub const fn index(&self) -> Option<LogIndex> {
        match self.place {
            Place::Newest | Place::After(None) => None,
            Place::From { index, .. } | Place::After(Some((index, _))) => Some(index),
        }
    }
}

/// A page of a key's history: writes that follow each other without a gap.
#[derive(Debug, Clone)]
pub struct HistoryPage<'a> {
    entries: Vec<HistoryEntry<'a>>,
    next: Option<HistoryCursor>,
}

/// One write of a key, with its transaction.
#[derive(Debug, Clone)]
pub struct HistoryEntry<'a> {
    write: ProvenWrite,
    content: Content<'a>,
    transaction: &'a IncludedTransaction,
}

impl<'a> HistoryPage<'a> {
    /// The writes, in the cursor's direction.
    #[must_use]
    pub fn entries(&self) -> &[HistoryEntry<'a>] {
        &self.entries
    }

    /// Where the next page begins. `None`: the history is complete in this direction.
    #[must_use]
    pub const fn next(&self) -> Option<&HistoryCursor> {
        self.next.as_ref()
    }
}

impl<'a> HistoryEntry<'a> {
    /// The write: key, log index, revision, expiry.
    #[must_use]
    pub const fn write(&self) -> &ProvenWrite {
        &self.write
    }

    /// What it wrote. A value is shown even if its time is over.
    #[must_use]
    pub const fn content(&self) -> Content<'a> {
        self.content
    }

    /// The transaction it was part of: time, request, meta.
    #[must_use]
    pub const fn transaction(&self) -> &'a IncludedTransaction {
        self.transaction
    }
}

impl Proven {
    /// A page of a key's history, from a cursor. The page ends where the answer shows no more of the chain.
    ///
    /// Needs the transaction of each write of the page, with that write shown and its contents (or the
    /// transaction that erased them). Descending, the first page needs the commit leaf and the state proof of
    /// the key; ascending, every page does.
    ///
    /// # Errors
    /// [`AnswerError`] if a write is left out, does not fit its neighbour, or the page shows nothing although
    /// there is more.
    pub fn history(&self, cursor: &HistoryCursor) -> Result<HistoryPage<'_>, AnswerError> {
        match cursor.place {
            Place::Newest => match self.proven_newest(&cursor.key)? {
                Some(newest) => self.descend(&newest, Some(&newest)),
                None => Ok(HistoryPage { entries: Vec::new(), next: None }),
            },
            Place::From { index, revision } => {
                let (first, _) = self.chained(&cursor.key, index, revision)?;
                self.descend(&first, None)
            }
            Place::After(last) => self.ascend(&cursor.key, last),
        }
    }

    fn proven_newest(&self, key: &[u8]) -> Result<Option<ProvenWrite>, AnswerError> {
        self.expect_state_proofs(1)?;
        self.newest(0, key)
    }

    /// From a write downwards, as far as the answer goes. `newest`: what the state tree says it must be.
    fn descend(
        &self,
        from: &ProvenWrite,
        newest: Option<&ProvenWrite>,
    ) -> Result<HistoryPage<'_>, AnswerError> {
        let key = from.key();
        let mut entries: Vec<HistoryEntry<'_>> = Vec::new();
        let mut place = Some((from.index(), from.operation().revision));
        while let Some((index, revision)) = place {
            if self.write_at(key, index).is_none() {
                // Older writes beyond a missing one: it was left out, and the page does not just end here.
                if self.write_after(key, None).is_some_and(|oldest| oldest.index() < index) {
                    return Err(AnswerError::MissingWrite { key: key_text(key), index });
                }
                break;
            }
            let (write, shown) = self.chained(key, index, revision)?;
            place = previous(&write)?;
            entries.push(self.entry(write, shown)?);
        }
        match (entries.first(), newest) {
            (None, _) => return Err(AnswerError::EmptyPage),
            (Some(first), Some(newest)) if first.write != *newest => {
                return Err(AnswerError::NotNewest { key: key_text(key), index: newest.index() });
            }
            _ => {}
        }
        let cursor =
            |(index, revision)| HistoryCursor { key: key.to_vec(), place: Place::From { index, revision } };
        Ok(HistoryPage { entries, next: place.map(cursor) })
    }

    /// Upwards from a write, as far as the answer goes; complete when it reaches the newest.
    fn ascend(
        &self,
        key: &[u8],
        mut last: Option<(LogIndex, Revision)>,
    ) -> Result<HistoryPage<'_>, AnswerError> {
        let Some(newest) = self.proven_newest(key)? else {
            return match last {
                None => Ok(HistoryPage { entries: Vec::new(), next: None }),
                Some((index, _)) => Err(AnswerError::MissingNextWrite { key: key_text(key), after: index }),
            };
        };
        let mut entries = Vec::new();
        while let Some(write) = self.write_after(key, last.map(|(index, _)| index)) {
            follows(&write, last)?;
            let revision = write.operation().revision;
            last = Some((write.index(), revision));
            let (write, shown) = self.chained(key, write.index(), revision)?;
            entries.push(self.entry(write, shown)?);
        }
        let reached = last.is_some_and(|(_, revision)| revision >= newest.operation().revision);
        if !reached {
            let next = HistoryCursor { key: key.to_vec(), place: Place::After(last) };
            return match entries.is_empty() {
                true => Err(AnswerError::EmptyPage),
                false => Ok(HistoryPage { entries, next: Some(next) }),
            };
        }
        let at_newest = last == Some((newest.index(), newest.operation().revision));
        if !at_newest || entries.last().is_some_and(|entry| entry.write != newest) {
            return Err(AnswerError::NotNewest { key: key_text(key), index: newest.index() });
        }
        Ok(HistoryPage { entries, next: None })
    }

    /// The write at this index, which the chain says has this revision.
    pub(super) fn chained(
        &self,
        key: &[u8],
        index: LogIndex,
        revision: Revision,
    ) -> Result<(ProvenWrite, Option<&Contents>), AnswerError> {
        let found = self.write_at(key, index);
        let (write, shown) = found.ok_or_else(|| AnswerError::MissingWrite { key: key_text(key), index })?;
        check_revision(&write, revision)?;
        Ok((write, shown))
    }

    fn entry<'a>(
        &'a self,
        write: ProvenWrite,
        shown: Option<&'a Contents>,
    ) -> Result<HistoryEntry<'a>, AnswerError> {
        let content = self.content_of(&write, shown)?;
        let transaction = self.transaction(write.index())?;
        Ok(HistoryEntry { write, content, transaction })
    }
}

fn check_revision(write: &ProvenWrite, wanted: Revision) -> Result<(), AnswerError> {
    let got = write.operation().revision;
    if got == wanted {
        return Ok(());
    }
    Err(AnswerError::BrokenChain { key: key_text(write.key()), index: write.index(), wanted, got })
}

/// The place of the write before this one: `None` for the first, whose revision is 1.
pub(super) fn previous(write: &ProvenWrite) -> Result<Option<(LogIndex, Revision)>, AnswerError> {
    let operation = write.operation();
    let Some(index) = operation.prev_index else {
        check_revision(write, Revision::FIRST)?;
        return Ok(None);
    };
    let before = operation.revision.previous().filter(|revision| *revision >= Revision::FIRST);
    match before {
        Some(revision) if index < write.index() => Ok(Some((index, revision))),
        // Revision 1 with a previous write, or a previous write that is not earlier.
        _ => Err(AnswerError::MissingWrite { key: key_text(write.key()), index }),
    }
}

/// Checks that a write is the one right after `last`.
fn follows(write: &ProvenWrite, last: Option<(LogIndex, Revision)>) -> Result<(), AnswerError> {
    if previous(write)? == last {
        return Ok(());
    }
    let wanted = last.and_then(|(_, revision)| revision.next()).unwrap_or(Revision::FIRST);
    let operation = write.operation();
    Err(AnswerError::BrokenChain {
        key: key_text(write.key()),
        index: write.index(),
        wanted,
        got: operation.revision,
    })
}
