//! One call, several attempts: follow the leader, go round the replicas, back off, stop at the deadline.
//!
//! Contract: every request that is sent twice is safe to execute twice: reads are, and writes carry an idempotency
//! key, which the client draws if the user names none. So an unknown outcome is retried until the deadline, and only
//! what is still unknown then is reported as such. A refusal that another attempt cannot change ends the call at
//! once. A leader that has more than it can do is asked again, after a pause, and nobody else is: the others would only name
//! it. Whether an *answer* is believed is decided later, and never leads to another attempt.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Deadline, Stopwatch};
use crate::error::{Error, Failure, Outcome};
use crate::leader::{Fleet, Route};
use crate::random;
use crate::transport::{Replica, Rpc};

/// The least time that is left to an attempt before another replica is tried.
const MIN_ATTEMPT: Duration = Duration::from_secs(1);
/// The pause after the first round over all replicas; it doubles with every round.
const FIRST_PAUSE_MS: u64 = 20;
/// The longest pause.
const MAX_PAUSE_MS: u64 = 500;
/// What is said of a write that waited in the window until its time was over.
const NO_PLACE: &str = "the leader takes fewer writes than this client makes, and has refused some: this one waited for those \
                        before it and was not sent";
/// The pause after the first refusal of a leader that has more than it can do; it doubles with every one...
const FIRST_BUSY_PAUSE_MS: u64 = 50;
/// ...to this.
const MAX_BUSY_PAUSE_MS: u64 = 1_000;

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// To whom first.
    pub(crate) route: Route,
    /// When it must be over.
    pub(crate) deadline: Deadline,
    /// How long a replica may take that does what was asked of it, such as waiting for a checkpoint.
    pub(crate) patience: Duration,
}

/// An answer, and who gave it.
#[derive(Debug)]
pub(crate) struct Answered<T> {
    pub(crate) response: T,
    pub(crate) replica: Arc<Replica>,
}

/// What has come of a call so far.
#[derive(Debug)]
struct Progress {
    attempts: u32,
    /// Positions tried since the last pause: a hint that leads back to one of them is out of date.
    tried: Vec<usize>,
    rounds: u32,
    /// Refusals of a leader that had more than it can do.
    busy: u32,
    /// Replicas in a row that are broken.
    broken: usize,
    outcome: Outcome,
    last: String,
    /// Whose signatures were missing, as a replica said.
    uncertified: Option<String>,
}

impl Fleet {
    /// Sends a request until it is answered, refused, or out of time.
    ///
    /// # Errors
    /// The refusal; or [`Error::Unavailable`] with what is known of the outcome.
    pub(crate) async fn call<R: Rpc>(&self, request: &R, plan: Plan) -> Result<Answered<R::Response>, Error> {
        let mut progress = Progress::new();
        let mut position = self.first(plan.route);
        while plan.deadline.remaining().is_some() {
            let Some(replica) = self.at(position) else { break };
            let failure = match self.attempt(request, plan, &replica, &mut progress).await {
                Some(Ok(response)) => {
                    self.answered(plan.route, position);
                    return Ok(Answered { response, replica });
                }
                Some(Err(Failure::Busy { message }))
                    if plan.route == Route::Leader && self.leads(position) =>
                {
                    progress.last = message;
                    progress.busy_pause(plan.deadline).await;
                    continue;
                }
                Some(Err(failure)) => failure,
                None => break,
            };
            position = self.next_after(position, failure, &mut progress).await?;
            self.pause_after_round(&mut progress, plan.deadline).await;
        }
        Err(progress.give_up())
    }

    /// Sends it once, a write when there is a place in the window; `None` if there was none in time.
    async fn attempt<R: Rpc>(
        &self,
        request: &R,
        plan: Plan,
        replica: &Replica,
        progress: &mut Progress,
    ) -> Option<Result<R::Response, Failure>> {
        let place = match plan.route {
            Route::Any => None,
            Route::Leader => {
                let place = self.window.enter(plan.deadline).await;
                if place.is_none() && progress.last.is_empty() {
                    progress.last = NO_PLACE.to_owned();
                }
                Some(place?)
            }
        };
        let timeout = attempt_time(plan.deadline.remaining()?, plan.patience, self.len());
        progress.attempts = progress.attempts.saturating_add(1);
        let sent = Stopwatch::start();
        let answer = request.clone().send(replica, timeout).await;
        match (&answer, &place) {
            (Ok(_), Some(_)) => self.window.accepted(sent.elapsed()),
            (Err(Failure::Busy { .. }), Some(_)) => self.window.refused(),
            (Err(Failure::TryAgain { no_effect: false, .. }), Some(_)) => self.window.late(sent.elapsed()),
            _ => {}
        }
        Some(answer)
    }

