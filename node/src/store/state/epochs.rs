//! The epochs of the cosigner set, and the nodes of the cluster: read from the documents of `_system`.
//!
//! Revision r of the key `cosigners` is the set of epoch r: it is written once per epoch, and never deleted. The state
//! proof of that key, at the size of the checkpoint of the block that wrote it, is kept for ever, in the row `epoch/<n>` of
//! the table `meta`: `size u64 ‖ proof`. (The state tree goes on; an old proof cannot be made again.) It is written right
//! after the block. **If we crash** between the two, the block is applied again, or was flushed without the row: then
//! the row is missing, and other nodes have it. It is checked against the commit leaf whenever it is used.

use std::sync::Arc;

use prost::Message;
use quorate_core::{
    name::LedgerName,
    position::{Epoch, Revision, TreeSize},
    state_tree::{KeyRange, Query, verify},
};
use quorate_ledger::{
    registry::{COSIGNERS_KEY, CosignerSet, INVITATION_PREFIX, NODE_PREFIX, Registry},
    system::{SETTINGS_KEY, SettingsRecord},
    view::LedgerId,
};

use super::{
    contents::StoredContent,
    database::{Direction, after_prefix},
    ledger::LedgerView,
    options::Table,
    rows,
    store::StateStore,
    view::ReadView,
};
use crate::store::faults::StoreFault;

/// The ledger `_system`.
const SYSTEM: LedgerId = LedgerId(0);

/// What is kept of the beginning of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStart {
    /// The size of `_system` with the block that began it.
    pub size: TreeSize,
    /// The state proof of the key `cosigners` at that size.
    pub state_proof: Vec<u8>,
}

impl ReadView {
    /// The ledger `_system`; `None` before the cluster is founded.
    pub fn system(&self) -> Option<&Arc<LedgerView>> {
        self.ledger(&LedgerName::system())
    }

    /// The first epoch of this cluster: 1, or in one that continues another the one after the last of that. One more than
    /// the present epoch where this cluster has no set yet.
    pub fn first_epoch(&self) -> Result<Epoch, StoreFault> {
        let (mut first, mut after) = (1, self.cluster().epoch.get().saturating_add(1));
        while first < after {
            let middle = first.midpoint(after);
            match self.cosigner_set(Epoch::new(middle))? {
                Some(_) => after = middle,
                None => first = middle.saturating_add(1),
            }
        }
        Ok(Epoch::new(first))
    }

    /// The cosigner set of an epoch up to the present one; `None` for 0, for later ones, and for those of a cluster that
    /// this one continues.
    pub fn cosigner_set(&self, epoch: Epoch) -> Result<Option<Arc<CosignerSet>>, StoreFault> {
        let present = self.cluster().registry.cosigners();
        if let Some(present) = present.filter(|set| set.epoch == epoch.get()) {
            return Ok(Some(Arc::clone(present)));
        }
        let Some(system) = self.system().filter(|_| epoch.get() > 0) else {
            return Ok(None);
        };
        let Some(write) = system.write(COSIGNERS_KEY, Revision::new(epoch.get()))? else {
            return Ok(None);
        };
        let set: CosignerSet = document(system, &write, COSIGNERS_KEY)?;
        if self.cluster().origin.as_ref().is_none_or(|origin| !set.is_of(origin)) {
            return Ok(None);
        }
        if set.epoch != epoch.get() {
            return Err(system.damaged_run(write.index(), format!("the set of epoch {epoch} has to be here")));
        }
        Ok(Some(Arc::new(set)))
    }

    /// The sets of each of which a majority certifies the checkpoint of a size: the one in force, and the one that its
    /// block brings in. None where there was none yet, or no checkpoint.
    pub fn certifiers(
        &self,
        ledger: &LedgerView,
        size: TreeSize,
    ) -> Result<Vec<Arc<CosignerSet>>, StoreFault> {
        let Some(commit) = ledger.commit_leaf(size)? else {
            return Ok(Vec::new());
        };
        let mut sets: Vec<_> = self.cosigner_set(commit.epoch)?.into_iter().collect();
        let begun = Epoch::new(commit.epoch.get().saturating_add(1));
        if ledger.id() == SYSTEM && self.epoch_size(begun)? == Some(size) {
            sets.extend(self.cosigner_set(begun)?);
        }
        Ok(sets)
    }

    /// The size of `_system` with the block that began an epoch; `None` if none did.
    pub fn epoch_size(&self, epoch: Epoch) -> Result<Option<TreeSize>, StoreFault> {
        let Some(system) = self.system().filter(|_| epoch.get() > 0) else {
            return Ok(None);
        };
        match system.revision_index(COSIGNERS_KEY, Revision::new(epoch.get()))? {
            Some(index) => system.checkpoint_with(index),
            None => Ok(None),
        }
    }

    /// What is kept of the beginning of an epoch, if it is here and right.
    pub fn epoch_start(&self, epoch: Epoch) -> Result<Option<EpochStart>, StoreFault> {
        let Some(row) = self.database.get(Table::Meta, &rows::epoch(epoch))? else {
            return Ok(None);
        };
        let Some((size, proof)) = row.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let start = EpochStart { size: TreeSize::from_be_bytes(*size), state_proof: proof.to_vec() };
        Ok(self.proves(epoch, &start)?.then_some(start))
    }

