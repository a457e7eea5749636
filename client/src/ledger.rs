//! One ledger: the handle that calls are made on, and what is known of the ledger behind it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use quorate_core::checkpoint::Checkpoint;
use quorate_core::hash::Hash;
use quorate_core::name::{LedgerName, Origin};
use quorate_core::note::{OpenedNote, SignedNote};
use quorate_core::policy::{CertifiedCheckpoint, Policy, PolicyError, Witness};
use quorate_core::position::{LogIndex, TreeSize};
use quorate_proto::convert::{CheckpointParts, LeafAt, path_from_wire};
use quorate_proto::v1;
use tokio::sync::Mutex;

use crate::calls::{Comparison, MAX_WAIT_MS, checkpoint_request};
use crate::client::{Client, Inner};
use crate::clock::{self, Deadline};
use crate::config::Settings;
use crate::error::{Believe as _, Distrust, Error};
use crate::leader::{Fleet, Route};
use crate::membership::{Members, Membership};
use crate::options::{Consistency, ReadOptions};
use crate::registry;
use crate::retry::Plan;
use crate::transport::Replica;
use crate::trust::{Keeper, Prover, Standing};
use crate::verify::{Ground, Notes, Point};

/// A ledger of a cluster. Cheap to clone, and to make.
#[derive(Debug, Clone)]
pub struct Ledger {
    client: Client,
    name: Arc<str>,
    /// With the replicas that were known when it was last used.
    state: Arc<std::sync::Mutex<Option<Arc<LedgerState>>>>,
}

impl Ledger {
    pub(crate) fn new(client: Client, name: String) -> Self {
        Self { client, name: name.into(), state: Arc::default() }
    }

    /// Its name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The policy that its checkpoints are believed by. For a ledger that the client's policy does not list, the log's
    /// key comes from a verified read of the registry in `_system`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such ledger; [`Error::Config`] if the policy lists neither it nor `_system`.
    pub async fn policy(&self) -> Result<Arc<Policy>, Error> {
        Ok(Arc::clone(&self.state().await?.policy))
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn state(&self) -> Result<Arc<LedgerState>, Error> {
        let inner = self.client.inner();
        inner.members.follow(&inner.fleet).await?;
        let membership = inner.members.now();
        let used = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(state) = used.filter(|state| state.membership >= membership.number) {
            return Ok(state);
        }
        let name =
            LedgerName::new(&self.name).map_err(|error| Error::invalid("ledger", error.to_string()))?;
        let state = match inner.known(&name, &membership) {
            Some(state) => state,
            None => {
                let policy = registry::policy_for(&self.client, &name).await?;
                inner.remember(&name, policy, &membership)
            }
        };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&state));
        Ok(state)
    }

    /// Begins a call: with what is believed now, and a deadline.
    pub(crate) async fn begin(&self, timeout: Option<Duration>) -> Result<Session, Error> {
        let state = self.state().await?;
        if let Some(agreement) = state.settings.agreement.filter(|agreement| agreement.is_required) {
            state.cross_check(&agreement).await?.check()?;
        }
        state.session(timeout).await
    }
}

/// How long after one another it is asked whether the replicas changed, when a note does not meet the policy: the proof
/// of a change is there a moment after the first notes that only the new ones signed.
const ASK_WHETHER_CHANGED: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];

