//! What a cluster continues: the documents under `lineage/` in `_system`, and proofs that go back before it.

use std::sync::Arc;

use quorate_core::checkpoint::Checkpoint;
use quorate_core::hash::Hash;
use quorate_core::lineage::LINEAGE_PREFIX;
use quorate_core::name::{LedgerName, Origin};
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::TreeSize;
use quorate_core::proof::consistency;
use quorate_core::state_tree::Query;

use crate::client::Client;
use crate::error::{Distrust, Error};
use crate::ledger::Ledger;
use crate::options::{CheckpointOptions, ReadOptions};
use crate::trust::Prover as _;

pub use quorate_core::lineage::{Lineage, LineageLedger};

/// An old checkpoint that the present history begins with.
#[derive(Debug, Clone)]
pub struct Continuation {
    /// The document that names the cluster of the old checkpoint.
    pub lineage: Lineage,
    /// The present checkpoint, whose tree begins with the old one.
    pub checkpoint: Arc<CertifiedCheckpoint>,
}

impl Client {
    /// The clusters whose history this one continues, from the first: proven to be all that `_system` names. Takes its log
    /// in the policy.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lineage(&self) -> Result<Vec<Lineage>, Error> {
        let system = self.ledger(LedgerName::SYSTEM);
        let entries = system.scan(Query::Prefix(LINEAGE_PREFIX.to_vec()), ReadOptions::new()).all().await?;
        let decode = |value: crate::values::Value| {
            prost::Message::decode(value.value).map_err(|_| {
                let what = "a document of its lineage does not decode";
                Error::untrusted(&"the cluster".into(), Distrust::Registry { ledger: String::new(), what })
            })
        };
        let documents = entries.into_iter().filter_map(|entry| entry.value).map(decode);
        let mut documents: Vec<Lineage> = documents.collect::<Result<_, _>>()?;
        documents.sort_by_key(|document| document.number);
        Ok(documents)
    }
}

impl Ledger {
    /// Proves that the ledger begins with a checkpoint of a cluster whose history this one continues. The old checkpoint
    /// must have been verified, with the policy of its own cluster.
    ///
    /// # Errors
    /// [`Error::NotFound`] if this cluster does not say that it continues that one (`not_continued`), or continues it from a
    /// smaller size (`lost`); [`Error::Untrusted`] if it says so and its history begins otherwise.
    pub async fn continues(&self, old: &Checkpoint) -> Result<Continuation, Error> {
        let not_found =
            |reason: &str, message: String| Error::NotFound { reason: reason.to_owned(), message };
        let origin =
            Origin::parse(&old.origin).map_err(|error| Error::invalid("old.origin", error.to_string()))?;
        let state = self.state().await?;
        let cluster = state.origin.cluster();
        let documents = self.client().lineage().await?;
        let is_it = |document: &Lineage| document.previous == origin.cluster().as_str();
        let lineage = documents.into_iter().find(is_it).ok_or_else(|| {
            let message = format!("{cluster} does not continue the history of {}", origin.cluster());
            not_found("not_continued", message)
        })?;
        let place = lineage.ledgers.iter().find(|ledger| ledger.name == origin.ledger().as_str());
        let kept = place.map_or(0, |ledger| ledger.size);
        if old.size.get() > kept {
            let message = format!(
                "{cluster} was {} from {} at size {kept} of ledger {}; what was at size {} is not in its history",
                lineage.kind,
                origin.cluster(),
                origin.ledger(),
                old.size
            );
            return Err(not_found("lost", message));
        }
        let (session, accepted) = self.accepted_checkpoint(CheckpointOptions::latest()).await?;
        let certified = Arc::clone(&accepted.ground.certified);
        let (size, root) = (certified.checkpoint().size, certified.checkpoint().root);
        let (endpoint, path) = if old.size == size {
            ("the cluster".into(), Vec::new())
        } else {
            session.state.prove(old.size, size).await?
        };
        verify((old.size, &old.root), (size, &root), &path)
            .map_err(|what| Error::untrusted(&endpoint, what))?;
        session.finish(&accepted).await?;
        Ok(Continuation { lineage, checkpoint: certified })
    }
}

fn verify(old: (TreeSize, &Hash), new: (TreeSize, &Hash), path: &[Hash]) -> Result<(), Distrust> {
    Ok(consistency::verify(old.0, old.1, new.0, new.1, path)?)
}
