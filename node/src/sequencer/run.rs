//! The loop that seals blocks, and the handle through which requests reach it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    block::BlockKey,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{NodeId, Term},
};
use quorate_ledger::{
    block::{Block, Genesis, Request},
    outcome::RequestOutcome,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    admission::Admission,
    block_time::BlockTime,
    gather::{BlockBounds, OpenBlock, Waiting},
};
use crate::{
    block::{Link, seal},
    chain::Chain,
    clock::Clock,
    config::Limits,
    consensus::{Consensus, Outcome, ProposeError, Role},
    decoded::DecodedBlock,
    health::Health,
};

/// What a sequencer is made of.
pub struct SequencerParts {
    /// This node.
    pub me: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// Its origin.
    pub origin: ClusterOrigin,
    /// The key this node signs blocks with.
    pub key: BlockKey,
    /// Where blocks are proposed.
    pub consensus: Consensus,
    /// What the last block is.
    pub chain: Arc<Chain>,
    /// The clock.
    pub clock: Clock,
    /// Whether this node may propose.
    pub health: Health,
    /// Bounds of the queue and of blocks.
    pub limits: Limits,
}

/// Why a request was not sequenced.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full. Nothing was done.
    #[error("too many requests are waiting: try again in a moment")]
    Full,
    /// It would wait too long. Nothing was done.
    #[error(
        "what is waiting already takes {} ms, longer than the call or limits.write_wait_ms allows: try again in a moment, or write \
         several operations in a transaction",
        .expected.as_millis()
    )]
    Late {
        /// How long it would take.
        expected: Duration,
    },
    /// Another node leads. Nothing was done.
    #[error("this node does not lead")]
    NotLeader {
        /// The node that does, as far as is known.
        leader: Option<NodeId>,
    },
    /// The cluster has no first block yet. Nothing was done.
    #[error("the cluster is being founded: try again in a moment")]
    NotFounded,
    /// Leadership was lost while the block was on its way: it may have been committed, or may be yet.
    #[error("the outcome is unknown: ask again with the same idempotency key")]
    OutcomeUnknown,
    /// This node has stopped.
    #[error("this node has stopped: {0}")]
    Stopped(String),
}

/// The sequencer of a node. Cheap to clone.
#[derive(Clone)]
pub struct Sequencer {
    queue: mpsc::Sender<Waiting>,
    bytes: Arc<Semaphore>,
    admission: Arc<Admission>,
    consensus: Consensus,
    health: Health,
}

impl Sequencer {
    /// Starts the loop.
    pub fn start(parts: SequencerParts) -> Self {
        let (queue, waiting) = mpsc::channel(parts.limits.queued_requests);
        let admission = Admission::new(parts.limits.write_wait());
        let sequencer = Self {
            queue,
            bytes: Arc::new(Semaphore::new(parts.limits.queued_bytes.min(Semaphore::MAX_PERMITS))),
            admission: Arc::clone(&admission),
            consensus: parts.consensus.clone(),
            health: parts.health.clone(),
        };
        tokio::spawn(Sealer::new(parts, admission).run(waiting));
        sequencer
    }

    /// Puts a request into a block and waits until the block is applied here.
    ///
    /// # Errors
    /// [`SubmitError`] says whether it is certain that nothing was done.
    pub async fn submit(&self, request: Request) -> Result<RequestOutcome, SubmitError> {
        self.submit_within(request, Duration::MAX).await
    }

    /// The same for somebody who waits so long: what would take longer is refused.
    ///
    /// # Errors
    /// As [`Sequencer::submit`].
    pub async fn submit_within(
        &self,
        request: Request,
        patience: Duration,
    ) -> Result<RequestOutcome, SubmitError> {
        // Operators act on a cluster that is busy too: what they write is little, and may be what helps.
        let _place = match request.ledger.as_str() {
            LedgerName::SYSTEM => None,
            _ => Some(self.admission.enter(patience).map_err(|expected| SubmitError::Late { expected })?),
        };
        let weight = request.encoded_len();
        let permits = u32::try_from(weight).map_err(|_| SubmitError::Full)?;
        let share = Arc::clone(&self.bytes).try_acquire_many_owned(permits).map_err(|_| SubmitError::Full)?;
        match self.wait(Some(request), weight, Some(share)).await? {
            Some(outcome) => Ok(outcome),
            None => Err(SubmitError::OutcomeUnknown),
        }
    }

