//! What is asked of the state tree: one key, a prefix, or a range.

use std::cmp::Ordering;

use super::bits::{BitPrefix, Bits, KeyRange};

/// A question about the keys of the state tree. Every answer is complete, or proven to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// This key alone.
    Key(Vec<u8>),
    /// The keys that begin with these bytes. Empty: every key.
    Prefix(Vec<u8>),
    /// The keys from `first` (included) to `end` (not included) in byte order.
    Range {
        /// The lowest key asked for.
        first: Vec<u8>,
        /// The lowest key no longer asked for; `None`: to the last key. Not above `first`: nothing is asked for.
        end: Option<Vec<u8>>,
    },
}

impl Query {
    /// Every key.
    #[must_use]
    pub const fn everything() -> Self {
        Self::Prefix(Vec::new())
    }

    /// Whether this key is asked for.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(asked) => key == asked.as_slice(),
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Range { first, end } => {
                first.as_slice() <= key && end.as_ref().is_none_or(|end| key < end.as_slice())
            }
        }
    }

    /// The pair of bit strings by which prover and verifier decide.
    #[must_use]
    pub fn bits(&self) -> QueryBits<'_> {
        let (lo, hi) = match self {
            Self::Key(key) => (Bits::of_key(key), Some(Bits::of_key(key))),
            Self::Prefix(prefix) => (Bits::of_prefix(prefix), Some(Bits::of_prefix(prefix))),
            Self::Range { first, end } => (Bits::of_key(first), end.as_deref().map(Bits::of_key)),
        };
        QueryBits { lo, hi }
    }

    /// The keys asked for as a range in byte order: what to read from a store that is sorted by key.
    #[must_use]
    pub fn key_range(&self) -> KeyRange {
        match self {
            Self::Key(key) => BitPrefix::of(key, Bits::of_key(key).len()).key_range(),
            Self::Prefix(prefix) => BitPrefix::of(prefix, Bits::of_prefix(prefix).len()).key_range(),
            Self::Range { first, end } => KeyRange { first: first.clone(), end: end.clone() },
        }
    }
}

/// A query as the tree sees it: the keys whose bit strings lie from `lo` to `hi`, compared over the common
/// length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryBits<'a> {
    lo: Bits<'a>,
    /// `None`: no upper bound.
    hi: Option<Bits<'a>>,
}

impl<'a> QueryBits<'a> {
    /// The lower bound.
    #[must_use]
    pub const fn lo(&self) -> Bits<'a> {
        self.lo
    }

    /// The upper bound; `None`: there is none.
    #[must_use]
    pub const fn hi(&self) -> Option<Bits<'a>> {
        self.hi
    }

    /// Whether no key that begins with these bits can be an answer: they are lower than `lo` or higher than `hi`
    /// at the first difference.
    #[must_use]
    pub fn is_disjoint(&self, prefix: &BitPrefix<'_>) -> bool {
        prefix.compare(self.lo) == Ordering::Less
            || self.hi.is_some_and(|hi| prefix.compare(hi) == Ordering::Greater)
    }
}
