//! Whose signatures certify a received snapshot.
//!
//! Cosigner sets change, and a node that was away, or has only just joined, knows an old one. The snapshot says how they
//! changed, and its sender is not believed: from the set that this node knows each step to the next one has to be certified
//! by a majority of both, with the cosignatures that the snapshot keeps of the beginning of each epoch. So a leader alone
//! cannot make this node take a set that it made up.

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::{
    checkpoint::Checkpoint,
    key::VerifierKey,
    name::ClusterOrigin,
    note::{Cosignature, OpenedNote},
    position::{Epoch, NodeId},
};
use quorate_ledger::registry::CosignerSet;

use super::panel::Panel;
use crate::store::state::ReadView;

/// The sets of a snapshot, as far as they follow from what this node knows.
#[derive(Debug)]
pub(super) struct Anchor {
    /// Who counts where there is no set.
    founders: Arc<Panel>,
    /// The newest set.
    newest: Panel,
}

impl Anchor {
    /// Of a cluster that never changed its founders.
    #[cfg(test)]
    pub(super) fn of_founders(founders: Panel) -> Self {
        Self { newest: founders.clone(), founders: Arc::new(founders) }
    }

    /// From the set in force here (`own`), or else the founders, to the newest one of a snapshot, every hash of which was
    /// recomputed.
    ///
    /// # Errors
    /// The epoch whose beginning is not certified, or a store that cannot be read, in words.
    pub(super) fn follow(
        origin: &ClusterOrigin,
        founders: Arc<Panel>,
        own: Option<Arc<CosignerSet>>,
        snapshot: &ReadView,
    ) -> Result<Self, String> {
        let last = snapshot.cluster().epoch;
        let (mut epoch, mut newest) = match own {
            Some(set) => (Epoch::new(set.epoch), Panel::of(&set)?),
            None => (snapshot.first_epoch().map_err(|fault| fault.to_string())?, (*founders).clone()),
        };
        if epoch <= last && panel(snapshot, epoch)? != newest {
            return Err(format!("its cosigner set of epoch {epoch} is not the one that this node knows"));
        }
        while epoch < last {
            epoch = epoch.next().ok_or("there is no epoch after the last one")?;
            let next = panel(snapshot, epoch)?;
            begins(origin, snapshot, epoch, [&newest, &next])?;
            newest = next;
        }
        Ok(Self { founders, newest })
    }

    /// The keys that count for a checkpoint which these sets certify.
    pub(super) fn known(&self, sets: &[Arc<CosignerSet>]) -> Result<Vec<VerifierKey>, String> {
        let panels = self.panels(sets)?;
        let all = panels.iter().chain([&self.newest]).flat_map(|panel| panel.keys().values());
        let keys: BTreeMap<&str, &VerifierKey> = all.map(|key| (key.name(), key)).collect();
        Ok(keys.into_values().cloned().collect())
    }

    /// Whether a note is certified: by a majority of each of its sets, or by one of the newest, which vouches for a ledger
    /// that has not grown since it came into force.
    pub(super) fn certifies(&self, note: &OpenedNote, sets: &[Arc<CosignerSet>]) -> Result<bool, String> {
        let agrees = |panel: &Panel| {
            let signed = panel.keys().iter().filter(|(_, key)| note.is_signed_by(key));
            panel.agrees(signed.map(|(id, _)| *id))
        };
        Ok(agrees(&self.newest) || self.panels(sets)?.iter().all(agrees))
    }

    fn panels(&self, sets: &[Arc<CosignerSet>]) -> Result<Vec<Panel>, String> {
        if sets.is_empty() {
            return Ok(vec![(*self.founders).clone()]);
        }
        sets.iter().map(|set| Panel::of(set)).collect()
    }
}

/// The set of an epoch, as a snapshot says.
fn panel(snapshot: &ReadView, epoch: Epoch) -> Result<Panel, String> {
    let set = snapshot.cosigner_set(epoch).map_err(|fault| fault.to_string())?;
    Panel::of(&*set.ok_or_else(|| format!("it has no cosigner set of epoch {epoch}"))?)
}

/// Whether the beginning of an epoch is certified by majorities of both sets.
fn begins(
    origin: &ClusterOrigin,
    snapshot: &ReadView,
    epoch: Epoch,
    panels: [&Panel; 2],
) -> Result<(), String> {
    let fault = |fault: crate::store::faults::StoreFault| fault.to_string();
    let missing = || format!("it does not say how epoch {epoch} began");
    let system = snapshot.system().ok_or_else(missing)?;
    let size = snapshot.epoch_size(epoch).map_err(fault)?.ok_or_else(missing)?;
    let root = system.root_at(size).map_err(fault)?.ok_or_else(missing)?;
    let name = &system.head().name;
    let checkpoint = Checkpoint { origin: origin.ledger(name).as_str().to_owned(), size, root };
    let mut signed: Vec<NodeId> = Vec::new();
    for stored in snapshot.cosignatures(system.id(), size).map_err(fault)? {
        let key = panels.iter().find_map(|panel| panel.keys().get(&stored.node));
        let valid = key.is_some_and(|key| {
            Cosignature::by(key, stored.time_s, stored.signature).verify(key, &checkpoint).is_ok()
        });
        if valid && !signed.contains(&stored.node) {
            signed.push(stored.node);
        }
    }
    if panels.iter().all(|panel| panel.agrees(signed.iter().copied())) {
        return Ok(());
    }
    Err(format!(
        "the beginning of epoch {epoch}, at size {size} of {name}, has the signatures of {} nodes, and not of a majority of \
         the set before and of the new one: until a sender has them, this node cannot take its snapshot",
        signed.len()
    ))
}

#[cfg(test)]
mod tests;
