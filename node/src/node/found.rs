//! Founds a cluster: the first block, then the first transaction of `_system`.
//!
//! Every node runs this until the cluster is founded; only what the leader does has an effect. The transaction is
//! guarded by preconditions, so that it is committed once, whoever tries it how often.
//!
//! A cluster that continues another has the history of that one instead of a first block; its first transaction says so.

use bytes::Bytes;
use prost::Message;
use quorate_core::{name::LedgerName, position::NodeId};
use quorate_ledger::{
    block::{Condition, Request},
    outcome::RequestOutcome,
    registry::{COSIGNERS_KEY, node_key},
    system,
};

use crate::{
    clock::Clock,
    cluster::Cluster,
    consensus::{Consensus, Role},
    membership::{documents, office::OfficeParts},
    sequencer::{FOUND_EVERY, Sequencer},
    signer::Signer,
    store::state::StateStore,
};

/// The ledger every cluster is founded with.
pub(super) const DEFAULT_LEDGER: &str = "default";

/// What the founder works with.
pub(super) struct Founder {
    pub(super) cluster: Cluster,
    pub(super) consensus: Consensus,
    pub(super) sequencer: Sequencer,
    pub(super) signer: Signer,
    pub(super) state: std::sync::Arc<StateStore>,
    pub(super) clock: Clock,
}

impl Founder {
    /// With these parts.
    pub(super) fn new(parts: &OfficeParts) -> Self {
        Self {
            cluster: parts.cluster.clone(),
            consensus: parts.consensus.clone(),
            sequencer: parts.sequencer.clone(),
            signer: parts.signer.clone(),
            state: std::sync::Arc::clone(&parts.state),
            clock: parts.clock.clone(),
        }
    }

    /// Runs until the cluster is founded.
    pub(super) async fn run(self) {
        let Ok(default) = LedgerName::new(DEFAULT_LEDGER) else {
            return;
        };
        while !self.is_done(&default) {
            if self.consensus.status().borrow().role == Role::Leader
                && let Err(problem) = self.step(&default).await
            {
                tracing::info!(problem, "founding the cluster");
            }
            tokio::time::sleep(FOUND_EVERY).await;
        }
    }

    /// Whether there is the ledger `default`, and nothing left to be said of a history that is continued.
    fn is_done(&self, default: &LedgerName) -> bool {
        let view = self.state.view();
        view.ledger(default).is_some() && view.cluster().continues.is_none()
    }

    async fn step(&self, default: &LedgerName) -> Result<(), String> {
        if let Some(document) = self.state.view().cluster().continues.clone() {
            let request = self.continuation(&document)?;
            return self.submit(request).await;
        }
        if self.state.view().ledger(&LedgerName::system()).is_none() {
            return self.sequencer.found().await.map_err(|error| error.to_string());
        }
        self.submit(self.setup(default)?).await
    }

    async fn submit(&self, request: Request) -> Result<(), String> {
        match self.sequencer.submit(request).await {
            Ok(RequestOutcome::Rejected(rejection)) => Err(rejection.to_string()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The transaction that makes the first cosigner set with its nodes, the settings and the ledger `default`.
    fn setup(&self, default: &LedgerName) -> Result<Request, String> {
        let settings = system::SettingsRecord {
            max_not_after_us: self.cluster.settings.max_not_after_us,
            max_value_len: self.cluster.settings.max_value_len,
        };
        let mut documents = vec![
            (COSIGNERS_KEY.to_vec(), self.cluster.cosigner_set().encode_to_vec()),
            (system::SETTINGS_KEY.to_vec(), settings.encode_to_vec()),
            (system::ledger_key(default), self.record(default).encode_to_vec()),
        ];
        for record in self.cluster.node_records() {
            documents.push((node_key(NodeId::new(record.node_id)), record.encode_to_vec()));
        }
        let new = documents.iter().map(|(key, _)| (key.clone(), Condition::MustNotExist(true))).collect();
        documents::request(Bytes::from_static(b"found"), documents, new, &self.clock)
    }

    /// The transaction that says what this cluster continues, with its nodes and its ledgers under the new origin.
    fn continuation(&self, document: &Bytes) -> Result<Request, String> {
        let lineage = system::Lineage::decode(document.clone()).map_err(|error| error.to_string())?;
        let view = self.state.view();
        let epoch = view.cluster().epoch.next().ok_or("there is no epoch after the last one")?;
        let cosigners = system::CosignerSet { epoch: epoch.get(), ..self.cluster.cosigner_set() };
        let mut documents =
            vec![(lineage.key(), document.to_vec()), (COSIGNERS_KEY.to_vec(), cosigners.encode_to_vec())];
        for record in self.cluster.node_records() {
            documents.push((node_key(NodeId::new(record.node_id)), record.encode_to_vec()));
        }
        let ledgers =
            view.ledgers().iter().map(|ledger| &ledger.head().name).filter(|name| !name.is_system());
        documents.extend(ledgers.map(|name| (system::ledger_key(name), self.record(name).encode_to_vec())));
        let new = vec![(lineage.key(), Condition::MustNotExist(true))];
        documents::request(lineage.key().into(), documents, new, &self.clock)
    }

    fn record(&self, ledger: &LedgerName) -> system::LedgerRecord {
        system::LedgerRecord {
            name: ledger.as_str().to_owned(),
            origin: self.cluster.origin.ledger(ledger).as_str().to_owned(),
            log_vkey: self.signer.log_key(ledger).verifier().to_string(),
        }
    }
}
