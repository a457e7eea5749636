//! A node without a ledger: answers every commit at once, with a leaf that it makes of the request and forgets.
//!
//! What is left is what a call costs by itself: TLS, HTTP/2, gRPC, and messages of the same shape and size as a node's.
//! `quorate bench put --wait committed` cannot tell it from a leader, so the load generator is the same, too. The ratio
//! of the two rates says how much of a node's time is the ledger's and how much the call's (`tests/compare/run`).
//!
//! `echo ADDRESS CERTIFICATE KEY`: where to listen, and the files of a node that `quorate init` made. Ends when it is
//! killed. Nothing that it says is signed, so no client believes it to have certified anything.

use std::path::Path;

use futures::stream::{BoxStream, StreamExt as _};
use quorate_core::{
    entry::{OpKind, Operation, TransactionLeaf, meta_digest, ops_root, request_id, value_digest},
    position::{Micros, Revision},
};
use quorate_node::tls::{Credentials, Limits, Security, ServerTls, listen};
use quorate_proto::v1::{
    self,
    ledger_server::{Ledger, LedgerServer},
};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// The author that a node gives to a client without a certificate, and the message that says so.
const AUTHOR: &str = "anonymous";
const META: &[u8] = b"\x0a\x09anonymous";
const META_SALT: [u8; 16] = [1; 16];

/// As a node has it.
const WINDOW: u32 = 4 << 20;
const MAX_CALLS_PER_CONNECTION: u32 = 1_024;

type Answer<T> = Result<Response<T>, Status>;

struct Echo;

impl Echo {
    /// The answer of a leader to this request, if all its keys are new.
    fn commit(request: &v1::CommitRequest) -> Result<v1::CommitResponse, Status> {
        let mut operations = Vec::with_capacity(request.writes.len());
        for (position, write) in (0_u32..).zip(&request.writes) {
            let Some(v1::write::Write::Put(put)) = &write.write else {
                return Err(Status::invalid_argument("writes: expected puts"));
            };
            let salt: [u8; 16] =
                (*put.salt).try_into().map_err(|_| Status::invalid_argument("salt: 16 bytes"))?;
            let operation = Operation {
                kind: OpKind::Put,
                revision: Revision::new(1),
                prev_index: None,
                expires_at: None,
                value_len: u32::try_from(put.value.len()).map_err(|_| Status::invalid_argument("value"))?,
                value_digest: value_digest(&salt, &put.attributes, &put.value),
                key: put.key.to_vec(),
            };
            let operation = operation.encode().into();
            operations.push(v1::RevealedOperation { operation, position, ..Default::default() });
        }
        let invalid = |error: quorate_core::entry::EntryError| Status::invalid_argument(error.to_string());
        let leaf = TransactionLeaf {
            time: Micros::new(request.not_after),
            not_after: Micros::new(request.not_after),
            op_count: u32::try_from(operations.len()).unwrap_or(u32::MAX),
            ops_root: ops_root(operations.iter().map(|revealed| &revealed.operation)),
            request_id: request_id(AUTHOR, &request.idempotency_key).map_err(invalid)?,
            meta_digest: meta_digest(&META_SALT, META),
        };
        let transaction = v1::Transaction {
            index: 1,
            leaf: leaf.encode().to_vec().into(),
            path: Vec::new(),
            operations,
            meta: META.into(),
            meta_salt: META_SALT.to_vec().into(),
        };
        Ok(v1::CommitResponse { transaction: Some(transaction), checkpoint: None, known: false })
    }
}

fn nothing<T>() -> Answer<T> {
    Err(Status::unimplemented("this answers commits and nothing else"))
}

#[tonic::async_trait]
impl Ledger for Echo {
    async fn commit(&self, request: Request<v1::CommitRequest>) -> Answer<v1::CommitResponse> {
        Self::commit(request.get_ref()).map(Response::new)
    }

    type CommitStreamStream = BoxStream<'static, Result<v1::CommitStreamResponse, Status>>;

    async fn commit_stream(
        &self,
        request: Request<Streaming<v1::CommitStreamRequest>>,
    ) -> Answer<Self::CommitStreamStream> {
        let answered = request.into_inner().map(|message| {
            let answers = message?.commits.into_iter().map(|commit| {
                let response = Self::commit(&commit.request.unwrap_or_default())?;
                let outcome = Some(v1::streamed_answer::Outcome::Response(response));
                Ok::<_, Status>(v1::StreamedAnswer { number: commit.number, outcome, checkpoint: 0 })
            });
            let answers = answers.collect::<Result<_, Status>>()?;
            Ok::<_, Status>(v1::CommitStreamResponse { answers, ..v1::CommitStreamResponse::default() })
        });
        Ok(Response::new(answered.boxed()))
    }

    async fn get(&self, _: Request<v1::GetRequest>) -> Answer<v1::GetResponse> {
        nothing()
    }

    async fn get_many(&self, _: Request<v1::GetManyRequest>) -> Answer<v1::GetManyResponse> {
        nothing()
    }

    async fn scan(&self, _: Request<v1::ScanRequest>) -> Answer<v1::ScanResponse> {
        nothing()
    }

    async fn history(&self, _: Request<v1::HistoryRequest>) -> Answer<v1::HistoryResponse> {
        nothing()
    }

    async fn get_transaction(
        &self,
        _: Request<v1::GetTransactionRequest>,
    ) -> Answer<v1::GetTransactionResponse> {
        nothing()
    }

    type ListTransactionsStream = futures::stream::Empty<Result<v1::ListTransactionsResponse, Status>>;

    async fn list_transactions(
        &self,
        _: Request<v1::ListTransactionsRequest>,
    ) -> Answer<Self::ListTransactionsStream> {
        nothing()
    }

    async fn inclusion_proof(
        &self,
        _: Request<v1::InclusionProofRequest>,
    ) -> Answer<v1::InclusionProofResponse> {
        nothing()
    }

    async fn consistency_proof(
        &self,
        _: Request<v1::ConsistencyProofRequest>,
    ) -> Answer<v1::ConsistencyProofResponse> {
        nothing()
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Answer<v1::GetCheckpointResponse> {
        nothing()
    }

    async fn create_ledger(&self, _: Request<v1::CreateLedgerRequest>) -> Answer<v1::CreateLedgerResponse> {
        nothing()
    }

    async fn list_ledgers(&self, _: Request<v1::ListLedgersRequest>) -> Answer<v1::ListLedgersResponse> {
        nothing()
    }

    async fn list_epochs(&self, _: Request<v1::ListEpochsRequest>) -> Answer<v1::ListEpochsResponse> {
        nothing()
    }

    type SubscribeStream = futures::stream::Empty<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(&self, _: Request<v1::SubscribeRequest>) -> Answer<Self::SubscribeStream> {
        nothing()
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        nothing()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, certificate, key] = arguments.as_slice() else {
        return Err("usage: echo ADDRESS CERTIFICATE KEY".into());
    };
    let tls = ServerTls::new(&Credentials::load(Path::new(certificate), Path::new(key))?)?;
    let listener = listen("client", address, Security::Server(tls), Limits::default()).await?;
    println!("listening on {}", listener.local_addr());
    Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
        .add_service(LedgerServer::new(Echo).max_decoding_message_size(64 << 20))
        .serve_with_incoming(listener.incoming())
        .await?;
    Ok(())
}
