//! The shared handle of the signer: checkpoints come in from apply, cosignatures come in from peers and go out to
//! them, notes go out to whoever asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use quorate_core::{
    hash::Hash,
    key::{CosignerKey, LogKey, VerifierKey},
    name::{ClusterOrigin, LedgerName},
    position::{NodeId, TreeSize},
};
use quorate_ledger::outcome::NewCheckpoint;
use quorate_proto::peer::v1 as pb;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use zeroize::Zeroizing;

mod rounds;
mod waiting;

use super::{
    anchor::Anchor,
    book::{Book, Change, Refused, Signed},
    haste::Haste,
    intake::consistent,
    notes,
    outside::Outside,
    pen::Pen,
};
use crate::{
    clock::Clock,
    evidence::EvidenceFiles,
    health::Health,
    store::{
        log::LogStore,
        state::{ReadView, StateStore, StoredCosignature},
    },
};

/// How often cosignatures are saved.
const SAVE_EVERY: Duration = Duration::from_millis(100);

/// How often members are asked for cosignatures that did not arrive.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// The way to the other members.
pub trait Outbox: Send + Sync + 'static {
    /// Sends this node's cosignatures to every other member. Does not wait: what a slow peer cannot take is dropped,
    /// it asks for it later.
    fn send(&self, cosignatures: Vec<pb::Cosignature>);

    /// Tells every other member that somebody waits here. Does not wait either.
    fn hurry(&self);

    /// Asks a member for its own cosignatures from a size on, signed again if they are stale and `refresh`.
    fn ask(
        &self,
        node: NodeId,
        ledger: LedgerName,
        from: TreeSize,
        refresh: bool,
    ) -> BoxFuture<'static, Result<Vec<pb::Cosignature>, String>>;
}

/// What a signer is made of.
pub struct SignerParts {
    /// This node.
    pub me: NodeId,
    /// The cluster.
    pub origin: ClusterOrigin,
    /// This node's cosigner key.
    pub key: CosignerKey,
    /// The cluster's log secret.
    pub log_secret: Zeroizing<[u8; 32]>,
    /// The cosigner keys of the founders: they count as long as there is no cosigner set.
    pub founders: BTreeMap<NodeId, VerifierKey>,
    /// The keys of the outside witnesses that this node asks.
    pub witnesses: Vec<VerifierKey>,
    /// Where promises are kept.
    pub log: LogStore,
    /// Where cosignatures are kept.
    pub state: Arc<StateStore>,
    /// The clock.
    pub clock: Clock,
    /// Where a fault is reported.
    pub health: Health,
    /// Where evidence is kept.
    pub evidence: EvidenceFiles,
}

/// A certified checkpoint, ready to be sent.
#[derive(Debug, Clone)]
pub struct Certified {
    /// Its size.
    pub size: TreeSize,
    /// Its root.
    pub root: Hash,
    /// The note: the log's line, then the cosigners by id.
    pub note: Arc<str>,
    /// When the cosigners signed, seconds, newest first.
    pub times: Vec<u64>,
}

/// Why there is no certified checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// Not enough members signed in time.
    #[error("{have} of {need} cosignatures for size {size}; still missing: {missing}")]
    Timeout {
        /// The size.
        size: TreeSize,
        /// How many there are.
        have: usize,
        /// How many were asked for.
        need: usize,
        /// Names of the members that have not signed.
        missing: String,
    },
    /// More were asked for than there are members.
    #[error(
        "min_cosigners is {need}, and there are {members} members and {witnesses} outside witnesses that count"
    )]
    TooMany {
        /// How many were asked for.
        need: usize,
        /// How many members there are.
        members: usize,
        /// How many outside witnesses count that this node asks.
        witnesses: usize,
    },
    /// Outside witnesses have to be among them that this node does not ask.
    #[error(
        "{need} of the named keys that no node of this cluster has must cosign, and this node asks {known} of them (it \
         asks: {asked}): either the policy is that of another cluster, or a [[witness]] is missing in the \
         configuration of every node"
    )]
    UnknownWitnesses {
        /// How many have to.
        need: usize,
        /// How many of those that were named this node asks.
        known: usize,
        /// Whom it asks.
        asked: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::faults::StoreFault),
}