    /// Where to try next, or the error that ends the call.
    async fn next_after(
        &self,
        position: usize,
        failure: Failure,
        progress: &mut Progress,
    ) -> Result<usize, Error> {
        progress.tried.push(self.wrap(position));
        let mut hint = None;
        match failure {
            Failure::Final(error) => return Err(error),
            Failure::Broken(error) => {
                progress.broken = progress.broken.saturating_add(1);
                progress.outcome = Outcome::Unknown;
                progress.last = error.to_string();
                if progress.broken >= self.len() {
                    return Err(error);
                }
            }
            Failure::Busy { message } => progress.last = message,
            Failure::TryAgain { message, no_effect } => {
                if !no_effect {
                    progress.outcome = Outcome::Unknown;
                }
                progress.last = message;
            }
            Failure::Uncertified { message, no_effect } => {
                if !no_effect {
                    progress.outcome = Outcome::Unknown;
                }
                progress.uncertified = Some(message);
            }
            Failure::NotLeader { leader, message } => {
                progress.last = message;
                if let Some(leader) = leader {
                    hint = self.locate(leader).await;
                }
            }
        }
        let is_new = |position: &usize| !progress.tried.contains(&self.wrap(*position));
        let others = (1..self.len()).map(|step| position.wrapping_add(step));
        Ok(hint.into_iter().chain(others).find(is_new).unwrap_or_else(|| position.wrapping_add(1)))
    }

    fn wrap(&self, position: usize) -> usize {
        position.checked_rem(self.len()).unwrap_or_default()
    }

    /// When every replica has been tried, waits a while and begins anew.
    async fn pause_after_round(&self, progress: &mut Progress, deadline: Deadline) {
        if (0..self.len()).any(|position| !progress.tried.contains(&position)) {
            return;
        }
        progress.tried.clear();
        let pause = pause(FIRST_PAUSE_MS, progress.rounds, MAX_PAUSE_MS)
            .min(deadline.remaining().unwrap_or_default());
        progress.rounds = progress.rounds.saturating_add(1);
        tokio::time::sleep(pause).await;
    }
}

impl Progress {
    const fn new() -> Self {
        Self {
            attempts: 0,
            tried: Vec::new(),
            rounds: 0,
            busy: 0,
            broken: 0,
            outcome: Outcome::NotDone,
            last: String::new(),
            uncertified: None,
        }
    }

    /// Waits before a leader that has more than it can do is asked again.
    async fn busy_pause(&mut self, deadline: Deadline) {
        let pause = pause(FIRST_BUSY_PAUSE_MS, self.busy, MAX_BUSY_PAUSE_MS);
        self.busy = self.busy.saturating_add(1);
        tokio::time::sleep(pause.min(deadline.remaining().unwrap_or_default())).await;
    }

    fn give_up(self) -> Error {
        if let Some(last) = self.uncertified {
            return Error::Unavailable { outcome: self.outcome, attempts: self.attempts, last };
        }
        let last = if self.last.is_empty() { "no time was left to ask".to_owned() } else { self.last };
        Error::Unavailable { outcome: self.outcome, attempts: self.attempts, last }
    }
}

/// A third of what is left, so that a replica that hangs does not use up the call; all of it if there is no other.
fn attempt_time(left: Duration, patience: Duration, replicas: usize) -> Duration {
    match replicas {
        0 | 1 => left,
        _ => (left / 3).max(MIN_ATTEMPT).saturating_add(patience).min(left),
    }
}

/// Doubles from the first to the longest. Half of it is fixed, half is random: callers that failed together do not come back
/// together.
fn pause(first: u64, rounds: u32, longest: u64) -> Duration {
    let full = first.saturating_mul(1_u64 << rounds.min(10)).min(longest);
    Duration::from_millis((full / 2).saturating_add(random::below(full / 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hanging_replica_leaves_time_for_the_others() {
        let secs = Duration::from_secs;
        assert_eq!(attempt_time(secs(9), Duration::ZERO, 3), secs(3));
        assert_eq!(attempt_time(secs(2), Duration::ZERO, 3), secs(1));
        assert_eq!(attempt_time(secs(9), secs(5), 3), secs(8));
        assert_eq!(attempt_time(secs(9), secs(60), 3), secs(9));
        assert_eq!(attempt_time(secs(9), Duration::ZERO, 1), secs(9));
    }

    #[test]
    fn pauses_grow_and_end_at_half_a_second() {
        for rounds in 0..40 {
            let full = (FIRST_PAUSE_MS << rounds.min(10)).min(MAX_PAUSE_MS);
            let pause = pause(FIRST_PAUSE_MS, rounds, MAX_PAUSE_MS).as_millis();
            assert!(pause >= u128::from(full / 2) && pause <= u128::from(full), "{rounds}: {pause}");
        }
    }
}