    /// Proposes the founding block of the cluster, if there is no block yet.
    ///
    /// # Errors
    /// As [`Sequencer::submit`].
    pub async fn found(&self) -> Result<(), SubmitError> {
        self.wait(None, 0, None).await.map(drop)
    }

    async fn wait(
        &self,
        request: Option<Request>,
        weight: usize,
        share: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<RequestOutcome>, SubmitError> {
        if let Some(fault) = self.health.fault() {
            return Err(SubmitError::Stopped(fault));
        }
        let watch = self.consensus.status();
        {
            let status = watch.borrow();
            if status.role != Role::Leader {
                return Err(SubmitError::NotLeader { leader: status.leader.map(NodeId::new) });
            }
        }
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Waiting { request, weight, reply, share }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Full,
            mpsc::error::TrySendError::Closed(_) => {
                SubmitError::Stopped("the sequencer has ended".to_owned())
            }
        })?;
        answer.await.unwrap_or(Err(SubmitError::OutcomeUnknown))
    }
}

/// Leadership as far as the sealer is concerned.
struct Lead {
    term: Term,
    /// The last block of the log; `None` before the first.
    last: Option<Link>,
    time: BlockTime,
}

struct Sealer {
    parts: SequencerParts,
    lead: Option<Lead>,
    /// Nothing is proposed in this term any more: a proposal of it did not succeed.
    burnt: Arc<AtomicU64>,
    /// One permit per block that may be on its way.
    slots: Arc<Semaphore>,
    /// Told when a permit is given back.
    arrived: Arc<Notify>,
    /// Requests of the block before.
    last_len: usize,
    bounds: BlockBounds,
    admission: Arc<Admission>,
}

impl Sealer {
    fn new(parts: SequencerParts, admission: Arc<Admission>) -> Self {
        let bounds = BlockBounds { requests: parts.limits.block_requests, bytes: parts.limits.block_bytes };
        let slots = Arc::new(Semaphore::new(parts.limits.blocks_in_flight));
        Self {
            parts,
            lead: None,
            burnt: Arc::new(AtomicU64::new(0)),
            slots,
            arrived: Arc::default(),
            last_len: 0,
            bounds,
            admission,
        }
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut held = None;
        loop {
            let first = match held.take() {
                Some(first) => first,
                None => match queue.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            let Some(first) = first.if_waited_for() else { continue };
            let mut open = OpenBlock::new(first, self.bounds);
            let slot = self.fill(&mut open, &mut queue).await;
            let (mut block, next) = open.close();
            held = next;
            self.last_len = block.len();
            metrics::histogram!("quorate_block_requests")
                .record(u32::try_from(block.len()).unwrap_or(u32::MAX));
            match self.seal(&mut block) {
                Ok((term, link, payload)) => self.propose(term, link, payload, block, slot).await,
                Err(error) => block.into_iter().for_each(|waiting| waiting.tell(Err(error.clone()))),
            }
        }
    }

    /// Fills a block until it is time to close it, and takes its place among the blocks on their way.
    ///
    /// A block closes at once when no other is on its way. Otherwise it waits until one of them has arrived, or it is
    /// full, or at least as large as the one before it: what a block costs besides its requests (signatures, syncs,
    /// messages) is then shared by as many as wait anyway.
    async fn fill(&self, open: &mut OpenBlock, queue: &mut mpsc::Receiver<Waiting>) -> OwnedSemaphorePermit {
        loop {
            open.fill(queue);
            let on_their_way = self.parts.limits.blocks_in_flight - self.slots.available_permits();
            let is_time = on_their_way == 0 || open.is_full() || open.len() >= self.last_len;
            if is_time && let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                return slot;
            }
            tokio::select! {
                () = self.arrived.notified() => {}
                Some(next) = queue.recv(), if !open.is_full() => open.add(next),
            }
        }
    }

