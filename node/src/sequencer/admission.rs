//! Whom to let in: what would wait too long is refused at once.
//!
//! Contract: the time that a request will take is the number of those that are inside times what each of the last ones took. If
//! that is longer than the limit, it is refused before anything is done for it. So a cluster that is asked for more than
//! it can do answers as much as it can, about as late as the limit, however slow its machines are; a queue that is bounded in
//! number alone holds what its clients have given up by the time that it is written. Who has less time than the limit is refused
//! by that: work for an answer that comes too late is taken from those that wait. Few requests are let in always:
//! what a block costs besides them says nothing about one more.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// So many are let in, whatever time they take.
const ALWAYS: u64 = 256;
/// What a block says about the time of a request is outweighed by about so many blocks after it.
const BLOCKS: u64 = 8;

/// Counts who is inside, and how fast they leave.
#[derive(Debug)]
pub(super) struct Admission {
    limit: Option<Duration>,
    inside: AtomicU64,
    /// Nanoseconds that a request takes; 0 while that is not known.
    each: AtomicU64,
    pace: Mutex<Pace>,
}

/// The last blocks: how many requests they had, and how long they took one after the other.
#[derive(Debug, Default)]
struct Pace {
    requests: u64,
    nanos: u64,
    last_arrival: Duration,
}

/// Somebody who is inside, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Admission>);

impl Admission {
    /// With the longest time that a request should take; `None`: everybody is let in.
    pub(super) fn new(limit: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { limit, inside: AtomicU64::new(0), each: AtomicU64::new(0), pace: Mutex::default() })
    }

    /// Lets a request in that is waited for so long, or says how long it would take, if that is too long.
    pub(super) fn enter(self: &Arc<Self>, patience: Duration) -> Result<Place, Duration> {
        let place = Place(Arc::clone(self));
        let before = self.inside.fetch_add(1, Ordering::AcqRel);
        let expected = Duration::from_nanos(self.each.load(Ordering::Acquire).saturating_mul(before));
        match self.limit {
            Some(limit) if before >= ALWAYS && expected > limit.min(patience) => Err(expected),
            _ => Ok(place),
        }
    }

    /// A block of so many requests, proposed then, is applied now.
    pub(super) fn arrived(&self, requests: usize, proposed: Duration, now: Duration) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        // Blocks are on their way beside each other: what one took is what it took after the one before it.
        let took = now.saturating_sub(proposed.max(pace.last_arrival));
        let kept = |sum: u64| sum - sum / BLOCKS;
        pace.requests = kept(pace.requests).saturating_add(u64::try_from(requests).unwrap_or(u64::MAX));
        pace.nanos = kept(pace.nanos).saturating_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        pace.last_arrival = now;
        let each = pace.nanos.checked_div(pace.requests).unwrap_or_default();
        self.each.store(each, Ordering::Release);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(500);

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// How many of so many are let in, and stay.
    fn let_in(admission: &Arc<Admission>, asked: usize) -> Vec<Place> {
        (0..asked).filter_map(|_| admission.enter(Duration::MAX).ok()).collect()
    }

    fn micros_each(admission: &Admission) -> u64 {
        admission.each.load(Ordering::Acquire) / 1_000
    }

    #[test]
    fn as_many_are_let_in_as_can_be_done_within_the_limit() {
        let admission = Admission::new(Some(LIMIT));
        // 100 requests in 10 ms, again and again: 10,000 per second, so 5,000 within half a second.
        (1..50).for_each(|block| admission.arrived(100, at(10 * block - 10), at(10 * block)));
        let inside = let_in(&admission, 20_000);
        assert!((4_900..=5_100).contains(&inside.len()), "{}", inside.len());
        let expected = admission.enter(Duration::MAX).unwrap_err();
        assert!(expected > LIMIT && expected < LIMIT + at(50), "{expected:?}");
        drop(inside);
        assert!(admission.enter(Duration::MAX).is_ok(), "who left makes room");
    }

    #[test]
    fn who_has_less_time_than_it_takes_is_refused_although_others_are_let_in() {
        let admission = Admission::new(Some(LIMIT));
        (1..50).for_each(|block| admission.arrived(100, at(10 * block - 10), at(10 * block)));
        let _inside = let_in(&admission, 2_000);
        assert!(admission.enter(at(150)).unwrap_err() > at(150));
        assert!(admission.enter(at(250)).is_ok() && admission.enter(LIMIT).is_ok());
        let unbounded = Admission::new(None);
        assert!(unbounded.enter(Duration::ZERO).is_ok());
    }

    #[test]
    fn few_are_let_in_however_slow_it_is_and_everybody_before_anything_is_known() {
        let admission = Admission::new(Some(LIMIT));
        assert_eq!(let_in(&admission, 9_000).len(), 9_000);
        admission.arrived(1, at(0), at(2_000));
        assert_eq!(let_in(&admission, 9_000).len() as u64, ALWAYS);
        let unbounded = Admission::new(None);
        unbounded.arrived(1, at(0), at(2_000));
        assert_eq!(let_in(&unbounded, 9_000).len(), 9_000);
    }

    /// One request in 4 ms says little about 400 in 20 ms, which is what a crowd is met with two blocks later.
    #[test]
    fn a_crowd_after_a_calm_is_refused_for_a_block_or_two_only() {
        let admission = Admission::new(Some(LIMIT));
        (1..100).for_each(|block| admission.arrived(1, at(4 * block - 4), at(4 * block)));
        assert_eq!(let_in(&admission, 4_000).len() as u64, ALWAYS);
        admission.arrived(256, at(400), at(420));
        admission.arrived(256, at(410), at(440));
        assert!(let_in(&admission, 4_000).len() > 3_500);
    }

    #[test]
    fn blocks_beside_each_other_are_counted_once_and_idle_time_not_at_all() {
        let admission = Admission::new(Some(LIMIT));
        // Two blocks on their way at a time, each for 20 ms, one arrival every 10 ms.
        (2..50).for_each(|block| admission.arrived(100, at(10 * block - 20), at(10 * block)));
        assert!((98..=101).contains(&micros_each(&admission)), "{}", micros_each(&admission));
        // Nothing for an hour, then a block of 10 ms.
        admission.arrived(100, at(3_600_000), at(3_600_010));
        assert!((98..=101).contains(&micros_each(&admission)), "{}", micros_each(&admission));
    }
}
