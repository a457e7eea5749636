//! When a witness is asked, and with what: one task for each witness and ledger.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use quorate_core::{
    checkpoint::Checkpoint,
    hash::Hash,
    name::{ClusterOrigin, LedgerName},
    position::TreeSize,
};
use tokio::sync::watch;

use super::{
    board::Board,
    exchange::Exchange,
    message::{self, Failure, Said},
    settings::{Witness, WitnessError, WitnessSettings},
};
use crate::{
    clock::Clock,
    consensus::{Consensus, Role},
    health::Health,
    signer::{Need, Signed, Signer, WaitError, Wanted},
    store::state::{LedgerView, StateStore},
};

/// How often there is a look for new ledgers.
const LEDGERS_EVERY: Duration = Duration::from_millis(250);

/// How long a checkpoint is waited for that is to be sent.
const CERTIFIED_IN: Duration = Duration::from_secs(1);

/// How often a witness may say in a row that it has another size.
const TRIES: u32 = 5;

/// Age from which a cosignature is made anew when somebody asks, seconds.
const STALE_S: u64 = 10;

/// The longest rest after failures that may pass by themselves, and after others.
const REST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// What asking witnesses takes.
pub struct SubmitterParts {
    /// Whom to ask.
    pub witnesses: Vec<WitnessSettings>,
    /// The cluster.
    pub origin: ClusterOrigin,
    /// Where checkpoints come from and cosignatures go to.
    pub signer: Signer,
    /// The ledgers.
    pub state: Arc<StateStore>,
    /// Who leads.
    pub consensus: Consensus,
    /// The clock.
    pub clock: Clock,
    /// Whether this node still works.
    pub health: Health,
    /// Where it is shown.
    pub board: Board,
}

/// Starts asking; ends with the process or a fault.
///
/// # Errors
/// [`WitnessError`]: a file of a witness that cannot be used.
pub fn start(mut parts: SubmitterParts) -> Result<(), WitnessError> {
    let witnesses = std::mem::take(&mut parts.witnesses);
    let witnesses = witnesses.iter().map(WitnessSettings::load).collect::<Result<Vec<_>, _>>()?;
    let parts = Arc::new(parts);
    if !witnesses.is_empty() {
        tokio::spawn(look_for_ledgers(parts, witnesses));
    }
    Ok(())
}

async fn look_for_ledgers(parts: Arc<SubmitterParts>, witnesses: Vec<Witness>) {
    let mut known = BTreeSet::new();
    while parts.health.is_good() {
        for ledger in parts.state.view().ledgers() {
            let name = &ledger.head().name;
            if known.insert(name.clone()) {
                for witness in &witnesses {
                    tokio::spawn(Submitter::new(&parts, witness.clone(), name.clone()).run());
                }
            }
        }
        tokio::time::sleep(LEDGERS_EVERY).await;
    }
}

/// Asks one witness about one ledger.
struct Submitter {
    parts: Arc<SubmitterParts>,
    witness: Witness,
    ledger: LedgerName,
    exchange: Exchange,
    wanted: watch::Receiver<Wanted>,
    /// The size that the witness cosigned last, as far as this node knows.
    has: TreeSize,
    failures: u32,
}

impl Submitter {
    fn new(parts: &Arc<SubmitterParts>, witness: Witness, ledger: LedgerName) -> Self {
        Self {
            exchange: Exchange::new(witness.place.clone()),
            wanted: parts.signer.wanted(&ledger),
            parts: Arc::clone(parts),
            witness,
            ledger,
            has: TreeSize::ZERO,
            failures: 0,
        }
    }

    async fn run(mut self) {
        self.parts.board.change(self.witness.key.name(), &self.ledger, |_| ());
        loop {
            let asked = tokio::select! {
                changed = self.wanted.changed() => match changed {
                    Ok(()) => true,
                    // The signer is gone: this process ends.
                    Err(_) => return,
                },
                () = tokio::time::sleep(self.witness.min_interval) => false,
            };
            if !self.parts.health.is_good() {
                return;
            }
            let wanted = *self.wanted.borrow_and_update();
            self.show();
            if !self.is_due(wanted.least, asked) {
                continue;
            }
            let outcome = self.submit(wanted.least).await;
            let rest = self.judge(outcome);
            tokio::time::sleep(rest).await;
        }
    }

    /// Whether there is something to ask: what somebody waits for, or, on the leader, what is new.
    fn is_due(&self, least: TreeSize, asked: bool) -> bool {
        let Parts { signer, consensus, clock, .. } = self.parts();
        let (newest, time_s) = signer.newest_of(&self.ledger, self.witness.key.id());
        let leads = consensus.status().borrow().role == Role::Leader;
        let is_new = leads && signer.certified_size(&self.ledger) > newest;
        let is_old = asked && clock.now().as_secs().saturating_sub(time_s) > STALE_S;
        least > signer.kept_size(&self.ledger) || is_new || is_old
    }

