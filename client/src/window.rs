//! How many writes are under way at once: as many as the cluster takes.
//!
//! Contract: every write passes here before it is sent. While nothing is refused, it grows, and who waits does so for those before it alone. Once the leader
//! refuses because it has more than it can do, the window shrinks by a third (once, for all that were refused about the same time),
//! and grows again by a thirty-second of what is accepted. So a program that asks for more than the cluster does waits in its own
//! memory, where waiting costs nothing, and not in a storm of refusals that takes from the cluster what it is short of. What has waited
//! so long that the rest of its time is less than an answer takes at present is not sent: its outcome is certain, and the
//! leader does no work that nobody waits for. Answers that did not come in time count for that too, with the time that they were
//! waited for; without them the answers that did come would say that all come soon.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::{Deadline, Stopwatch};

/// What a client begins with: more than most programs ever have under way.
const FIRST: usize = 4_096;
/// However much is refused, so many are under way...
const LEAST: usize = 4;
/// ...and however much is accepted, not more than that.
const MOST: usize = 1 << 16;
/// Accepted writes for which the window grows by one.
const ACCEPTED_PER_PLACE: usize = 32;
/// For so long an answer says how long answers take.
const RECENT: Duration = Duration::from_secs(1);
/// Refusals within this time after the window shrank are answers to what was sent before it did.
const ONE_REFUSAL: Duration = Duration::from_millis(100);

/// The window of a client.
#[derive(Debug)]
pub(crate) struct Window {
    places: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    size: usize,
    /// Places that are to go, once they are given back.
    owed: usize,
    accepted: usize,
    /// How long answers take: of about the last eight.
    answer: Duration,
    answered: Option<Stopwatch>,
    shrank: Option<Stopwatch>,
}

/// A place in the window, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    window: &'a Window,
    permit: Option<SemaphorePermit<'a>>,
}

impl Window {
    pub(crate) fn new() -> Self {
        let (answer, answered, shrank) = (Duration::ZERO, None, None);
        let state = State { size: FIRST, owed: 0, accepted: 0, answer, answered, shrank };
        Self { places: Semaphore::new(FIRST), state: Mutex::new(state) }
    }

    /// Waits for a place; `None` if there is none before it is too late.
    pub(crate) async fn enter(&self, deadline: Deadline) -> Option<Place<'_>> {
        let permit = match self.places.try_acquire() {
            Ok(permit) => permit,
            Err(_) => tokio::time::timeout(deadline.remaining()?, self.places.acquire()).await.ok()?.ok()?,
        };
        let place = Place { window: self, permit: Some(permit) };
        let answer = self.state().expected();
        deadline.remaining().filter(|left| *left >= answer).map(|_| place)
    }

    /// The leader took a write, and answered after so long.
    pub(crate) fn accepted(&self, took: Duration) {
        let mut state = self.state();
        state.took(took);
        state.accepted += 1;
        if state.accepted >= ACCEPTED_PER_PLACE && state.size < MOST {
            state.accepted = 0;
            state.size += 1;
            match state.owed {
                0 => self.places.add_permits(1),
                _ => state.owed -= 1,
            }
        }
    }

    /// There was no answer to a write within so long. A connection that broke at once says nothing of that.
    pub(crate) fn late(&self, waited: Duration) {
        let mut state = self.state();
        if waited > state.answer {
            state.took(waited);
        }
    }

    /// The leader has more than it can do.
    pub(crate) fn refused(&self) {
        let mut state = self.state();
        if state.shrank.is_some_and(|watch| watch.elapsed() < ONE_REFUSAL) {
            return;
        }
        let under_way = state.size.saturating_sub(self.places.available_permits()).saturating_add(state.owed);
        // What nobody used says nothing about what the leader takes.
        let size = (state.size.min(under_way.max(LEAST)) * 2 / 3).max(LEAST);
        let fewer = state.size - size.min(state.size);
        let gone = self.places.forget_permits(fewer);
        state.owed += fewer - gone;
        state.size -= fewer;
        state.accepted = 0;
        state.shrank = Some(Stopwatch::start());
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn took(&mut self, time: Duration) {
        self.answer = self.answer * 7 / 8 + time / 8;
        self.answered = Some(Stopwatch::start());
    }

    /// How long an answer takes at present; nothing where nobody has been answered for a while.
    fn expected(&self) -> Duration {
        let is_known = self.answered.is_some_and(|answered| answered.elapsed() < RECENT);
        if is_known { self.answer } else { Duration::ZERO }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.window.state();
        if let Some(permit) = self.permit.take_if(|_| state.owed > 0) {
            state.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(1))
    }

    /// How many get a place at once, and keep it.
    async fn all(window: &Window) -> Vec<Place<'_>> {
        let mut places = Vec::new();
        while let Some(place) = window.enter(soon()).await {
            places.push(place);
        }
        places
    }

    #[tokio::test]
    async fn refusals_of_one_moment_shrink_it_once_and_what_is_under_way_ends_first() {
        let window = Window::new();
        let mut places = all(&window).await;
        assert_eq!(places.len(), FIRST);
        (0..100).for_each(|_| window.refused());
        let small = FIRST * 2 / 3;
        assert_eq!(window.state().size, small);
        places.truncate(small);
        assert!(window.enter(soon()).await.is_none(), "places that are given back are gone");
        places.truncate(small - 1);
        assert!(window.enter(soon()).await.is_some());
    }

    #[tokio::test]
    async fn it_shrinks_from_what_is_used_and_never_to_nothing() {
        let window = Window::new();
        let mut used = Vec::new();
        for _ in 0..300 {
            used.extend(window.enter(soon()).await);
        }
        window.refused();
        assert_eq!(window.state().size, 200);
        for _ in 0..30 {
            window.state().shrank = None;
            window.refused();
        }
        assert_eq!(window.state().size, LEAST);
        drop(used);
        assert_eq!(all(&window).await.len(), LEAST);
    }

    #[tokio::test]
    async fn it_grows_with_what_is_accepted() {
        let window = Window::new();
        drop(window.enter(soon()).await);
        window.refused();
        let before = window.state().size;
        (0..10 * ACCEPTED_PER_PLACE).for_each(|_| window.accepted(Duration::ZERO));
        assert_eq!(window.state().size, before + 10);
        assert_eq!(all(&window).await.len(), before + 10);
    }

    #[tokio::test]
    async fn what_is_too_late_to_be_answered_is_not_sent() {
        let window = Window::new();
        let places = all(&window).await;
        (0..100).for_each(|_| window.late(Duration::from_secs(60)));
        let (late, in_time) = (Duration::from_secs(30), Duration::from_secs(600));
        let (late, in_time) = (window.enter(Deadline::after(late)), window.enter(Deadline::after(in_time)));
        let (late, in_time, ()) = tokio::join!(late, in_time, async { drop(places) });
        assert!(late.is_none() && in_time.is_some());
        // Also where there is room.
        let late = || window.enter(Deadline::after(Duration::from_secs(30)));
        assert!(late().await.is_none());
        // What was long ago says nothing: otherwise nobody would ever try again.
        window.state().answered = None;
        assert!(late().await.is_some());
    }

    #[tokio::test]
    async fn whoever_waits_gets_the_place_that_becomes_free() {
        let window = Window::new();
        let places = all(&window).await;
        let wait = window.enter(Deadline::after(Duration::from_secs(30)));
        let (place, ()) = tokio::join!(wait, async { drop(places) });
        assert!(place.is_some());
    }
}