    /// Seals the block: its requests, its time, its place in the chain, its signature.
    fn seal(&mut self, waiting: &mut [Waiting]) -> Result<(Term, Link, Bytes), SubmitError> {
        if let Some(fault) = self.parts.health.fault() {
            return Err(SubmitError::Stopped(fault));
        }
        self.take_lead()?;
        let (now, monotonic) = (self.parts.clock.now(), self.parts.clock.monotonic());
        let Some(lead) = &mut self.lead else {
            return Err(SubmitError::NotLeader { leader: None });
        };
        let requests: Vec<Request> = waiting.iter_mut().filter_map(|one| one.request.take()).collect();
        let founded = lead.last.is_some() || self.parts.chain.is_founded();
        let genesis = match (founded, requests.is_empty()) {
            (false, true) => Some(Genesis {
                cluster_id: self.parts.cluster.as_bytes().to_vec().into(),
                cluster_name: self.parts.origin.name().to_owned(),
            }),
            (false, false) | (true, true) => return Err(SubmitError::NotFounded),
            (true, false) => None,
        };
        let time = lead.time.next(now, monotonic).get();
        let block = Block { time, requests, genesis };
        let body = block.encode_to_vec().into();
        let (carried, payload) =
            seal(&self.parts.key, self.parts.cluster, self.parts.me, lead.term, lead.last, body);
        let link = carried.link();
        self.parts.chain.decoded().keep(payload.clone(), DecodedBlock { carried, block });
        Ok((lead.term, link, payload))
    }

    /// Makes sure that `self.lead` is the present leadership of this node.
    fn take_lead(&mut self) -> Result<(), SubmitError> {
        let watch = self.parts.consensus.status();
        let (role, leader, term) = {
            let status = watch.borrow();
            (status.role, status.leader, Term::new(status.term))
        };
        if role != Role::Leader || term.get() <= self.burnt.load(Ordering::Acquire) {
            self.lead = None;
            let leader = leader.map(NodeId::new).filter(|id| *id != self.parts.me);
            return Err(SubmitError::NotLeader { leader });
        }
        if self.lead.as_ref().is_some_and(|lead| lead.term == term) {
            return Ok(());
        }
        let last = self.parts.chain.last().map_err(|fault| {
            self.parts.health.fail(fault.to_string());
            SubmitError::Stopped(fault.to_string())
        })?;
        let time = BlockTime::start(self.parts.clock.now(), self.parts.clock.monotonic());
        self.lead = Some(Lead { term, last, time });
        Ok(())
    }

    async fn propose(
        &mut self,
        term: Term,
        link: Link,
        payload: Bytes,
        mut block: Vec<Waiting>,
        slot: OwnedSemaphorePermit,
    ) {
        for waiting in &mut block {
            waiting.share = None;
        }
        let (clock, proposed) = (self.parts.clock.clone(), self.parts.clock.monotonic());
        let admission = Arc::clone(&self.admission);
        let proposal = self.parts.consensus.submit(term.get(), payload).await;
        match (&proposal, &mut self.lead) {
            (Ok(_), Some(lead)) => lead.last = Some(link),
            _ => self.lead = None,
        }
        let (burnt, arrived) = (Arc::clone(&self.burnt), Arc::clone(&self.arrived));
        tokio::spawn(async move {
            let result = match proposal {
                Ok(proposal) => proposal.outcome().await,
                Err(error) => Err(error),
            };
            match &result {
                Ok(_) => admission.arrived(block.len(), proposed, clock.monotonic()),
                Err(_) => drop(burnt.fetch_max(term.get(), Ordering::AcqRel)),
            }
            drop(slot);
            arrived.notify_one();
            finish(block, result);
        });
    }
}

/// Tells everybody in the block what became of it.
fn finish(block: Vec<Waiting>, result: Result<Outcome, ProposeError>) {
    let error = match result {
        Ok(outcome) => {
            let mut outcomes = outcome.requests.iter();
            for waiting in block {
                // The founding block has no request, and no outcome of one.
                waiting.tell(Ok(outcomes.next().cloned()));
            }
            return;
        }
        Err(ProposeError::NotLeader { leader }) => SubmitError::NotLeader { leader: leader.map(NodeId::new) },
        Err(ProposeError::OutcomeUnknown) => SubmitError::OutcomeUnknown,
        Err(error @ ProposeError::Stopped) => SubmitError::Stopped(error.to_string()),
    };
    tracing::info!(%error, requests = block.len(), "a block was not applied");
    for waiting in block {
        waiting.tell(Err(error.clone()));
    }
}

/// How long the founder waits between attempts.
pub(crate) const FOUND_EVERY: Duration = Duration::from_millis(200);
