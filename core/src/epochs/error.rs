//! Why a link is refused.

use crate::answer::AnswerError;
use crate::name::ClusterOrigin;
use crate::policy::{PolicyError, ReplaceError};
use crate::position::{Epoch, NodeId};

/// Why a change of replicas is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// The policy has no replica of the cluster, so no chain begins with it.
    #[error("the policy names no replica of {cluster}, so it does not say where the chain of epochs begins")]
    NoReplicas {
        /// The cluster.
        cluster: ClusterOrigin,
    },
    /// The set that goes did not sign.
    #[error("the replicas trusted so far did not certify the change to epoch {epoch}")]
    NotByOld {
        /// The epoch that was to come, where it is known.
        epoch: Epoch,
        /// What is missing.
        #[source]
        source: PolicyError,
    },
    /// The set that comes did not sign.
    #[error("the replicas of epoch {epoch} did not certify the change to it themselves")]
    NotByNew {
        /// Their epoch.
        epoch: Epoch,
        /// What is missing.
        #[source]
        source: PolicyError,
    },
    /// The proof does not show the document.
    #[error("the document of the cosigner set is not proven")]
    Proof(#[from] AnswerError),
    /// There is no document.
    #[error("the state shows no document of a cosigner set")]
    NoDocument,
    /// The document is not one.
    #[error("the document of the cosigner set: {problem}")]
    Document {
        /// What is wrong with it.
        problem: String,
    },
    /// It is not the next set.
    #[error("the set of epoch {got} does not follow that of epoch {trusted}: each change counts one up")]
    NotNext {
        /// Epoch of the set trusted so far.
        trusted: Epoch,
        /// Epoch of the document.
        got: Epoch,
    },
    /// It is not the set that the policy names.
    #[error("the set of epoch {got} is not the one that the policy names")]
    NotThePolicys {
        /// Epoch of the document.
        got: Epoch,
    },
    /// Somebody is back under another name, or somebody else under an old one.
    #[error("node {node} of epoch {epoch} has {what} that an earlier set had; it is never used again")]
    Reused {
        /// The node.
        node: NodeId,
        /// The epoch.
        epoch: Epoch,
        /// A node id, or a key.
        what: &'static str,
    },
    /// The policy's rule cannot be carried over.
    #[error(transparent)]
    Rule(#[from] ReplaceError),
}
