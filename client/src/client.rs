//! The client itself: a handle on one cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quorate_core::name::{ClusterOrigin, LedgerName};
use quorate_core::policy::Policy;

use crate::config::{ClientBuilder, Settings};
use crate::error::Error;
use crate::leader::Fleet;
use crate::ledger::{Ledger, LedgerState};
use crate::trust::TrustStore;

/// A client of one cluster. Cheap to clone; clones share channels, opened notes and what is believed.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// What all clones share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) cluster: ClusterOrigin,
    pub(crate) trust: Arc<dyn TrustStore>,
    pub(crate) settings: Arc<Settings>,
    /// The ledgers used so far.
    ledgers: Mutex<BTreeMap<LedgerName, Arc<LedgerState>>>,
}

impl Client {
    /// A client to be set up.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// A ledger of the cluster. Nothing is asked yet; that the name is one of a ledger is checked by the first call.
    #[must_use]
    pub fn ledger(&self, name: impl Into<String>) -> Ledger {
        Ledger::new(self.clone(), name.into())
    }

    /// The policy this client believes by.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// The origin of the cluster, from the policy.
    #[must_use]
    pub fn cluster(&self) -> &ClusterOrigin {
        &self.inner.cluster
    }

    /// Waits until every answer so far is linked with the others and what is believed is stored. Only needed before
    /// the process ends, and only after calls that were made at the same time.
    ///
    /// # Errors
    /// [`Error::Untrusted`] if two answers contradict each other; [`Error::TrustStore`].
    pub async fn flush(&self) -> Result<(), Error> {
        for ledger in self.inner.used() {
            ledger.flush().await?;
        }
        Ok(())
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Inner {
    pub(crate) fn new(
        fleet: Fleet,
        policy: Policy,
        cluster: ClusterOrigin,
        trust: Arc<dyn TrustStore>,
        settings: Settings,
    ) -> Self {
        Self {
            fleet: Arc::new(fleet),
            policy: Arc::new(policy),
            cluster,
            trust,
            settings: Arc::new(settings),
            ledgers: Mutex::default(),
        }
    }

    /// The ledger of this name, if it was used before.
    pub(crate) fn known(&self, name: &LedgerName) -> Option<Arc<LedgerState>> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Remembers a ledger with the policy to believe it by. Of two calls that find out at once, the first counts.
    pub(crate) fn remember(&self, name: &LedgerName, policy: Arc<Policy>) -> Arc<LedgerState> {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let state = ledgers
            .entry(name.clone())
            .or_insert_with(|| Arc::new(LedgerState::new(self.cluster.ledger(name), policy, self)));
        Arc::clone(state)
    }

    fn used(&self) -> Vec<Arc<LedgerState>> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
