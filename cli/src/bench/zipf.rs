//! A few keys most of the time: ranks drawn by Zipf's law, exactly.
//!
//! Contract: rank `r` of `n`, counted from 1, comes with probability proportional to `r^-theta`. Rejection-inversion
//! (W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
//! 1996): the area under the continuous `x^-theta` is inverted, and what the steps of the discrete law do not cover is
//! drawn again. It needs no table, whatever `n` is, and less than two draws on average.
#![expect(
    clippy::float_arithmetic,
    reason = "a law of real exponents, for a benchmark; nothing is agreed on"
)]

use super::keys::Dice;

/// Draws ranks. Its numbers are those of the paper.
#[derive(Debug, Clone, Copy)]
pub(super) struct Zipf {
    theta: f64,
    ranks: u64,
    /// The integral up to half a step behind the first rank, less the height of its step.
    low: f64,
    /// The integral up to half a step behind the last rank.
    high: f64,
    /// Ranks this close behind the point that was drawn are taken without a look at their step.
    close: f64,
}

impl Zipf {
    /// Of the ranks `1..=ranks`; `theta` is above 0.
    pub(super) fn new(ranks: u64, theta: f64) -> Self {
        let mut law = Self { theta, ranks, low: 0.0, high: 0.0, close: 0.0 };
        law.low = law.integral(1.5) - 1.0;
        law.high = law.integral(real(ranks) + 0.5);
        law.close = 2.0 - law.inverse(law.integral(2.5) - law.height(2.0));
        law
    }

    /// A rank, from 0: the most frequent one is 0.
    pub(super) fn draw(&self, dice: &mut Dice) -> u64 {
        loop {
            let area = self.high + fraction(dice) * (self.low - self.high);
            let point = self.inverse(area);
            let rank = whole(point).clamp(1, self.ranks);
            let step = real(rank);
            if step - point <= self.close || area >= self.integral(step + 0.5) - self.height(step) {
                return rank - 1;
            }
        }
    }

    fn height(&self, x: f64) -> f64 {
        (-self.theta * x.ln()).exp()
    }

    /// The integral of the height from 1 to `x`.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        exp_m1_over((1.0 - self.theta) * log) * log
    }

    /// Where the integral is `area`.
    fn inverse(&self, area: f64) -> f64 {
        // Rounding may lead below -1, where there is no logarithm.
        let scaled = (area * (1.0 - self.theta)).max(-1.0);
        (ln_1p_over(scaled) * area).exp()
    }
}

/// `(e^x - 1) / x`, which is 1 at 0: so a `theta` of 1 needs no formula of its own.
fn exp_m1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 }
}

/// `ln(1 + x) / x`, which is 1 at 0.
fn ln_1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x / 2.0 }
}

/// From 0 to below 1, evenly, with the 53 bits that there is room for.
fn fraction(dice: &mut Dice) -> f64 {
    real(dice.next() >> 11) / real(1 << 53)
}

const fn real(number: u64) -> f64 {
    number as f64
}

/// The nearest whole number; 0 below that, and the largest above all.
#[expect(clippy::cast_possible_truncation, reason = "rounded, and what is out of range goes to its end")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 200_000;

    /// How often each rank comes, and how often the law says it does.
    fn counted(ranks: u64, theta: f64) -> Vec<(f64, f64)> {
        let (law, mut dice) = (Zipf::new(ranks, theta), Dice::seeded(7));
        let mut counts = vec![0_u32; usize::try_from(ranks).unwrap()];
        for _ in 0..DRAWS {
            counts[usize::try_from(law.draw(&mut dice)).unwrap()] += 1;
        }
        let weight = |rank: usize| real(rank as u64 + 1).powf(-theta);
        let total: f64 = (0..counts.len()).map(weight).sum();
        let expected = |rank| weight(rank) / total * f64::from(DRAWS);
        counts.iter().enumerate().map(|(rank, count)| (f64::from(*count), expected(rank))).collect()
    }

    /// Chi-squared over the ranks that are expected at least ten times, the others together: its mean is the degrees of
    /// freedom, and six standard deviations above are never seen of a true sampler.
    fn distance(counted: &[(f64, f64)]) -> (f64, f64) {
        let often = counted.iter().copied().filter(|(_, expected)| *expected >= 10.0);
        let seldom = counted.iter().filter(|(_, expected)| *expected < 10.0);
        let rest = seldom.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let cells = often.chain((rest.1 >= 10.0).then_some(rest));
        let (mut sum, mut freedom) = (0.0, -1.0);
        for (count, expected) in cells {
            sum += (count - expected).powi(2) / expected;
            freedom += 1.0;
        }
        (sum, freedom)
    }

    #[test]
    fn ranks_come_as_often_as_the_law_says() {
        for (ranks, theta) in [(2, 0.99), (10, 0.5), (1_000, 0.99), (1_000, 1.0), (300, 1.3), (100_000, 0.8)]
        {
            let (sum, freedom) = distance(&counted(ranks, theta));
            assert!(
                sum < freedom + 6.0 * (2.0 * freedom).sqrt() + 6.0,
                "{ranks}, {theta}: {sum} of {freedom}"
            );
        }
    }

    /// The check above tells laws apart that are close to each other.
    #[test]
    fn another_exponent_is_noticed() {
        let near: Vec<_> = counted(1_000, 0.99);
        let far = counted(1_000, 0.95);
        let mixed: Vec<_> =
            near.iter().zip(&far).map(|((count, _), (_, expected))| (*count, *expected)).collect();
        let (sum, freedom) = distance(&mixed);
        assert!(sum > freedom + 6.0 * (2.0 * freedom).sqrt() + 6.0, "{sum} of {freedom}");
    }

    #[test]
    fn one_rank_and_very_many_are_drawn_too() {
        let mut dice = Dice::seeded(1);
        assert!((0..100).all(|_| Zipf::new(1, 0.99).draw(&mut dice) == 0));
        let law = Zipf::new(u64::MAX >> 12, 0.5);
        assert!((0..1_000).all(|_| law.draw(&mut dice) < u64::MAX >> 12));
        assert!((0..1_000).any(|_| law.draw(&mut dice) > 1 << 40), "the tail is reached");
    }
}
