//! Keys as bit strings: where two of them part, and which keys begin with the same bits.
//!
//! Contract: `bits(key)` gives for each byte a 1 and its 8 bits from the most significant, and then one final 0.
//! No key's string begins another's, and the strings have the order of the keys. `bits(prefix)` lacks the final
//! 0, so it begins the string of exactly the keys with that prefix. Positions count from 0.

use std::cmp::Ordering;

/// Bits per byte of a key: a 1, and the byte.
const GROUP: usize = 9;

/// A bit string of the state tree: that of a key or of a prefix. Nothing is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    /// Whether the final 0 is there: a key, not a prefix.
    ended: bool,
}

impl<'a> Bits<'a> {
    /// The bit string of a key, with its final 0.
    #[must_use]
    #[inline]
    pub const fn of_key(key: &'a [u8]) -> Self {
        Self { bytes: key, ended: true }
    }

    /// The bits with which the keys of this prefix begin.
    #[must_use]
    #[inline]
    pub const fn of_prefix(prefix: &'a [u8]) -> Self {
        Self { bytes: prefix, ended: false }
    }

    /// Number of bits.
    #[must_use]
    #[inline]
    pub const fn len(self) -> usize {
        self.bytes.len().saturating_mul(GROUP).saturating_add(self.ended as usize)
    }

    /// Whether there are no bits: the empty prefix.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The bit at this position; `None` beyond the end.
    #[must_use]
    #[inline]
    pub fn bit(self, position: usize) -> Option<bool> {
        /// Position within a group to bit of the byte. The group's first bit is 1 without looking.
        const MASK: [u8; GROUP] = [0, 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01];
        let within = position % GROUP;
        match self.bytes.get(position / GROUP) {
            Some(byte) => Some(within == 0 || MASK.get(within).is_some_and(|mask| byte & mask != 0)),
            None if self.ended && position.checked_add(1) == Some(self.len()) => Some(false),
            None => None,
        }
    }

    /// First position at which the two differ, compared over their common length; `None` if they agree there.
    #[must_use]
    #[inline]
    pub fn first_difference(self, other: Bits<'_>) -> Option<usize> {
        if let Some(difference) = first_byte_bit(self.bytes, other.bytes) {
            return Some(difference);
        }
        // One's bytes begin the other's. At the end of the shorter, its final 0 meets a 1, if it has one.
        let ended = match self.bytes.len().cmp(&other.bytes.len()) {
            Ordering::Less => self.ended,
            Ordering::Equal => false,
            Ordering::Greater => other.ended,
        };
        let shorter = self.bytes.len().min(other.bytes.len());
        ended.then_some(shorter.saturating_mul(GROUP))
    }
}

/// Position of the first bit in which the two differ within their common bytes.
fn first_byte_bit(a: &[u8], b: &[u8]) -> Option<usize> {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    for (number, (a_word, b_word)) in a_words.iter().zip(b_words).enumerate() {
        let mixed = u64::from_be_bytes(*a_word) ^ u64::from_be_bytes(*b_word);
        if mixed != 0 {
            let bit = usize::try_from(mixed.leading_zeros()).ok()?;
            return Some(position_of(number.saturating_mul(8).saturating_add(bit / 8), bit % 8));
        }
    }
    // One of the two may have whole words left: then the other's rest ends the common bytes.
    let common = a_words.len().min(b_words.len()).saturating_mul(8);
    let a_rest = if a_words.len() > b_words.len() { a.get(common..)? } else { a_rest };
    let b_rest = if b_words.len() > a_words.len() { b.get(common..)? } else { b_rest };
    for (number, (a_byte, b_byte)) in a_rest.iter().zip(b_rest).enumerate() {
        let mixed = a_byte ^ b_byte;
        if mixed != 0 {
            let bit = usize::try_from(mixed.leading_zeros()).ok()?;
            return Some(position_of(common.saturating_add(number), bit));
        }
    }
    None
}

/// Position in the bit string of bit `bit` (from the most significant) of byte `byte`.
const fn position_of(byte: usize, bit: usize) -> usize {
    byte.saturating_mul(GROUP).saturating_add(1).saturating_add(bit)
}

