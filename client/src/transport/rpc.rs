//! The calls: what each request is answered with.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use quorate_proto::v1;
use tonic::{Request, Status};

use super::Replica;
use super::failure::failure;
use crate::clock::Deadline;
use crate::error::Failure;

/// A request that is answered with one message.
pub(crate) trait Rpc: Clone + Send + Sync {
    /// The answer.
    type Response: Send;

    /// Sends it to a replica, and waits no longer than `timeout`.
    fn send(
        self,
        replica: &Replica,
        timeout: Duration,
    ) -> impl Future<Output = Result<Self::Response, Failure>> + Send;
}

macro_rules! unary {
    ($service:ident: $($request:ident => $method:ident -> $response:ident;)*) => { $(
        impl Rpc for v1::$request {
            type Response = v1::$response;

            async fn send(self, replica: &Replica, timeout: Duration) -> Result<Self::Response, Failure> {
                let mut client = replica.$service();
                within(replica, timeout, client.$method(request(self, timeout))).await
            }
        }
    )* };
}

unary! {
    client:
    CommitRequest => commit -> CommitResponse;
    GetRequest => get -> GetResponse;
    GetManyRequest => get_many -> GetManyResponse;
    ScanRequest => scan -> ScanResponse;
    HistoryRequest => history -> HistoryResponse;
    GetTransactionRequest => get_transaction -> GetTransactionResponse;
    InclusionProofRequest => inclusion_proof -> InclusionProofResponse;
    ConsistencyProofRequest => consistency_proof -> ConsistencyProofResponse;
    GetCheckpointRequest => get_checkpoint -> GetCheckpointResponse;
    CreateLedgerRequest => create_ledger -> CreateLedgerResponse;
    ListLedgersRequest => list_ledgers -> ListLedgersResponse;
    ListEpochsRequest => list_epochs -> ListEpochsResponse;
    StatusRequest => status -> StatusResponse;
}

unary! {
    admin:
    ListMembersRequest => list_members -> ListMembersResponse;
    InviteRequest => invite -> InviteResponse;
    PromoteRequest => promote -> ChangeResponse;
    RemoveRequest => remove -> ChangeResponse;
    ReplaceRequest => replace -> ChangeResponse;
    TransferLeadershipRequest => transfer_leadership -> TransferLeadershipResponse;
    DrainRequest => drain -> DrainResponse;
    FreezeRequest => freeze -> FreezeResponse;
    ThawRequest => thaw -> FreezeResponse;
}

/// A commit that may go out together with others, see [`lane`](super::lane).
#[derive(Debug, Clone)]
pub(crate) struct Grouped(pub(crate) v1::CommitRequest);

impl Rpc for Grouped {
    type Response = v1::CommitResponse;

    async fn send(self, replica: &Replica, timeout: Duration) -> Result<v1::CommitResponse, Failure> {
        let lane = replica.lane();
        let place = lane.enter();
        if place.is_alone {
            return self.0.send(replica, timeout).await;
        }
        let deadline = Deadline::after(timeout);
        match lane.send((replica.client(), replica.endpoint()), &self.0, timeout).await {
            Some(answer) => answer,
            None => self.0.send(replica, deadline.remaining().unwrap_or_default()).await,
        }
    }
}

/// Messages of a stream, as they come.
type Messages<M> = BoxStream<'static, Result<M, Failure>>;

/// Messages of a stream of leaves.
pub(crate) type EntryStream = Messages<v1::ListTransactionsResponse>;

/// Messages of the log as it grows.
pub(crate) type FeedStream = Messages<v1::SubscribeResponse>;

macro_rules! streams {
    ($($request:ident => $method:ident -> $stream:ident;)*) => { $(
        impl Rpc for v1::$request {
            type Response = $stream;

            /// The timeout is for the beginning of the stream.
            async fn send(self, replica: &Replica, timeout: Duration) -> Result<$stream, Failure> {
                let mut client = replica.client();
                let stream = within(replica, timeout, client.$method(Request::new(self))).await?;
                let endpoint = replica.endpoint().clone();
                Ok(stream.map(move |message| message.map_err(|status| failure(&endpoint, &status))).boxed())
            }
        }
    )* };
}

streams! {
    ListTransactionsRequest => list_transactions -> EntryStream;
    SubscribeRequest => subscribe -> FeedStream;
}

/// A request whose deadline the server knows.
fn request<M>(message: M, timeout: Duration) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// Waits for an answer, but not longer. The server's own notice of the same deadline may come first.
async fn within<T>(
    replica: &Replica,
    timeout: Duration,
    answer: impl Future<Output = Result<tonic::Response<T>, Status>> + Send,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(failure(replica.endpoint(), &status)),
        Err(_) => Err(Failure::TryAgain {
            message: format!("{}: no answer within {} ms", replica.endpoint(), timeout.as_millis()),
            no_effect: false,
        }),
    }
}
