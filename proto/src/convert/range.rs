//! Ranges of keys.

use bytes::Bytes;
use quorate_core::answer::KeyRange;

use super::fixed::owned;
use super::{WireError, WireProblem};
use crate::v1;

impl From<KeyRange> for v1::KeyRange {
    fn from(range: KeyRange) -> Self {
        Self { first: Bytes::copy_from_slice(range.first()), end: range.end().map(Bytes::copy_from_slice) }
    }
}

impl TryFrom<v1::KeyRange> for KeyRange {
    type Error = WireError;

    fn try_from(range: v1::KeyRange) -> Result<Self, WireError> {
        Self::new(owned(range.first), range.end.map(owned))
            .map_err(|_| WireError::new("end", WireProblem::EmptyRange))
    }
}
