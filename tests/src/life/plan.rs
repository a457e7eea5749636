//! How many keys, and what is in them: everything follows from a number, so that nothing has to be remembered.

use std::time::Duration;

/// Keys of a transaction that loads.
pub(crate) const BATCH: u64 = 1_000;
/// Bytes of a value.
const VALUE_BYTES: usize = 256;
/// Odd, so that multiplying by it permutes the numbers of 64 bits: keys come in no order.
const SCATTER: u64 = 0x9E37_79B9_7F4A_7C15;
/// What the keys begin with that are loaded, and those that are written all along.
const LOADED: &str = "item/";
const WRITTEN: &str = "writer/";

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Keys that are loaded at the start.
    pub keys: u64,
    /// Clients that write one key after the other, from the start to the first backup.
    pub writers: u64,
}

impl Plan {
    /// The transactions that load all keys: the numbers of each.
    pub(crate) fn batches(self) -> impl Iterator<Item = std::ops::Range<u64>> {
        let keys = self.keys;
        (0..keys.div_ceil(BATCH)).map(move |batch| batch * BATCH..keys.min((batch + 1) * BATCH))
    }

    /// Raft entries after which nodes flush their state and remove their log: few enough that a new node gets the state as a
    /// snapshot, whatever was loaded.
    pub(crate) fn log_entries(self) -> u64 {
        (self.keys / 1_000).clamp(200, 20_000)
    }

    /// How long is measured what the writers do while nothing else happens.
    pub(crate) fn quiet(self) -> Duration {
        Duration::from_millis((self.keys / 100).clamp(1_000, 10_000))
    }

    /// How long a command, a start or a transfer may take: a bound for what hangs, far above what it takes.
    pub(crate) fn patience(self) -> Duration {
        Duration::from_secs(60 + self.keys / 1_000)
    }
}

/// A key of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Of the load, by its number.
    Loaded(u64),
    /// Of a writer, by the number of its write.
    Written { writer: u64, number: u64 },
}

impl Key {
    /// As it is in the ledger.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Loaded(number) => format!("{LOADED}{:016x}", number.wrapping_mul(SCATTER)),
            Self::Written { writer, number } => format!("{WRITTEN}{writer:02}/{number:010}"),
        }
    }

    /// The key of this name; `None` if it is none of ours.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        let key = if let Some(hex) = name.strip_prefix(LOADED) {
            Self::Loaded(u64::from_str_radix(hex, 16).ok()?.wrapping_mul(inverse(SCATTER)))
        } else {
            let (writer, number) = name.strip_prefix(WRITTEN)?.split_once('/')?;
            Self::Written { writer: writer.parse().ok()?, number: number.parse().ok()? }
        };
        Some(key).filter(|key| key.name() == name)
    }

    /// Its value: bytes that do not compress, other ones for every key.
    pub(crate) fn value(self) -> Vec<u8> {
        let mut state = match self {
            Self::Loaded(number) => number,
            Self::Written { writer, number } => (writer + 1) << 40 | number,
        };
        // Splitmix64.
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_add(SCATTER);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        });
        words.take(VALUE_BYTES / 8).flat_map(u64::to_be_bytes).collect()
    }
}

/// What an odd number has to be multiplied by to give 1, modulo 2^64.
fn inverse(odd: u64) -> u64 {
    // Newton: each round doubles the bits that are right, of which there are three at the start.
    (0..5).fold(odd, |found, _| found.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(found))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_name_and_none_of_ours_is_not() {
        for key in [Key::Loaded(0), Key::Loaded(999_999), Key::Written { writer: 7, number: 12 }] {
            assert_eq!(Key::parse(key.name().as_bytes()), Some(key));
        }
        for name in ["item/", "item/00", "other/0000000000000000", "writer/7/12", "writer/07"] {
            assert_eq!(Key::parse(name.as_bytes()), None, "{name}");
        }
        assert_ne!(Key::Loaded(1).value(), Key::Loaded(2).value());
        assert_eq!(Key::Loaded(1).value().len(), VALUE_BYTES);
    }

    #[test]
    fn every_key_is_in_one_batch() {
        let plan = Plan { keys: 2_345, writers: 1 };
        assert_eq!(plan.batches().flatten().collect::<Vec<_>>(), (0..2_345).collect::<Vec<_>>());
    }
}
