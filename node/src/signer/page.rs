//! One checkpoint in the book: the root computed here, and who signed it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use quorate_core::{
    hash::Hash,
    key::{KeyId, VerifierKey},
    position::{NodeId, TreeSize},
};

use super::{
    book::{Change, Signed},
    need::Need,
    panel::Panel,
};

/// One checkpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    /// The root computed here; `None` while this node has not applied so far.
    pub(crate) root: Option<Hash>,
    /// Of each of these a majority certifies it; empty as long as there is no root.
    pub(super) panels: Vec<Arc<Panel>>,
    /// A later set that vouches for this size too, because the ledger has not grown since: a majority of it alone
    /// certifies the size as well.
    pub(super) adopted: Option<Arc<Panel>>,
    /// Valid signatures, whatever root they sign.
    pub(crate) signed: BTreeMap<NodeId, Signed>,
    /// Valid signatures of outside witnesses; in memory only.
    pub(super) outside: BTreeMap<KeyId, Signed>,
    /// Whether the store lacks something that is here.
    pub(super) unsaved: bool,
    /// The note as text, with the number and the newest time of the cosignatures in it.
    pub(crate) note: Option<((usize, u64), Arc<str>)>,
}

impl Page {
    /// The signatures over our own root.
    pub(crate) fn agreeing(&self) -> impl Iterator<Item = (NodeId, &Signed)> {
        self.signed.iter().filter(|(_, s)| Some(s.root) == self.root).map(|(id, s)| (*id, s))
    }

    /// The signatures of outside witnesses over our own root.
    pub(crate) fn witnessing(&self) -> impl Iterator<Item = (KeyId, &Signed)> {
        self.outside.iter().filter(|(_, s)| Some(s.root) == self.root).map(|(id, s)| (*id, s))
    }

    /// When those signed who count for this need, if they are enough, seconds.
    pub(crate) fn meeting(&self, need: &Need) -> Option<Vec<u64>> {
        let mut times: Vec<u64> = self.agreeing().map(|(_, signed)| signed.time).collect();
        let replicas = times.len();
        times.extend(self.witnessing().filter(|(id, _)| need.counts(*id)).map(|(_, signed)| signed.time));
        let is_enough = times.len() >= need.cosigners && times.len().saturating_sub(replicas) >= need.outside;
        // Outside witnesses do not stand for a majority of the replicas: they vouch for no state.
        let is_ours = (need.cosigners > 0 && !need.looks_outside()) || self.is_certified();
        (is_enough && is_ours).then_some(times)
    }

    pub(super) fn disagreement(&self, size: TreeSize) -> Option<Change> {
        let ours = self.root?;
        let theirs = self.signed.values().map(|s| s.root).find(|root| *root != ours)?;
        let by: Vec<NodeId> =
            self.signed.iter().filter(|(_, s)| s.root == theirs).map(|(id, _)| *id).collect();
        let outvoted = self.panels.iter().any(|panel| panel.agrees(by.iter().copied()));
        Some(Change::Disagreement { size, ours, theirs, by, outvoted })
    }

    /// Whether a majority of each panel signed our root, or of the later set.
    pub(crate) fn is_certified(&self) -> bool {
        let agree = |panel: &Arc<Panel>| panel.agrees(self.agreeing().map(|(id, _)| id));
        let adopted = self.root.is_some() && self.adopted.as_ref().is_some_and(agree);
        adopted || (!self.panels.is_empty() && self.panels.iter().all(agree))
    }

    /// Everybody whose signature counts.
    pub(crate) fn counting(&self) -> impl Iterator<Item = &Arc<Panel>> {
        self.panels.iter().chain(&self.adopted)
    }

    /// The key of a node whose signature counts.
    pub(crate) fn key(&self, node: NodeId) -> Option<&VerifierKey> {
        self.counting().find_map(|panel| panel.keys().get(&node))
    }

    /// Whether a node's signature counts.
    pub(crate) fn lists(&self, node: NodeId) -> bool {
        self.counting().any(|panel| panel.lists(node))
    }

    /// Those whose signatures are wanted and not here: of the later set, where there is one.
    pub(crate) fn missing(&self) -> BTreeSet<NodeId> {
        let wanted: Vec<&Arc<Panel>> = match &self.adopted {
            Some(adopted) => vec![adopted],
            None => self.panels.iter().collect(),
        };
        let all = wanted.into_iter().flat_map(|panel| panel.keys().keys());
        all.filter(|id| !self.signed.contains_key(id)).copied().collect()
    }

    /// Whether its block brings in a new cosigner set.
    pub(super) fn begins_epoch(&self) -> bool {
        self.panels.len() > 1
    }
}