/// The first bit position at which two keys part: the `d` of the branch that separates them.
///
/// `None` if the keys are equal. Two keys longer than the format's 1,024 bytes that agree further than a `d`
/// can say count as equal too; such keys have no leaf.
#[must_use]
#[inline]
pub fn first_difference(a: &[u8], b: &[u8]) -> Option<u16> {
    let difference = Bits::of_key(a).first_difference(Bits::of_key(b))?;
    u16::try_from(difference).ok()
}

/// The bits with which all keys of a subtree begin: the first `len` bits of any of them, and perhaps one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitPrefix<'a> {
    key: Bits<'a>,
    /// Number of bits taken from the key.
    len: usize,
    /// One more bit: the side of a branch at `len`.
    side: Option<bool>,
}

impl<'a> BitPrefix<'a> {
    /// The first `len` bits of this key; all of them if it has fewer.
    #[must_use]
    pub fn of(key: &'a [u8], len: usize) -> Self {
        let key = Bits::of_key(key);
        Self { key, len: len.min(key.len()), side: None }
    }

    /// What the keys below one side of a branch begin with: the first `d` bits of any key below the branch, and
    /// the side (`true`: right, bit 1). Without effect if the key has no bit at `d`, which no branch does.
    #[must_use]
    pub fn side_of(key: &'a [u8], d: u16, side: bool) -> Self {
        let all = Self::of(key, usize::from(d));
        let side = (all.len < all.key.len()).then_some(side);
        Self { side, ..all }
    }

    /// Number of bits.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len.saturating_add(self.side.is_some() as usize)
    }

    /// Whether it has no bits: every key begins with it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bit at this position; `None` beyond the end.
    #[must_use]
    pub fn bit(&self, position: usize) -> Option<bool> {
        match position.cmp(&self.len) {
            Ordering::Less => self.key.bit(position),
            Ordering::Equal => self.side,
            Ordering::Greater => None,
        }
    }

    /// Compares over the common length: `Equal` if one begins the other.
    #[must_use]
    pub fn compare(&self, other: Bits<'_>) -> Ordering {
        let (position, mine) = match self.key.first_difference(other) {
            Some(difference) if difference < self.len => (difference, self.key.bit(difference)),
            _ => (self.len, self.side),
        };
        match (mine, other.bit(position)) {
            (Some(mine), Some(theirs)) => mine.cmp(&theirs),
            _ => Ordering::Equal,
        }
    }

    /// The keys that begin with these bits, as a range of keys in byte order: what to read from a store to have
    /// the complete subtree.
    #[must_use]
    pub fn key_range(&self) -> KeyRange {
        let start = (self.len / GROUP).saturating_mul(GROUP);
        let bytes = self.key.bytes.get(..self.len / GROUP).unwrap_or(self.key.bytes);
        let extended = |byte: u8| [bytes, &[byte]].concat();
        match self.bit(start) {
            None => {
                return KeyRange { first: bytes.to_vec(), end: successor(bytes) };
            }
            // The final 0: one key only, and its first extension is the next key there can be.
            Some(false) => {
                return KeyRange { first: bytes.to_vec(), end: Some(extended(0)) };
            }
            Some(true) => {}
        }
        // Some of the next byte's bits are known: it lies between them followed by zeros, and by ones.
        let known = (start.saturating_add(1)..start.saturating_add(GROUP)).map_while(|at| self.bit(at));
        let (mut lowest, mut unit) = (0_u8, 0x80_u8);
        let mut highest = u8::MAX;
        for bit in known {
            if bit {
                lowest |= unit
            } else {
                highest &= !unit
            }
            unit /= 2;
        }
        let end = highest.checked_add(1).map_or_else(|| successor(bytes), |after| Some(extended(after)));
        KeyRange { first: extended(lowest), end }
    }
}

/// The first byte string after all that begin with `bytes`; `None` if there is none.
fn successor(bytes: &[u8]) -> Option<Vec<u8>> {
    let last = bytes.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = bytes.get(..=last)?.to_vec();
    let byte = next.last_mut()?;
    *byte = byte.checked_add(1)?;
    Some(next)
}

/// Keys from `first` (included) to `end` (not included), in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The lowest byte string that may be a key of the range.
    pub first: Vec<u8>,
    /// The lowest byte string above the range; `None`: nothing is above it.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Whether this key lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.first.as_slice() <= key && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }
}
