//! The client itself: a handle on one cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quorate_core::checkpoint::Checkpoint;
use quorate_core::name::{ClusterOrigin, LedgerName};
use quorate_core::policy::Policy;

use crate::config::{ClientBuilder, Settings};
use crate::error::Error;
use crate::leader::Fleet;
use crate::ledger::{Ledger, LedgerState};
use crate::membership::{Members, Membership};
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
    pub(crate) members: Arc<Members>,
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

    /// The policy this client believes by: the one it was given, or the same for the replicas of now, as far as it
    /// followed them.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.inner.members.now().policy)
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

    /// The ledgers that this client met for the first time: nothing was stored of them, so what they showed was believed
    /// by the policy alone, with no earlier checkpoint that it had to continue. The newest checkpoint of each.
    #[must_use]
    pub fn first_contacts(&self) -> Vec<Checkpoint> {
        self.inner.used().iter().filter_map(|ledger| ledger.first_contact()).collect()
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
            members: Arc::new(Members::new(Arc::new(policy), &cluster, Arc::clone(&trust))),
            cluster,
            trust,
            settings: Arc::new(settings),
            ledgers: Mutex::default(),
        }
    }

    /// The ledger of this name, if it was used before with these replicas.
    pub(crate) fn known(&self, name: &LedgerName, membership: &Membership) -> Option<Arc<LedgerState>> {
        let ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        ledgers.get(name).filter(|state| state.membership >= membership.number).cloned()
    }

    /// Remembers a ledger with the policy to believe it by. Of two calls that find out at once, the first counts; what was
    /// remembered with replicas of before is forgotten, and read from the trust store.
    pub(crate) fn remember(
        &self,
        name: &LedgerName,
        policy: Arc<Policy>,
        membership: &Membership,
    ) -> Arc<LedgerState> {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = ledgers.get(name).filter(|state| state.membership >= membership.number) {
            return Arc::clone(state);
        }
        let state = Arc::new(LedgerState::new(self.cluster.ledger(name), policy, membership, self));
        state.cross_check_on_schedule();
        ledgers.insert(name.clone(), Arc::clone(&state));
        state
    }

    fn used(&self) -> Vec<Arc<LedgerState>> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