impl Ledger {
    /// Believes the checkpoint of an answer ([`Session::accept`]). One that does not meet the policy may be signed by
    /// replicas that became so since the call began: then their change is followed first, and the call goes on by the
    /// policy for them. A write that was executed meanwhile is so acknowledged like any other.
    pub(crate) async fn accept(
        &self,
        session: &mut Session,
        replica: &Replica,
        checkpoint: Option<v1::CheckpointProof>,
        min_cosigners: Option<u32>,
    ) -> Result<Accepted, Error> {
        let accepted = session.accept_from(replica.endpoint(), checkpoint.clone(), min_cosigners);
        if !accepted.as_ref().is_err_and(Error::is_unmet_policy) {
            return accepted.inspect_err(|error| session.refused(replica, error));
        }
        for pause in ASK_WHETHER_CHANGED {
            tokio::time::sleep(pause).await;
            if !self.follow(session).await? {
                continue;
            }
            let again = session.accept_from(replica.endpoint(), checkpoint.clone(), min_cosigners);
            return match size_of(checkpoint.as_ref()) {
                Some(size) if again.as_ref().is_err_and(Error::is_unmet_policy) => {
                    self.signed_by_more(session, size, min_cosigners).await
                }
                _ => again.inspect_err(|error| session.refused(replica, error)),
            };
        }
        accepted.inspect_err(|error| session.refused(replica, error))
    }

    /// The checkpoint of an answer, with the signatures that the policy for the replicas of now takes: the question asked
    /// for as many as the policy before took. What the answer proves is proven under the same size.
    async fn signed_by_more(
        &self,
        session: &Session,
        size: TreeSize,
        min_cosigners: Option<u32>,
    ) -> Result<Accepted, Error> {
        let patience = session.deadline.remaining().unwrap_or_default();
        let wait_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX).min(MAX_WAIT_MS);
        let request = checkpoint_request(session, Some(size), min_cosigners, wait_ms);
        let answered = session.state.fleet.call(&request, session.plan(Route::Any)).await?;
        let accepted = session.accept(&answered.replica, answered.response.checkpoint, min_cosigners)?;
        if accepted.ground.certified.checkpoint().size != size {
            let other = Err(Distrust::NotAsked { what: "a checkpoint of another size" });
            return session.believe(&answered.replica, other);
        }
        Ok(accepted)
    }

    /// Asks whether the replicas changed since a call began; if so, the call goes on with those of now. (The policy of a
    /// ledger may have to be read from another ledger first, which is a call like this one: hence the box.)
    fn follow<'a>(&'a self, session: &'a mut Session) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            session.state.members.doubt();
            let state = self.state().await?;
            if state.membership <= session.state.membership {
                return Ok(false);
            }
            // What is stored is loaded; the answer continues what was believed when the question was asked.
            state.keeper.anchor().await?;
            session.state = state;
            Ok(true)
        })
    }
}

/// The size that a checkpoint says it is of; nothing is verified.
fn size_of(checkpoint: Option<&v1::CheckpointProof>) -> Option<TreeSize> {
    let parts = CheckpointParts::try_from(checkpoint?.clone()).ok()?;
    SignedNote::parse(&parts.note).ok().map(|note| note.checkpoint().size)
}

/// What is known of a ledger.
#[derive(Debug)]
pub(crate) struct LedgerState {
    pub(crate) origin: Origin,
    pub(crate) policy: Arc<Policy>,
    /// Number of the membership that the policy is for.
    pub(crate) membership: u64,
    members: Arc<Members>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) settings: Arc<Settings>,
    /// The last cross-check, and until when it counts; held while one is made, so that only one is.
    pub(crate) crossed: Mutex<Option<(Deadline, Arc<Comparison>)>>,
    notes: Notes,
    keeper: Keeper,
}

impl LedgerState {
    pub(crate) fn new(origin: Origin, policy: Arc<Policy>, membership: &Membership, inner: &Inner) -> Self {
        let keys = policy.keys().iter().chain(&membership.earlier_keys).cloned().collect();
        Self {
            membership: membership.number,
            members: Arc::clone(&inner.members),
            notes: Notes::new(Arc::clone(&policy)),
            keeper: Keeper::new(
                origin.to_string(),
                keys,
                Arc::clone(&inner.trust),
                !inner.settings.known_only,
            ),
            origin,
            policy,
            fleet: Arc::clone(&inner.fleet),
            settings: Arc::clone(&inner.settings),
            crossed: Mutex::default(),
        }
    }

