//! What operators and joining nodes may ask for.
//!
//! Contract: whatever changes the members is judged on the leader, one request at a time, on a state that has everything
//! that was agreed on before ([`Consensus::read_barrier`]), and becomes one transaction that is conditional on the epoch. So of
//! two operators who decide on the same picture one is refused. It is answered when the transaction is applied; the
//! [driver](super::driver) does the rest. Asking again for what is under way or done is no error, so a caller that was
//! killed asks again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use quorate_core::position::{Epoch, Micros, NodeId};
use quorate_ledger::{
    block::Condition,
    outcome::{Rejection, RequestOutcome},
    registry::{
        COSIGNERS_KEY, InvitationRecord, NodeRecord, NodeState, Registry, SECRET_LEN, invitation_key,
        node_key, secret_hash,
    },
};
use quorate_proto::peer::v1 as pb;
use tokio::sync::{Mutex, MutexGuard, watch};
use zeroize::Zeroizing;

use super::{
    archive, documents,
    plan::{Situation, Step, list},
    refusal::Refusal,
};
use crate::{
    clock::Clock,
    cluster::Cluster,
    consensus::{Consensus, Membership, Role, Status},
    peer::{Joined, MemberHandler},
    sequencer::{Sequencer, SubmitError},
    signer::{Need, Signer},
    store::{faults::StoreFault, state::StateStore},
};

/// How long an invitation is valid where nothing is said.
const INVITATION: Duration = Duration::from_secs(60 * 60);

/// How long a hand-over of leadership may take.
const HAND_OVER: Duration = Duration::from_secs(10);

/// What the office works with.
pub struct OfficeParts {
    /// This node.
    pub me: NodeId,
    /// The cluster file.
    pub cluster: Cluster,
    /// What is agreed on.
    pub consensus: Consensus,
    /// The way into the log.
    pub sequencer: Sequencer,
    /// Who knows what is certified, and holds the log secret.
    pub signer: Signer,
    /// What is applied.
    pub state: Arc<StateStore>,
    /// The clock.
    pub clock: Clock,
}

/// The office of a node. Cheap to clone.
#[derive(Clone)]
pub struct Office(Arc<Inner>);

struct Inner {
    parts: OfficeParts,
    /// Held while a change is judged and agreed on.
    judging: Mutex<()>,
    /// What the driver is doing, or waits for.
    doing: watch::Sender<String>,
    /// The newest epoch that is known to be certified.
    certified: AtomicU64,
    drained: AtomicBool,
}

/// An invitation that was agreed on.
#[derive(Debug, Clone)]
pub struct Invited {
    /// The id that is taken.
    pub node: NodeId,
    /// Until when it is valid.
    pub expires_at: Micros,
}

impl Office {
    /// Over the running parts.
    #[must_use]
    pub fn new(parts: OfficeParts) -> Self {
        Self(Arc::new(Inner {
            parts,
            judging: Mutex::default(),
            doing: watch::Sender::new(String::new()),
            certified: AtomicU64::new(0),
            drained: AtomicBool::new(false),
        }))
    }

    pub(crate) fn parts(&self) -> &OfficeParts {
        &self.0.parts
    }