    /// Whether this is the beginning of the epoch: of its size, and proven under the state root of its commit leaf.
    fn proves(&self, epoch: Epoch, start: &EpochStart) -> Result<bool, StoreFault> {
        if self.epoch_size(epoch)? != Some(start.size) {
            return Ok(false);
        }
        let commit = match self.system() {
            Some(system) => system.commit_leaf(start.size)?,
            None => None,
        };
        let query = Query::Key(COSIGNERS_KEY.to_vec());
        Ok(commit.is_some_and(|commit| verify(&commit.state_root, &query, &start.state_proof).is_ok()))
    }
}

impl StateStore {
    /// Keeps what another node has of the beginning of an epoch; `false` if it proves nothing.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn put_epoch_start(&self, epoch: Epoch, start: &EpochStart) -> Result<bool, StoreFault> {
        let view = self.view();
        if !view.proves(epoch, start)? {
            return Ok(false);
        }
        put(&view, epoch, start)?;
        Ok(true)
    }
}

/// Keeps the beginning of the view's epoch, which its newest block began.
pub(super) fn record(view: &ReadView) -> Result<(), StoreFault> {
    let Some(system) = view.system() else {
        return Ok(());
    };
    let state_proof = system.state_proof(&Query::Key(COSIGNERS_KEY.to_vec()))?;
    put(view, view.cluster().epoch, &EpochStart { size: system.size(), state_proof })
}

fn put(view: &ReadView, epoch: Epoch, start: &EpochStart) -> Result<(), StoreFault> {
    let mut batch = view.database.batch(0);
    let row = [&start.size.to_be_bytes()[..], &start.state_proof].concat();
    batch.put(Table::Meta, &rows::epoch(epoch), &row)?;
    view.database.write(batch)
}

/// Checks the epochs of a received snapshot: what is kept of each is right, if it is there.
pub(super) fn check(view: &ReadView) -> Result<(), StoreFault> {
    let mut scan = view.database.scan_prefix(Table::Meta, rows::EPOCHS)?;
    let mut found = Vec::new();
    while let Some(epoch) = scan.next(|key, _| Ok(key.last_chunk::<8>().copied()))? {
        found.push(Epoch::new(epoch.map_or(0, u64::from_be_bytes)));
    }
    for epoch in found {
        if view.epoch_start(epoch)?.is_none() {
            let problem = "it is not the proof of the beginning of this epoch";
            return Err(view.database.damaged(Table::Meta, &rows::epoch(epoch), problem));
        }
    }
    Ok(())
}

/// The nodes of the cluster as the documents say. What the row `applied` says of epoch and settings has to agree.
pub(super) fn registry(view: &ReadView) -> Result<Registry, StoreFault> {
    let Some(system) = view.system() else {
        return Ok(Registry::default());
    };
    let disagrees = |what: &str| view.database.damaged(Table::Meta, rows::APPLIED, what);
    let origin = view.cluster().origin.as_ref().ok_or_else(|| disagrees("it names no origin"))?;
    let cosigners = newest(system, COSIGNERS_KEY)?;
    let (nodes, invitations) = (all(system, NODE_PREFIX)?, all(system, INVITATION_PREFIX)?);
    let registry = Registry::from_documents(origin, nodes, invitations, cosigners);
    if registry.epoch() != view.cluster().epoch {
        return Err(disagrees("its epoch is not that of the cosigner set"));
    }
    let settings: Option<SettingsRecord> = newest(system, SETTINGS_KEY)?;
    if settings.is_some_and(|settings| settings != SettingsRecord::from(view.cluster().settings)) {
        return Err(disagrees("its settings are not those of the document"));
    }
    Ok(registry)
}

pub(super) fn newest<M: Message + Default>(system: &LedgerView, key: &[u8]) -> Result<Option<M>, StoreFault> {
    match system.newest(key)? {
        Some(write) => document(system, &write, key).map(Some),
        None => Ok(None),
    }
}

/// All documents whose keys begin so.
pub(super) fn all<M: Message + Default>(system: &LedgerView, prefix: &[u8]) -> Result<Vec<M>, StoreFault> {
    let range = KeyRange { first: prefix.to_vec(), end: after_prefix(prefix) };
    let writes = system.state_leaves(&range, Direction::Ascending, system.size())?;
    writes.map(|write| write.and_then(|write| document(system, &write, write.key()))).collect()
}

/// The document that a write put.
fn document<M: Message + Default>(
    system: &LedgerView,
    write: &quorate_core::state_tree::StateLeaf,
    key: &[u8],
) -> Result<M, StoreFault> {
    let index = write.index();
    let StoredContent::Present(content) = system.written(index, key)? else {
        return Err(system.damaged_run(index, "a document of _system has to be here"));
    };
    M::decode(content.value).map_err(|error| system.damaged_run(index, error))
}
