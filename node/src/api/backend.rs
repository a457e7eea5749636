//! What the interface needs of the parts that agree, sequence and sign.
//!
//! A boundary with two sides: [`NodeBackend`] over the running parts of a node, and in tests a ledger in one process.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use quorate_core::{hash::Hash, name::LedgerName, position::TreeSize};
use quorate_ledger::{block::Request, outcome::RequestOutcome};

use super::contact::LeaderContact;
use crate::{
    consensus::{Consensus, ReadError, Role, Status},
    sequencer::{Sequencer, SubmitError},
    signer::{Certified, Need, Reached, Signer, WaitError},
    store::state::LedgerView,
};

/// The parts behind the interface.
pub trait Backend: Send + Sync + 'static {
    /// Puts a request into a block and waits until the block is applied here. What is expected to take longer than `patience`
    /// is refused.
    fn submit(
        &self,
        request: Request,
        patience: Duration,
    ) -> BoxFuture<'_, Result<RequestOutcome, SubmitError>>;

    /// Waits until the state here has everything that was acknowledged before the call.
    fn read_barrier(&self) -> BoxFuture<'_, Result<(), ReadError>>;

    /// The state of consensus.
    fn consensus(&self) -> Status;

    /// Time since this node last heard from a leader; zero on the leader itself.
    fn leader_silence(&self) -> Duration;

    /// Waits until enough have signed this checkpoint, which is applied here.
    fn certified<'a>(
        &'a self,
        ledger: &'a LedgerName,
        size: TreeSize,
        root: Hash,
        need: Need,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Certified, WaitError>>;

    /// Waits until enough have signed the checkpoint of `least`, which is in `view`, or a larger one.
    fn reach(
        &self,
        view: Arc<LedgerView>,
        least: TreeSize,
        need: Need,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Reached, WaitError>>;

    /// The largest size of a ledger that enough have signed, as far as this is in memory; zero when there is none.
    fn newest_meeting(&self, ledger: &LedgerName, need: Need) -> TreeSize;

    /// Somebody will wait for the certificate of a block that is not made yet: what can be done before is done.
    fn hurry(&self);

    /// The largest size of a ledger that a majority signed; zero when there is none.
    fn certified_size(&self, ledger: &LedgerName) -> TreeSize;

    /// Returns when a majority has signed a larger size of a ledger than this.
    fn certified_beyond<'a>(&'a self, ledger: &'a LedgerName, size: TreeSize) -> BoxFuture<'a, ()>;

    /// How many cosignatures are a majority.
    fn majority(&self) -> usize;

    /// Has the newest checkpoint of a ledger signed again where its signatures are old.
    fn refresh<'a>(&'a self, ledger: &'a LedgerName) -> BoxFuture<'a, ()>;

    /// The vkey of a ledger's log key.
    fn log_vkey(&self, ledger: &LedgerName) -> String;
}

/// The parts of a running node.
#[derive(Clone)]
pub struct NodeBackend {
    consensus: Consensus,
    sequencer: Sequencer,
    signer: Signer,
    contact: LeaderContact,
}

impl NodeBackend {
    /// Over the running parts. `contact` is told of every message of a leader (see [`Listening`]).
    ///
    /// [`Listening`]: super::Listening
    #[must_use]
    pub fn new(
        consensus: Consensus,
        sequencer: Sequencer,
        signer: Signer,
        contact: LeaderContact,
    ) -> Arc<Self> {
        Arc::new(Self { consensus, sequencer, signer, contact })
    }
}

impl Backend for NodeBackend {
    fn submit(
        &self,
        request: Request,
        patience: Duration,
    ) -> BoxFuture<'_, Result<RequestOutcome, SubmitError>> {
        Box::pin(self.sequencer.submit_within(request, patience))
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async { self.consensus.read_barrier().await.map(drop) })
    }

    fn consensus(&self) -> Status {
        self.consensus.status().borrow().clone()
    }

    fn leader_silence(&self) -> Duration {
        match self.consensus.status().borrow().role {
            Role::Leader => Duration::ZERO,
            Role::Learner | Role::Follower | Role::Candidate | Role::Stopped => self.contact.silence(),
        }
    }

    fn certified<'a>(
        &'a self,
        ledger: &'a LedgerName,
        size: TreeSize,
        root: Hash,
        need: Need,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Certified, WaitError>> {
        Box::pin(async move { self.signer.wait(ledger, size, root, &need, timeout).await })
    }

    fn reach(
        &self,
        view: Arc<LedgerView>,
        least: TreeSize,
        need: Need,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Reached, WaitError>> {
        Box::pin(async move { self.signer.reach(view, least, &need, timeout).await })
    }

    fn newest_meeting(&self, ledger: &LedgerName, need: Need) -> TreeSize {
        match need.looks_outside() {
            true => self.signer.newest_meeting(ledger, &need),
            false => self.signer.certified_size(ledger),
        }
    }

    fn hurry(&self) {
        self.signer.hurry();
    }

    fn certified_size(&self, ledger: &LedgerName) -> TreeSize {
        self.signer.certified_size(ledger)
    }

    fn certified_beyond<'a>(&'a self, ledger: &'a LedgerName, size: TreeSize) -> BoxFuture<'a, ()> {
        Box::pin(self.signer.certified_beyond(ledger, size))
    }

    fn majority(&self) -> usize {
        self.signer.quorum()
    }

    fn refresh<'a>(&'a self, ledger: &'a LedgerName) -> BoxFuture<'a, ()> {
        Box::pin(self.signer.refresh(ledger))
    }

    fn log_vkey(&self, ledger: &LedgerName) -> String {
        self.signer.log_key(ledger).verifier().to_string()
    }
}
