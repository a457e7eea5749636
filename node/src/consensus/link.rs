//! A long-lived append stream to one peer, used by one session of openraft after the other.
//!
//! openraft opens a new stream for each heartbeat and each change of what it replicates. Opening a call on
//! the connection each time costs more than the message, so the call stays open: a session sends its
//! requests through it and takes exactly as many answers. A session that ends with everything answered
//! hands the link back; one that is dropped or fails takes the call down with it, because answers would
//! otherwise be attributed to the wrong requests.

use std::sync::{Mutex, PoisonError};

use futures::{Stream, StreamExt, stream};
use openraft::{
    errors::RPCError,
    raft::{AppendEntriesRequest, StreamAppendResult},
};
use quorate_proto::peer::v1 as pb;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;

use crate::store::log::LogId;

use super::{
    codec,
    network::{Network, failed, rpc, timeout},
    transport::{AppendAnswers, PeerError},
    types::{NodeId, TypeConfig, from_raft_id},
};

/// Requests on their way in one session. Enough to keep a connection and the follower's disk busy.
const IN_FLIGHT: usize = 16;

/// An open append call.
pub(crate) struct Link {
    network: Network,
    node: NodeId,
    requests: mpsc::Sender<pb::AppendRequest>,
    /// Never locked: the mutex makes the stream `Sync`, as openraft wants it.
    answers: Mutex<AppendAnswers>,
}

/// What a request covered: its answer may say no more and no less.
type Covered = (Option<LogId>, Option<LogId>);

type Answer = StreamAppendResult<TypeConfig>;

/// Stops the task that feeds a session when the session ends.
struct Pump(JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Session<'s> {
    link: Link,
    covered: mpsc::Receiver<Covered>,
    keep: &'s mut Option<Link>,
    _pump: Pump,
}

impl Link {
    /// Opens the call.
    pub(crate) async fn open(network: Network, node: NodeId) -> Result<Self, PeerError> {
        let (requests, receiver) = mpsc::channel(1);
        let call = network.transport.append(node, ReceiverStream::new(receiver).boxed());
        let limit = network.timeouts.append;
        let answers = match tokio::time::timeout(limit, call).await {
            Ok(answers) => answers?,
            Err(_) => return Err(timeout(node, limit)),
        };
        Ok(Self { network, node, requests, answers: Mutex::new(answers) })
    }

    /// Sends what `input` yields and gives the answers, in order. Puts the link into `keep` at a clean end.
    pub(crate) fn session<'s, S>(
        self,
        mut input: S,
        keep: &'s mut Option<Link>,
    ) -> impl Stream<Item = Result<Answer, RPCError<TypeConfig>>> + Send + 's
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let (sent, covered) = mpsc::channel(IN_FLIGHT);
        let requests = self.requests.clone();
        let envelope = self.network.postmark.to(self.node);
        let pump = Pump(tokio::spawn(async move {
            while let Some(request) = input.next().await {
                let prev = request.prev_log_id.as_ref().map(from_raft_id);
                let last = request.entries.last().map(|entry| from_raft_id(&entry.log_id)).or(prev);
                let message = codec::append_request(envelope.clone(), request);
                // Whoever takes the answers finds out that the call is gone.
                if sent.send((prev, last)).await.is_err() || requests.send(message).await.is_err() {
                    return;
                }
            }
        }));
        let session = Session { link: self, covered, keep, _pump: pump };
        stream::unfold(Some(session), |session| async move { session?.next().await })
    }

    /// The next answer, within the time limit.
    async fn answer(&mut self) -> Result<pb::AppendResponse, PeerError> {
        let limit = self.network.timeouts.append;
        match tokio::time::timeout(limit, self.unbidden()).await {
            Ok(answer) => answer,
            Err(_) => Err(timeout(self.node, limit)),
        }
    }

    /// The next answer, or the end of the call, whenever it comes.
    async fn unbidden(&mut self) -> Result<pb::AppendResponse, PeerError> {
        let answers = self.answers.get_mut().unwrap_or_else(PoisonError::into_inner);
        match answers.next().await {
            Some(answer) => answer,
            None => Err(failed(self.node, "it ended the append stream")),
        }
    }

    fn check(&self, answer: pb::AppendResponse, (prev, last): Covered) -> Result<Answer, PeerError> {
        let checked = self.network.postmark.check(answer.envelope.as_ref(), self.node);
        checked.map_err(|error| failed(self.node, error))?;
        self.network.applied.told(self.node, answer.applied_index);
        codec::append_result(answer, prev, last).map_err(|error| failed(self.node, error))
    }
}

impl<'s> Session<'s> {
    async fn next(mut self) -> Option<(Result<Answer, RPCError<TypeConfig>>, Option<Session<'s>>)> {
        match self.step().await {
            Ok(None) => {
                // The input has ended and everything sent was answered.
                *self.keep = Some(self.link);
                None
            }
            Ok(Some(Ok(matching))) => Some((Ok(Ok(matching)), Some(self))),
            // After a conflict or a higher vote the peer ends the stream.
            Ok(Some(Err(rejected))) => Some((Ok(Err(rejected)), None)),
            Err(error) => Some((Err(rpc(error)), None)),
        }
    }

    /// The answer to the next request; `None` when there are no more requests. An idle session notices at
    /// once that the call has ended, so that the next block does not have to find out.
    async fn step(&mut self) -> Result<Option<Answer>, PeerError> {
        let (covered, answer) = tokio::select! {
            biased;
            covered = self.covered.recv() => match covered {
                Some(covered) => (covered, self.link.answer().await?),
                None => return Ok(None),
            },
            answer = self.link.unbidden() => {
                // A request is noted before it is sent: without a note there was none.
                let covered = self.covered.try_recv();
                let covered = covered.map_err(|_| failed(self.link.node, "an answer without a request"));
                let answer = answer?;
                (covered?, answer)
            }
        };
        self.link.check(answer, covered).map(Some)
    }
}
