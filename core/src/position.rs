//! Numbers that count different things, each with a type of its own.
//!
//! Contract: a log index, a tree size, a revision and a block height are all a `u64`, and mixing them up is the
//! classic mistake of this field, so they do not convert into each other except where a named method says how.
//! Arithmetic is checked: what does not fit is `None`, never a wrapped number. All of them are written as 8
//! bytes, big-endian, wherever they are hashed or stored as proof.
//!
//! "No position" is `Option`. The formats write it as `0xFFFF_FFFF_FFFF_FFFF`; only their codecs know that.

use std::fmt;

/// One type of number: what all of them can do.
macro_rules! position {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// The value with this number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The plain number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// This many further; `None` if that does not fit.
            #[must_use]
            pub const fn checked_add(self, count: u64) -> Option<Self> {
                match self.0.checked_add(count) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// This many back; `None` below 0.
            #[must_use]
            pub const fn checked_sub(self, count: u64) -> Option<Self> {
                match self.0.checked_sub(count) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// How far this is beyond `earlier`; `None` if it lies before it.
            #[must_use]
            pub const fn since(self, earlier: Self) -> Option<u64> {
                self.0.checked_sub(earlier.0)
            }

            /// The one after; `None` at the end of the numbers.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            /// The one before; `None` at 0.
            #[must_use]
            pub const fn previous(self) -> Option<Self> {
                self.checked_sub(1)
            }

            /// The 8 bytes of the formats, big-endian.
            #[must_use]
            pub const fn to_be_bytes(self) -> [u8; 8] {
                self.0.to_be_bytes()
            }

            /// Reads the 8 bytes of the formats, big-endian.
            #[must_use]
            pub const fn from_be_bytes(bytes: [u8; 8]) -> Self {
                Self(u64::from_be_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$name> for u64 {
            fn from(position: $name) -> Self {
                position.0
            }
        }
    };
}

position! {
    /// Position of a leaf in a ledger's log tree, from 0.
    LogIndex
}

position! {
    /// Number of leaves of a log tree. A tree of size n has the leaves 0 to n − 1.
    TreeSize
}

position! {
    /// How often a key has been written, counting this write: 1 for the first. 0 is no revision; the codec
    /// of operations refuses it.
    Revision
}

position! {
    /// Number of a block in its cluster, across all ledgers.
    BlockHeight
}

position! {
    /// Term of a leader, as Raft counts it.
    Term
}

position! {
    /// Number of a cosigner set: the next one each time the set changes.
    Epoch
}

position! {
    /// A replica of a cluster. Never given to another machine.
    NodeId
}

position! {
    /// A time in microseconds since the Unix epoch, as data: stamped once by the leader.
    Micros
}

impl LogIndex {
    /// Size of the smallest tree that holds this leaf: index + 1. `None` for the last number, which no tree
    /// can hold.
    #[must_use]
    pub const fn size_through(self) -> Option<TreeSize> {
        match self.0.checked_add(1) {
            Some(size) => Some(TreeSize(size)),
            None => None,
        }
    }
}

impl TreeSize {
    /// The empty tree.
    pub const ZERO: Self = Self(0);

    /// The last leaf, at size − 1; `None` in the empty tree. At a checkpoint it is the commit leaf.
    #[must_use]
    pub const fn last_index(self) -> Option<LogIndex> {
        match self.0.checked_sub(1) {
            Some(index) => Some(LogIndex(index)),
            None => None,
        }
    }

    /// The position that the next leaf appended will have.
    #[must_use]
    pub const fn next_index(self) -> LogIndex {
        LogIndex(self.0)
    }

    /// Whether the tree has this leaf.
    #[must_use]
    pub const fn contains(self, index: LogIndex) -> bool {
        index.0 < self.0
    }
}

impl Revision {
    /// The first write of a key.
    pub const FIRST: Self = Self(1);
}

impl Micros {
    /// Microseconds in a second.
    pub const PER_SECOND: u64 = 1_000_000;

    /// Whole seconds since the Unix epoch, rounded down, as cosignatures carry them.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / Self::PER_SECOND
    }

    /// A time from whole seconds since the Unix epoch; `None` if its microseconds do not fit.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Option<Self> {
        match seconds.checked_mul(Self::PER_SECOND) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_ends_instead_of_wrapping() {
        assert_eq!(LogIndex::new(u64::MAX).next(), None);
        assert_eq!(LogIndex::new(u64::MAX).size_through(), None);
        assert_eq!(LogIndex::new(0).previous(), None);
        assert_eq!(Revision::FIRST.checked_sub(2), None);
        assert_eq!(Micros::new(5).since(Micros::new(6)), None);
        assert_eq!(Micros::new(6).since(Micros::new(5)), Some(1));
    }

    #[test]
    fn a_tree_holds_the_indices_below_its_size() {
        let size = TreeSize::new(7);
        assert_eq!(size.last_index(), Some(LogIndex::new(6)));
        assert_eq!(size.next_index(), LogIndex::new(7));
        assert_eq!(LogIndex::new(6).size_through(), Some(size));
        assert!(size.contains(LogIndex::new(6)) && !size.contains(LogIndex::new(7)));
        assert_eq!(TreeSize::ZERO.last_index(), None);
    }

    #[test]
    fn microseconds_become_seconds_rounded_down() {
        assert_eq!(Micros::new(1_999_999).as_secs(), 1);
        assert_eq!(Micros::from_secs(2), Some(Micros::new(2_000_000)));
        assert_eq!(Micros::from_secs(u64::MAX), None);
    }

    #[test]
    fn numbers_print_bare_and_encode_big_endian() {
        assert_eq!(BlockHeight::new(12).to_string(), "12");
        assert_eq!(Term::new(1).to_be_bytes(), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(Epoch::from_be_bytes([0, 0, 0, 0, 0, 0, 1, 0]).get(), 256);
    }
}