/// The signer of a node. Cheap to clone.
#[derive(Clone)]
pub struct Signer(pub(super) Arc<Desk>);

pub(super) struct Desk {
    me: NodeId,
    pub(super) origin: ClusterOrigin,
    log_secret: Zeroizing<[u8; 32]>,
    pub(super) state: Arc<StateStore>,
    clock: Clock,
    haste: Haste,
    health: Health,
    evidence: EvidenceFiles,
    /// Signs one batch at a time: what is promised is promised in order.
    pen: AsyncMutex<Pen>,
    pub(super) book: Mutex<Book>,
    log_keys: Mutex<BTreeMap<LedgerName, Arc<LogKey>>>,
    certified: Mutex<BTreeMap<LedgerName, watch::Sender<TreeSize>>>,
    pub(super) changed: watch::Sender<u64>,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) outside: Outside,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signer {
    /// A signer that signs nothing yet, and the heads of all ledgers: what it is to begin with.
    ///
    /// # Errors
    /// When what was promised is unreadable, or the state contradicts it.
    pub fn open(parts: SignerParts, outbox: Arc<dyn Outbox>) -> Result<(Self, Vec<NewCheckpoint>), String> {
        let view = parts.state.view();
        consistent(&parts.log, &view)?;
        let pen = Pen::open(parts.key, parts.origin.clone(), parts.log).map_err(|fault| fault.to_string())?;
        let signer = Self(Arc::new(Desk {
            me: parts.me,
            origin: parts.origin,
            log_secret: parts.log_secret,
            state: parts.state,
            haste: Haste::new(parts.clock.clone()),
            clock: parts.clock,
            health: parts.health,
            evidence: parts.evidence,
            pen: AsyncMutex::new(pen),
            book: Mutex::new(Book::new(parts.founders)),
            log_keys: Mutex::default(),
            certified: Mutex::default(),
            changed: watch::Sender::new(0),
            outbox,
            outside: Outside::new(parts.witnesses),
        }));
        Ok((signer, notes::heads(&view).map_err(|fault| fault.to_string())?))
    }

    /// Starts signing: the heads first, then what comes from the intake. Only once nothing speaks against this node's
    /// files any more.
    pub fn start(&self, heads: Vec<NewCheckpoint>, checkpoints: mpsc::UnboundedReceiver<NewCheckpoint>) {
        tokio::spawn(self.clone().sign_all(heads, checkpoints));
        tokio::spawn(self.clone().save_all());
        tokio::spawn(self.clone().ask_around());
    }

    /// Somebody waits for a certificate, or will when the request that is about to be made is applied: for a while
    /// checkpoints do not rest, here and at the other members.
    pub fn hurry(&self) {
        if self.0.haste.wanted() {
            self.0.outbox.hurry();
        }
    }

    /// Somebody waits at another member.
    pub fn hurried(&self) {
        self.0.haste.heard();
    }

    /// A member sent its cosignatures.
    pub fn incoming(&self, from: NodeId, cosignatures: Vec<pb::Cosignature>) {
        let mut any = false;
        for message in cosignatures {
            match self.take(from, &message) {
                Ok(change) => any |= self.react(&message.ledger, change),
                Err(TakeError::Refused(Refused::Stranger(node))) => {
                    // It, or this node, may not have applied yet what makes it one, or none.
                    tracing::debug!(%node, "a cosignature of who is not in the cosigner set");
                }
                Err(problem) => tracing::warn!(node = %from, %problem, "refused a cosignature"),
            }
        }
        if any {
            self.0.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn take(&self, from: NodeId, message: &pb::Cosignature) -> Result<Change, TakeError> {
        let malformed = |problem: &dyn std::fmt::Display| TakeError::Malformed(problem.to_string());
        let ledger = LedgerName::new(&message.ledger).map_err(|error| malformed(&error))?;
        let root = Hash::try_from(message.root.as_ref()).map_err(|error| malformed(&error))?;
        let signature = message.signature.as_ref().try_into();
        let signature = signature.map_err(|_| malformed(&"signature: not 64 bytes"))?;
        let signed = Signed { root, time: message.time_s, signature };
        if message.witness.is_some() {
            return Ok(self.witnessed_elsewhere(message, &ledger, signed).map(|()| Change::Added)?);
        }
        Ok(lock(&self.0.book).add(&ledger, from, TreeSize::new(message.size), signed)?)
    }

    /// This node's own cosignatures of a ledger from a size on, for a member that asks.
    pub async fn own(
        &self,
        ledger: &LedgerName,
        from: TreeSize,
        limit: usize,
        refresh: bool,
    ) -> Vec<pb::Cosignature> {
        if refresh {
            self.sign_again(ledger).await;
        }
        let own = lock(&self.0.book).signed_by(self.0.me, ledger, from, limit);
        own.into_iter().map(|(size, signed)| wire(ledger, size, &signed)).collect()
    }

    /// The largest size of a ledger that a majority signed; zero when there is none.
    pub fn certified_size(&self, ledger: &LedgerName) -> TreeSize {
        lock(&self.0.book).certified(ledger)
    }

    /// The cluster.
    pub(super) fn origin(&self) -> &ClusterOrigin {
        &self.0.origin
    }

    /// Whose signatures certify the heads of a snapshot, if its cosigner sets follow from what this node knows.
    ///
    /// # Errors
    /// Where they do not.
    pub(super) fn anchor(&self, snapshot: &ReadView) -> Result<Anchor, String> {
        let founders = lock(&self.0.book).founders();
        let own = self.0.state.view().cluster().registry.cosigners().cloned();
        Anchor::follow(&self.0.origin, founders, own, snapshot)
    }

    /// How many cosignatures are a majority of the newest set.
    pub fn quorum(&self) -> usize {
        lock(&self.0.book).newest().majority()
    }

    /// The cluster's log secret, for a node that joins.
    pub(crate) fn log_secret(&self) -> Zeroizing<[u8; 32]> {
        self.0.log_secret.clone()
    }

    /// The log key of a ledger.
    pub fn log_key(&self, ledger: &LedgerName) -> Arc<LogKey> {
        let mut keys = lock(&self.0.log_keys);
        let derive = || Arc::new(LogKey::derive(&self.0.log_secret, &self.0.origin.ledger(ledger)));
        Arc::clone(keys.entry(ledger.clone()).or_insert_with(derive))
    }

    /// Signs the head of a ledger again, here and at the other members, if it was last signed more than 10 s ago.
    pub async fn refresh(&self, ledger: &LedgerName) {
        // Whoever asks the witnesses looks how old their signatures are.
        self.want(ledger, TreeSize::ZERO);
        if !self.sign_again(ledger).await {
            return;
        }
        let head = lock(&self.0.book).head(ledger);
        let others: Vec<NodeId> = self.others();
        let asked = others.into_iter().map(|node| self.ask(node, ledger.clone(), head, true));
        futures::future::join_all(asked).await;
    }

    fn others(&self) -> Vec<NodeId> {
        lock(&self.0.book).newest().keys().keys().filter(|id| **id != self.0.me).copied().collect()
    }

    /// Takes the consequences of a change; true when somebody may be waiting for it.
    pub(super) fn react(&self, ledger: &str, change: Change) -> bool {
        match change {
            Change::None => false,
            Change::Added => true,
            Change::Contradiction(evidence) => {
                self.0.evidence.keep(&evidence);
                false
            }
            Change::Certified => {
                let Ok(ledger) = LedgerName::new(ledger) else {
                    return false;
                };
                let size = self.certified_size(&ledger);
                let mut all = lock(&self.0.certified);
                all.entry(ledger).or_insert_with(|| watch::Sender::new(size)).send_replace(size);
                true
            }
            Change::Disagreement { size, ours, theirs, by, outvoted } => {
                metrics::counter!("quorate_root_mismatch_total").increment(1);
                let nodes: Vec<String> = by.iter().map(ToString::to_string).collect();
                let nodes = nodes.join(", ");
                tracing::error!(ledger, %size, %ours, %theirs, nodes, "signed roots differ");
                let evidence =
                    LedgerName::new(ledger).ok().and_then(|name| lock(&self.0.book).differing(&name, size));
                evidence.iter().for_each(|evidence| self.0.evidence.keep(evidence));
                if outvoted {
                    self.0.health.fail(format!(
                        "diverged: ledger {ledger} at size {size} has the root {ours} here, and nodes {nodes} signed \
                         {theirs}; keep this node's files for examination and replace it by a new node"
                    ));
                }
                false
            }
        }
    }

    async fn ask(&self, node: NodeId, ledger: LedgerName, from: TreeSize, refresh: bool) {
        match self.0.outbox.ask(node, ledger, from, refresh).await {
            Ok(cosignatures) => self.incoming(node, cosignatures),
            Err(problem) => tracing::debug!(%node, problem, "no cosignatures"),
        }
    }

    /// Asks members for what did not arrive: lost in a broken connection, or made while this node was down.
    async fn ask_around(self) {
        let mut before: BTreeMap<LedgerName, TreeSize> = BTreeMap::new();
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            if !self.0.health.is_good() {
                return;
            }
            let lagging = lock(&self.0.book).lagging();
            let mut asks = Vec::new();
            for (ledger, from, missing) in &lagging {
                // Only what was missing a moment ago too: the rest is on its way.
                if before.get(ledger) == Some(from) {
                    let others = missing.iter().filter(|node| **node != self.0.me);
                    asks.extend(others.map(|node| self.ask(*node, ledger.clone(), *from, false)));
                }
            }
            futures::future::join_all(asks).await;
            before = lagging.into_iter().map(|(ledger, from, _)| (ledger, from)).collect();
        }
    }

    /// Saves cosignatures now and then. What a crash loses of them here, the other members still have.
    async fn save_all(self) {
        loop {
            tokio::time::sleep(SAVE_EVERY).await;
            // A faulty node's files are kept as they are.
            if !self.0.health.is_good() {
                return;
            }
            let unsaved = lock(&self.0.book).take_unsaved();
            for (ledger, size, signed) in unsaved {
                let stored: Vec<StoredCosignature> = signed
                    .into_iter()
                    .map(|(node, s)| StoredCosignature { node, time_s: s.time, signature: s.signature })
                    .collect();
                let view = self.0.state.view();
                let Some(held) = view.ledger(&ledger) else {
                    continue;
                };
                if let Err(fault) = self.0.state.put_cosignatures(held.id(), size, &stored) {
                    return self.0.health.fail(fault.to_string());
                }
            }
        }
    }
}

/// A cosignature that is not taken.
#[derive(Debug, thiserror::Error)]
enum TakeError {
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Refused(#[from] Refused),
}

pub(super) fn newest_first(times: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    times
}

pub(super) fn wire(ledger: &LedgerName, size: TreeSize, signed: &Signed) -> pb::Cosignature {
    pb::Cosignature {
        ledger: ledger.as_str().to_owned(),
        size: size.get(),
        root: signed.root.as_bytes().to_vec().into(),
        time_s: signed.time,
        signature: signed.signature.to_vec().into(),
        witness: None,
    }
}
