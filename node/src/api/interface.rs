//! The shared handle of the interface, and how a call gets hold of the state it reads.
//!
//! A read sees one view of one ledger and nothing else. Which view: the one after a read barrier (linearizable), or
//! the present one if its checkpoint was cosigned lately enough (stated staleness). What a caller names that is not
//! here *yet*, such as a ledger or a size, is looked for once more after a barrier before it is refused: this replica
//! may just be behind.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_core::{
    answer::LeafProof,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{LogIndex, NodeId, TreeSize},
};
use quorate_ledger::view::LedgerId;
use tokio::sync::{Semaphore, watch};

use super::{
    backend::Backend,
    bounds::{Consistency, Options},
    errors::{Problem, Reason},
};
use crate::{
    clock::Clock,
    config::Limits,
    disk::DiskGuard,
    evidence::EvidenceFiles,
    health::Health,
    membership::Office,
    pace::{Load, Pace, Rates},
    signer::Need,
    store::{
        faults::StoreFault,
        state::{LedgerView, ReadView, StateStore},
    },
    upkeep::Upkeep,
};

/// Streams of the log that are served at once, at most.
pub(super) const MAX_STREAMS: usize = 256;

/// Streams of commits that are served at once, at most; each waits for its client most of the time.
pub(super) const MAX_COMMIT_STREAMS: usize = 1_024;

/// How long a read waits for old signatures to be renewed.
const REFRESH_TIMEOUT: Duration = Duration::from_millis(500);

/// What the interface of a node is made of.
pub struct ApiParts {
    /// What this node does beside serving.
    pub upkeep: Upkeep,
    /// This node.
    pub me: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// Its origin.
    pub origin: ClusterOrigin,
    /// What is applied here.
    pub state: Arc<StateStore>,
    /// The parts that agree, sequence and sign.
    pub backend: Arc<dyn Backend>,
    /// Whether this node may serve.
    pub health: Health,
    /// The clock.
    pub clock: Clock,
    /// Bounds of calls.
    pub limits: Limits,
    /// Where this node's files are, for what is told of the disk.
    pub data_dir: PathBuf,
    /// Whether there is space for writes.
    pub disk: DiskGuard,
    /// Where changes of the members are asked for; `None` where there are none to be had.
    pub office: Option<Office>,
    /// Proofs that another node lied.
    pub evidence: EvidenceFiles,
    /// What clients have had written.
    pub load: Load,
}

/// The interface of a node. Cheap to clone.
#[derive(Clone)]
pub struct Api(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) parts: ApiParts,
    /// One permit per call at work.
    pub(super) calls: Semaphore,
    /// One permit per stream of the log.
    pub(super) streams: Arc<Semaphore>,
    /// One permit per stream of commits.
    pub(super) commit_streams: Arc<Semaphore>,
    /// True once this node stops: streams that have no end of their own end then.
    pub(super) stopping: watch::Sender<bool>,
    /// Commit leaves with their paths, of sizes asked for lately.
    pub(super) commits: Mutex<BTreeMap<(LedgerId, TreeSize), Arc<LeafProof>>>,
    /// How fast the log is read with its contents.
    pub(super) log_pace: Mutex<Pace>,
    /// When signatures of a ledger were last asked to be renewed, monotonic.
    pub(super) renewed: Mutex<BTreeMap<LedgerName, Duration>>,
}

/// Until when a call has to be answered.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    clock: Clock,
    /// Monotonic.
    end: Duration,
}

impl Deadline {
    /// `time` from now.
    pub(crate) fn after(clock: &Clock, time: Duration) -> Self {
        Self { clock: clock.clone(), end: clock.monotonic().saturating_add(time) }
    }

    /// The time that is left.
    pub(crate) fn remaining(&self) -> Duration {
        self.end.saturating_sub(self.clock.monotonic())
    }

    /// The time to wait for something: a little less than is left, so that the caller hears why it did not come.
    pub(crate) fn patience(&self) -> Duration {
        let left = self.remaining();
        left.saturating_sub(left / 16)
    }
}

