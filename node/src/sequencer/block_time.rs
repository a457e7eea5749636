//! The time of blocks: the clock, but never running away.
//!
//! Block time decides which requests are still known and which keys have expired. If the clock jumps ahead, block
//! time follows at most at twice the speed of the monotonic clock, so that one jump cannot forget every request or
//! expire every key at once. It never falls.

use std::time::Duration;

use quorate_core::position::Micros;

/// The clock of one term of leadership.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockTime {
    last: Micros,
    at: Duration,
}

impl BlockTime {
    /// Starts with what the clocks say now.
    pub(super) fn start(wall: Micros, monotonic: Duration) -> Self {
        Self { last: wall, at: monotonic }
    }

    /// The time of a block sealed now.
    pub(super) fn next(&mut self, wall: Micros, monotonic: Duration) -> Micros {
        let elapsed = monotonic.saturating_sub(self.at);
        let most = elapsed.saturating_mul(2);
        let most = self.last.get().saturating_add(u64::try_from(most.as_micros()).unwrap_or(u64::MAX));
        let time = wall.get().clamp(self.last.get(), most);
        *self = Self { last: Micros::new(time), at: monotonic };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn follows_a_steady_clock_exactly() {
        let mut time = BlockTime::start(Micros::new(100 * S), Duration::from_secs(5));
        assert_eq!(time.next(Micros::new(101 * S), Duration::from_secs(6)), Micros::new(101 * S));
        assert_eq!(time.next(Micros::new(101 * S + 7), Duration::new(6, 7_000)), Micros::new(101 * S + 7));
    }

    #[test]
    fn a_jump_ahead_is_followed_at_twice_the_speed() {
        let mut time = BlockTime::start(Micros::new(100 * S), Duration::ZERO);
        let jumped = Micros::new(100_000 * S);
        assert_eq!(time.next(jumped, Duration::from_secs(10)), Micros::new(120 * S));
        for step in 0..1_000 {
            time.next(jumped, Duration::from_secs(10) + Duration::from_micros(step));
        }
        assert!(time.last.get() < 121 * S, "many blocks in one moment do not add up: {}", time.last);
    }

    #[test]
    fn never_falls() {
        let mut time = BlockTime::start(Micros::new(100 * S), Duration::ZERO);
        assert_eq!(time.next(Micros::new(7), Duration::from_secs(1)), Micros::new(100 * S));
    }
}