    /// Begins a call, whatever the replicas agree on.
    pub(crate) async fn session(self: &Arc<Self>, timeout: Option<Duration>) -> Result<Session, Error> {
        let anchor = self.keeper.anchor().await?;
        let deadline = Deadline::after(timeout.unwrap_or(self.settings.timeout));
        Ok(Session { state: Arc::clone(self), anchor, deadline })
    }

    /// How many keys of replicas the policy has.
    pub(crate) fn replica_count(&self) -> usize {
        let is_replica = |key: &str| self.origin.cluster().node_of(key).is_some();
        self.policy.witnesses().iter().filter(|witness| is_replica(witness.key().name())).count()
    }

    /// What was believed of this ledger without anything to compare it with, if it was so.
    pub(crate) fn first_contact(&self) -> Option<Checkpoint> {
        self.keeper.newest().filter(|_| self.keeper.is_first_contact())
    }

    /// Ends all belief in this ledger: every later call fails with this.
    pub(crate) fn break_with(&self, error: &Error) {
        self.keep_evidence(error);
        self.keeper.break_with(error);
    }

    /// Writes down what an error proves. What cannot be written is still in the error.
    fn keep_evidence(&self, error: &Error) {
        if let (Some(directory), Some(evidence)) = (&self.settings.evidence, error.evidence()) {
            directory.keep(evidence).ok();
        }
    }

    /// Name of the ledger, for requests.
    pub(crate) fn name(&self) -> String {
        self.origin.ledger().to_string()
    }

    /// How many cosignatures to ask for: what the policy takes, or more.
    pub(crate) fn min_cosigners(&self, asked: Option<u32>) -> u32 {
        let needed = u32::try_from(self.policy.threshold()).unwrap_or(u32::MAX);
        asked.unwrap_or_default().max(needed)
    }

    /// Ids of the keys of outside witnesses that the policy counts, and how many of them it takes in any case.
    pub(crate) fn outside(&self) -> (Vec<u32>, u32) {
        let is_outside = |witness: &Witness| self.origin.cluster().node_of(witness.key().name()).is_none();
        let counted = self.policy.counted_witnesses().filter(|witness| is_outside(witness));
        let ids = counted.map(|witness| u32::from_be_bytes(*witness.key().id().as_bytes())).collect();
        (ids, u32::try_from(self.policy.least_of(is_outside)).unwrap_or(u32::MAX))
    }

    /// Links what is loose, and stores what is believed.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let linked = self.keeper.link(self).await;
        let stored = match (linked, self.keeper.newest()) {
            (Ok(()), Some(newest)) => self.keeper.save(newest.size, self).await,
            (linked, _) => linked,
        };
        stored.inspect_err(|error| self.keep_evidence(error))
    }

    /// Links in the background, unless somebody does already. What fails for want of an answer is tried again after
    /// the next answer that is loose; a contradiction stays.
    fn link_soon(self: &Arc<Self>) {
        if !self.keeper.take_linking() {
            return;
        }
        let state = Arc::clone(self);
        tokio::spawn(async move {
            let linked = state.flush().await;
            state.keeper.leave_linking();
            // Something may have come in after the last look, by somebody who saw that this task was still there.
            if linked.is_ok() && state.keeper.has_loose() {
                state.link_soon();
            }
        });
    }
}

impl Prover for LedgerState {
    async fn prove(&self, old: TreeSize, new: TreeSize) -> Result<(Arc<str>, Vec<Hash>), Error> {
        let request =
            v1::ConsistencyProofRequest { ledger: self.name(), old_size: old.get(), new_size: new.get() };
        let deadline = Deadline::after(self.settings.timeout);
        let plan = Plan { route: Route::Any, deadline, patience: Duration::ZERO };
        let answered = self.fleet.call(&request, plan).await?;
        let endpoint = answered.replica.endpoint();
        let path = path_from_wire("path", &answered.response.path).believe(endpoint)?;
        Ok((Arc::clone(endpoint), path))
    }
}

/// One call: what was believed when it began, and when it must be over.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) state: Arc<LedgerState>,
    anchor: Option<Arc<OpenedNote>>,
    pub(crate) deadline: Deadline,
}

