//! Founds a cluster: the first block, then the first transaction of `_system`.
//!
//! Every node runs this until the cluster is founded; only what the leader does has an effect. The transaction is
//! guarded by preconditions, so that it is committed once, whoever tries it how often.

use bytes::Bytes;
use prost::Message;
use quorate_core::name::LedgerName;
use quorate_ledger::{
    block::{Condition, Precondition, Put, Request, Write},
    outcome::RequestOutcome,
    system,
};

use crate::{
    clock::Clock,
    cluster::Cluster,
    consensus::{Consensus, Role},
    sequencer::{FOUND_EVERY, Sequencer},
    signer::Signer,
    store::state::StateStore,
};

/// The ledger every cluster is founded with.
pub(super) const DEFAULT_LEDGER: &str = "default";

/// How long the founding transaction may take, microseconds.
const VALID_US: u64 = 60 * 1_000_000;

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
    /// Runs until the cluster is founded.
    pub(super) async fn run(self) {
        let Ok(default) = LedgerName::new(DEFAULT_LEDGER) else {
            return;
        };
        while self.state.view().ledger(&default).is_none() {
            if self.consensus.status().borrow().role == Role::Leader
                && let Err(problem) = self.step(&default).await
            {
                tracing::info!(problem, "founding the cluster");
            }
            tokio::time::sleep(FOUND_EVERY).await;
        }
    }

    async fn step(&self, default: &LedgerName) -> Result<(), String> {
        if self.state.view().ledger(&LedgerName::system()).is_none() {
            return self.sequencer.found().await.map_err(|error| error.to_string());
        }
        match self.sequencer.submit(self.setup(default)?).await {
            Ok(RequestOutcome::Rejected(rejection)) => Err(rejection.to_string()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The transaction that makes the first cosigner set, the settings and the ledger `default`.
    fn setup(&self, default: &LedgerName) -> Result<Request, String> {
        let settings = system::SettingsRecord {
            max_not_after_us: self.cluster.settings.max_not_after_us,
            max_value_len: self.cluster.settings.max_value_len,
        };
        let documents = [
            (system::COSIGNERS_KEY.to_vec(), self.cluster.cosigner_set().encode_to_vec()),
            (system::SETTINGS_KEY.to_vec(), settings.encode_to_vec()),
            (system::ledger_key(default), self.record(default).encode_to_vec()),
        ];
        let mut writes = Vec::new();
        let mut preconditions = Vec::new();
        for (key, value) in documents {
            let key = Bytes::from(key);
            let condition = Some(Condition::MustNotExist(true));
            preconditions.push(Precondition { key: key.clone(), condition });
            let put = Put { salt: salt()?, attributes: Bytes::new(), value: value.into(), expires_at: 0 };
            writes.push(Write { key, put: Some(put), ..Write::default() });
        }
        let meta = quorate_proto::v1::TransactionMeta { author: "quorate".to_owned() };
        Ok(Request {
            ledger: LedgerName::SYSTEM.to_owned(),
            author: "quorate".to_owned(),
            idempotency_key: Bytes::from_static(b"found"),
            not_after: self.clock.now().get().saturating_add(VALID_US),
            meta: meta.encode_to_vec().into(),
            meta_salt: salt()?,
            preconditions,
            writes,
        })
    }

    fn record(&self, ledger: &LedgerName) -> system::LedgerRecord {
        system::LedgerRecord {
            name: ledger.as_str().to_owned(),
            origin: self.cluster.origin.ledger(ledger).as_str().to_owned(),
            log_vkey: self.signer.log_key(ledger).verifier().to_string(),
        }
    }
}

fn salt() -> Result<Bytes, String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)
        .map_err(|error| format!("no random bytes from the operating system: {error}"))?;
    Ok(Bytes::copy_from_slice(&salt))
}
