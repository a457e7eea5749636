//! What goes into one message of a stream of commits: everything that is there when it can be sent.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use quorate_proto::v1;
use tokio::sync::mpsc;

use super::pending::Pending;

/// A stream that nobody needed for so long is ended.
const IDLE: Duration = Duration::from_secs(10);

/// A commit that waits to be sent.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) commit: v1::StreamedCommit,
    /// Bytes of it.
    pub(super) bytes: usize,
}

/// What is taken and not sent.
struct Gathering {
    tickets: mpsc::Receiver<Ticket>,
    pending: Arc<Pending>,
    /// What did not fit into the message before.
    held: Option<Ticket>,
}

/// The messages of a stream. The connection asks for the next one when it can take it.
pub(super) fn outgoing(
    tickets: mpsc::Receiver<Ticket>,
    pending: Arc<Pending>,
) -> impl Stream<Item = v1::CommitStreamRequest> + Send + 'static {
    let gathering = Gathering { tickets, pending, held: None };
    stream::unfold(gathering, |mut gathering| async move {
        let message = gathering.next().await?;
        Some((message, gathering))
    })
}

impl Gathering {
    /// The next message; `None` when nobody can hand in any more, or nobody did for a while.
    async fn next(&mut self) -> Option<v1::CommitStreamRequest> {
        loop {
            let first = match self.held.take() {
                Some(held) => held,
                None => self.first().await?,
            };
            let message = self.group(first);
            // Where nobody waits any more, there is nothing to send.
            if !message.commits.is_empty() {
                return Some(message);
            }
        }
    }

    async fn first(&mut self) -> Option<Ticket> {
        let first = match tokio::time::timeout(IDLE, self.tickets.recv()).await {
            Ok(first) => first,
            Err(_) => {
                // Nobody can hand in any more; what came in this moment is still sent.
                self.tickets.close();
                self.tickets.recv().await
            }
        };
        // Those who can run now do so first, and what they hand in goes along: those whose answers came in one message
        // are woken together. Where nobody else can run, this is no time at all.
        tokio::task::yield_now().await;
        first
    }

