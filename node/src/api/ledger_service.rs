//! The service `quorate.v1.Ledger`: every call comes in here, and is bounded, timed and counted in one place.
//!
//! A call is refused at once when as many are at work as may be, and when this node has a fault; it has the time that
//! the caller gives, at most the node's own. A fault of the store met on the way stops the node.

use std::{future::Future, time::Duration};

use quorate_proto::v1::{self, ledger_server::Ledger};
use tonic::{Code, Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    access,
    commit_stream::Answers,
    errors::{Problem, Reason},
    interface::{Api, Deadline},
    metrics,
    subscribe::Feed,
    transactions::Entries,
};

impl Api {
    /// Answers one call.
    pub(super) async fn call<Q, A, F>(
        &self,
        name: &'static str,
        request: Request<Q>,
        work: impl FnOnce(Api, Q, Deadline) -> F + Send,
    ) -> Result<Response<A>, Status>
    where
        F: Future<Output = Result<A, Problem>> + Send,
    {
        access::check(name, &request)?;
        let asked = timeout_of(request.metadata());
        let work = |deadline| work(self.clone(), request.into_inner(), deadline);
        self.timed(name, asked, work).await.map(Response::new)
    }

    /// Does the work of a call that was let in, in the time that the caller gives, and counts it.
    pub(super) async fn timed<A, F>(
        &self,
        name: &'static str,
        asked: Option<Duration>,
        work: impl FnOnce(Deadline) -> F,
    ) -> Result<A, Status>
    where
        F: Future<Output = Result<A, Problem>> + Send,
    {
        let clock = &self.parts().clock;
        let started = clock.monotonic();
        let limit = Duration::from_millis(self.parts().limits.call_timeout_ms);
        let time = asked.map_or(limit, |asked| asked.min(limit));
        let deadline = Deadline::after(clock, time);
        let result = self.admitted(deadline.clone(), work(deadline)).await;
        let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
        metrics::answered(name, code, clock.monotonic().saturating_sub(started));
        result
    }

    async fn admitted<A>(
        &self,
        deadline: Deadline,
        work: impl Future<Output = Result<A, Problem>> + Send,
    ) -> Result<A, Status> {
        if let Some(fault) = self.parts().health.fault() {
            return Err(Reason::NodeStopped.refuse(format!("this node has stopped serving: {fault}")));
        }
        let Ok(_permit) = self.0.calls.try_acquire() else {
            return Err(Reason::TooManyCalls.refuse("too many calls are at work here: try again in a moment"));
        };
        match tokio::time::timeout(deadline.remaining(), work).await {
            Ok(result) => result.map_err(|problem| self.refusal(problem)),
            Err(_) => {
                Err(Reason::Timeout.refuse("there was no answer in time: ask again with the same request"))
            }
        }
    }

    /// The refusal for a problem; a fault stops the node.
    pub(super) fn refusal(&self, problem: Problem) -> Status {
        match problem {
            Problem::Refused(status) => status,
            Problem::Fault(fault) => {
                let text = fault.to_string();
                self.parts().health.fail(text.clone());
                Reason::StoreFault.refuse(format!("this node has stopped serving: {text}"))
            }
        }
    }
}

/// The time the caller gives (gRPC over HTTP/2, "grpc-timeout"): up to 8 digits and a unit.
fn timeout_of(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3_600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Ledger for Api {
    type ListTransactionsStream = Entries;
    type SubscribeStream = Feed;
    type CommitStreamStream = Answers;

    async fn commit(&self, request: Request<v1::CommitRequest>) -> Answer<v1::CommitResponse> {
        self.call("Commit", request, |api, asked, until| async move { api.answer_commit(asked, until).await })
            .await
    }

    async fn commit_stream(&self, request: Request<Streaming<v1::CommitStreamRequest>>) -> Answer<Answers> {
        let work = |api: Api, asked: Streaming<_>, _| async move { api.answer_commit_stream(asked) };
        self.call("CommitStream", request, work).await
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Answer<v1::GetResponse> {
        self.call("Get", request, |api, asked, until| async move { api.answer_get(asked, until).await }).await
    }

    async fn get_many(&self, request: Request<v1::GetManyRequest>) -> Answer<v1::GetManyResponse> {
        self.call(
            "GetMany",
            request,
            |api, asked, until| async move { api.answer_get_many(asked, until).await },
        )
        .await
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Answer<v1::ScanResponse> {
        self.call("Scan", request, |api, asked, until| async move { api.answer_scan(asked, until).await })
            .await
    }

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Answer<v1::HistoryResponse> {
        self.call(
            "History",
            request,
            |api, asked, until| async move { api.answer_history(asked, until).await },
        )
        .await
    }

    async fn get_transaction(
        &self,
        request: Request<v1::GetTransactionRequest>,
    ) -> Answer<v1::GetTransactionResponse> {
        let work = |api: Api, asked, until| async move { api.answer_get_transaction(asked, until).await };
        self.call("GetTransaction", request, work).await
    }

    async fn list_transactions(&self, request: Request<v1::ListTransactionsRequest>) -> Answer<Entries> {
        let work = |api: Api, asked, _| async move { api.answer_list_transactions(asked).await };
        self.call("ListTransactions", request, work).await
    }

    async fn subscribe(&self, request: Request<v1::SubscribeRequest>) -> Answer<Feed> {
        let work = |api: Api, asked, _| async move { api.answer_subscribe(asked).await };
        self.call("Subscribe", request, work).await
    }

    async fn inclusion_proof(
        &self,
        request: Request<v1::InclusionProofRequest>,
    ) -> Answer<v1::InclusionProofResponse> {
        let work = |api: Api, asked, _| async move { api.answer_inclusion_proof(asked).await };
        self.call("InclusionProof", request, work).await
    }

    async fn consistency_proof(
        &self,
        request: Request<v1::ConsistencyProofRequest>,
    ) -> Answer<v1::ConsistencyProofResponse> {
        let work = |api: Api, asked, _| async move { api.answer_consistency_proof(asked).await };
        self.call("ConsistencyProof", request, work).await
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Answer<v1::GetCheckpointResponse> {
        let work = |api: Api, asked, until| async move { api.answer_get_checkpoint(asked, until).await };
        self.call("GetCheckpoint", request, work).await
    }

    async fn create_ledger(
        &self,
        request: Request<v1::CreateLedgerRequest>,
    ) -> Answer<v1::CreateLedgerResponse> {
        let work = |api: Api, asked, _| async move { api.answer_create_ledger(asked).await };
        self.call("CreateLedger", request, work).await
    }

    async fn list_ledgers(
        &self,
        request: Request<v1::ListLedgersRequest>,
    ) -> Answer<v1::ListLedgersResponse> {
        let work = |api: Api, v1::ListLedgersRequest {}, _| async move { api.answer_list_ledgers().await };
        self.call("ListLedgers", request, work).await
    }

    async fn list_epochs(&self, request: Request<v1::ListEpochsRequest>) -> Answer<v1::ListEpochsResponse> {
        let work = |api: Api, asked, until| async move { api.answer_list_epochs(asked, until).await };
        self.call("ListEpochs", request, work).await
    }

    async fn status(&self, _request: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        Ok(Response::new(self.status_now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_time_is_understood() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("an ASCII value"));
            timeout_of(&metadata)
        };
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("1H"), Some(Duration::from_secs(3_600)));
        assert_eq!((read("S"), read("5x"), read("123456789S"), read("-1S")), (None, None, None, None));
        assert_eq!(timeout_of(&MetadataMap::new()), None);
    }
}
