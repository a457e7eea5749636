//! A stream of commits, as a replica serves it.

use futures::StreamExt as _;
use futures::stream::{BoxStream, iter};
use quorate_proto::convert;
use quorate_proto::v1::{self, ledger_server::Ledger as _, streamed_answer::Outcome};
use tonic::{Request, Status, Streaming};

use super::server::Node;

/// Requests at work at once.
const AT_ONCE: usize = 64;

pub(crate) fn answers(
    node: Node,
    messages: Streaming<v1::CommitStreamRequest>,
) -> BoxStream<'static, Result<v1::CommitStreamResponse, Status>> {
    let (counting, working, altering) = (node.clone(), node.clone(), node.clone());
    let limits = v1::CommitStreamLimits { requests: 256, message_bytes: 1 << 20 };
    let first = v1::CommitStreamResponse { limits: Some(limits), ..v1::CommitStreamResponse::default() };
    let commits = messages.flat_map(move |message| {
        counting.streamed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        iter(message.map(|message| message.commits).unwrap_or_default())
    });
    let answered = commits
        .map(move |commit| {
            let node = working.clone();
            async move { one(&node, commit).await }
        })
        .buffer_unordered(AT_ONCE)
        .ready_chunks(AT_ONCE)
        .map(move |answers| {
            let mut message = together(answers);
            if let Some(alter) = altering.alterations().answers {
                alter(&mut message);
            }
            Ok(message)
        });
    let all = iter([Ok(first)]).chain(answered);
    match node.state().cut_after {
        Some(count) => all.take(count).chain(iter([Err(Status::unavailable("cut"))])).boxed(),
        None => all.boxed(),
    }
}

async fn one(node: &Node, commit: v1::StreamedCommit) -> v1::StreamedAnswer {
    let request = commit.request.unwrap();
    let outcome = match node.commit(Request::new(request)).await {
        Ok(response) => Outcome::Response(response.into_inner()),
        Err(status) => Outcome::Refusal(v1::CommitRefusal {
            code: status.code().into(),
            message: status.message().to_owned(),
            detail: convert::detail(&status),
        }),
    };
    v1::StreamedAnswer { number: commit.number, outcome: Some(outcome), checkpoint: 0 }
}

/// One message, with each checkpoint once.
fn together(answers: Vec<v1::StreamedAnswer>) -> v1::CommitStreamResponse {
    let mut message = v1::CommitStreamResponse::default();
    for mut answer in answers {
        if let Some(Outcome::Response(response)) = &mut answer.outcome
            && let Some(checkpoint) = response.checkpoint.take()
        {
            let known = message.checkpoints.iter().position(|known| *known == checkpoint);
            let place = known.unwrap_or_else(|| {
                message.checkpoints.push(checkpoint);
                message.checkpoints.len() - 1
            });
            answer.checkpoint = u32::try_from(place + 1).unwrap();
        }
        message.answers.push(answer);
    }
    message
}
