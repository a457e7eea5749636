//! Following the replicas of a cluster as they change.
//!
//! Contract: a client begins with the replicas that its policy names. It asks, before its first call and every minute,
//! how the cosigner set changed since the one it knows, and verifies each change
//! ([`EpochChain`]): signed by a quorum of the set that goes and by one of the set that
//! comes. From then on it believes by the policy for the newest set, and knows the addresses of its members. It asks at
//! once when a note does not meet the policy, or names a later epoch.
//!
//! The proofs are kept in the trust store and verified again from the policy by every process, so nothing has to be
//! believed of what is stored. A replica that withholds changes keeps a client where it is, and no further: notes of the
//! new set do not meet the old policy.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use prost::Message as _;
use quorate_core::answer::Bundle;
use quorate_core::epochs::{EpochChain, EpochError, EpochLink};
use quorate_core::key::VerifierKey;
use quorate_core::name::{ClusterOrigin, LedgerName};
use quorate_core::note::SignedNote;
use quorate_core::policy::Policy;
use quorate_core::position::Epoch;
use quorate_proto::convert::{CheckpointParts, ItemParts};
use quorate_proto::v1;

use crate::clock::Deadline;
use crate::error::{Distrust, Error, TrustError};
use crate::leader::{Fleet, Route};
use crate::retry::Plan;
use crate::trust::TrustStore;

/// How often the cluster is asked whether its replicas changed.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// How long it is left alone after it did not answer, and after a doubt that nothing came of.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pages of changes that are followed at once, at most.
const MAX_PAGES: usize = 1_000;

/// By whom checkpoints are believed.
#[derive(Debug)]
pub(crate) struct Membership {
    /// The policy for the newest set that is known: the client's own before any change.
    pub(crate) policy: Arc<Policy>,
    /// Keys of sets before, which stored checkpoints may be signed with.
    pub(crate) earlier_keys: Vec<VerifierKey>,
    /// Counts the changes followed by this client.
    pub(crate) number: u64,
}

/// The replicas as far as they were followed.
#[derive(Debug)]
pub(crate) struct Members {
    now: RwLock<Arc<Membership>>,
    /// Held by who asks.
    chain: tokio::sync::Mutex<Chain>,
    /// Until then nobody needs to ask.
    settled: Mutex<Option<Deadline>>,
    system: String,
    store: Arc<dyn TrustStore>,
}

#[derive(Debug)]
struct Chain {
    /// `None` where the policy says nothing about other replicas than its own.
    verified: Option<EpochChain>,
    /// What it was verified by, in order.
    proofs: Vec<v1::EpochProof>,
    is_loaded: bool,
}

impl Members {
    pub(crate) fn new(policy: Arc<Policy>, cluster: &ClusterOrigin, store: Arc<dyn TrustStore>) -> Self {
        let system = cluster.ledger(&LedgerName::system()).to_string();
        let knows_system = policy.log(&system).is_some();
        let chain = EpochChain::begin(Policy::clone(&policy), cluster.clone()).ok();
        let chain = Chain { verified: chain.filter(|_| knows_system), proofs: Vec::new(), is_loaded: false };
        Self {
            now: RwLock::new(Arc::new(Membership { policy, earlier_keys: Vec::new(), number: 0 })),
            chain: tokio::sync::Mutex::new(chain),
            settled: Mutex::new(None),
            system,
            store,
        }
    }

    /// By whom checkpoints are believed now.
    pub(crate) fn now(&self) -> Arc<Membership> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something looks as if the replicas had changed: the next call asks.
    pub(crate) fn doubt(&self) {
        *self.settled() = None;
    }

    /// Asks how the replicas changed, if it is time to.
    ///
    /// # Errors
    /// [`Error::Untrusted`] if a change is forged; [`Error::TrustStore`]. That nobody answers is none: the call that comes
    /// next will say so.
    pub(crate) async fn follow(&self, fleet: &Fleet) -> Result<(), Error> {
        if self.is_settled() {
            return Ok(());
        }
        let mut chain = self.chain.lock().await;
        if self.is_settled() {
            return Ok(());
        }
        let Chain { verified: Some(_), .. } = &*chain else {
            *self.settled() = Some(Deadline::after(Duration::MAX));
            return Ok(());
        };
        if !chain.is_loaded {
            self.load(&mut chain)?;
            self.use_newest(&chain, fleet);
        }
        let known = chain.proofs.len();
        let asked = self.ask(&mut chain, fleet).await;
        if chain.proofs.len() > known {
            self.save(&chain)?;
            self.use_newest(&chain, fleet);
        }
        let rest = if asked? { ASK_EVERY } else { ASK_AGAIN };
        *self.settled() = Some(Deadline::after(rest));
        Ok(())
    }

