//! Follows the applied state: where the others are reached, and whether this node is a node any more.
//!
//! A node that applied its own removal knows. One that was away when it was removed hears it from those who turn it away;
//! one peer's word does not end a node, a majority of those it knows as members does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use quorate_core::position::NodeId;
use quorate_ledger::registry::{NodeRecord, Registry};

use super::roster::{Roster, farewell};
use crate::{consensus::Consensus, health::Health, peer::Peers};

/// What is followed, and told.
pub(crate) struct Follower {
    pub(crate) me: NodeId,
    /// This node's own vkey.
    pub(crate) vkey: String,
    pub(crate) roster: Roster,
    pub(crate) consensus: Consensus,
    pub(crate) peers: Peers,
    pub(crate) health: Health,
}

impl Follower {
    /// Until the node has a fault.
    pub(crate) async fn run(self) {
        let (mut applied, mut heard) = (self.consensus.applied(), self.peers.farewells());
        let mut known: Option<Arc<Registry>> = None;
        while self.health.is_good() {
            let registry = self.roster.registry();
            if known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &registry)) {
                self.follow(&registry);
                known = Some(registry);
            }
            let said = heard.borrow_and_update().clone();
            if let Some(epoch) = self.sent_away(&said) {
                return self.health.fail(farewell(epoch));
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                changed = heard.changed() => if changed.is_err() { return },
            }
        }
    }

    fn follow(&self, registry: &Registry) {
        if let Some(epoch) = self.roster.removed() {
            return self.health.fail(farewell(epoch));
        }
        if let Some(record) = registry.node(self.me).filter(|record| record.vkey != self.vkey) {
            return self.health.fail(format!(
                "this node's cosigner key is {}, and node {} is registered with {}: these are not its files",
                self.vkey, self.me, record.vkey
            ));
        }
        let addresses = self.roster.addresses();
        // A removed node is sent the log until it knows.
        let served = self.consensus.status().borrow().membership.members.keys().copied().collect::<Vec<_>>();
        let mut kept: BTreeSet<NodeId> = addresses.keys().copied().collect();
        kept.extend(served.into_iter().map(NodeId::new));
        self.peers.keep(&kept);
        for (node, address) in addresses {
            self.peers.learn_address(node, &address);
        }
    }

    /// The epoch in which a majority of the members known here say that this node was removed.
    fn sent_away(&self, said: &BTreeMap<NodeId, u64>) -> Option<u64> {
        let registry = self.roster.registry();
        let members = registry.nodes().values().filter(|node| node.cosigns()).count();
        let by_members =
            said.iter().filter(|(node, _)| registry.node(**node).is_some_and(NodeRecord::cosigns));
        let epochs: Vec<u64> = by_members.map(|(_, epoch)| *epoch).collect();
        (members > 0 && epochs.len() > members / 2).then(|| epochs.iter().copied().min().unwrap_or(0))
    }
}
