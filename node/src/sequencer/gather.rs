//! Which of the waiting requests go into the next block.

use std::collections::BTreeSet;

use quorate_ledger::{block::Request, outcome::RequestOutcome};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::run::SubmitError;

/// Most ledgers a block may touch (docs/formats.md).
const MAX_LEDGERS: usize = 64;

/// A request that waits for its block.
#[derive(Debug)]
pub(super) struct Waiting {
    /// What is asked, until it is in a block; `None` asks for the founding block.
    pub(super) request: Option<Request>,
    /// Its bytes: to count them is to go through all of it.
    pub(super) weight: usize,
    /// Whom to tell.
    pub(super) reply: oneshot::Sender<Result<Option<RequestOutcome>, SubmitError>>,
    /// Its share of the queue's bytes, given back when the block is on its way.
    pub(super) share: Option<OwnedSemaphorePermit>,
}

impl Waiting {
    /// Itself, unless nobody waits for the answer any more: the call was ended, or its time is over.
    pub(super) fn if_waited_for(self) -> Option<Self> {
        if self.reply.is_closed() {
            metrics::counter!("quorate_requests_given_up_total").increment(1);
            return None;
        }
        Some(self)
    }

    pub(super) fn tell(self, result: Result<Option<RequestOutcome>, SubmitError>) {
        // Who asked may have gone away; then nobody needs to be told.
        self.reply.send(result).ok();
    }
}

/// Bounds of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockBounds {
    pub(super) requests: usize,
    pub(super) bytes: usize,
}

/// The block that is being filled.
#[derive(Debug)]
pub(super) struct OpenBlock {
    bounds: BlockBounds,
    requests: Vec<Waiting>,
    bytes: usize,
    ledgers: BTreeSet<String>,
    /// What no longer fits: the first of the next block.
    held: Option<Waiting>,
}

impl OpenBlock {
    /// A block with its first request, whatever its size; the founding block takes no other.
    pub(super) fn new(first: Waiting, bounds: BlockBounds) -> Self {
        let bytes = first.weight;
        let ledgers = first.request.iter().map(|request| request.ledger.clone()).collect();
        Self { bounds, requests: vec![first], bytes, ledgers, held: None }
    }

    /// Number of requests.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether nothing more can be added.
    pub(super) fn is_full(&self) -> bool {
        let founds = self.requests.first().is_some_and(|first| first.request.is_none());
        let BlockBounds { requests, bytes } = self.bounds;
        founds || self.held.is_some() || self.len() >= requests || self.bytes >= bytes
    }

    /// Adds a request to a block that is not full, or keeps it for the next one. One that nobody waits for is left out: who gave
    /// it up does not know what became of it, and it must not take the place of one that is waited for.
    pub(super) fn add(&mut self, next: Waiting) {
        let Some(next) = next.if_waited_for() else { return };
        let another_ledger =
            next.request.as_ref().is_none_or(|request| !self.ledgers.contains(&request.ledger));
        let fits = self.bytes + next.weight <= self.bounds.bytes && next.request.is_some();
        if !fits || (another_ledger && self.ledgers.len() == MAX_LEDGERS) {
            self.held = Some(next);
            return;
        }
        self.bytes += next.weight;
        if another_ledger {
            self.ledgers.extend(next.request.iter().map(|request| request.ledger.clone()));
        }
        self.requests.push(next);
    }

    /// Takes what waits, in order, until the block is full.
    pub(super) fn fill(&mut self, queue: &mut mpsc::Receiver<Waiting>) {
        while !self.is_full()
            && let Ok(next) = queue.try_recv()
        {
            self.add(next);
        }
    }

    /// The block's requests, and the first of the next block.
    pub(super) fn close(self) -> (Vec<Waiting>, Option<Waiting>) {
        (self.requests, self.held)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    type Answer = oneshot::Receiver<Result<Option<RequestOutcome>, SubmitError>>;

    fn asked(ledger: &str, bytes: usize) -> (Waiting, Answer) {
        let request = Request {
            ledger: ledger.to_owned(),
            idempotency_key: vec![0; bytes].into(),
            ..Request::default()
        };
        let (reply, answer) = oneshot::channel();
        let weight = request.encoded_len();
        (Waiting { request: Some(request), weight, reply, share: None }, answer)
    }

    /// One that is waited for to the end.
    fn waiting(ledger: &str, bytes: usize) -> Waiting {
        let (waiting, answer) = asked(ledger, bytes);
        std::mem::forget(answer);
        waiting
    }

    fn gathered(waiting: Vec<Waiting>, bounds: BlockBounds) -> (usize, bool) {
        let (sender, mut queue) = mpsc::channel(100);
        let mut waiting = waiting.into_iter();
        let first = waiting.next().unwrap();
        waiting.for_each(|w| sender.try_send(w).unwrap());
        let mut block = OpenBlock::new(first, bounds);
        block.fill(&mut queue);
        let (block, held) = block.close();
        (block.len(), held.is_some())
    }

    const WIDE: BlockBounds = BlockBounds { requests: 100, bytes: 1 << 20 };

    #[test]
    fn what_nobody_waits_for_is_left_out() {
        let given_up = (0..3).map(|_| asked("a", 10).0);
        let all = std::iter::once(waiting("a", 10)).chain(given_up).chain([waiting("a", 10)]);
        assert_eq!(gathered(all.collect(), WIDE), (2, false));
    }

    #[test]
    fn takes_all_that_waits() {
        assert_eq!(gathered((0..7).map(|_| waiting("a", 10)).collect(), WIDE), (7, false));
    }

    #[test]
    fn stops_at_count_and_bytes() {
        let many = || (0..7).map(|_| waiting("a", 100)).collect();
        assert_eq!(gathered(many(), BlockBounds { requests: 3, ..WIDE }), (3, false));
        assert_eq!(gathered(many(), BlockBounds { bytes: 250, ..WIDE }), (2, true));
    }

    #[test]
    fn one_large_request_has_a_block_of_its_own() {
        assert_eq!(
            gathered(vec![waiting("a", 500), waiting("a", 1)], BlockBounds { bytes: 250, ..WIDE }),
            (1, false)
        );
    }

    #[test]
    fn at_most_64_ledgers() {
        let many = (0..70).map(|n| waiting(&format!("ledger-{n}"), 1)).collect();
        assert_eq!(gathered(many, WIDE), (64, true));
    }

    #[test]
    fn the_founding_block_is_alone() {
        let found = Waiting { request: None, ..waiting("a", 1) };
        assert_eq!(gathered(vec![found, waiting("a", 1)], WIDE), (1, false));
    }
}