/// A checkpoint that was accepted; what hangs on it is still to be verified.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) ground: Ground,
    standing: Standing,
}

impl Session {
    /// Size of the newest believed checkpoint, for the request.
    pub(crate) fn trusted_size(&self) -> Option<TreeSize> {
        self.anchor.as_ref().map(|anchor| anchor.checkpoint().size)
    }

    /// Goes on with a checkpoint that this call accepted: the next one is to continue it.
    pub(crate) fn go_on_from(&mut self, certified: &CertifiedCheckpoint) {
        self.anchor = Some(Arc::new(certified.opened().clone()));
    }

    pub(crate) fn plan(&self, route: Route) -> Plan {
        Plan { route, deadline: self.deadline, patience: Duration::ZERO }
    }

    /// The options of a read for the wire.
    pub(crate) fn read_options(&self, options: ReadOptions) -> v1::ReadOptions {
        let min_cosigners = self.state.min_cosigners(options.min_cosigners);
        options.to_wire(self.consistency(options), self.trusted_size(), min_cosigners, self.state.outside())
    }

    fn consistency(&self, options: ReadOptions) -> Consistency {
        options.consistency.unwrap_or(self.state.settings.consistency)
    }

    /// Believes the checkpoint of an answer, or does not: signatures, policy, origin, and how it goes together with
    /// what was believed before.
    pub(crate) fn accept(
        &self,
        replica: &Replica,
        checkpoint: Option<v1::CheckpointProof>,
        min_cosigners: Option<u32>,
    ) -> Result<Accepted, Error> {
        let accepted = self.accept_from(replica.endpoint(), checkpoint, min_cosigners);
        accepted.inspect_err(|error| self.refused(replica, error))
    }

    /// The answer of a replica is not believed: what that proves is kept, and it is asked last from now on.
    fn refused(&self, replica: &Replica, error: &Error) {
        self.state.keep_evidence(error);
        self.state.fleet.avoid(replica);
    }

    fn accept_from(
        &self,
        endpoint: &Arc<str>,
        checkpoint: Option<v1::CheckpointProof>,
        min_cosigners: Option<u32>,
    ) -> Result<Accepted, Error> {
        let wire = checkpoint.ok_or(Distrust::Missing { part: "the checkpoint" }).believe(endpoint)?;
        let parts =
            CheckpointParts::try_from(wire).map_err(|error| error.within("checkpoint")).believe(endpoint)?;
        let certified = self.state.notes.open(&parts.note).map_err(|refused| {
            // Perhaps other replicas sign by now.
            self.state.members.doubt();
            // Even a note that no quorum signed can convict those who did.
            let evidence = self.state.keeper.contradicted_by(&parts.note).map(Box::new);
            let (endpoint, what) = (Arc::clone(endpoint), Box::new(self.explain(&parts.note, refused)));
            Error::Untrusted { endpoint, what, evidence }
        })?;
        let got = &certified.checkpoint().origin;
        if got != self.state.origin.as_str() {
            let (wanted, got) = (self.state.origin.to_string(), got.clone());
            return Err(Error::untrusted(endpoint, Distrust::OtherLedger { wanted, got }));
        }
        if let Some(wanted) = min_cosigners.and_then(|wanted| usize::try_from(wanted).ok()) {
            let got = certified.cosigners().count();
            if got < wanted {
                return Err(Error::untrusted(endpoint, Distrust::TooFewCosigners { wanted, got }));
            }
        }
        let standing =
            self.state.keeper.accept(endpoint, self.anchor.as_ref(), &certified, &parts.consistency)?;
        Ok(Accepted { ground: Ground { certified, commit: parts.commit }, standing })
    }

    /// Why a checkpoint is not accepted: above all, that it is one of another cluster.
    fn explain(&self, note: &str, error: PolicyError) -> Distrust {
        let wanted = self.state.origin.cluster();
        let origin =
            SignedNote::parse(note).ok().and_then(|note| Origin::parse(&note.checkpoint().origin).ok());
        match origin.filter(|origin| origin.cluster() != wanted) {
            Some(other) => {
                Distrust::OtherCluster { wanted: wanted.to_string(), got: other.cluster().to_string() }
            }
            None => error.into(),
        }
    }

