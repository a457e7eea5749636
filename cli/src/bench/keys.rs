//! Which keys a benchmark uses: a prefix and a number, spread over the key space.

use crate::error::CliError;

/// Digits that a 64-bit number takes.
const MAX_DIGITS: usize = 16;
/// Odd, so that multiplying by it is one-to-one modulo every power of two; its bits are those of the golden ratio,
/// so that numbers in sequence end up far apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

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
}

impl KeySpace {
    /// Keys of `key_bytes` bytes, prefix included: `keys` of them, or as many as there are numbers.
    ///
    /// # Errors
    /// [`CliError::Usage`] if that many keys do not fit.
    pub(super) fn new(prefix: &str, key_bytes: usize, keys: Option<u64>) -> Result<Self, CliError> {
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
        Ok(Self { prefix: prefix.to_owned(), digits, padding: room - digits, mask, keys })
    }

    /// The key of this number: the prefix, padding, and hex digits.
    pub(super) fn key(&self, number: u64) -> Vec<u8> {
        let number = self.keys.map_or(number, |keys| number % keys);
        let spread = number.wrapping_mul(SPREAD) & self.mask;
        let Self { prefix, digits, padding, .. } = self;
        format!("{prefix}{:0>padding$}{spread:0digits$x}", "", padding = *padding, digits = *digits)
            .into_bytes()
    }
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

    /// The next number.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(SPREAD);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
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
        for (prefix, key_bytes) in [("bench/", 16), ("", 3), ("p", 40)] {
            let space = KeySpace::new(prefix, key_bytes, Some(4_096)).unwrap();
            let keys: BTreeSet<Vec<u8>> = (0..4_096).map(|number| space.key(number)).collect();
            assert_eq!(keys.len(), 4_096);
            assert!(keys.iter().all(|key| key.len() == key_bytes && key.starts_with(prefix.as_bytes())));
            assert_eq!(space.key(4_096), space.key(0));
        }
    }

    #[test]
    fn too_little_room_is_refused() {
        assert!(KeySpace::new("bench/", 6, Some(1)).is_err());
        assert!(KeySpace::new("bench/", 8, Some(257)).is_err());
        assert!(KeySpace::new("bench/", 8, Some(256)).is_ok());
        assert!(KeySpace::new("bench/", 8, None).is_err());
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
