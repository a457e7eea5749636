//! The liar as clients see it: the service of a node with its certificate, in front of honest nodes.

use futures::{StreamExt as _, stream::BoxStream};
use quorate_node::tls::{Limits, Listener, listen};
use quorate_proto::v1::{
    self,
    ledger_client::LedgerClient,
    ledger_server::{Ledger, LedgerServer},
};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Server},
};

use crate::{
    lie::Lie,
    stolen::{Failure, Stolen},
    upstream::Upstream,
};

/// A connection to an honest node.
pub(crate) type Client = LedgerClient<Channel>;

/// What was true when the liar started.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// The ledger.
    pub ledger: String,
    /// What the remembered key held.
    pub get: Option<v1::GetResponse>,
    /// The transaction that had written it.
    pub transaction: Option<v1::Transaction>,
}

/// The service.
#[derive(Clone)]
pub struct Front {
    pub(crate) lie: Lie,
    pub(crate) liars: std::sync::Arc<Vec<Stolen>>,
    pub(crate) upstream: Upstream,
    pub(crate) past: Past,
}

impl Front {
    /// Remembers what `key` holds now, and lies from then on. The first of `liars` is the node it stands for.
    ///
    /// # Errors
    /// What the honest nodes say.
    pub async fn new(
        lie: Lie,
        liars: Vec<Stolen>,
        upstream: Upstream,
        ledger: &str,
        key: &str,
    ) -> Result<Self, Failure> {
        let past = Past { ledger: ledger.to_owned(), ..Past::default() };
        let mut front = Self { lie, liars: std::sync::Arc::new(liars), upstream, past };
        let options = v1::ReadOptions { prove: true, ..v1::ReadOptions::default() };
        let key = key.to_owned().into_bytes().into();
        let get = v1::GetRequest { ledger: ledger.to_owned(), key, options: Some(options.clone()) };
        let get = front.honest_get(get).await?;
        if let Some(index) = get.item.as_ref().and_then(|item| item.index) {
            front.past.transaction = front.honest_transaction(ledger, index, options).await?.transaction;
        }
        front.past.get = Some(get);
        Ok(front)
    }

    /// Binds the port, with the node's own certificate.
    ///
    /// # Errors
    /// A port or a certificate that cannot be used.
    pub async fn bind(&self, address: &str) -> Result<Listener, Failure> {
        let liar = self.liars.first().ok_or("whose certificate?")?;
        Ok(listen("liar", address, liar.towards_clients()?, Limits::default()).await?)
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// The server library's.
    pub async fn serve(self, port: Listener) -> Result<(), Failure> {
        let service = LedgerServer::new(self).max_decoding_message_size(64 << 20);
        Ok(Server::builder().add_service(service).serve_with_incoming(port.incoming()).await?)
    }

    pub(crate) async fn honest_get(&self, request: v1::GetRequest) -> Result<v1::GetResponse, Status> {
        self.upstream
            .ask(|mut client| {
                let request = request.clone();
                async move { client.get(request).await }
            })
            .await
    }

    pub(crate) async fn honest_transaction(
        &self,
        ledger: &str,
        index: u64,
        options: v1::ReadOptions,
    ) -> Result<v1::GetTransactionResponse, Status> {
        let request = v1::GetTransactionRequest {
            ledger: ledger.to_owned(),
            which: Some(v1::get_transaction_request::Which::Index(index)),
            options: Some(options),
            contents: true,
        };
        self.upstream
            .ask(|mut client| {
                let request = request.clone();
                async move { client.get_transaction(request).await }
            })
            .await
    }
}

/// What the client believes, by its read options.
fn trusted(options: Option<&v1::ReadOptions>) -> u64 {
    options.map_or(0, |options| options.trusted_size)
}

/// Asks the honest nodes.
macro_rules! honest {
    ($front:expr, $call:ident, $request:expr) => {
        $front
            .upstream
            .ask(|mut client| {
                let request = $request.clone();
                async move { client.$call(request).await }
            })
            .await?
    };
}

#[tonic::async_trait]
impl Ledger for Front {
    type ListTransactionsStream = BoxStream<'static, Result<v1::ListTransactionsResponse, Status>>;
    type SubscribeStream = BoxStream<'static, Result<v1::SubscribeResponse, Status>>;

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let request = request.into_inner();
        let mut answer = honest!(self, commit, request);
        self.committed(&request, &mut answer).await?;
        self.checkpoint(&mut answer.checkpoint, request.trusted_size).await?;
        Ok(Response::new(answer))
    }