    /// Sends the newest certified checkpoint, again if the witness has another size than was thought.
    async fn submit(&mut self, least: TreeSize) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let least = least.max(self.has);
            let Some((view, note)) = self.certified(least).await else {
                // Nothing that can be sent is certified yet, and that is not the witness's doing; unless it is ahead.
                let reached =
                    self.parts.state.view().ledger(&self.ledger).is_some_and(|l| l.size() >= self.has);
                return if reached { Ok(()) } else { Err(Failure::Ahead(std::mem::take(&mut self.has))) };
            };
            let (size, root) = (view.size(), view.head().frontier.root());
            let Some(path) = path(&view, self.has) else { return Ok(()) };
            let origin = self.parts.origin.ledger(&self.ledger).as_str().to_owned();
            let checkpoint = Checkpoint { origin, size, root };
            let body = message::request(self.has, &path, &note);
            self.parts.board.change(self.witness.key.name(), &self.ledger, |row| {
                row.submitted = row.submitted.saturating_add(1);
            });
            let answer = self.exchange.post(body).await?;
            match message::read(&answer, &self.witness.key, &checkpoint)? {
                Said::Cosigned(signed) => return self.take(view, signed),
                Said::Has(same) if same == self.has => {
                    return Err(Failure::BadAnswer(format!(
                        "it was sent a proof from {same}, and asks for one"
                    )));
                }
                Said::Has(other) => {
                    self.count("conflict");
                    self.has = other;
                }
            }
        }
        Err(Failure::Overtaken(TRIES))
    }

    fn take(&mut self, view: Arc<LedgerView>, signed: Signed) -> Result<(), Failure> {
        self.has = view.size();
        let taken = self.parts.signer.witnessed(view, self.witness.key.id(), signed);
        taken.map_err(|refused| Failure::BadAnswer(refused.to_string()))?;
        self.count("accepted");
        self.parts.board.change(self.witness.key.name(), &self.ledger, |row| {
            row.accepted = row.accepted.saturating_add(1);
            row.problem = None;
        });
        self.show();
        Ok(())
    }

    /// The newest view of at least this size whose checkpoint a majority certified, with its note.
    async fn certified(&self, least: TreeSize) -> Option<(Arc<LedgerView>, Arc<str>)> {
        let begun = self.parts.clock.monotonic();
        loop {
            let left = CERTIFIED_IN.saturating_sub(self.parts.clock.monotonic().saturating_sub(begun));
            if left.is_zero() {
                return None;
            }
            let view = self.parts.state.view().ledger(&self.ledger).cloned();
            let Some(view) = view.filter(|view| view.size() >= least && view.size() > TreeSize::ZERO) else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let (size, root) = (view.size(), view.head().frontier.root());
            // A size that few have signed although a larger one is certified stays so: then the next view.
            let patience = left.min(CERTIFIED_IN / 4);
            let certified =
                self.parts.signer.wait(&self.ledger, size, root, &Need::default(), patience).await;
            match certified {
                Ok(certified) => return Some((view, certified.note)),
                Err(WaitError::Store(fault)) => {
                    self.parts.health.fail(fault.to_string());
                    return None;
                }
                Err(_) => {}
            }
        }
    }

    /// Takes the consequences of an outcome; gives how long to rest.
    fn judge(&mut self, outcome: Result<(), Failure>) -> Duration {
        let interval = self.witness.min_interval;
        let Err(failure) = outcome else {
            self.failures = 0;
            return interval;
        };
        self.count(failure.name());
        let (witness, ledger) = (&self.witness.name, &self.ledger);
        let is_first = self.failures == 0;
        match failure {
            Failure::OtherRoot(_) | Failure::NotConsistent(_) => {
                tracing::error!(witness, %ledger, "outside witness: {failure}");
            }
            _ if is_first => tracing::warn!(witness, %ledger, "outside witness: {failure}"),
            _ => tracing::debug!(witness, %ledger, "outside witness: {failure}"),
        }
        self.parts.board.change(self.witness.key.name(), &self.ledger, |row| {
            row.problem = Some(failure.to_string());
        });
        self.failures = self.failures.saturating_add(1);
        let most = if failure.is_passing() { REST.0 } else { REST.1 };
        let rest = interval.saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX));
        jittered(rest.min(most)).max(interval)
    }

    fn show(&self) {
        let (size, time_s) = self.parts.signer.newest_of(&self.ledger, self.witness.key.id());
        self.parts.board.change(self.witness.key.name(), &self.ledger, |row| {
            (row.size, row.time_s) = (size, time_s);
        });
    }

    fn count(&self, result: &'static str) {
        let witness = self.witness.key.name().to_owned();
        metrics::counter!("quorate_witness_submissions_total", "witness" => witness, "result" => result)
            .increment(1);
    }

    fn parts(&self) -> &Parts {
        &self.parts
    }
}

type Parts = SubmitterParts;

/// The consistency proof from the size that a witness has; `None` if it cannot be read, which who reads it for a client
/// will say.
fn path(view: &LedgerView, has: TreeSize) -> Option<Vec<Hash>> {
    if has == TreeSize::ZERO || has == view.size() {
        return Some(Vec::new());
    }
    view.consistency_path(has, view.size()).ok().flatten()
}

/// Between half of a time and all of it, so that nodes that failed together do not come back together.
fn jittered(time: Duration) -> Duration {
    let mut random = [0_u8; 1];
    if getrandom::fill(&mut random).is_err() {
        return time;
    }
    let half = time / 2;
    half.saturating_add(half.saturating_mul(u32::from(random[0])) / 255)
}