    /// That an answer to a read is as fresh as was asked for.
    pub(crate) fn check_age(
        &self,
        certified: &CertifiedCheckpoint,
        options: ReadOptions,
    ) -> Result<(), Distrust> {
        if options.at.is_some() {
            return Ok(());
        }
        let bound = match self.consistency(options) {
            Consistency::MaxStaleness(bound) => Some(bound),
            Consistency::Linearizable => {
                let got = certified.checkpoint().size;
                match self.trusted_size() {
                    Some(trusted) if got < trusted => {
                        return Err(Distrust::OlderThanTrusted { trusted, got });
                    }
                    _ => self.state.settings.freshness,
                }
            }
        };
        bound.map_or(Ok(()), |bound| check_fresh(certified, bound))
    }

    /// The leaf at the log index that a question is as of, to be proven under the checkpoint of the answer.
    pub(crate) async fn point(&self, ground: &Ground, at: Option<LogIndex>) -> Result<Option<Point>, Error> {
        let Some(index) = at else {
            return Ok(None);
        };
        let size = ground.certified.checkpoint().size;
        if size.last_index() == Some(index) {
            return Ok(Some(Point { index, leaf: None }));
        }
        let (_, leaf) = self.leaf(index, size).await?;
        Ok(Some(Point { index, leaf: Some(leaf.proof) }))
    }

    /// A leaf with its inclusion path at a size; nothing is verified but that it is about them.
    pub(crate) async fn leaf(
        &self,
        index: LogIndex,
        size: TreeSize,
    ) -> Result<(Arc<Replica>, LeafAt), Error> {
        let request =
            v1::InclusionProofRequest { ledger: self.state.name(), index: index.get(), size: size.get() };
        let answered = self.state.fleet.call(&request, self.plan(Route::Any)).await?;
        let endpoint = answered.replica.endpoint();
        let leaf = LeafAt::try_from(answered.response).believe(endpoint)?;
        if leaf.index != index || leaf.size != size {
            return Err(Error::untrusted(
                endpoint,
                Distrust::NotAsked { what: "the proof of another leaf or size" },
            ));
        }
        Ok((answered.replica, leaf))
    }

    /// Ends a call whose answer was verified: what is believed now is stored before the caller sees the answer.
    pub(crate) async fn finish(&self, accepted: &Accepted) -> Result<(), Error> {
        let state = &self.state;
        if accepted.standing != Standing::Loose {
            let size = accepted.ground.certified.checkpoint().size;
            let saved = state.keeper.save(size, state.as_ref()).await;
            return saved.inspect_err(|error| state.keep_evidence(error));
        }
        if state.keeper.is_crowded() {
            return state.flush().await;
        }
        state.link_soon();
        Ok(())
    }

    /// Turns doubt into an error that names the replica, and asks it last from now on.
    pub(crate) fn believe<T>(&self, replica: &Replica, result: Result<T, Distrust>) -> Result<T, Error> {
        if result.is_err() {
            self.state.fleet.avoid(replica);
        }
        result.believe(replica.endpoint())
    }
}

/// That the k-th newest cosignature is at most this old, by this machine's clock.
///
/// # Errors
/// [`Distrust::NotFresh`].
pub(crate) fn check_fresh(certified: &CertifiedCheckpoint, bound: Duration) -> Result<(), Distrust> {
    let Some(signed) = certified.kth_newest_time() else {
        return Ok(());
    };
    // Cosignatures tell whole seconds: one that was made in this second may look a second old.
    let age_secs = clock::now().as_secs().saturating_sub(signed);
    let allowed_secs = bound.as_secs().saturating_add(1);
    match age_secs > allowed_secs {
        true => Err(Distrust::NotFresh { age_secs, allowed_secs }),
        false => Ok(()),
    }
}
