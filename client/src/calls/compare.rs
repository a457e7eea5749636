//! The cross-check: the checkpoint of every replica, over its own connection, side by side at one size.
//!
//! Contract: every answer is verified like any other, so a replica that continues another history than the one believed
//! is told from one that is only behind. The size compared at is the largest that enough replicas have reached; whoever
//! is beyond it is asked again at that size. What one replica shows or does not show never keeps the others from being
//! compared.
//!
//! On a schedule ([`Agreement`]), and on demand ([`Ledger::compare_replicas`]).

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use quorate_core::agreement::{AgreementError, Comparison as Compared, compare as compare_notes};
use quorate_core::evidence::Evidence;
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::TreeSize;

use super::proofs::checkpoint_request;
use crate::agreement::Agreement;
use crate::clock::Deadline;
use crate::error::{Distrust, Error};
use crate::leader::Route;
use crate::ledger::{Ledger, LedgerState, Session};
use crate::random;
use crate::transport::{Replica, Rpc as _};

/// How one replica stands to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It shows the root that the others show at the size compared at.
    Agrees,
    /// It has not reached that size; what it shows is the beginning of what the others show.
    Behind,
    /// It gave no answer.
    Silent,
    /// What it shows is not believed: it contradicts what is, or is not proven.
    Different,
}

/// The checkpoint of one replica, over its own connection.
#[derive(Debug, Clone)]
pub struct ReplicaCheckpoint {
    /// Which replica.
    pub endpoint: String,
    /// How it stands to the others.
    pub standing: Standing,
    /// The checkpoint it shows at the size compared at, or its newest if it has not reached that; or why there is none.
    pub checkpoint: Result<Arc<CertifiedCheckpoint>, Error>,
}

/// What the replicas of a cluster say of one ledger.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The size they were compared at: the largest that `needed` of them have reached, if so many answered.
    pub size: TreeSize,
    /// Each replica's checkpoint.
    pub replicas: Vec<ReplicaCheckpoint>,
    /// Whether all that answered show one history.
    pub agree: bool,
    /// How many must agree by the settings ([`Agreement`]).
    pub needed: usize,
    /// If signed statements contradict each other: the portable proof.
    pub evidence: Option<Evidence>,
}

impl Comparison {
    /// How many replicas stand like this.
    #[must_use]
    pub fn count(&self, standing: Standing) -> usize {
        self.replicas.iter().filter(|replica| replica.standing == standing).count()
    }

    /// That nobody contradicts, and that enough agree.
    ///
    /// # Errors
    /// The doubt in the first replica that is different; [`Error::NotAgreed`] if too few agree.
    pub fn check(&self) -> Result<(), Error> {
        for replica in &self.replicas {
            if let (Standing::Different, Err(error)) = (replica.standing, &replica.checkpoint) {
                return Err(error.clone());
            }
        }
        let agreeing = self.count(Standing::Agrees);
        if agreeing >= self.needed {
            return Ok(());
        }
        Err(Error::NotAgreed {
            size: self.size,
            agreeing,
            needed: self.needed,
            behind: self.count(Standing::Behind),
            silent: self.count(Standing::Silent),
        })
    }
}

impl Ledger {
    /// Asks every replica for its checkpoint over its own connection, and compares them at one size.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and the like if nothing can be asked at all; what a single replica fails with is in its
    /// entry.
    pub async fn compare_replicas(&self) -> Result<Comparison, Error> {
        self.state().await?.compare().await
    }

    /// What the last cross-check on the schedule found; `None` before the first.
    ///
    /// # Errors
    /// What it takes to know the ledger ([`Ledger::policy`]).
    pub async fn last_comparison(&self) -> Result<Option<Arc<Comparison>>, Error> {
        Ok(self.state().await?.crossed.lock().await.as_ref().map(|(_, comparison)| Arc::clone(comparison)))
    }
}

impl LedgerState {
    /// Compares all replicas.
    async fn compare(self: &Arc<Self>) -> Result<Comparison, Error> {
        let session = self.anchored().await?;
        let replicas = self.fleet.replicas();
        let needed = self.needed(replicas.len());
        let latest = ask_all(&session, replicas, None).await;
        let size = common_size(&latest, needed);
        let (beyond, within): (Vec<_>, Vec<_>) = latest.into_iter().partition(|(_, answer)| {
            answer.as_ref().is_ok_and(|checkpoint| checkpoint.checkpoint().size > size)
        });
        let again = beyond.into_iter().map(|(replica, _)| replica).collect();
        let mut answers = ask_all(&session, again, Some(size)).await;
        answers.extend(within);
        answers.sort_by(|(a, _), (b, _)| a.endpoint().cmp(b.endpoint()));
        Ok(judge(answers, size, needed))
    }

    /// A call that believes something, so that every answer can be held against it.
    async fn anchored(self: &Arc<Self>) -> Result<Session, Error> {
        let session = self.session(None).await?;
        if session.trusted_size().is_some() {
            return Ok(session);
        }
        let request = checkpoint_request(&session, None, None, 0);
        let answered = self.fleet.call(&request, session.plan(Route::Any)).await?;
        let accepted = session.accept(&answered.replica, answered.response.checkpoint, None)?;
        session.finish(&accepted).await?;
        self.session(None).await
    }

    /// How many replicas must agree: by the settings, or more than half of those whose keys are in the policy.
    fn needed(&self, asked: usize) -> usize {
        let replicas = Some(self.replica_count()).filter(|count| *count > 0).unwrap_or(asked);
        self.settings.agreement.and_then(|agreement| agreement.at_least).unwrap_or(replicas / 2 + 1)
    }