    /// Asks for changes and verifies them, page by page. Whether anybody answered.
    async fn ask(&self, chain: &mut Chain, fleet: &Fleet) -> Result<bool, Error> {
        let mut from = chain.next();
        for _ in 0..MAX_PAGES {
            let request = v1::ListEpochsRequest { from_epoch: from, limit: 0 };
            let plan =
                Plan { route: Route::Any, deadline: Deadline::after(PATIENCE), patience: Duration::ZERO };
            let answered = match fleet.call(&request, plan).await {
                Ok(answered) => answered,
                // An older cluster does not know the question: it does not change either.
                Err(_) => return Ok(false),
            };
            let Some(last) = answered.response.epochs.last().map(|proof| proof.epoch) else {
                return Ok(true);
            };
            for proof in answered.response.epochs {
                let followed = chain.follow(proof);
                followed.map_err(|what| Error::untrusted(answered.replica.endpoint(), what))?;
            }
            if last < from {
                let what = Distrust::NotAsked { what: "epochs before the one asked for" };
                return Err(Error::untrusted(answered.replica.endpoint(), what));
            }
            from = last.saturating_add(1);
        }
        Ok(true)
    }

    /// Believes by the newest set from now on.
    fn use_newest(&self, chain: &Chain, fleet: &Fleet) {
        let Some(verified) = &chain.verified else { return };
        let before = self.now();
        if before.policy.as_ref() == verified.policy() {
            return;
        }
        let keys = before.policy.keys().iter().chain(verified.earlier_keys());
        let mut earlier_keys: Vec<VerifierKey> = Vec::new();
        for key in keys.chain(&before.earlier_keys) {
            let is_known = |known: &VerifierKey| known.same_key(key);
            if !verified.policy().keys().iter().any(is_known) && !earlier_keys.iter().any(is_known) {
                earlier_keys.push(key.clone());
            }
        }
        let policy = Arc::new(verified.policy().clone());
        let number = before.number.saturating_add(1);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Membership { policy, earlier_keys, number });
        for member in verified.members() {
            fleet.learn(member.node(), member.client_address());
        }
        fleet.retire_all_but(&verified.members().iter().map(|member| member.node()).collect::<Vec<_>>());
    }

    /// Verifies what was stored, from the policy on.
    fn load(&self, chain: &mut Chain) -> Result<(), TrustError> {
        if let Some(bytes) = self.store.load_epochs(&self.system)? {
            let damaged = |reason: String| TrustError::Epochs { origin: self.system.clone(), reason };
            let stored = v1::ListEpochsResponse::decode(bytes.as_slice())
                .map_err(|error| damaged(error.to_string()))?;
            for proof in stored.epochs {
                // Another policy file begins elsewhere on the chain: what it does not need is not looked at.
                chain.follow(proof).map_err(|error| damaged(error.to_string()))?;
            }
        }
        chain.is_loaded = true;
        Ok(())
    }

    /// Stores the proofs, unless another process was further.
    fn save(&self, chain: &Chain) -> Result<(), TrustError> {
        let length = |bytes: &[u8]| {
            v1::ListEpochsResponse::decode(bytes).ok().and_then(|stored| Some(stored.epochs.last()?.epoch))
        };
        let new = v1::ListEpochsResponse { epochs: chain.proofs.clone() }.encode_to_vec();
        let newest = chain.proofs.last().map(|proof| proof.epoch);
        self.store.swap_epochs(&self.system, &new, &|stored| length(stored) < newest)
    }

    fn is_settled(&self) -> bool {
        self.settled().is_some_and(|until| until.remaining().is_some())
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, Option<Deadline>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chain {
    /// The first epoch that is not known.
    fn next(&self) -> u64 {
        let known = self.verified.as_ref().and_then(EpochChain::epoch);
        known.and_then(Epoch::next).map_or(1, Epoch::get)
    }

    /// Takes one change. Before the set that the policy names, changes are passed over.
    fn follow(&mut self, proof: v1::EpochProof) -> Result<(), Distrust> {
        let Some(chain) = &mut self.verified else { return Ok(()) };
        let began = chain.epoch().is_some();
        match chain.follow(link(&proof)?) {
            Ok(_) => {
                self.proofs.push(proof);
                Ok(())
            }
            Err(
                EpochError::NotByOld { .. } | EpochError::NotThePolicys { .. } | EpochError::NotByNew { .. },
            ) if !began => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A change from the wire; nothing is verified.
fn link(proof: &v1::EpochProof) -> Result<EpochLink, Distrust> {
    let missing = |part| Distrust::Missing { part };
    let checkpoint = proof.checkpoint.clone().ok_or_else(|| missing("the checkpoint of an epoch"))?;
    let parts = CheckpointParts::try_from(checkpoint).map_err(|error| error.within("checkpoint"))?;
    let item = proof.item.clone().ok_or_else(|| missing("the cosigner set of an epoch"))?;
    let item = ItemParts::try_from(item).map_err(|error| error.within("item"))?;
    let note = SignedNote::parse(&parts.note).map_err(|error| Distrust::Policy(error.into()))?;
    let bundle = Bundle {
        commit: Some(parts.commit),
        state_proofs: vec![proof.state_proof.to_vec()],
        contents: item.contents.into_iter().collect(),
        ..Bundle::default()
    };
    Ok(EpochLink { note, bundle })
}