    /// A message with this request and the ones behind it, as far as they fit.
    fn group(&mut self, first: Ticket) -> v1::CommitStreamRequest {
        let room = self.pending.message_bytes();
        let (mut bytes, mut commits) = (0_usize, Vec::new());
        let mut next = Some(first);
        while let Some(ticket) = next {
            if !commits.is_empty() && bytes.saturating_add(ticket.bytes) > room {
                self.held = Some(ticket);
                break;
            }
            if self.pending.is_wanted(ticket.commit.number) {
                bytes = bytes.saturating_add(ticket.bytes);
                commits.push(ticket.commit);
            }
            next = self.tickets.try_recv().ok();
        }
        v1::CommitStreamRequest { commits }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::task::Poll;

    use futures::StreamExt as _;
    use tokio::sync::oneshot;

    use super::super::lane::{Answer, MAX_UNDER_WAY, SMALL};
    use super::*;

    type Waiter = oneshot::Receiver<Option<Answer>>;

    fn commit(bytes: usize) -> v1::StreamedCommit {
        let request =
            v1::CommitRequest { idempotency_key: vec![7; bytes].into(), ..v1::CommitRequest::default() };
        v1::StreamedCommit { request: Some(request), ..v1::StreamedCommit::default() }
    }

    struct Made {
        pending: Arc<Pending>,
        tickets: mpsc::Sender<Ticket>,
        waiting: mpsc::Receiver<Ticket>,
    }

    fn made() -> Made {
        let (tickets, waiting) = mpsc::channel(MAX_UNDER_WAY);
        Made { pending: Arc::new(Pending::new()), tickets, waiting }
    }

    impl Made {
        fn submit(&self, bytes: usize) -> Option<Waiter> {
            self.pending.submit(commit(bytes), &self.tickets)
        }
    }

    fn numbers(message: &v1::CommitStreamRequest) -> Vec<u64> {
        message.commits.iter().map(|commit| commit.number).collect()
    }

    #[tokio::test]
    async fn what_is_there_goes_out_together_and_in_order() {
        let made = made();
        let waiters: Vec<_> = (0..5).map(|_| made.submit(100).unwrap()).collect();
        let mut messages = Box::pin(outgoing(made.waiting, Arc::clone(&made.pending)));
        assert_eq!(numbers(&messages.next().await.unwrap()), [1, 2, 3, 4, 5]);
        let late = made.pending.submit(commit(1), &made.tickets).unwrap();
        assert_eq!(numbers(&messages.next().await.unwrap()), [6]);
        drop((waiters, late, made.tickets));
        assert!(messages.next().await.is_none(), "nobody can hand in any more");
    }

    #[tokio::test]
    async fn those_who_can_run_are_waited_for_and_nobody_else() {
        let made = made();
        let mut messages = Box::pin(outgoing(made.waiting, Arc::clone(&made.pending)));
        let woken: Vec<_> = (0..20)
            .map(|_| {
                let (pending, tickets) = (Arc::clone(&made.pending), made.tickets.clone());
                tokio::spawn(async move { pending.submit(commit(1), &tickets) })
            })
            .collect();
        assert_eq!(numbers(&messages.next().await.unwrap()).len(), 20);
        drop(woken);
    }

    #[tokio::test]
    async fn a_message_has_its_size_and_nothing_is_lost_between_two() {
        let made = made();
        let waiters: Vec<_> = (0..9).map(|_| made.submit(SMALL / 3).unwrap()).collect();
        let mut messages = Box::pin(outgoing(made.waiting, Arc::clone(&made.pending)));
        let mut sent = Vec::new();
        while sent.len() < 9 {
            let message = messages.next().await.unwrap();
            assert!(message.commits.len() <= 2, "more than a message holds");
            sent.extend(numbers(&message));
        }
        assert_eq!(sent, (1..=9).collect::<Vec<u64>>());
        drop(waiters);
    }

    #[tokio::test]
    async fn a_caller_that_went_away_is_not_sent_and_the_others_are() {
        let made = made();
        let mut waiters: Vec<_> = (0..4).map(|_| made.submit(1)).collect();
        waiters.remove(1);
        let mut messages = Box::pin(outgoing(made.waiting, Arc::clone(&made.pending)));
        assert_eq!(numbers(&messages.next().await.unwrap()), [1, 3, 4]);
        assert!(!made.pending.answer(2, Ok(v1::CommitResponse::default())), "it was never sent");
        // One that was sent keeps its place until it is answered.
        waiters.remove(0);
        assert!(made.pending.answer(1, Ok(v1::CommitResponse::default())));
        assert!(!made.pending.answer(1, Ok(v1::CommitResponse::default())), "answered twice");
        assert!(!made.pending.answer(99, Ok(v1::CommitResponse::default())), "never asked");
    }

    #[tokio::test]
    async fn a_stream_is_bounded_and_what_is_large_is_no_part_of_it() {
        let made = made();
        assert!(made.submit(SMALL).is_none(), "with its name it is too large");
        let limits = v1::CommitStreamLimits { requests: 3, message_bytes: 4_000 };
        made.pending.learn(&limits);
        let waiters: Vec<_> = (0..4).map(|_| made.submit(10)).collect();
        assert_eq!(waiters.iter().filter(|waiter| waiter.is_some()).count(), 3);
        assert!(made.pending.answer(2, Ok(v1::CommitResponse::default())));
        assert!(made.submit(2_000).is_none(), "more than a quarter of a message");
        assert!(made.submit(10).is_some());
    }

    /// What was sent, of requests that come, go and are sent in an order that the seed decides; and who waits at the end.
    async fn story(seed: u64) -> (Vec<u64>, BTreeMap<u64, Waiter>) {
        let mut state = seed;
        let mut dice = move |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides
        };
        let Made { pending, tickets, waiting } = made();
        let mut messages = Box::pin(outgoing(waiting, Arc::clone(&pending)));
        let (mut submitted, mut waiters) = (0_u64, BTreeMap::new());
        let mut sent = Vec::new();
        let mut note = |message: &v1::CommitStreamRequest| {
            let bytes: usize = message.commits.iter().map(prost::Message::encoded_len).sum();
            assert!(bytes <= SMALL || message.commits.len() == 1, "{bytes} bytes in a message");
            sent.extend(numbers(message));
        };
        for _ in 0..80 {
            match dice(4) {
                0 | 1 => {
                    let bytes = usize::try_from(dice(6_000)).unwrap();
                    let waiter = pending.submit(commit(bytes), &tickets).unwrap();
                    submitted += 1;
                    waiters.insert(submitted, waiter);
                }
                2 => drop(waiters.remove(&dice(submitted + 1))),
                _ => {
                    // The second look is for those who can run first.
                    for _ in 0..2 {
                        if let Poll::Ready(Some(message)) = futures::poll!(messages.next()) {
                            note(&message);
                        }
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        drop(tickets);
        while let Some(message) = messages.next().await {
            note(&message);
        }
        (sent, waiters)
    }

    #[tokio::test]
    async fn in_any_order_of_events_what_somebody_waits_for_is_sent_once() {
        for seed in 1..=300 {
            let (sent, waiters) = story(seed).await;
            assert!(sent.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {sent:?}");
            let lost: Vec<&u64> = waiters.keys().filter(|number| !sent.contains(number)).collect();
            assert!(lost.is_empty(), "seed {seed}: {lost:?} were never sent");
        }
    }

    #[tokio::test]
    async fn everybody_hears_of_the_end_once() {
        let made = made();
        let waiters: Vec<_> = (0..3).map(|_| made.submit(1).unwrap()).collect();
        assert!(made.pending.answer(1, Ok(v1::CommitResponse::default())));
        made.pending.end(|| None);
        assert!(made.submit(1).is_none() && made.pending.is_over());
        let mut told = Vec::new();
        for waiter in waiters {
            told.push(waiter.await.unwrap().is_some());
        }
        assert_eq!(told, [true, false, false]);
    }
}