impl Api {
    /// The interface of a node that runs.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let calls = Semaphore::new(parts.limits.calls.min(Semaphore::MAX_PERMITS));
        let rates = Rates { idle: 0, busy: parts.limits.busy_log_bytes_per_second };
        let log_pace = Mutex::new(Pace::new(rates, parts.load.clone(), parts.clock.clone()));
        Self(Arc::new(Inner {
            parts,
            calls,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            commit_streams: Arc::new(Semaphore::new(MAX_COMMIT_STREAMS)),
            stopping: watch::Sender::new(false),
            commits: Mutex::default(),
            log_pace,
            renewed: Mutex::default(),
        }))
    }

    pub(super) fn parts(&self) -> &ApiParts {
        &self.0.parts
    }

    pub(super) fn backend(&self) -> &dyn Backend {
        &*self.0.parts.backend
    }

    /// What is applied here now.
    pub(super) fn view(&self) -> Arc<ReadView> {
        self.0.parts.state.view()
    }

    /// The view that a read with these options answers from.
    pub(super) async fn open(
        &self,
        name: &LedgerName,
        options: &Options,
        deadline: &Deadline,
    ) -> Result<Arc<LedgerView>, Problem> {
        self.check_cosigners(&options.need, "options.min_cosigners")?;
        let view = self.look(name, options).await?;
        if !options.prove || !options.need.looks_outside() {
            return Ok(view);
        }
        // Witnesses sign some sizes only: the answer is as of one of them that is not older than the view.
        let size = view.size();
        Ok(self.backend().reach(view, size, options.need, deadline.patience()).await?.view)
    }

    async fn look(&self, name: &LedgerName, options: &Options) -> Result<Arc<LedgerView>, Problem> {
        let mut barred = match options.consistency {
            Consistency::Linearizable => false,
            Consistency::Stale(bound) => self.is_fresh(name, bound, options.need).await?,
        };
        loop {
            if !barred {
                self.backend().read_barrier().await?;
            }
            let found = find(&self.view(), name).and_then(|ledger| {
                check_size(&ledger, options.trusted, "options.trusted_size")?;
                check_index(&ledger, options.at, "options.at")?;
                Ok(ledger)
            });
            match found {
                Err(_) if barred => barred = false,
                found => return Ok(found?),
            }
        }
    }

    /// A ledger as it is here; looked for again after a barrier if it does not satisfy `enough`, which says why.
    pub(super) async fn find(
        &self,
        name: &LedgerName,
        enough: impl Fn(&LedgerView) -> Result<(), tonic::Status>,
    ) -> Result<Arc<LedgerView>, Problem> {
        let look = || find(&self.view(), name).and_then(|ledger| enough(&ledger).map(|()| ledger));
        if let Ok(ledger) = look() {
            return Ok(ledger);
        }
        self.backend().read_barrier().await?;
        Ok(look()?)
    }

    /// Whether what is here was cosigned at most so long ago.
    async fn is_fresh(&self, name: &LedgerName, bound: Duration, need: Need) -> Result<bool, Problem> {
        for attempt in 0..2 {
            let Ok(ledger) = find(&self.view(), name) else {
                return Ok(false);
            };
            let size = self.backend().certified_size(name).min(ledger.size());
            let age = self.age_of(&ledger, size, need).await?;
            if age.is_some_and(|age| age <= bound) {
                return Ok(true);
            }
            if attempt == 0 {
                self.renew(name).await;
            }
        }
        Ok(false)
    }

    /// Time since the k-th newest cosignature of a size, `None` if it has not so many.
    async fn age_of(
        &self,
        ledger: &LedgerView,
        size: TreeSize,
        need: Need,
    ) -> Result<Option<Duration>, StoreFault> {
        let Some(root) = ledger.root_at(size)?.filter(|_| size > TreeSize::ZERO) else {
            return Ok(None);
        };
        let name = &ledger.head().name;
        let Ok(certified) = self.backend().certified(name, size, root, need, Duration::ZERO).await else {
            return Ok(None);
        };
        let enough = need.enough(self.backend().majority());
        let newest = enough.checked_sub(1).and_then(|place| certified.times.get(place));
        let now = self.0.parts.clock.now().as_secs();
        Ok(newest.map(|time| Duration::from_secs(now.saturating_sub(*time))))
    }

    /// Has old signatures of a ledger renewed, at most once a second, and waits a little for it.
    pub(super) async fn renew(&self, name: &LedgerName) {
        let now = self.0.parts.clock.monotonic();
        {
            let mut renewed = self.0.renewed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let last = renewed.get(name).copied();
            if last.is_some_and(|last| now.saturating_sub(last) < Duration::from_secs(1)) {
                return;
            }
            renewed.insert(name.clone(), now);
        }
        // Whoever does not answer in time is asked again by the next read.
        tokio::time::timeout(REFRESH_TIMEOUT, self.backend().refresh(name)).await.ok();
    }

    /// Refuses to wait for more cosignatures than there are cosigners. Which outside witnesses are asked is looked at when
    /// they are waited for.
    pub(super) fn check_cosigners(&self, need: &Need, field: &str) -> Result<(), Problem> {
        let wanted = need.cosigners.saturating_sub(need.named().count());
        if wanted == 0 {
            return Ok(());
        }
        let view = self.view();
        let known = view.cluster().registry.cosigners().map_or(usize::MAX, |set| set.cosigners.len());
        if wanted > known {
            let problem = format_args!("{wanted} cosignatures: the cluster has {known} cosigners");
            return Err(Reason::TooManyCosigners.of(field, problem).into());
        }
        Ok(())
    }
}

/// A ledger of a view.
fn find(view: &ReadView, name: &LedgerName) -> Result<Arc<LedgerView>, tonic::Status> {
    view.ledger(name).cloned().ok_or_else(|| {
        Reason::UnknownLedger.of("ledger", format_args!("there is no ledger {name}: create it first"))
    })
}

/// Refuses a size beyond the end of a ledger.
pub(crate) fn check_size(ledger: &LedgerView, size: TreeSize, field: &str) -> Result<(), tonic::Status> {
    if size > ledger.size() {
        let problem = format_args!("{size} is beyond the end: the ledger has size {}", ledger.size());
        return Err(Reason::SizeBeyondEnd.of(field, problem));
    }
    Ok(())
}

/// Refuses a log index beyond the end of a ledger.
pub(crate) fn check_index(
    ledger: &LedgerView,
    index: Option<LogIndex>,
    field: &str,
) -> Result<(), tonic::Status> {
    match index {
        Some(index) if !ledger.size().contains(index) => {
            let problem =
                format_args!("log index {index} is beyond the end: the ledger has size {}", ledger.size());
            Err(Reason::IndexBeyondEnd.of(field, problem))
        }
        _ => Ok(()),
    }
}

/// Runs what may read a lot on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreFault::io("a thread that reads", error).into()),
    }
}
