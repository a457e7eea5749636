//! When each call of an open loop is due.

use std::time::Duration;

/// Nanoseconds in a second.
const SECOND: u128 = 1_000_000_000;

/// Calls at even distances, at a rate in operations: the first is due at the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timetable {
    /// Operations per second.
    rate: u64,
    /// Operations of a call.
    batch: u32,
}

impl Timetable {
    /// At `rate` operations a second, `batch` of them in each call. Neither is 0.
    pub(super) const fn new(rate: u64, batch: u32) -> Self {
        Self { rate, batch }
    }

    /// When the call of this number, from 0, is due, counted from the start.
    pub(super) fn due(&self, number: u64) -> Duration {
        let operations = u128::from(number) * u128::from(self.batch);
        let nanos = operations.saturating_mul(SECOND) / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many calls are due before this time: all those whose numbers are below the answer.
    pub(super) fn due_before(&self, time: Duration) -> u64 {
        let operations = time.as_nanos().saturating_mul(u128::from(self.rate));
        let calls = operations.div_ceil(SECOND * u128::from(self.batch));
        u64::try_from(calls).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_due_at_even_distances() {
        let timetable = Timetable::new(1_000, 1);
        assert_eq!(timetable.due(0), Duration::ZERO);
        assert_eq!(timetable.due(1_500), Duration::from_millis(1_500));
        let batches = Timetable::new(1_000, 100);
        assert_eq!(batches.due(1), Duration::from_millis(100));
        assert_eq!(batches.due_before(Duration::from_secs(1)), 10);
    }

    /// Nothing drifts: an hour of three calls a second is 10,800 calls, though a third of a second is no whole number.
    #[test]
    fn what_is_due_before_a_time_is_due_before_it() {
        for (rate, batch) in [(1, 1), (3, 1), (7, 2), (40_000, 1), (999_983, 4_096)] {
            let timetable = Timetable::new(rate, batch);
            for nanos in [0, 1, 333_333_333, 333_333_334, 1_000_000_000, 7_777_777_777_777] {
                let time = Duration::from_nanos(nanos);
                let count = timetable.due_before(time);
                assert!(count == 0 || timetable.due(count - 1) < time, "{rate} {batch} {nanos}");
                assert!(timetable.due(count) >= time, "{rate} {batch} {nanos}");
            }
        }
        assert_eq!(Timetable::new(3, 1).due_before(Duration::from_secs(3_600)), 10_800);
    }
}
