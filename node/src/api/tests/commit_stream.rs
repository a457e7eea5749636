//! Streams of commits: the same answers as calls, each once; bounded whatever the client does.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use quorate_core::position::NodeId;
use quorate_proto::v1::{self, streamed_answer::Outcome};
use tonic::{Code, Status};

use super::{
    commit::verified,
    world::{World, put},
};
use crate::{
    api::commit_stream::{Answers, MAX_IN_FLIGHT},
    config::Limits,
    sequencer::SubmitError,
};

type Message = Result<v1::CommitStreamRequest, Status>;

fn message(commits: impl IntoIterator<Item = (u64, v1::CommitRequest)>) -> Message {
    let commit = |(number, request)| v1::StreamedCommit { number, request: Some(request), timeout_ms: 0 };
    Ok(v1::CommitStreamRequest { commits: commits.into_iter().map(commit).collect() })
}

/// Serves these messages; the limits come first.
async fn serve(world: &World, messages: impl Stream<Item = Message> + Send + 'static) -> Answers {
    let mut answers = world.api.answer_commit_stream(messages).unwrap();
    let first = answers.next().await.unwrap().unwrap();
    assert!(first.answers.is_empty() && first.limits.unwrap().requests > 0);
    answers
}

/// These messages, and then nothing: the client keeps its side open.
fn and_wait(messages: Vec<Message>) -> BoxStream<'static, Message> {
    stream::iter(messages).chain(stream::pending()).boxed()
}

/// What came of a request, as a call says it.
fn told(
    answer: &v1::StreamedAnswer,
    checkpoints: &[v1::CheckpointProof],
) -> Result<v1::CommitResponse, String> {
    match answer.outcome.clone().unwrap() {
        Outcome::Response(mut response) => {
            assert!(response.checkpoint.is_none(), "it is among those of the message");
            if answer.checkpoint > 0 {
                response.checkpoint = Some(checkpoints[answer.checkpoint as usize - 1].clone());
            }
            Ok(response)
        }
        Outcome::Refusal(refusal) => {
            assert_ne!(refusal.code, i32::from(Code::Ok));
            Err(refusal.detail.unwrap().reason)
        }
    }
}

type Told = (u64, Result<v1::CommitResponse, String>);

async fn all(answers: Answers) -> Vec<Told> {
    let mut all = Vec::new();
    for message in answers.collect::<Vec<_>>().await {
        let message = message.unwrap();
        all.extend(message.answers.iter().map(|answer| (answer.number, told(answer, &message.checkpoints))));
    }
    all.sort_by_key(|(number, _)| *number);
    all
}