    /// Compares if the last time is too long ago, and takes the consequences: signed contradictions between checkpoints
    /// that a quorum signed end all belief in this ledger, since nobody can tell which of them is right.
    pub(crate) async fn cross_check(
        self: &Arc<Self>,
        agreement: &Agreement,
    ) -> Result<Arc<Comparison>, Error> {
        let mut crossed = self.crossed.lock().await;
        if let Some((valid, comparison)) = crossed.as_ref()
            && valid.remaining().is_some()
        {
            return Ok(Arc::clone(comparison));
        }
        let comparison = Arc::new(self.compare().await?);
        for replica in &comparison.replicas {
            if let Err(error) = &replica.checkpoint
                && is_certified_contradiction(error)
            {
                self.break_with(error);
            }
        }
        *crossed = Some((Deadline::after(agreement.every), Arc::clone(&comparison)));
        Ok(comparison)
    }

    /// Compares on a schedule, for as long as anybody uses the ledger.
    pub(crate) fn cross_check_on_schedule(self: &Arc<Self>) {
        let Some(agreement) = self.settings.agreement else {
            return;
        };
        let state = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let Some(state) = state.upgrade() else { return };
                // What nobody answers is looked at again the next time; what is found is kept.
                state.cross_check(&agreement).await.ok();
                drop(state);
                // Clients that began together do not go on together.
                let spread = u64::try_from(agreement.every.as_millis() / 8).unwrap_or(u64::MAX);
                tokio::time::sleep(agreement.every + Duration::from_millis(random::below(spread))).await;
            }
        });
    }
}

type Answer = (Arc<Replica>, Result<Arc<CertifiedCheckpoint>, Error>);

async fn ask_all(session: &Session, replicas: Vec<Arc<Replica>>, size: Option<TreeSize>) -> Vec<Answer> {
    join_all(replicas.into_iter().map(|replica| async {
        let answer = ask(session, &replica, size).await;
        (replica, answer)
    }))
    .await
}

async fn ask(
    session: &Session,
    replica: &Replica,
    size: Option<TreeSize>,
) -> Result<Arc<CertifiedCheckpoint>, Error> {
    let request = checkpoint_request(session, size, None, 0);
    let answer = request.send(replica, session.state.settings.timeout).await;
    let response = answer.map_err(|failure| failure.into_error(1))?;
    let accepted = session.accept(replica, response.checkpoint, None)?;
    let got = accepted.ground.certified.checkpoint().size;
    if size.is_some_and(|wanted| wanted != got) {
        return Err(Error::untrusted(
            replica.endpoint(),
            Distrust::NotAsked { what: "a checkpoint of another size" },
        ));
    }
    session.finish(&accepted).await?;
    Ok(accepted.ground.certified)
}

/// The largest size that `needed` of those that answered have reached; the smallest, if fewer answered.
fn common_size(answers: &[Answer], needed: usize) -> TreeSize {
    let sizes = answers.iter().filter_map(|(_, answer)| Some(answer.as_ref().ok()?.checkpoint().size));
    let mut sizes: Vec<TreeSize> = sizes.collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.get(needed.saturating_sub(1)).or(sizes.last()).copied().unwrap_or_default()
}

fn judge(answers: Vec<Answer>, size: TreeSize, needed: usize) -> Comparison {
    let mut evidence = None;
    let mut replicas: Vec<ReplicaCheckpoint> = Vec::with_capacity(answers.len());
    for (replica, answer) in answers {
        let checkpoint = match answer {
            Ok(shown) => contradicted(&replica, &shown, &replicas).map_or(Ok(shown), Err),
            Err(error) => Err(error),
        };
        let standing = match &checkpoint {
            Ok(shown) if shown.checkpoint().size < size => Standing::Behind,
            Ok(_) => Standing::Agrees,
            Err(error) if error.is_untrusted() => Standing::Different,
            Err(_) => Standing::Silent,
        };
        if let Err(error) = &checkpoint {
            evidence = evidence.or_else(|| error.evidence().cloned());
        }
        replicas.push(ReplicaCheckpoint { endpoint: replica.endpoint().to_string(), standing, checkpoint });
    }
    let agree = replicas.iter().all(|replica| replica.standing != Standing::Different);
    Comparison { size, replicas, agree, needed, evidence }
}

/// What speaks against a checkpoint beside those of the replicas before.
fn contradicted(
    replica: &Replica,
    shown: &CertifiedCheckpoint,
    others: &[ReplicaCheckpoint],
) -> Option<Error> {
    let others = others.iter().filter_map(|other| other.checkpoint.as_ref().ok());
    let problem =
        others.map(|other| compare_notes(other.opened(), shown.opened())).find_map(
            |compared| match compared {
                Ok(Compared::Agreed | Compared::OtherSize) => None,
                Ok(Compared::Disagreement(evidence)) => Some(AgreementError::Contradiction(evidence)),
                Err(error) => Some(error),
            },
        );
    problem.map(|problem| Error::untrusted(replica.endpoint(), problem))
}

/// Whether two checkpoints, each signed by a quorum, exclude each other.
fn is_certified_contradiction(error: &Error) -> bool {
    let Error::Untrusted { what, .. } = error else { return false };
    matches!(**what, Distrust::Agreement(AgreementError::Contradiction(_)))
}
