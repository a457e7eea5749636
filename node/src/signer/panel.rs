//! A cosigner set, ready to be counted with: who is in it, with which key, and how many are a majority.

use std::collections::BTreeMap;

use quorate_core::{key::VerifierKey, position::NodeId};
use quorate_ledger::registry::CosignerSet;

/// Those whose signatures count for a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panel {
    keys: BTreeMap<NodeId, VerifierKey>,
    majority: usize,
}

impl Panel {
    /// These members.
    pub(crate) fn new(keys: BTreeMap<NodeId, VerifierKey>) -> Self {
        let majority = keys.len() / 2 + 1;
        Self { keys, majority }
    }

    /// A set that was judged when it was applied.
    ///
    /// # Errors
    /// What is wrong with it: then it is not what was applied.
    pub(crate) fn of(set: &CosignerSet) -> Result<Self, String> {
        let key = |cosigner: &quorate_ledger::registry::Cosigner| {
            let key = VerifierKey::parse(&cosigner.vkey).map_err(|error| error.to_string())?;
            Ok((NodeId::new(cosigner.node_id), key))
        };
        let keys = set.cosigners.iter().map(key).collect::<Result<_, String>>();
        keys.map(Self::new).map_err(|error| format!("the cosigner set of epoch {}: {error}", set.epoch))
    }

    /// Its members' keys.
    pub(crate) const fn keys(&self) -> &BTreeMap<NodeId, VerifierKey> {
        &self.keys
    }

    /// Whether a node is in it.
    pub(crate) fn lists(&self, node: NodeId) -> bool {
        self.keys.contains_key(&node)
    }

    /// How many are a majority.
    pub(crate) const fn majority(&self) -> usize {
        self.majority
    }

    /// Whether these, each of whom counts once, are a majority of it.
    pub(crate) fn agrees(&self, nodes: impl IntoIterator<Item = NodeId>) -> bool {
        nodes.into_iter().filter(|node| self.lists(*node)).count() >= self.majority
    }
}
