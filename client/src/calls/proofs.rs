//! Checkpoints, and the proofs of the log itself.

use std::sync::Arc;

use quorate_core::hash::{Hash, leaf_hash};
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::{LogIndex, TreeSize};
use quorate_core::proof::{consistency, inclusion};
use quorate_proto::v1;

use crate::clock::Deadline;
use crate::error::{Distrust, Error};
use crate::leader::Route;
use crate::ledger::{Accepted, Ledger, Session};
use crate::options::CheckpointOptions;
use crate::retry::Plan;
use crate::trust::Prover as _;
use crate::values::ProvenInclusion;

/// The longest time that a server waits for a checkpoint, milliseconds.
pub(crate) const MAX_WAIT_MS: u32 = 60_000;
/// How long a checkpoint is waited for at least where outside witnesses have to sign it, milliseconds.
const WITNESS_WAIT_MS: u32 = 2_000;

impl Ledger {
    /// A certified checkpoint, the latest or of a size. What is believed moves forward to it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the size is not the end of a block, or not reached in time; [`Error::Unavailable`] if the
    /// cosignatures did not come in time.
    pub async fn checkpoint(&self, options: CheckpointOptions) -> Result<Arc<CertifiedCheckpoint>, Error> {
        let (session, accepted) = self.accepted_checkpoint(options).await?;
        session.finish(&accepted).await?;
        Ok(accepted.ground.certified)
    }

    /// Proves that a leaf is in the log, under a certified checkpoint: of the given size, which must be the end of a
    /// block, or the latest.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such leaf or size.
    pub async fn inclusion_proof(
        &self,
        index: LogIndex,
        size: Option<TreeSize>,
    ) -> Result<ProvenInclusion, Error> {
        let options = size.map_or(CheckpointOptions::latest(), CheckpointOptions::at_size);
        let (session, accepted) = self.accepted_checkpoint(options).await?;
        let tree = accepted.ground.certified.checkpoint();
        if !tree.size.contains(index) {
            let message = format!("there is no leaf {index} in the ledger of size {}", tree.size);
            return Err(Error::NotFound { reason: "out_of_range".to_owned(), message });
        }
        let (replica, leaf) = session.leaf(index, tree.size).await?;
        let hash = leaf_hash(&leaf.proof.leaf);
        let proven = inclusion::verify(&hash, index, tree.size, &leaf.proof.path, &tree.root);
        session.believe(&replica, proven.map_err(Distrust::from))?;
        session.finish(&accepted).await?;
        Ok(ProvenInclusion { index, proof: leaf.proof, checkpoint: accepted.ground.certified })
    }

    /// Proves that the log at one size begins with the log at another; both are sizes of certified checkpoints. Gives
    /// the RFC 6962 consistency path. `None`: the latest.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such size; [`Error::InvalidArgument`] unless 1 ≤ old ≤ new.
    pub async fn consistency_proof(&self, old: TreeSize, new: Option<TreeSize>) -> Result<Vec<Hash>, Error> {
        let options = new.map_or(CheckpointOptions::latest(), CheckpointOptions::at_size);
        let newer = self.checkpoint(options).await?;
        let large = newer.checkpoint();
        if old == TreeSize::ZERO || old > large.size {
            let message = format!("it is from 1 to the new size, {}", large.size);
            return Err(Error::invalid("old_size", message));
        }
        let older = self.checkpoint(CheckpointOptions::at_size(old)).await?;
        let small = older.checkpoint();
        let (endpoint, path) = self.state().await?.prove(small.size, large.size).await?;
        consistency::verify(small.size, &small.root, large.size, &large.root, &path)
            .map_err(|error| Error::untrusted(&endpoint, error))?;
        Ok(path)
    }

    /// A checkpoint that is believed, with the call it belongs to.
    pub(super) async fn accepted_checkpoint(
        &self,
        options: CheckpointOptions,
    ) -> Result<(Session, Accepted), Error> {
        let mut session = self.begin(None).await?;
        session.deadline = Deadline::after(session.state.settings.timeout.saturating_add(options.wait));
        self.accepted_checkpoint_by(session, options).await
    }

    /// The same within the session's deadline.
    pub(super) async fn accepted_checkpoint_by(
        &self,
        mut session: Session,
        options: CheckpointOptions,
    ) -> Result<(Session, Accepted), Error> {
        let wait_ms = u32::try_from(options.wait.as_millis()).unwrap_or(u32::MAX).min(MAX_WAIT_MS);
        let request = checkpoint_request(&session, options.size, options.min_cosigners, wait_ms);
        let plan = Plan { route: Route::Any, deadline: session.deadline, patience: options.wait };
        let answered = session.state.fleet.call(&request, plan).await?;
        let replica = answered.replica;
        let accepted =
            self.accept(&mut session, &replica, answered.response.checkpoint, options.min_cosigners).await?;
        let got = accepted.ground.certified.checkpoint().size;
        if options.size.is_some_and(|wanted| wanted != got) {
            let other = Err(Distrust::NotAsked { what: "a checkpoint of another size" });
            return session.believe(&replica, other);
        }
        Ok((session, accepted))
    }
}

/// Asks for a checkpoint.
pub(crate) fn checkpoint_request(
    session: &Session,
    size: Option<TreeSize>,
    min_cosigners: Option<u32>,
    wait_ms: u32,
) -> v1::GetCheckpointRequest {
    let (witnesses, min_witnesses) = session.state.outside();
    // Witnesses are asked now and then: what they have signed may not be there yet.
    let least_wait = if witnesses.is_empty() { 0 } else { WITNESS_WAIT_MS };
    v1::GetCheckpointRequest {
        ledger: session.state.name(),
        size: size.map_or(0, TreeSize::get),
        min_cosigners: session.state.min_cosigners(min_cosigners),
        wait_ms: wait_ms.max(least_wait),
        trusted_size: session.trusted_size().map_or(0, TreeSize::get),
        witnesses,
        min_witnesses,
    }
}
