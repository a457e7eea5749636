//! Commit, many requests on one stream: the same requests, answers and refusals, without a call for each.
//!
//! Contract: every request that was read is worked on by itself, as Commit works on it: its own bounds, time, place among
//! the calls at work, outcome. It is answered once, when it is ready; what is ready together goes out in one message, in
//! which a checkpoint that several answers have is said once. A refusal is an answer, and the stream goes on. Once an answer
//! says that this node does not lead any more, or stops, nothing more is read: what was read is answered, and the stream ends.
//!
//! Bounded: so many requests and bytes of them are at work or answered, beside those of the one message that waits to be
//! taken; beyond that nothing is read, and the connection holds the client back. Whoever takes no answer for as long as a call may take has its stream ended.
//! *If the stream breaks*, what was submitted goes on and is committed or not, as with a call whose connection breaks: the
//! client asks again with the same idempotency key.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use futures::{
    FutureExt as _, Stream,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered, StreamExt as _},
};
use prost::Message as _;
use quorate_proto::{convert, v1};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    errors::{Problem, Reason},
    interface::{Api, Deadline},
};

/// Requests of a stream that are at work, or answered and not taken, at most.
pub(super) const MAX_IN_FLIGHT: usize = 1_024;

/// Bytes of these: no more is begun beyond. A single one may be as large as a message.
const MAX_BYTES: usize = 16 << 20;

/// A message of answers is closed when it is as large as this: what every gRPC library takes has 4 MiB.
const ANSWER_BYTES: usize = 1 << 20;

/// With how many checkpoints of a message a further one is compared.
const COMPARED: usize = 8;

/// The answers of a stream.
pub(crate) type Answers = BoxStream<'static, Result<v1::CommitStreamResponse, Status>>;

/// A request that was answered.
struct Done {
    number: u64,
    /// Bytes of the request.
    weight: usize,
    result: Result<v1::CommitResponse, Status>,
}

/// Why nothing more is read.
enum End {
    /// The client sends nothing more, or this node is the wrong one to send to.
    Done,
    /// What arrived is no message, or the connection broke.
    Broken(Status),
}

/// What serves one stream.
struct Pump<S> {
    api: Api,
    incoming: Pin<Box<S>>,
    /// Read and not begun: at most one message.
    waiting: VecDeque<v1::StreamedCommit>,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Answered and not handed on.
    ready: VecDeque<Done>,
    /// Of `work` and `ready`.
    bytes: usize,
    /// By when the client has to take an answer that is ready.
    patience: Deadline,
    end: Option<End>,
    _permit: OwnedSemaphorePermit,
}

impl Api {
    /// Serves a stream of commits.
    pub(super) fn answer_commit_stream<S>(&self, incoming: S) -> Result<Answers, Problem>
    where
        S: Stream<Item = Result<v1::CommitStreamRequest, Status>> + Send + 'static,
    {
        let permit = Arc::clone(&self.0.commit_streams).try_acquire_owned().map_err(|_| {
            Reason::TooManyCalls.refuse("too many streams of commits are open here: send single calls")
        })?;
        let pump = Pump {
            incoming: Box::pin(incoming),
            waiting: VecDeque::new(),
            work: FuturesUnordered::new(),
            ready: VecDeque::new(),
            bytes: 0,
            patience: self.patience(),
            end: None,
            api: self.clone(),
            _permit: permit,
        };
        // One message waits for the connection; while it does, the next one gathers.
        let (answers, taken) = mpsc::channel(1);
        tokio::spawn(pump.run(answers));
        Ok(ReceiverStream::new(taken).boxed())
    }

    fn patience(&self) -> Deadline {
        let parts = self.parts();
        Deadline::after(&parts.clock, Duration::from_millis(parts.limits.call_timeout_ms))
    }

    /// Works on one request as on a call.
    async fn one(self, commit: v1::StreamedCommit, weight: usize) -> Done {
        let v1::StreamedCommit { number, request, timeout_ms } = commit;
        let asked = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms.into()));
        let request = request.unwrap_or_default();
        let work = |until| self.answer_commit(request, until);
        let result = self.timed("Commit", asked, work).await;
        Done { number, weight, result }
    }
}

