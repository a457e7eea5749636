//! Who is let in at the peer port, and where nodes are reached: from the applied state.
//!
//! A removed node, and an id that was never registered, are refused with the reason. An id *above* every one known here is
//! let in where its certificate proves it: ids ascend, so it may be a node that this one has yet to learn of, and it may
//! even be the leader from which it would learn that. Raft takes nothing of it that is not signed by a known node.

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::position::NodeId;
use quorate_ledger::registry::{NodeState, Registry};

use crate::{
    cluster::Cluster,
    peer::{Gate, TurnedAway},
    store::state::StateStore,
};

/// Why a node is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stranger {
    /// It was one.
    #[error(
        "node {node} was removed from this cluster in epoch {epoch}: a removed node never comes back; stop it, and destroy \
         its keys; its machine can join as a new node under a new id"
    )]
    Removed {
        /// The node.
        node: NodeId,
        /// The first epoch without it.
        epoch: u64,
    },
    /// Its id is taken for it, and it has not registered.
    #[error("node {0} was invited and has not registered: `quorate join` does that")]
    Invited(NodeId),
    /// It never was one.
    #[error("node {0} is no node of this cluster: `quorate member list` shows them")]
    Unknown(NodeId),
}

/// The nodes, as the applied state says. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Roster {
    me: NodeId,
    cluster: Arc<Cluster>,
    state: Arc<StateStore>,
}

impl Roster {
    /// Of a cluster, seen by the node `me`.
    #[must_use]
    pub(crate) fn new(me: NodeId, cluster: &Cluster, state: Arc<StateStore>) -> Self {
        Self { me, cluster: Arc::new(cluster.clone()), state }
    }

    /// The registry as of the last applied block.
    #[must_use]
    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.state.view().cluster().registry)
    }

    /// Whether a node may talk to this one.
    ///
    /// # Errors
    /// [`Stranger`] says why not.
    pub(crate) fn admit(&self, node: NodeId) -> Result<(), Stranger> {
        let registry = self.registry();
        if registry.cosigners().is_none() {
            // Not founded, as far as is known here. Who joined waits for a leader whom it may not know.
            let known = self.cluster.joined.is_some() || self.cluster.members.contains_key(&node);
            return if known { Ok(()) } else { Err(Stranger::Unknown(node)) };
        }
        match registry.node(node) {
            Some(record) if record.standing() == NodeState::Removed => {
                Err(Stranger::Removed { node, epoch: record.removed_in_epoch })
            }
            Some(_) => Ok(()),
            None if node > registry.highest_id() => Ok(()),
            None if registry.invitation(node).is_some() => Err(Stranger::Invited(node)),
            None => Err(Stranger::Unknown(node)),
        }
    }

    /// Where the other nodes are reached: as registered, or before that as the cluster file says.
    #[must_use]
    pub(crate) fn addresses(&self) -> BTreeMap<NodeId, String> {
        let registry = self.registry();
        let mut addresses: BTreeMap<NodeId, String> = if registry.nodes().is_empty() {
            self.cluster.peers()
        } else {
            let present = registry.nodes().iter().filter(|(_, node)| node.standing() != NodeState::Removed);
            present.map(|(id, node)| (*id, node.peer_address.clone())).collect()
        };
        addresses.remove(&self.me);
        addresses
    }

    /// Since which epoch this node is none any more.
    #[must_use]
    pub(crate) fn removed(&self) -> Option<u64> {
        let registry = self.registry();
        let record = registry.node(self.me).filter(|record| record.standing() == NodeState::Removed)?;
        Some(record.removed_in_epoch)
    }
}

/// What a node says that is none any more.
#[must_use]
pub(crate) fn farewell(epoch: u64) -> String {
    format!(
        "this node was removed from the cluster in epoch {epoch}: it neither votes, signs nor serves, and never will again; \
         stop it, and destroy its keys; its machine can join as a new node under a new id"
    )
}

impl Gate for Roster {
    fn admit(&self, peer: NodeId) -> Result<(), TurnedAway> {
        self.admit(peer).map_err(|stranger| {
            let removed_in = match &stranger {
                Stranger::Removed { epoch, .. } => Some(*epoch),
                Stranger::Invited(_) | Stranger::Unknown(_) => None,
            };
            TurnedAway { why: stranger.to_string(), removed_in }
        })
    }
}
