//! The commits that go to one replica: alone a call of its own, many at once on one stream.
//!
//! Contract: a commit that no other is under way with goes out at once, as a call. Others are written to the stream, which is
//! opened for the first of them, as soon as the connection takes something: whatever has been handed in by then goes
//! into one message. Nothing waits for more to come, and there is no timer. Each commit is a request of its own, with its own
//! answer; what is believed of an answer is decided as for a call.
//!
//! A stream that ends, however it ends, leaves what was not answered with an unknown outcome; the caller asks again with the
//! same idempotency key, elsewhere or here, as after a call whose connection broke. A caller that goes away leaves its
//! place to the answer: numbers are not used twice. An answer to a request that is not under way is none that an honest
//! replica gives, and ends the stream.
//!
//! Bounded: a stream has at most [`MAX_UNDER_WAY`] requests or what the replica says, if that is less; what is beyond, and
//! what is large, goes out as a call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_proto::convert::{detail, status};
use quorate_proto::v1::{self, ledger_client::LedgerClient, streamed_answer::Outcome};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::failure::{failure, was_never_sent};
use super::group::{Ticket, outgoing};
use super::pending::Pending;
use crate::clock::Deadline;
use crate::error::{Distrust, Error, Failure};

/// Requests on one stream, at most.
pub(super) const MAX_UNDER_WAY: usize = 1_024;
/// A larger commit gains nothing by company, bytes.
pub(super) const SMALL: usize = 16 << 10;
/// After a stream that failed, commits are calls for this long...
const PAUSE: Duration = Duration::from_secs(1);
/// ...and for this long after a replica said that it has no such streams.
const LONG_PAUSE: Duration = Duration::from_secs(600);
/// A stream that left a request without an answer takes no more, and is given this long for the others.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// What came of a commit.
pub(super) type Answer = Result<v1::CommitResponse, Failure>;

/// The commits to one replica.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Commits that may share a stream, however they went out.
    under_way: AtomicUsize,
    now: Arc<Mutex<Now>>,
}

#[derive(Debug, Default)]
struct Now {
    /// The stream that takes commits.
    open: Option<Open>,
    /// Until when none is opened.
    pause: Option<Deadline>,
}

/// A stream. It ends when this is dropped and everything is answered.
#[derive(Debug, Clone)]
struct Open {
    tickets: mpsc::Sender<Ticket>,
    pending: Arc<Pending>,
}

/// A commit that is under way.
pub(super) struct Place<'a> {
    lane: &'a Lane,
    /// Whether there was no other when it began.
    pub(super) is_alone: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.lane.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    /// Counts a commit as under way.
    pub(super) fn enter(&self) -> Place<'_> {
        let is_alone = self.under_way.fetch_add(1, Ordering::Relaxed) == 0;
        Place { lane: self, is_alone }
    }

    /// Sends a commit on the stream; `None` if it has to be a call, of which nothing was done yet.
    pub(super) async fn send(
        &self,
        (client, endpoint): (LedgerClient<Channel>, &Arc<str>),
        request: &v1::CommitRequest,
        timeout: Duration,
    ) -> Option<Answer> {
        let open = self.open(client, endpoint)?;
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        let commit = v1::StreamedCommit { number: 0, request: Some(request.clone()), timeout_ms };
        let answer = open.pending.submit(commit, &open.tickets)?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Some(Err(unknown(endpoint, "the stream of commits is gone"))),
            Err(_) => {
                self.retire(&open.pending);
                let message = format!("no answer within {} ms", timeout.as_millis());
                Some(Err(unknown(endpoint, &message)))
            }
        }
    }

    /// The stream that takes commits; opened, unless that failed a moment ago.
    fn open(&self, client: LedgerClient<Channel>, endpoint: &Arc<str>) -> Option<Open> {
        let mut now = lock(&self.now);
        if let Some(open) =
            now.open.as_ref().filter(|open| !open.pending.is_over() && !open.tickets.is_closed())
        {
            return Some(open.clone());
        }
        if now.pause.is_some_and(|pause| pause.remaining().is_some()) {
            return None;
        }
        let (tickets, waiting) = mpsc::channel(MAX_UNDER_WAY);
        let pending = Arc::new(Pending::new());
        let stream = Stream {
            endpoint: Arc::clone(endpoint),
            pending: Arc::clone(&pending),
            lane: Arc::downgrade(&self.now),
        };
        tokio::spawn(stream.run(client, waiting));
        let open = Open { tickets, pending };
        now.open = Some(open.clone());
        Some(open)
    }

    /// No more commits go to this stream, and for a moment to none.
    fn retire(&self, pending: &Arc<Pending>) {
        pending.retire();
        let mut now = lock(&self.now);
        if now.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.pending, pending)) {
            now.open = None;
            now.pause = Some(Deadline::after(PAUSE));
        }
    }
}

