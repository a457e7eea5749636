//! Ranges of keys, and how a page narrows one.

use super::error::AnswerError;
use crate::state_tree::Query;

/// In which order results come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Keys from the lowest; a history from the first write.
    Ascending,
    /// Keys from the highest; a history from the newest write.
    Descending,
}

/// The keys from `first` up to, and without, `end`; without `end`, all keys from `first` on. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    first: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl KeyRange {
    /// The keys from `first` up to, and without, `end`.
    ///
    /// # Errors
    /// [`AnswerError::EmptyRange`] unless `end` is greater than `first`.
    pub fn new(first: Vec<u8>, end: Option<Vec<u8>>) -> Result<Self, AnswerError> {
        if end.as_ref().is_some_and(|end| *end <= first) {
            return Err(AnswerError::EmptyRange);
        }
        Ok(Self { first, end })
    }

    /// All keys.
    #[must_use]
    pub const fn all() -> Self {
        Self { first: Vec::new(), end: None }
    }

    /// The keys that start with these bytes.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        // The end is the prefix without its trailing 0xFF bytes, and the byte before those one higher: no
        // key with the prefix reaches it, every other key above does. All 0xFF: there is nothing above.
        let end = prefix.iter().rposition(|byte| *byte != u8::MAX).and_then(|last| {
            let (head, tail) = prefix.split_at_checked(last)?;
            let raised = tail.first()?.checked_add(1)?;
            Some([head, &[raised]].concat())
        });
        Self { first: prefix.to_vec(), end }
    }

    /// The lowest key that may be in the range.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        &self.first
    }

    /// The lowest key above the range; `None` if it has no upper end.
    #[must_use]
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Whether the key is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.first.as_slice() && self.end.as_deref().is_none_or(|end| key < end)
    }

    /// The range as a query of the state tree. A scan is always asked and proven as a range, a prefix too.
    #[must_use]
    pub fn query(&self) -> Query {
        Query::Range { first: self.first.clone(), end: self.end.clone() }
    }

    /// What is left of this range after a page that covers `covered`. `None`: nothing.
    ///
    /// # Errors
    /// [`AnswerError::WrongRange`] unless `covered` begins where this range begins in that direction and does
    /// not reach beyond it.
    pub fn after(&self, covered: &Self, direction: Direction) -> Result<Option<Self>, AnswerError> {
        let rest = match direction {
            Direction::Ascending if covered.first == self.first => match (&covered.end, &self.end) {
                (covered_end, end) if covered_end == end => None,
                (None, _) => return Err(AnswerError::WrongRange),
                (Some(next), end) => {
                    Self::new(next.clone(), end.clone()).map(Some).or(Err(AnswerError::WrongRange))?
                }
            },
            Direction::Descending if covered.end == self.end => match covered.first.cmp(&self.first) {
                std::cmp::Ordering::Equal => None,
                std::cmp::Ordering::Less => return Err(AnswerError::WrongRange),
                std::cmp::Ordering::Greater => {
                    Some(Self { first: self.first.clone(), end: Some(covered.first.clone()) })
                }
            },
            _ => return Err(AnswerError::WrongRange),
        };
        Ok(rest)
    }
}
