//! Which keys a benchmark uses: a prefix and a number, spread over the key space.

use crate::error::CliError;

/// Digits that a 64-bit number takes.
const MAX_DIGITS: usize = 16;
/// The constants of SplitMix64.
const MIX: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// Where in the key space the keys of neighbouring numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Order {
    /// Anywhere in the key space: no key says where the next one will be
    Random,
    /// Each behind the one before
    Ascending,
}

/// Makes the keys of a run.
///
/// Invariant: numbers below `capacity` have different keys, all of one length.
#[derive(Debug, Clone)]
pub(super) struct KeySpace {
    prefix: String,
    digits: usize,
    padding: usize,
    /// `16^digits - 1`: as many low bits as the digits can show.
    mask: u64,
    keys: Option<u64>,
    order: Order,
}

impl Order {
    /// Its name on the command line.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Ascending => "ascending",
        }
    }
}

impl KeySpace {
    /// Keys of `key_bytes` bytes, prefix included: `keys` of them, or as many as there are numbers.
    ///
    /// # Errors
    /// [`CliError::Usage`] if that many keys do not fit.
    pub(super) fn new(
        prefix: &str,
        key_bytes: usize,
        keys: Option<u64>,
        order: Order,
    ) -> Result<Self, CliError> {
        let room = key_bytes.saturating_sub(prefix.len());
        let digits = room.min(MAX_DIGITS);
        let mask = match u32::try_from(digits * 4) {
            Ok(bits @ 1..64) => (1 << bits) - 1,
            Ok(64) => u64::MAX,
            _ => 0,
        };
        let needed = keys.map_or(u64::from(u32::MAX), |keys| keys - 1);
        if mask == 0 || mask < needed {
            return Err(CliError::usage(
                format!(
                    "--key-bytes {key_bytes}: {room} bytes after the prefix {prefix:?} are too few for that many keys"
                ),
                "give a larger --key-bytes, a shorter --prefix, or fewer --keys",
            ));
        }
        Ok(Self { prefix: prefix.to_owned(), digits, padding: room - digits, mask, keys, order })
    }

    /// The key of this number: the prefix, padding, and hex digits.
    pub(super) fn key(&self, number: u64) -> Vec<u8> {
        let number = self.keys.map_or(number, |keys| number % keys);
        let spread = match self.order {
            Order::Random => self.shuffled(number),
            Order::Ascending => number & self.mask,
        };
        let Self { prefix, digits, padding, .. } = self;
        format!("{prefix}{:0>padding$}{spread:0digits$x}", "", padding = *padding, digits = *digits)
            .into_bytes()
    }

    /// A number's place in a fixed shuffle of all numbers under the mask: a Feistel network, so no two numbers meet.
    /// (Multiples of one constant are not enough: each falls into the widest gap the earlier ones left, in turn, which
    /// is the worst there is for any cache, and nobody's load.)
    fn shuffled(&self, number: u64) -> u64 {
        let half = self.mask.count_ones() / 2;
        let low = (1 << half) - 1;
        let round = |(left, right), key| (right, left ^ (mixed(right ^ key) & low));
        let (left, right) = MIX.into_iter().fold(((number & self.mask) >> half, number & low), round);
        left << half | right
    }
}

/// A number that says nothing of the one it was made of: the last step of SplitMix64.
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(MIX[1]);
    let number = (number ^ (number >> 27)).wrapping_mul(MIX[2]);
    number ^ (number >> 31)
}

/// Random numbers that need not be good, only different: SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// Begins with what the operating system gives.
    ///
    /// # Errors
    /// If it gives nothing.
    pub(super) fn new() -> Result<Self, CliError> {
        let seed = getrandom::u64();
        seed.map(Self).map_err(|error| {
            CliError::other(format!("the operating system gives no random numbers: {error}"))
        })
    }

    /// Begins with this: the same numbers in every run.
    #[cfg(test)]
    pub(super) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(MIX[0]);
        mixed(self.0)
    }

    /// As many bytes that nothing can compress.
    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length.next_multiple_of(8));
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_differ_and_have_the_length_asked_for() {
        for order in [Order::Random, Order::Ascending] {
            for (prefix, key_bytes) in [("bench/", 16), ("", 3), ("p", 40)] {
                let space = KeySpace::new(prefix, key_bytes, Some(4_096), order).unwrap();
                let keys: BTreeSet<Vec<u8>> = (0..4_096).map(|number| space.key(number)).collect();
                assert_eq!(keys.len(), 4_096);
                assert!(keys.iter().all(|key| key.len() == key_bytes && key.starts_with(prefix.as_bytes())));
                assert_eq!(space.key(4_096), space.key(0));
            }
        }
    }

    /// In every run of numbers, as many keys as chance would put there fall into each sixteenth of the key space.
    #[test]
    fn a_random_order_has_no_pattern_and_an_ascending_one_ascends() {
        let space = KeySpace::new("", 10, None, Order::Random).unwrap();
        for first in [0, 1_000, 123_456_789] {
            let mut counts = [0_u32; 16];
            for number in first..first + 1_600 {
                let digit = char::from(space.key(number)[0]).to_digit(16).unwrap();
                counts[digit as usize] += 1;
            }
            assert!(counts.iter().all(|count| (50..=160).contains(count)), "{counts:?}");
            assert!(counts.iter().any(|count| count.abs_diff(100) > 3), "too even for chance: {counts:?}");
        }
        let space = KeySpace::new("", 10, None, Order::Ascending).unwrap();
        assert!((0..100).map(|number| space.key(number)).is_sorted());
    }

    #[test]
    fn too_little_room_is_refused() {
        assert!(KeySpace::new("bench/", 6, Some(1), Order::Random).is_err());
        assert!(KeySpace::new("bench/", 8, Some(257), Order::Random).is_err());
        assert!(KeySpace::new("bench/", 8, Some(256), Order::Random).is_ok());
        assert!(KeySpace::new("bench/", 8, None, Order::Random).is_err());
    }

    #[test]
    fn values_have_the_length_asked_for_and_differ() {
        let mut dice = Dice::new().unwrap();
        for length in [0, 1, 8, 255, 256] {
            assert_eq!(dice.bytes(length).len(), length);
        }
        assert_ne!(dice.bytes(64), dice.bytes(64));
    }
}