/// A panic while it was held leaves it whole: each change is one assignment.
fn lock(now: &Mutex<Now>) -> MutexGuard<'_, Now> {
    now.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nobody knows whether it was done.
fn unknown(endpoint: &Arc<str>, message: &str) -> Failure {
    Failure::TryAgain { message: format!("{endpoint}: {message}"), no_effect: false }
}

/// Why a stream is over.
enum Ended {
    /// The replica ended it, or the connection did.
    Closed(Option<Status>),
    /// It was never there, and nothing that was written to it was read.
    NotOpened(Status),
    /// Something else than an honest replica's messages.
    Dishonest(Distrust),
    /// Requests were left without an answer.
    Silent,
}

/// What reads the answers of one stream.
struct Stream {
    endpoint: Arc<str>,
    pending: Arc<Pending>,
    lane: std::sync::Weak<Mutex<Now>>,
}

/// Whoever still waits when the task that reads is gone, with its runtime, hears of it.
impl Drop for Stream {
    fn drop(&mut self) {
        self.pending
            .end(|| Some(Err(unknown(&self.endpoint, "nobody reads the stream of commits any more"))));
    }
}

impl Stream {
    async fn run(self, client: LedgerClient<Channel>, tickets: mpsc::Receiver<Ticket>) {
        let ended = tokio::select! {
            ended = self.serve(client, tickets) => ended,
            () = async {
                self.pending.retired().await;
                tokio::time::sleep(LAST_ANSWERS).await;
            } => Ended::Silent,
        };
        let pause = match &ended {
            Ended::NotOpened(status) if status.code() == Code::Unimplemented => Some(LONG_PAUSE),
            Ended::Closed(None) => None,
            _ => Some(PAUSE),
        };
        if let (Some(pause), Some(lane)) = (pause, self.lane.upgrade()) {
            lock(&lane).pause = Some(Deadline::after(pause));
        }
        let endpoint = &self.endpoint;
        self.pending.end(|| match &ended {
            Ended::NotOpened(_) => None,
            Ended::Closed(None) => Some(Err(unknown(endpoint, "the replica ended the stream of commits"))),
            Ended::Closed(Some(status)) => {
                Some(Err(unknown(endpoint, &format!("the stream of commits broke: {}", status.message()))))
            }
            Ended::Dishonest(what) => Some(Err(Failure::Broken(Error::untrusted(endpoint, what.clone())))),
            Ended::Silent => {
                Some(Err(unknown(endpoint, "requests on the stream are left without an answer")))
            }
        });
    }

    async fn serve(&self, mut client: LedgerClient<Channel>, tickets: mpsc::Receiver<Ticket>) -> Ended {
        match client.commit_stream(outgoing(tickets, Arc::clone(&self.pending))).await {
            Ok(answers) => self.read(answers.into_inner()).await,
            Err(status) => {
                let refused = status.code() == Code::Unimplemented
                    || was_never_sent(&status)
                    || detail(&status).is_some_and(|detail| detail.no_effect);
                if refused { Ended::NotOpened(status) } else { Ended::Closed(Some(status)) }
            }
        }
    }

    async fn read(&self, mut answers: Streaming<v1::CommitStreamResponse>) -> Ended {
        loop {
            let message = match answers.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ended::Closed(None),
                Err(status) => return Ended::Closed(Some(status)),
            };
            let v1::CommitStreamResponse { limits, checkpoints, answers } = message;
            if let Some(limits) = &limits {
                self.pending.learn(limits);
            }
            for answer in answers {
                let number = answer.number;
                if !self.pending.answer(number, self.outcome(answer, &checkpoints)) {
                    return Ended::Dishonest(Distrust::NotAsked {
                        what: "an answer to a request that is not under way on the stream",
                    });
                }
            }
        }
    }

    /// The answer as a call would have given it.
    fn outcome(&self, answer: v1::StreamedAnswer, checkpoints: &[v1::CheckpointProof]) -> Answer {
        match answer.outcome {
            Some(Outcome::Response(mut response)) => {
                let place = usize::try_from(answer.checkpoint).ok().and_then(|place| place.checked_sub(1));
                if let Some(place) = place {
                    response.checkpoint = checkpoints.get(place).cloned();
                }
                Ok(response)
            }
            Some(Outcome::Refusal(refusal)) => {
                let code = Code::from(refusal.code);
                // What says that it is no refusal, and gives no answer, is none of either.
                let code = if code == Code::Ok { Code::Unknown } else { code };
                let refused = match &refusal.detail {
                    Some(detail) => status(code, refusal.message, detail),
                    None => Status::new(code, refusal.message),
                };
                Err(failure(&self.endpoint, &refused))
            }
            // Not believed for what it lacks.
            None => Ok(v1::CommitResponse::default()),
        }
    }
}
