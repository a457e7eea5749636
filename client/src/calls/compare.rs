//! The roots of all replicas, side by side.

use std::sync::Arc;

use futures::future::join_all;
use quorate_core::agreement::{AgreementError, Comparison as Compared, compare};
use quorate_core::evidence::Evidence;
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::TreeSize;

use super::proofs::checkpoint_request;
use crate::error::Error;
use crate::ledger::{Ledger, Session};
use crate::transport::{Replica, Rpc as _};

/// The checkpoint of one replica, over its own connection.
#[derive(Debug)]
pub struct ReplicaCheckpoint {
    /// Which replica.
    pub endpoint: String,
    /// The checkpoint it shows at the size that all were asked for, or at its own if it has none there.
    pub checkpoint: Result<Arc<CertifiedCheckpoint>, Error>,
}

/// What the replicas of a cluster say of one ledger.
#[derive(Debug)]
pub struct Comparison {
    /// The size they were compared at: the smallest that one of them showed as its latest.
    pub size: TreeSize,
    /// Each replica's checkpoint.
    pub replicas: Vec<ReplicaCheckpoint>,
    /// Whether all that answered show the same root at that size.
    pub agree: bool,
    /// If two of them contradict each other and cosigners signed both: the portable proof.
    pub evidence: Option<Evidence>,
}

impl Ledger {
    /// Asks every replica for its checkpoint over its own connection, and compares them at one size. Each answer is
    /// verified like any other, so a replica that continues another history than the one believed shows up, too.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and the like if nothing can be asked at all; what a single replica fails with is in its
    /// entry.
    pub async fn compare_replicas(&self) -> Result<Comparison, Error> {
        let session = self.begin(None).await?;
        let replicas = session.state.fleet.replicas();
        let latest = ask_all(&session, &replicas, None).await;
        let sizes = latest.iter().filter_map(|answer| answer.checkpoint.as_ref().ok());
        let size = sizes.map(|checkpoint| checkpoint.checkpoint().size).min().unwrap_or_default();
        let answers = match latest.iter().all(|answer| shows(answer, size)) {
            true => latest,
            false => ask_all(&session, &replicas, Some(size)).await,
        };
        let (agree, evidence) = judge(&answers);
        Ok(Comparison { size, replicas: answers, agree, evidence })
    }
}

async fn ask_all(
    session: &Session,
    replicas: &[Arc<Replica>],
    size: Option<TreeSize>,
) -> Vec<ReplicaCheckpoint> {
    join_all(replicas.iter().map(|replica| async {
        ReplicaCheckpoint {
            endpoint: replica.endpoint().to_string(),
            checkpoint: ask(session, replica, size).await,
        }
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
    session.finish(&accepted).await?;
    Ok(accepted.ground.certified)
}

fn shows(answer: &ReplicaCheckpoint, size: TreeSize) -> bool {
    answer.checkpoint.as_ref().is_ok_and(|checkpoint| checkpoint.checkpoint().size == size)
}

/// Whether all that answered agree, and the proof if they do not. An answer that was not believed beside what was
/// believed before is a disagreement, too.
fn judge(answers: &[ReplicaCheckpoint]) -> (bool, Option<Evidence>) {
    let refused = answers.iter().filter_map(|answer| answer.checkpoint.as_ref().err());
    let mut untrusted = refused.filter(|error| error.is_untrusted());
    if let Some(error) = untrusted.next() {
        return (false, error.evidence().or_else(|| untrusted.find_map(Error::evidence)).cloned());
    }
    let mut shown = answers.iter().filter_map(|answer| answer.checkpoint.as_ref().ok());
    let Some(first) = shown.next() else {
        return (true, None);
    };
    for other in shown {
        match compare(first.opened(), other.opened()) {
            Ok(Compared::Agreed | Compared::OtherSize) => {}
            Ok(Compared::Disagreement(evidence)) | Err(AgreementError::Contradiction(evidence)) => {
                return (false, Some(*evidence));
            }
            Err(_) => return (false, None),
        }
    }
    (true, None)
}