    type CommitStreamStream = BoxStream<'static, Result<v1::CommitStreamResponse, Status>>;

    async fn commit_stream(
        &self,
        request: Request<Streaming<v1::CommitStreamRequest>>,
    ) -> Result<Response<Self::CommitStreamStream>, Status> {
        Ok(Response::new(self.clone().streamed(request.into_inner())))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let request = request.into_inner();
        let mut answer = honest!(self, get, request);
        self.value(&request, &mut answer).await?;
        self.checkpoint(&mut answer.checkpoint, trusted(request.options.as_ref())).await?;
        Ok(Response::new(answer))
    }

    async fn get_many(
        &self,
        request: Request<v1::GetManyRequest>,
    ) -> Result<Response<v1::GetManyResponse>, Status> {
        let request = request.into_inner();
        let mut answer = honest!(self, get_many, request);
        self.checkpoint(&mut answer.checkpoint, trusted(request.options.as_ref())).await?;
        Ok(Response::new(answer))
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<v1::ScanResponse>, Status> {
        let request = request.into_inner();
        let mut answer = honest!(self, scan, request);
        self.listing(&request, &mut answer).await?;
        self.checkpoint(&mut answer.checkpoint, trusted(request.options.as_ref())).await?;
        Ok(Response::new(answer))
    }

    async fn history(
        &self,
        request: Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryResponse>, Status> {
        let request = request.into_inner();
        let mut answer = honest!(self, history, request);
        self.history_of(&mut answer);
        self.checkpoint(&mut answer.checkpoint, trusted(request.options.as_ref())).await?;
        Ok(Response::new(answer))
    }

    async fn get_transaction(
        &self,
        request: Request<v1::GetTransactionRequest>,
    ) -> Result<Response<v1::GetTransactionResponse>, Status> {
        let request = request.into_inner();
        let mut answer = honest!(self, get_transaction, request);
        self.transaction_of(&mut answer);
        self.checkpoint(&mut answer.checkpoint, trusted(request.options.as_ref())).await?;
        Ok(Response::new(answer))
    }

    async fn list_transactions(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<Self::ListTransactionsStream>, Status> {
        let request = request.into_inner();
        Ok(Response::new(honest!(self, list_transactions, request).boxed()))
    }

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        Ok(Response::new(honest!(self, subscribe, request).boxed()))
    }

    async fn list_epochs(
        &self,
        request: Request<v1::ListEpochsRequest>,
    ) -> Result<Response<v1::ListEpochsResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(honest!(self, list_epochs, request)))
    }

    async fn inclusion_proof(
        &self,
        request: Request<v1::InclusionProofRequest>,
    ) -> Result<Response<v1::InclusionProofResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(honest!(self, inclusion_proof, request)))
    }

    async fn consistency_proof(
        &self,
        request: Request<v1::ConsistencyProofRequest>,
    ) -> Result<Response<v1::ConsistencyProofResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(honest!(self, consistency_proof, request)))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let request = request.into_inner();
        let mut answer = honest!(self, get_checkpoint, request);
        self.checkpoint(&mut answer.checkpoint, request.trusted_size).await?;
        Ok(Response::new(answer))
    }

    async fn create_ledger(
        &self,
        request: Request<v1::CreateLedgerRequest>,
    ) -> Result<Response<v1::CreateLedgerResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(honest!(self, create_ledger, request)))
    }

    async fn list_ledgers(
        &self,
        request: Request<v1::ListLedgersRequest>,
    ) -> Result<Response<v1::ListLedgersResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(honest!(self, list_ledgers, request)))
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let request = request.into_inner();
        let mut answer = honest!(self, status, request);
        // Whoever asks here is to know of nobody else: as a node that is alone in reach.
        answer.members.clear();
        Ok(Response::new(answer))
    }
}