    /// The registry as of the last applied block.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.0.parts.state.view().cluster().registry)
    }

    pub(crate) fn status(&self) -> Status {
        self.0.parts.consensus.status().borrow().clone()
    }

    pub(crate) fn leads(&self) -> bool {
        self.0.parts.consensus.status().borrow().role == Role::Leader
    }

    /// What the leader is doing about the members; empty where this node does not lead.
    #[must_use]
    pub fn doing(&self) -> String {
        if self.leads() { self.0.doing.borrow().clone() } else { String::new() }
    }

    pub(crate) fn says(&self, words: String) {
        self.0.doing.send_if_modified(|doing| {
            let is_new = *doing != words;
            if is_new {
                if !words.is_empty() {
                    tracing::info!("members: {words}");
                }
                *doing = words;
            }
            is_new
        });
    }

    /// The cluster file of the founders, for a node that joins.
    ///
    /// # Errors
    /// It cannot be written as TOML.
    pub fn cluster_file(&self) -> Result<String, String> {
        toml::to_string(&self.0.parts.cluster.founders_file()).map_err(|error| error.to_string())
    }

    /// Whether this node is not to be used.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.0.drained.load(Ordering::Relaxed)
    }

    /// Whether the beginning of the present epoch is certified, as far as is known here.
    pub(crate) async fn is_certified(&self) -> Result<bool, StoreFault> {
        let view = self.0.parts.state.view();
        let epoch = view.cluster().epoch;
        if self.0.certified.load(Ordering::Relaxed) >= epoch.get() {
            return Ok(true);
        }
        let (Some(size), Some(system)) = (view.epoch_size(epoch)?, view.system()) else {
            return Ok(epoch == Epoch::new(0));
        };
        let root = system.root_at(size)?.unwrap_or(quorate_core::hash::Hash::ZERO);
        let name = &system.head().name;
        let certified =
            self.0.parts.signer.wait(name, size, root, &Need::default(), Duration::ZERO).await.is_ok();
        if certified {
            self.0.certified.fetch_max(epoch.get(), Ordering::Relaxed);
        }
        Ok(certified)
    }

    /// The next step, as this node sees it.
    pub(crate) async fn next_step(&self) -> Result<Step, StoreFault> {
        let certified = self.is_certified().await?;
        Ok(self.look(&self.registry(), certified, |situation| situation.next()))
    }

    fn look<T>(&self, registry: &Registry, certified: bool, see: impl FnOnce(&Situation<'_>) -> T) -> T {
        let status = self.status();
        let progress = self.0.parts.consensus.replication();
        see(&Situation {
            me: self.0.parts.me,
            registry,
            membership: &status.membership,
            certified,
            progress: &progress,
            last: status.last_log_index.unwrap_or(0),
        })
    }

    /// Held while something is judged and agreed on.
    pub(super) async fn alone(&self) -> MutexGuard<'_, ()> {
        self.0.judging.lock().await
    }

    /// Refuses what this node does not lead, and makes sure that it has seen everything agreed on before.
    pub(super) async fn lead(&self) -> Result<Arc<Registry>, Refusal> {
        let status = self.status();
        if status.role != Role::Leader {
            return Err(SubmitError::NotLeader { leader: status.leader.map(NodeId::new) }.into());
        }
        self.0.parts.consensus.read_barrier().await?;
        let registry = self.registry();
        if registry.cosigners().is_none() {
            return Err(SubmitError::NotFounded.into());
        }
        Ok(registry)
    }

    /// Takes the next id for a node that will show this secret.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn invite(&self, secret: &[u8; SECRET_LEN], valid: Duration) -> Result<Invited, Refusal> {
        let _one_at_a_time = self.0.judging.lock().await;
        let registry = self.lead().await?;
        let node = NodeId::new(registry.highest_id().get().saturating_add(1));
        let valid = if valid.is_zero() { INVITATION } else { valid };
        let valid_us = u64::try_from(valid.as_micros()).unwrap_or(u64::MAX);
        let expires_at = Micros::new(self.0.parts.clock.now().get().saturating_add(valid_us));
        let hash = secret_hash(&self.0.parts.cluster.id, node, secret);
        let record = InvitationRecord {
            node_id: node.get(),
            secret_hash: Bytes::copy_from_slice(hash.as_bytes()),
            expires_at: expires_at.get(),
        };
        self.write(&registry, vec![(invitation_key(node), record.encode_to_vec())]).await?;
        Ok(Invited { node, expires_at })
    }

    /// Registers a node that was invited; again, if it was registered with this very record. Gives the log secret.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn register(&self, record: &NodeRecord) -> Result<Zeroizing<[u8; 32]>, Refusal> {
        let _one_at_a_time = self.0.judging.lock().await;
        let registry = self.lead().await?;
        let id = NodeId::new(record.node_id);
        match registry.node(id) {
            Some(known) if known.standing() == NodeState::Removed => {
                return Err(Refusal::Removed { node: id, epoch: known.removed_in_epoch });
            }
            Some(known) if known.in_state(NodeState::Joining) == *record => {}
            Some(_) => {
                return Err(Refusal::State(format!(
                    "node {id} registered before with other keys or another data directory: an invitation is for one \
                     node, once; ask for a new one"
                )));
            }
            None => self.write(&registry, vec![(node_key(id), record.encode_to_vec())]).await?,
        }
        Ok(self.0.parts.signer.log_secret())
    }

    /// Makes a node that has caught up a member. Gives the epoch in force then.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn promote(&self, node: NodeId, expected: u64) -> Result<Epoch, Refusal> {
        let _one_at_a_time = self.0.judging.lock().await;
        let registry = self.lead().await?;
        let record = known(&registry, node)?;
        match record.standing() {
            NodeState::Member => return Ok(registry.epoch()),
            NodeState::Leaving => {
                return Err(Refusal::State(format!("node {node} is being removed, and never comes back")));
            }
            _ => {}
        }
        self.may_change(&registry, expected).await?;
        self.is_ready(&registry, node, &[])?;
        self.change(&registry, &[record.in_state(NodeState::Member)]).await
    }

    /// Removes a node. Gives the epoch in force then.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn remove(&self, node: NodeId, expected: u64) -> Result<Epoch, Refusal> {
        let _one_at_a_time = self.0.judging.lock().await;
        let registry = self.lead().await?;
        let Some(record) = registry.node(node) else {
            return Err(Refusal::Unknown(node));
        };
        match record.standing() {
            NodeState::Removed | NodeState::Leaving => return Ok(registry.epoch()),
            NodeState::Joining => {
                self.expect(&registry, expected)?;
                let epoch = registry.epoch().get();
                let gone = NodeRecord { removed_in_epoch: epoch, ..record.in_state(NodeState::Removed) };
                self.write(&registry, vec![(node_key(node), gone.encode_to_vec())]).await?;
                return Ok(registry.epoch());
            }
            NodeState::Member | NodeState::Unspecified => {}
        }
        self.may_change(&registry, expected).await?;
        let after = registry.with(record.in_state(NodeState::Leaving));
        self.keeps_quorum(&after)?;
        self.write(&registry, vec![(node_key(node), record.in_state(NodeState::Leaving).encode_to_vec())])
            .await?;
        Ok(registry.epoch())
    }

    /// Makes one node a member and removes another, in one step. Gives the epoch in force then.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn replace(&self, old: NodeId, new: NodeId, expected: u64) -> Result<Epoch, Refusal> {
        let _one_at_a_time = self.0.judging.lock().await;
        let registry = self.lead().await?;
        let coming = known(&registry, new)?;
        let Some(going) = registry.node(old) else {
            return Err(Refusal::Unknown(old));
        };
        let over = matches!(going.standing(), NodeState::Leaving | NodeState::Removed);
        match (coming.standing(), over) {
            (NodeState::Member, true) => return Ok(registry.epoch()),
            (NodeState::Joining, false) if going.standing() == NodeState::Member => {}
            (state, _) => {
                return Err(Refusal::State(format!(
                    "a joining node replaces a member: node {new} is {}, node {old} is {}",
                    state.name(),
                    going.standing().name()
                )));
            }
        }
        self.may_change(&registry, expected).await?;
        self.is_ready(&registry, new, &[going.in_state(NodeState::Leaving)])?;
        let changed = [coming.in_state(NodeState::Member), going.in_state(NodeState::Leaving)];
        self.change(&registry, &changed).await
    }

    /// Hands leadership over, to the voter that is furthest where none is named. Gives who leads then.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn hand_over(&self, to: Option<NodeId>) -> Result<NodeId, Refusal> {
        let registry = self.lead().await?;
        let status = self.status();
        let me = self.0.parts.me;
        let heirs: BTreeSet<u64> = match to {
            Some(to) if to == me => return Ok(me),
            Some(to) if status.membership.is_voter(to.get()) => BTreeSet::from([to.get()]),
            Some(to) => {
                known(&registry, to)?;
                return Err(Refusal::State(format!("node {to} does not vote, and cannot lead")));
            }
            None => voters(&status.membership).into_iter().filter(|id| *id != me.get()).collect(),
        };
        let heir = self.look(&registry, true, |situation| {
            let close = heirs.iter().copied().filter(|id| situation.is_close(*id));
            close.max_by_key(|id| situation.reached(*id))
        });
        let Some(heir) = heir else {
            return Err(Refusal::State(format!(
                "no voter among {} answers and has caught up: nobody can take over",
                list(heirs)
            )));
        };
        let failed = |error: crate::consensus::MembershipError| Refusal::System(error.to_string());
        self.0.parts.consensus.transfer_leadership(heir).await.map_err(failed)?;
        let mut status = self.0.parts.consensus.status();
        let led = status.wait_for(|status| status.leader == Some(heir));
        match tokio::time::timeout(HAND_OVER, led).await {
            Ok(Ok(_)) => Ok(NodeId::new(heir)),
            _ => Err(Refusal::Timeout(format!(
                "node {heir} does not lead after {HAND_OVER:?}: `quorate status` shows who does"
            ))),
        }
    }

    /// Has this node serve nobody new, or serve again. A leader hands over first.
    ///
    /// # Errors
    /// [`Refusal`]: it is drained nevertheless.
    pub async fn drain(&self, drain: bool) -> Result<(), Refusal> {
        self.0.drained.store(drain, Ordering::Relaxed);
        self.0.parts.consensus.stand_for_election(!drain);
        if drain && self.leads() {
            self.hand_over(None).await?;
        }
        Ok(())
    }

    /// Refuses a change when another one is under way, or the caller looked at another picture.
    async fn may_change(&self, registry: &Registry, expected: u64) -> Result<(), Refusal> {
        self.expect(registry, expected)?;
        let certified = self.is_certified().await?;
        match self.look(registry, certified, |situation| situation.next()) {
            // These do not change who votes or cosigns.
            Step::Nothing | Step::AddLearner(_) | Step::Forget(_) => Ok(()),
            step => Err(Refusal::UnderWay(step.words())),
        }
    }

    fn expect(&self, registry: &Registry, expected: u64) -> Result<(), Refusal> {
        let found = registry.epoch().get();
        if expected == 0 || expected == found {
            return Ok(());
        }
        Err(Refusal::Epoch { expected, found })
    }

    /// Whether a node has caught up, and the voters with it and with these changes would be able to go on.
    fn is_ready(&self, registry: &Registry, node: NodeId, changes: &[NodeRecord]) -> Result<(), Refusal> {
        let behind = self.look(registry, true, |situation| {
            if situation.is_close(node.get()) {
                return None;
            }
            let progress = situation.progress.get(&node.get()).copied().unwrap_or_default();
            let lacks = situation.last.saturating_sub(progress.reached());
            Some(match progress.silence {
                None => "it has not answered yet".to_owned(),
                Some(silence) => {
                    format!(
                        "it has yet to apply {lacks} entries, and last answered {} ms ago",
                        silence.as_millis()
                    )
                }
            })
        });
        if let Some(why) = behind {
            return Err(Refusal::Behind { node, why });
        }
        let mut after = registry.with(known(registry, node)?.in_state(NodeState::Member));
        for change in changes {
            after = after.with(change.clone());
        }
        self.keeps_quorum(&after)
    }

    /// Refuses when the voters that would be left could not commit anything.
    fn keeps_quorum(&self, after: &Registry) -> Result<(), Refusal> {
        let problem = self.look(after, true, |situation| {
            let voters: BTreeSet<u64> = situation.in_state(NodeState::Member).collect();
            if voters.is_empty() {
                return Some("no voter would be left".to_owned());
            }
            situation.lost_quorum(&voters)
        });
        problem.map_or(Ok(()), |problem| Err(Refusal::Quorum(problem)))
    }

    /// Writes these records and the set that follows from them.
    async fn change(&self, registry: &Registry, records: &[NodeRecord]) -> Result<Epoch, Refusal> {
        let after = records.iter().fold(registry.clone(), |registry, record| registry.with(record.clone()));
        let set = after.next_set();
        let mut writes = vec![(COSIGNERS_KEY.to_vec(), set.encode_to_vec())];
        for record in records {
            writes.push((node_key(NodeId::new(record.node_id)), record.encode_to_vec()));
        }
        self.write(registry, writes).await?;
        Ok(Epoch::new(set.epoch))
    }

    /// Takes leaving nodes, which do not vote any more, out of the cosigner set.
    pub(crate) async fn retire(&self, nodes: &[NodeId]) -> Result<(), Refusal> {
        let _one_at_a_time = self.0.judging.lock().await;
        let registry = self.lead().await?;
        let epoch = registry.epoch().get().saturating_add(1);
        let leaving = nodes.iter().filter_map(|node| registry.node(*node));
        let records: Vec<NodeRecord> = leaving
            .filter(|record| record.standing() == NodeState::Leaving)
            .map(|record| NodeRecord { removed_in_epoch: epoch, ..record.in_state(NodeState::Removed) })
            .collect();
        if records.is_empty() {
            return Ok(());
        }
        self.change(&registry, &records).await.map(drop)
    }

    /// Agrees on documents, if the epoch is still the one of this registry.
    async fn write(&self, registry: &Registry, documents: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Refusal> {
        let expected = registry.epoch().get();
        let key = documents::salt().map_err(Refusal::System)?;
        let unchanged = vec![(COSIGNERS_KEY.to_vec(), Condition::RevisionEquals(expected))];
        let request =
            documents::request(key, documents, unchanged, &self.0.parts.clock).map_err(Refusal::System)?;
        match self.0.parts.sequencer.submit(request).await? {
            RequestOutcome::Committed(_) | RequestOutcome::Known { .. } => Ok(()),
            RequestOutcome::Rejected(Rejection::Precondition { .. }) => {
                Err(Refusal::Epoch { expected, found: self.registry().epoch().get() })
            }
            RequestOutcome::Rejected(Rejection::Malformed { problem, .. }) => Err(Refusal::Rules(problem)),
            RequestOutcome::Rejected(rejection) => Err(Refusal::Rules(rejection.to_string())),
        }
    }
}

