//! The cluster: its ledgers and its replicas.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use quorate_core::frozen::{FROZEN_PREFIX, FreezeRecord};
use quorate_core::name::LedgerName;
use quorate_core::position::{NodeId, Revision, TreeSize};
use quorate_core::state_tree::Query;
use quorate_proto::v1;

use crate::client::Client;
use crate::clock::{self, Deadline};
use crate::error::{Distrust, Error};
use crate::leader::Route;
use crate::options::ReadOptions;
use crate::random;
use crate::registry::{self, LedgerRecord};
use crate::retry::Plan;
use crate::transport::Rpc as _;

pub use quorate_proto::v1::{
    LedgerStatus, Member, RefusedPeer, SnapshotTransfer, StatusResponse as Status, WitnessStatus,
};

/// How long a request to create a ledger is known for.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// A ledger of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerInfo {
    /// Its name.
    pub name: String,
    /// Its origin: the first line of its checkpoints.
    pub origin: String,
    /// Its log key as a vkey.
    pub log_vkey: String,
    /// Number of its leaves, by the word of one replica; `None` for one that the replica did not mention.
    pub size: Option<TreeSize>,
    /// Whether it takes writes; `None`: it was never frozen.
    pub freeze: Option<Freeze>,
    /// Whether name, origin, key and freeze were proven by the registry in `_system`. That takes its log in the policy.
    pub verified: bool,
}

/// What an operator said last about whether a ledger takes writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Whether it takes none.
    pub frozen: bool,
    /// Why.
    pub reason: String,
    /// How often it was frozen and thawed.
    pub revision: Revision,
}

impl Client {
    /// Creates a ledger. A name is never used twice.
    ///
    /// # Errors
    /// [`Error::Rejected`] if there is or was one of this name.
    pub async fn create_ledger(&self, name: &str) -> Result<LedgerInfo, Error> {
        let name = LedgerName::new(name).map_err(|error| Error::invalid("ledger", error.to_string()))?;
        let request = v1::CreateLedgerRequest {
            ledger: name.to_string(),
            idempotency_key: random::idempotency_key()?.into(),
            not_after: clock::from_now(KNOWN_FOR).get(),
        };
        let answered = self.inner().fleet.call(&request, self.plan(Route::Leader)).await?;
        let endpoint = answered.replica.endpoint();
        let missing = || Error::untrusted(endpoint, Distrust::Missing { part: "the ledger" });
        let claimed = LedgerInfo::claimed(answered.response.ledger.ok_or_else(missing)?);
        if !self.knows_registry() {
            return Ok(claimed);
        }
        let (record, _) = registry::look_up(self, &name).await?;
        Ok(LedgerInfo::proven(record, claimed.size, None))
    }

    /// The ledgers of the cluster, by name. If the policy lists `_system`, proven to be all of them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list_ledgers(&self) -> Result<Vec<LedgerInfo>, Error> {
        let plan = self.plan(Route::Any);
        let answered = self.inner().fleet.call(&v1::ListLedgersRequest {}, plan).await?;
        let claimed: Vec<LedgerInfo> =
            answered.response.ledgers.into_iter().map(LedgerInfo::claimed).collect();
        if !self.knows_registry() {
            return Ok(claimed);
        }
        let size_of =
            |name: &str| claimed.iter().find(|ledger| ledger.name == name).and_then(|ledger| ledger.size);
        let system = self.ledger(LedgerName::SYSTEM);
        let query = Query::Prefix(registry::PREFIX.to_vec());
        let entries = system.scan(query, ReadOptions::new()).all().await?;
        let mut freezes = self.freezes(answered.replica.endpoint()).await?;
        let documents = entries.into_iter().filter_map(|entry| entry.value);
        documents
            .map(|document| {
                let record: LedgerRecord = prost::Message::decode(document.value).map_err(|_| {
                    let what =
                        Distrust::Registry { ledger: String::new(), what: "a document does not decode" };
                    Error::untrusted(answered.replica.endpoint(), what)
                })?;
                let (size, freeze) = (size_of(&record.name), freezes.remove(&record.name));
                Ok(LedgerInfo::proven(record, size, freeze))
            })
            .collect()
    }

    /// What the documents under `frozen/` in `_system` say, by ledger: proven to be all of them.
    async fn freezes(&self, endpoint: &Arc<str>) -> Result<BTreeMap<String, Freeze>, Error> {
        let query = Query::Prefix(FROZEN_PREFIX.to_vec());
        let entries = self.ledger(LedgerName::SYSTEM).scan(query, ReadOptions::new()).all().await?;
        let documents = entries.into_iter().filter_map(|entry| entry.value);
        documents
            .map(|document| {
                let revision = document.revision;
                let record: FreezeRecord = prost::Message::decode(document.value).map_err(|_| {
                    let what =
                        Distrust::Registry { ledger: String::new(), what: "a document does not decode" };
                    Error::untrusted(endpoint, what)
                })?;
                let frozen = record.is_frozen();
                Ok((record.ledger, Freeze { frozen, reason: record.reason, revision }))
            })
            .collect()
    }

    /// What each replica says of itself and of the cluster, by endpoint. Unproven: for people and dashboards.
    pub async fn status(&self) -> Vec<(String, Result<Status, Error>)> {
        let timeout = self.inner().settings.timeout;
        let asked = self.inner().fleet.replicas().into_iter().map(|replica| async move {
            let status = v1::StatusRequest {}.send(&replica, timeout).await;
            if let Ok(status) = &status {
                replica.set_node(NodeId::new(status.node_id));
            }
            (replica.endpoint().to_string(), status.map_err(|failure| failure.into_error(1)))
        });
        join_all(asked).await
    }

    fn plan(&self, route: Route) -> Plan {
        let deadline = Deadline::after(self.inner().settings.timeout);
        Plan { route, deadline, patience: Duration::ZERO }
    }

    fn knows_registry(&self) -> bool {
        let system = self.cluster().ledger(&LedgerName::system());
        self.policy().log(system.as_ref()).is_some()
    }
}

impl LedgerInfo {
    fn claimed(info: v1::LedgerInfo) -> Self {
        Self {
            name: info.name,
            origin: info.origin,
            log_vkey: info.log_vkey,
            size: Some(TreeSize::new(info.size)),
            freeze: info.freeze.map(|freeze| Freeze {
                frozen: freeze.frozen,
                reason: freeze.reason,
                revision: Revision::new(freeze.revision),
            }),
            verified: false,
        }
    }

    fn proven(record: LedgerRecord, size: Option<TreeSize>, freeze: Option<Freeze>) -> Self {
        let LedgerRecord { name, origin, log_vkey } = record;
        Self { name, origin, log_vkey, size, freeze, verified: true }
    }

    /// Whether it takes no writes.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.freeze.as_ref().is_some_and(|freeze| freeze.frozen)
    }
}
