//! The requests of one stream of commits: who waits for which number.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message as _;
use quorate_proto::v1;
use tokio::sync::{Notify, mpsc, oneshot};

use super::group::Ticket;
use super::lane::{Answer, MAX_UNDER_WAY, SMALL};

/// Who waits; told `None` if it has to be a call, of which nothing was done yet.
type Waiting = oneshot::Sender<Option<Answer>>;

/// The requests of a stream that are not answered.
///
/// Invariants: a number is used once; a ticket is in the queue in the order of numbers; once it is over, nobody waits.
#[derive(Debug)]
pub(super) struct Pending {
    state: Mutex<State>,
    retired: Notify,
}

#[derive(Debug)]
struct State {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// How many may wait.
    limit: usize,
    /// Bytes of requests that go into one message.
    message_bytes: usize,
    is_over: bool,
}

impl Pending {
    pub(super) fn new() -> Self {
        let state = State {
            next: 1,
            waiting: BTreeMap::new(),
            limit: MAX_UNDER_WAY,
            message_bytes: SMALL,
            is_over: false,
        };
        Self { state: Mutex::new(state), retired: Notify::new() }
    }

    /// Gives a commit its number and hands it in; `None` if the stream takes no more.
    pub(super) fn submit(
        &self,
        mut commit: v1::StreamedCommit,
        tickets: &mpsc::Sender<Ticket>,
    ) -> Option<oneshot::Receiver<Option<Answer>>> {
        let mut state = self.lock();
        if state.is_over || state.waiting.len() >= state.limit {
            return None;
        }
        let number = state.next;
        commit.number = number;
        let bytes = commit.encoded_len();
        if bytes > state.message_bytes.min(SMALL) {
            return None;
        }
        tickets.try_send(Ticket { commit, bytes }).ok()?;
        state.next = number.saturating_add(1);
        let (waiting, answer) = oneshot::channel();
        state.waiting.insert(number, waiting);
        Some(answer)
    }

    /// Whether somebody still waits for a request that was not sent yet. If not, it never will be.
    pub(super) fn is_wanted(&self, number: u64) -> bool {
        let mut state = self.lock();
        match state.waiting.get(&number) {
            Some(waiting) if !waiting.is_closed() => true,
            _ => {
                state.waiting.remove(&number);
                false
            }
        }
    }

    /// Bytes of requests that may go into one message.
    pub(super) fn message_bytes(&self) -> usize {
        self.lock().message_bytes
    }

    /// What the replica says of the stream.
    pub(super) fn learn(&self, limits: &v1::CommitStreamLimits) {
        /// More in one message gains nothing.
        const MOST: usize = 256 << 10;
        let mut state = self.lock();
        let requests = usize::try_from(limits.requests).unwrap_or(usize::MAX);
        state.limit = requests.clamp(1, MAX_UNDER_WAY);
        // A quarter of what it takes: bytes of requests are not all that a message has.
        let bytes = usize::try_from(limits.message_bytes / 4).unwrap_or(usize::MAX);
        state.message_bytes = bytes.clamp(1, MOST);
    }

    /// Tells who waits for it; false if nobody asked for this number, or it was answered before.
    #[must_use]
    pub(super) fn answer(&self, number: u64, answer: Answer) -> bool {
        let Some(waiting) = self.lock().waiting.remove(&number) else {
            return false;
        };
        // Who asked may have gone away.
        waiting.send(Some(answer)).ok();
        true
    }

    /// Tells everybody who waits, and takes no more.
    pub(super) fn end(&self, why: impl Fn() -> Option<Answer>) {
        let waiting = {
            let mut state = self.lock();
            state.is_over = true;
            std::mem::take(&mut state.waiting)
        };
        for waiting in waiting.into_values() {
            waiting.send(why()).ok();
        }
    }

    /// Whether it takes no more.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// The stream left a request without an answer.
    pub(super) fn retire(&self) {
        self.retired.notify_one();
    }

    /// Returns when that was so.
    pub(super) async fn retired(&self) {
        self.retired.notified().await;
    }

    /// A panic while it was held leaves it whole, but for a number that nobody waits for.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
