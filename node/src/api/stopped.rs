//! The interface of a node that does not take part, and is up only to say so: its files are damaged, or it waits for the
//! other nodes to admit it.
//!
//! Contract: `Status` tells the reason and who the node is; every other call, tile and checkpoint is refused with the
//! reason. `/livez` is 200, because starting it again would not help; `/readyz` is 503 with the reason. There is no Raft,
//! no signer and no store behind it, so it cannot vote, sign or answer by mistake.

use std::{future::Future, path::PathBuf, sync::Arc};

use bytes::Bytes;
use quorate_core::{
    frozen::KNOWS_FREEZES,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::NodeId,
};
use quorate_proto::v1::{
    self,
    ledger_server::{Ledger, LedgerServer},
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    commit_stream::Answers,
    errors::Reason,
    metrics, resources,
    serve::{ServeError, serve},
    status::refused_peers,
    subscribe::Feed,
    transactions::Entries,
};
use crate::{
    clock::Clock,
    evidence::EvidenceFiles,
    http::{Health, HttpSource, SourceError, TileIndex, TileWidth},
    peer::SPOKEN,
    tls::Incoming,
    upkeep::Refused,
};

/// Why a node does not take part, and what to do.
#[derive(Debug)]
pub enum Absence {
    /// It was not started.
    Fault(String),
    /// It is not started yet.
    Waiting(String),
}

impl Absence {
    fn text(&self) -> &str {
        match self {
            Self::Fault(text) | Self::Waiting(text) => text,
        }
    }

    const fn is_fault(&self) -> bool {
        matches!(self, Self::Fault(_))
    }
}

/// What is known of a node that does not take part.
#[derive(Debug)]
pub struct StoppedParts {
    /// This node.
    pub me: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// Its origin.
    pub origin: ClusterOrigin,
    /// The members by the cluster file.
    pub members: Vec<v1::Member>,
    /// Why it does not take part.
    pub why: Absence,
    /// The clock.
    pub clock: Clock,
    /// Where its files are.
    pub data_dir: PathBuf,
    /// Peers that it does not talk to.
    pub refused: Refused,
}

/// The interface of a node that does not take part. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stopped(Arc<StoppedParts>);

type Answer<T> = Result<Response<T>, Status>;

impl Stopped {
    /// About this node.
    #[must_use]
    pub fn new(parts: StoppedParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Answers clients until `shutdown` completes.
    ///
    /// # Errors
    /// [`ServeError`]; with connections of our own making it does not happen.
    pub async fn serve(
        self,
        incoming: Incoming,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        serve((LedgerServer::new(self), None), || false, incoming, shutdown).await
    }

    fn refuse<T>(&self) -> Answer<T> {
        let not = if self.0.why.is_fault() { "was not started" } else { "is not started yet" };
        Err(Reason::NodeStopped.refuse(format!("this node {not}: {}", self.0.why.text())))
    }

    fn withheld(&self) -> SourceError {
        SourceError::Unavailable(self.0.why.text().to_owned())
    }
}

#[tonic::async_trait]
impl Ledger for Stopped {
    type ListTransactionsStream = Entries;
    type SubscribeStream = Feed;
    type CommitStreamStream = Answers;

    async fn commit(&self, _: Request<v1::CommitRequest>) -> Answer<v1::CommitResponse> {
        self.refuse()
    }

    async fn commit_stream(&self, _: Request<Streaming<v1::CommitStreamRequest>>) -> Answer<Answers> {
        self.refuse()
    }

    async fn get(&self, _: Request<v1::GetRequest>) -> Answer<v1::GetResponse> {
        self.refuse()
    }

    async fn get_many(&self, _: Request<v1::GetManyRequest>) -> Answer<v1::GetManyResponse> {
        self.refuse()
    }

    async fn scan(&self, _: Request<v1::ScanRequest>) -> Answer<v1::ScanResponse> {
        self.refuse()
    }

    async fn history(&self, _: Request<v1::HistoryRequest>) -> Answer<v1::HistoryResponse> {
        self.refuse()
    }

    async fn get_transaction(
        &self,
        _: Request<v1::GetTransactionRequest>,
    ) -> Answer<v1::GetTransactionResponse> {
        self.refuse()
    }

    async fn list_transactions(&self, _: Request<v1::ListTransactionsRequest>) -> Answer<Entries> {
        self.refuse()
    }

    async fn subscribe(&self, _: Request<v1::SubscribeRequest>) -> Answer<Feed> {
        self.refuse()
    }

    async fn inclusion_proof(
        &self,
        _: Request<v1::InclusionProofRequest>,
    ) -> Answer<v1::InclusionProofResponse> {
        self.refuse()
    }

    async fn consistency_proof(
        &self,
        _: Request<v1::ConsistencyProofRequest>,
    ) -> Answer<v1::ConsistencyProofResponse> {
        self.refuse()
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Answer<v1::GetCheckpointResponse> {
        self.refuse()
    }

    async fn create_ledger(&self, _: Request<v1::CreateLedgerRequest>) -> Answer<v1::CreateLedgerResponse> {
        self.refuse()
    }

    async fn list_ledgers(&self, _: Request<v1::ListLedgersRequest>) -> Answer<v1::ListLedgersResponse> {
        self.refuse()
    }

    async fn list_epochs(&self, _: Request<v1::ListEpochsRequest>) -> Answer<v1::ListEpochsResponse> {
        self.refuse()
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        let parts = &self.0;
        let used = resources::read(&parts.data_dir);
        let evidence = EvidenceFiles::open(&parts.data_dir);
        Ok(Response::new(v1::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: parts.origin.as_str().to_owned(),
            cluster_id: parts.cluster.as_bytes().to_vec().into(),
            node_id: parts.me.get(),
            role: if parts.why.is_fault() { "stopped" } else { "waiting" }.to_owned(),
            members: parts.members.clone(),
            fault: if parts.why.is_fault() { parts.why.text().to_owned() } else { String::new() },
            limitation: if parts.why.is_fault() { String::new() } else { parts.why.text().to_owned() },
            time: parts.clock.now().get(),
            memory_bytes: used.memory_bytes,
            written_bytes: used.written_bytes,
            evidence_files: u64::try_from(evidence.count()).unwrap_or(u64::MAX),
            evidence_dir: evidence.directory().display().to_string(),
            oldest_wire: SPOKEN.oldest,
            newest_wire: SPOKEN.newest,
            refused_peers: refused_peers(&parts.refused),
            system_documents: KNOWS_FREEZES,
            ..v1::StatusResponse::default()
        }))
    }
}

impl HttpSource for Stopped {
    fn live(&self) -> Health {
        Health::Good
    }

    fn ready(&self) -> Health {
        let refused = self.0.refused.in_words().map(|words| format!("; {words}")).unwrap_or_default();
        Health::Bad(format!("{}{refused}", self.0.why.text()))
    }

    fn metrics(&self) -> String {
        metrics::measured_when_stopped(&self.0.data_dir, self.0.why.is_fault())
    }

    async fn checkpoint(&self, _: &LedgerName) -> Result<Bytes, SourceError> {
        Err(self.withheld())
    }

    async fn tile(&self, _: &LedgerName, _: u8, _: TileIndex, _: TileWidth) -> Result<Bytes, SourceError> {
        Err(self.withheld())
    }

    async fn entries(&self, _: &LedgerName, _: TileIndex, _: TileWidth) -> Result<Bytes, SourceError> {
        Err(self.withheld())
    }
}
