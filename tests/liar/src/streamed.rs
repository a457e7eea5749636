//! A stream of commits as the liar serves it: each request is asked of the honest nodes, and lied about like a call; and the
//! lies that only a stream can tell.

use futures::{StreamExt as _, stream::BoxStream};
use quorate_proto::{
    convert,
    v1::{self, ledger_server::Ledger as _, streamed_answer::Outcome},
};
use tonic::{Request, Status, Streaming};

use crate::{front::Front, lie::Lie};

/// Requests of a stream that are asked at once.
const AT_ONCE: usize = 64;

/// Answers that are swapped with one another.
const SWAPPED: usize = 2;

impl Front {
    pub(crate) fn streamed(
        self,
        messages: Streaming<v1::CommitStreamRequest>,
    ) -> BoxStream<'static, Result<v1::CommitStreamResponse, Status>> {
        let lie = self.lie;
        let commits = messages.flat_map(|message| {
            let commits = message.map(|message| message.commits).unwrap_or_default();
            futures::stream::iter(commits)
        });
        let answers = commits
            .map(move |commit| {
                let front = self.clone();
                async move { front.one(commit).await }
            })
            .buffer_unordered(AT_ONCE);
        let gathered = match lie {
            Lie::SwappedAnswers => answers.chunks(SWAPPED).boxed(),
            _ => answers.ready_chunks(AT_ONCE).boxed(),
        };
        gathered
            .map(move |mut answers| {
                match lie {
                    Lie::SwappedAnswers => swap(&mut answers),
                    Lie::AnsweredTwice => twice(&mut answers),
                    _ => {}
                }
                Ok(v1::CommitStreamResponse { answers, ..v1::CommitStreamResponse::default() })
            })
            .boxed()
    }

    async fn one(&self, commit: v1::StreamedCommit) -> v1::StreamedAnswer {
        let request = commit.request.unwrap_or_default();
        let outcome = match self.commit(Request::new(request)).await {
            Ok(response) => Outcome::Response(response.into_inner()),
            Err(status) => Outcome::Refusal(v1::CommitRefusal {
                code: status.code().into(),
                message: status.message().to_owned(),
                detail: convert::detail(&status),
            }),
        };
        v1::StreamedAnswer { number: commit.number, outcome: Some(outcome), checkpoint: 0 }
    }
}

/// Says the first answer again.
fn twice(answers: &mut Vec<v1::StreamedAnswer>) {
    if let Some(first) = answers.first().cloned() {
        answers.insert(1, first);
    }
}

/// Gives each of two requests the answer to the other.
fn swap(answers: &mut [v1::StreamedAnswer]) {
    if let [first, second, ..] = answers {
        std::mem::swap(&mut first.number, &mut second.number);
    }
}