#[tokio::test]
async fn each_request_has_its_own_answer_and_a_refusal_is_one() {
    let world = World::new().await;
    let good = world.request(vec![put("a", "1")]);
    let large = "x".repeat((4 << 20) + 1);
    let absent = v1::Precondition {
        key: "a".into(),
        condition: Some(v1::precondition::Condition::MustNotExist(true)),
    };
    let requests = [
        good.clone(),
        world.request(vec![put("b", &large)]),
        v1::CommitRequest { preconditions: vec![absent], ..world.request(vec![put("c", "1")]) },
        good.clone(),
        v1::CommitRequest { ledger: "_system".to_owned(), ..world.request(vec![put("d", "1")]) },
        v1::CommitRequest { wait: v1::Wait::Committed.into(), ..world.request(vec![put("e", "1")]) },
    ];
    let size = world.size();
    let numbered = (1..).zip(requests.clone());
    let answers = all(serve(&world, stream::iter([message(numbered)])).await).await;
    assert_eq!(answers.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let reason = |place: usize| answers[place].1.clone().unwrap_err();
    assert_eq!([reason(1), reason(2), reason(4)], ["value_too_long", "precondition_failed", "system_ledger"]);
    let first = verified(&world, &good, answers[0].1.clone().unwrap());
    let again = answers[3].1.clone().unwrap();
    assert!(again.known);
    assert_eq!(verified(&world, &good, again).index(), first.index());
    let committed = answers[5].1.clone().unwrap();
    assert!(committed.checkpoint.is_none() && committed.transaction.is_some());
    assert_eq!(world.size(), size + 4, "two transactions and their commit leaves");
}

#[tokio::test]
async fn a_checkpoint_that_several_answers_have_is_said_once() {
    let world = World::new().await;
    let requests: Vec<_> = (0..5).map(|n| world.request(vec![put(&format!("k{n}"), "v")])).collect();
    for request in &requests {
        world.commit(request.clone()).await.unwrap();
    }
    // All are known, and so all are proven under the newest checkpoint; the last one by one who believes another.
    let mut asked = requests.clone();
    asked[4].trusted_size = 2;
    let mut answers = serve(&world, stream::iter([message((1..).zip(asked))])).await;
    let answered = answers.next().await.unwrap().unwrap();
    assert_eq!((answered.answers.len(), answered.checkpoints.len()), (5, 2));
    for answer in &answered.answers {
        let request = &requests[usize::try_from(answer.number).unwrap() - 1];
        verified(&world, request, told(answer, &answered.checkpoints).unwrap());
    }
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn overload_refuses_requests_and_not_the_stream() {
    let world = World::with(Limits { calls: 2, ..Limits::default() }).await;
    let permits = world.api.0.calls.try_acquire_many(2).unwrap();
    let request = |n: u64| (n, world.request(vec![put("a", "1")]));
    let first = message([request(1), request(2)]);
    let (more, later) = tokio::sync::mpsc::channel(1);
    let messages = stream::iter([first]).chain(tokio_stream::wrappers::ReceiverStream::new(later));
    let mut answers = serve(&world, messages).await;
    let refused = answers.next().await.unwrap().unwrap();
    for answer in &refused.answers {
        assert_eq!(told(answer, &[]).unwrap_err(), "too_many_calls");
    }
    drop(permits);
    more.send(message([request(3)])).await.unwrap();
    let answered = answers.next().await.unwrap().unwrap();
    assert!(told(&answered.answers[0], &answered.checkpoints).is_ok());
}

#[tokio::test]
async fn when_another_node_leads_what_was_read_is_answered_and_the_stream_ends() {
    let world = World::new().await;
    for (error, reason) in [
        (SubmitError::NotLeader { leader: Some(NodeId::new(2)) }, "not_leader"),
        (SubmitError::OutcomeUnknown, "outcome_unknown"),
        (SubmitError::Stopped("for a test".to_owned()), "outcome_unknown"),
    ] {
        *world.fake.submit_error.lock().unwrap() = Some(error);
        let requests = (1..=3).map(|number| (number, world.request(vec![put("a", "1")])));
        let answers = serve(&world, and_wait(vec![message(requests)])).await;
        let reasons: Vec<String> =
            all(answers).await.into_iter().map(|(_, told)| told.unwrap_err()).collect();
        assert_eq!(reasons, [reason; 3]);
    }
    // A full queue is no reason to leave.
    *world.fake.submit_error.lock().unwrap() = Some(SubmitError::Full);
    let request = (1, world.request(vec![put("a", "1")]));
    let mut answers = serve(&world, and_wait(vec![message([request])])).await;
    assert_eq!(told(&answers.next().await.unwrap().unwrap().answers[0], &[]).unwrap_err(), "queue_full");
    assert!(futures::poll!(answers.next()).is_pending());
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_read_no_further_and_loses_none() {
    let world = World::new().await;
    let read = Arc::new(AtomicUsize::new(0));
    let count = 3 * MAX_IN_FLIGHT;
    let request =
        v1::CommitRequest { wait: v1::Wait::Committed.into(), ..world.request(vec![put("a", "1")]) };
    let counter = Arc::clone(&read);
    let messages = stream::iter(1..=count as u64).map(move |number| {
        counter.fetch_add(1, Ordering::SeqCst);
        message([(number, request.clone())])
    });
    let answers = serve(&world, messages).await;
    // One that is known is answered at once; so this goes on until the stream takes no more.
    let mut seen = 0;
    loop {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let now = read.load(Ordering::SeqCst);
        if now == seen {
            break;
        }
        seen = now;
    }
    // As many again have their answers in the one message that waits to be taken.
    assert!(seen <= 2 * MAX_IN_FLIGHT, "{seen} requests were read of a client that takes no answers");
    let numbers: Vec<u64> = all(answers).await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, (1..=count as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_takes_no_answer_for_as_long_as_a_call_may_take_is_left() {
    let world = World::with(Limits { call_timeout_ms: 50, ..Limits::default() }).await;
    let free = || world.api.0.commit_streams.available_permits();
    let all_free = free();
    let request = |n| message([(n, world.request(vec![put("a", "1")]))]);
    let messages = and_wait((1..=3).map(request).collect());
    let answers = world.api.answer_commit_stream(messages).unwrap();
    assert_eq!(free(), all_free - 1);
    while free() < all_free {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(answers.count().await <= 2, "what was in its way, and the end");
}

#[tokio::test]
async fn a_node_that_stops_ends_its_streams() {
    let world = World::new().await;
    let request = (1, world.request(vec![put("a", "1")]));
    let mut answers = serve(&world, and_wait(vec![message([request])])).await;
    assert_eq!(answers.next().await.unwrap().unwrap().answers.len(), 1);
    world.api.0.stopping.send_replace(true);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn what_is_no_message_ends_the_stream_behind_the_answers() {
    let world = World::new().await;
    let requests = (1..=3).map(|number| (number, world.request(vec![put("a", "1")])));
    let broken = Err(Status::out_of_range("a message that is too large"));
    let mut answers = serve(&world, stream::iter([message(requests), broken])).await;
    let mut answered = 0;
    let ended = loop {
        match answers.next().await.unwrap() {
            Ok(message) => answered += message.answers.len(),
            Err(status) => break status,
        }
    };
    assert_eq!((answered, ended.code()), (3, Code::OutOfRange));
}