impl<S> Pump<S>
where
    S: Stream<Item = Result<v1::CommitStreamRequest, Status>> + Send + 'static,
{
    async fn run(mut self, answers: mpsc::Sender<Result<v1::CommitStreamResponse, Status>>) {
        if answers.send(Ok(self.limits())).await.is_err() {
            return;
        }
        let mut stopping = self.api.0.stopping.subscribe();
        loop {
            self.begin();
            if self.end.is_some() && self.is_idle() {
                break;
            }
            let reads = self.end.is_none() && self.waiting.is_empty() && self.has_room();
            tokio::select! {
                biased;
                Some(done) = self.work.next(), if !self.work.is_empty() => self.gather(done),
                place = answers.reserve(), if !self.ready.is_empty() => match place {
                    Ok(place) => place.send(Ok(self.message())),
                    Err(_) => return,
                },
                () = answers.closed() => return,
                () = tokio::time::sleep(self.patience.remaining()), if !self.ready.is_empty() => return,
                message = self.incoming.next(), if reads => self.read(message),
                // The sender is a part of the interface: it is not gone while this runs.
                _ = stopping.wait_for(|stopping| *stopping), if self.end.is_none() => self.end = Some(End::Done),
            }
        }
        if let Some(End::Broken(status)) = self.end {
            // Who is gone needs no reason.
            answers.send(Err(status)).await.ok();
        }
    }

    fn limits(&self) -> v1::CommitStreamResponse {
        let limits = v1::CommitStreamLimits {
            requests: u32::try_from(MAX_IN_FLIGHT).unwrap_or(u32::MAX),
            message_bytes: u64::try_from(self.api.parts().limits.message_bytes).unwrap_or(u64::MAX),
        };
        v1::CommitStreamResponse { limits: Some(limits), ..v1::CommitStreamResponse::default() }
    }

    fn has_room(&self) -> bool {
        self.work.len().saturating_add(self.ready.len()) < MAX_IN_FLIGHT && self.bytes < MAX_BYTES
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.work.is_empty() && self.ready.is_empty()
    }

    /// Begins what waits, as far as there is room.
    fn begin(&mut self) {
        while self.has_room()
            && let Some(commit) = self.waiting.pop_front()
        {
            let weight = commit.encoded_len();
            self.bytes = self.bytes.saturating_add(weight);
            self.work.push(self.api.clone().one(commit, weight).boxed());
        }
    }

    fn read(&mut self, message: Option<Result<v1::CommitStreamRequest, Status>>) {
        match message {
            Some(Ok(message)) => self.waiting.extend(message.commits),
            Some(Err(status)) => self.end = Some(End::Broken(status)),
            None => self.end = Some(End::Done),
        }
    }

    /// Takes an answer, and all others that are ready: those of one block are so together.
    fn gather(&mut self, first: Done) {
        if self.ready.is_empty() {
            self.patience = self.api.patience();
        }
        let mut next = Some(first);
        while let Some(done) = next {
            if self.end.is_none() && done.result.as_ref().is_err_and(ends_the_stream) {
                self.end = Some(End::Done);
            }
            self.ready.push_back(done);
            next = self.work.next().now_or_never().flatten();
        }
    }

    /// The next message of answers.
    fn message(&mut self) -> v1::CommitStreamResponse {
        let mut message = v1::CommitStreamResponse::default();
        let mut bytes = 0_usize;
        while bytes < ANSWER_BYTES
            && let Some(done) = self.ready.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(done.weight);
            let known = message.checkpoints.len();
            let answer = answer(done, &mut message.checkpoints);
            let checkpoint = message.checkpoints.get(known).map_or(0, prost::Message::encoded_len);
            bytes = bytes.saturating_add(answer.encoded_len()).saturating_add(checkpoint);
            message.answers.push(answer);
        }
        self.patience = self.api.patience();
        message
    }
}

/// Whether other requests would be refused for the same reason: the client does better elsewhere.
fn ends_the_stream(status: &Status) -> bool {
    let reasons = [Reason::NotLeader, Reason::OutcomeUnknown, Reason::NodeStopped, Reason::StoreFault];
    convert::detail(status).is_some_and(|detail| reasons.iter().any(|reason| reason.row().0 == detail.reason))
}

/// The answer for the wire; its checkpoint is put among those of the message, unless it is there.
fn answer(done: Done, checkpoints: &mut Vec<v1::CheckpointProof>) -> v1::StreamedAnswer {
    use v1::streamed_answer::Outcome;
    let mut response = match done.result {
        Ok(response) => response,
        Err(status) => {
            let refusal = v1::CommitRefusal {
                code: status.code().into(),
                message: status.message().to_owned(),
                detail: convert::detail(&status),
            };
            let outcome = Some(Outcome::Refusal(refusal));
            return v1::StreamedAnswer { number: done.number, outcome, checkpoint: 0 };
        }
    };
    let place = response.checkpoint.take().map(|checkpoint| {
        let mut newest = checkpoints.iter().enumerate().rev().take(COMPARED);
        let known = newest.find(|(_, known)| **known == checkpoint).map(|(place, _)| place);
        known.unwrap_or_else(|| {
            checkpoints.push(checkpoint);
            checkpoints.len().saturating_sub(1)
        })
    });
    let checkpoint =
        place.and_then(|place| u32::try_from(place).ok()).map_or(0, |place| place.saturating_add(1));
    v1::StreamedAnswer { number: done.number, outcome: Some(Outcome::Response(response)), checkpoint }
}