impl MemberHandler for Office {
    async fn join(&self, peer: NodeId, record: Bytes) -> Joined {
        let record = match NodeRecord::decode(record) {
            Ok(record) if record.node_id == peer.get() => record,
            Ok(record) => {
                return Joined::Refused(format!("node_id is {}, and node {peer} is calling", record.node_id));
            }
            Err(error) => return Joined::Refused(format!("record: {error}")),
        };
        match self.register(&record).await {
            Ok(secret) => Joined::Registered(secret),
            Err(Refusal::Submit(SubmitError::NotLeader { leader })) => {
                Joined::NotLeader(leader.map_or(0, NodeId::get))
            }
            // It may be registered: whoever asks again finds out.
            Err(Refusal::Submit(_) | Refusal::Read(_)) => Joined::NotLeader(0),
            Err(refusal) => Joined::Refused(refusal.to_string()),
        }
    }

    async fn epoch(&self, epoch: u64) -> (Bytes, Vec<pb::NodeCosignature>) {
        archive::kept(&self.0.parts.state.view(), Epoch::new(epoch)).unwrap_or_else(|fault| {
            tracing::error!(%fault, "the beginning of an epoch cannot be read");
            (Bytes::new(), Vec::new())
        })
    }
}

/// A node that is not removed.
fn known(registry: &Registry, node: NodeId) -> Result<&NodeRecord, Refusal> {
    match registry.node(node) {
        None => Err(Refusal::Unknown(node)),
        Some(record) if record.standing() == NodeState::Removed => {
            Err(Refusal::Removed { node, epoch: record.removed_in_epoch })
        }
        Some(record) => Ok(record),
    }
}

/// Everybody who votes.
fn voters(membership: &Membership) -> BTreeSet<u64> {
    membership.configs.iter().flatten().copied().collect()
}
