//! Which key comes next: a new one, or one of a fixed number of them.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::keys::Dice;
use super::zipf::Zipf;

/// The exponent of `zipf` where none is given: that of the YCSB benchmark.
const THETA: f64 = 0.99;
/// The largest exponent: with it, one key takes 999 of 1,000 draws.
const MAX_THETA: f64 = 10.0;

/// How keys are chosen from a fixed number of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Distribution {
    /// One after the other, and again from the first.
    Sequential,
    /// Each as likely as any other.
    Uniform,
    /// The n-th most popular one as often as `n^-theta` says.
    Zipf(f64),
}

impl Distribution {
    /// Reads `sequential`, `uniform`, `zipf` or `zipf:THETA`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no distribution; write sequential, uniform, zipf or zipf:1.2");
        match text.split_once(':') {
            None if text == "sequential" => Ok(Self::Sequential),
            None if text == "uniform" => Ok(Self::Uniform),
            None if text == "zipf" => Ok(Self::Zipf(THETA)),
            Some(("zipf", theta)) => {
                let theta: f64 = theta.parse().map_err(|_| wrong())?;
                match theta > 0.0 && theta <= MAX_THETA {
                    true => Ok(Self::Zipf(theta)),
                    false => Err(format!("the exponent of zipf is above 0 and at most {MAX_THETA}")),
                }
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequential => f.write_str("sequential"),
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(theta) => write!(f, "zipf:{theta}"),
        }
    }
}

/// Chooses the numbers of keys. Clones choose from the same.
#[derive(Debug, Clone)]
pub(super) enum Choice {
    /// The next of an order that all clients share: new keys, or the fixed ones in turn.
    Next(Arc<AtomicU64>),
    /// Any number below this.
    Uniform(u64),
    /// A number below the second, which is a rank.
    Zipf(Zipf, u64),
}

impl Choice {
    /// New numbers from `first` on.
    pub(super) fn new_from(first: u64) -> Self {
        Self::Next(Arc::new(AtomicU64::new(first)))
    }

    /// Numbers below `keys`, or those that are below it when divided by it ([`super::keys::KeySpace`] does that).
    pub(super) fn of(keys: u64, distribution: Distribution) -> Self {
        match distribution {
            Distribution::Sequential => Self::new_from(0),
            Distribution::Uniform => Self::Uniform(keys),
            Distribution::Zipf(theta) => Self::Zipf(Zipf::new(keys, theta), keys),
        }
    }

    /// So many different numbers. There must be as many. One that was drawn before is replaced by the next one behind
    /// it that was not.
    pub(super) fn numbers(&self, count: u32, dice: &mut Dice) -> Vec<u64> {
        match self {
            Self::Next(next) => {
                let first = next.fetch_add(u64::from(count), Ordering::Relaxed);
                (0..u64::from(count)).map(|step| first.wrapping_add(step)).collect()
            }
            Self::Uniform(keys) => distinct(count, *keys, || dice.next() % keys),
            Self::Zipf(law, keys) => distinct(count, *keys, || law.draw(dice)),
        }
    }
}

fn distinct(count: u32, keys: u64, mut draw: impl FnMut() -> u64) -> Vec<u64> {
    let mut taken = HashSet::new();
    let mut one = || {
        let mut number = draw();
        while !taken.insert(number) {
            number = (number + 1) % keys;
        }
        number
    };
    (0..count).map(|_| one()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn distributions_are_read_and_written_alike() {
        for (text, shown) in [
            ("sequential", "sequential"),
            ("uniform", "uniform"),
            ("zipf", "zipf:0.99"),
            ("zipf:1.2", "zipf:1.2"),
        ] {
            assert_eq!(Distribution::parse(text).unwrap().to_string(), shown);
        }
        for text in ["", "zip", "zipf:", "zipf:x", "zipf:0", "zipf:-1", "zipf:NaN", "zipf:inf", "uniform:1"] {
            assert!(Distribution::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_transaction_never_has_a_key_twice() {
        let mut dice = Dice::seeded(3);
        for text in ["sequential", "uniform", "zipf:0.5", "zipf:5"] {
            let choice = Choice::of(100, Distribution::parse(text).unwrap());
            for count in [1, 7, 100] {
                let numbers: BTreeSet<u64> = choice.numbers(count, &mut dice).into_iter().collect();
                assert_eq!(numbers.len(), count as usize, "{text}");
            }
        }
    }

    #[test]
    fn clones_share_an_order_and_uniform_reaches_every_number() {
        let mut dice = Dice::seeded(5);
        let choice = Choice::new_from(u64::MAX);
        assert_eq!(choice.clone().numbers(2, &mut dice), [u64::MAX, 0]);
        assert_eq!(choice.numbers(1, &mut dice), [1]);
        let uniform = Choice::of(10, Distribution::Uniform);
        let seen: BTreeSet<u64> = (0..200).flat_map(|_| uniform.numbers(1, &mut dice)).collect();
        assert_eq!(seen, (0..10).collect());
    }
}
