//! Everything as of one applied block: what the API reads through, and what the next block is applied to.
//!
//! A view is published after each block and never changes. Its ledgers, heads, state trees and right edges are of
//! one moment; reads of the database are bounded by each ledger's size (see [`ledger`](super::ledger)).

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::{
    hash::Hash,
    name::LedgerName,
    position::{LogIndex, Revision, TreeSize},
};
use quorate_ledger::view::{ClusterState, KnownRequest, LeafSource, LedgerHead, LedgerId, View};

use super::{
    cosignatures::{self, StoredCosignature},
    database::Database,
    keys::ViewLeaves,
    ledger::LedgerView,
    meta::Applied,
    tiles::TileCache,
};
use crate::store::faults::StoreFault;

/// The state after some applied entry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReadView {
    pub(super) database: Arc<Database>,
    pub(super) cache: Arc<TileCache>,
    pub(super) applied: Applied,
    pub(super) cluster: ClusterState,
    pub(super) names: Arc<BTreeMap<LedgerName, LedgerId>>,
    /// By id: the ledger with id n is the nth.
    pub(super) ledgers: Vec<Arc<LedgerView>>,
}

impl ReadView {
    /// What it is the result of.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// The replicated state of the cluster as a whole.
    pub fn cluster(&self) -> &ClusterState {
        &self.cluster
    }

    /// A ledger by name.
    pub fn ledger(&self, name: &LedgerName) -> Option<&Arc<LedgerView>> {
        self.names.get(name).and_then(|id| self.by_id(*id))
    }

    /// All ledgers in the order of birth.
    pub fn ledgers(&self) -> &[Arc<LedgerView>] {
        &self.ledgers
    }

    /// A ledger by number.
    pub fn by_id(&self, id: LedgerId) -> Option<&Arc<LedgerView>> {
        usize::try_from(id.0).ok().and_then(|at| self.ledgers.get(at))
    }

    /// The cosignatures stored of a checkpoint, by ascending node id.
    pub fn cosignatures(
        &self,
        ledger: LedgerId,
        size: TreeSize,
    ) -> Result<Vec<StoredCosignature>, StoreFault> {
        cosignatures::get(&self.database, ledger, size)
    }

    /// The cosignatures of up to `limit` checkpoints of at least `from`, by ascending size.
    pub fn cosignatures_from(
        &self,
        ledger: LedgerId,
        from: TreeSize,
        limit: usize,
    ) -> Result<Vec<(TreeSize, Vec<StoredCosignature>)>, StoreFault> {
        cosignatures::list(&self.database, ledger, from, limit)
    }

    fn known(&self, id: LedgerId) -> Result<&LedgerView, StoreFault> {
        let place = || self.database.path().display().to_string();
        let found = self.by_id(id).map(Arc::as_ref);
        found.ok_or_else(|| StoreFault::diverged(place(), format!("ledger {}", id.0), "no such ledger"))
    }
}

impl View for ReadView {
    type Error = StoreFault;

    fn cluster(&self) -> Result<ClusterState, StoreFault> {
        Ok(self.cluster.clone())
    }

    fn ledger(&self, name: &LedgerName) -> Result<Option<Arc<LedgerHead>>, StoreFault> {
        Ok(ReadView::ledger(self, name).map(|ledger| Arc::clone(ledger.head())))
    }

    fn request(&self, ledger: LedgerId, request_id: &Hash) -> Result<Option<KnownRequest>, StoreFault> {
        self.known(ledger)?.request(request_id)
    }

    fn write_index(
        &self,
        ledger: LedgerId,
        key: &[u8],
        revision: Revision,
    ) -> Result<Option<LogIndex>, StoreFault> {
        self.known(ledger)?.revision_index(key, revision)
    }
}

impl LeafSource for ReadView {
    type Error = StoreFault;
    type Leaves<'v> = ViewLeaves<'v>;

    fn leaves(&self, ledger: LedgerId) -> Result<ViewLeaves<'_>, StoreFault> {
        self.known(ledger)?.leaves(ledger)
    }
}
