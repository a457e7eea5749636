//! Certified checkpoints as notes: from the book, or from the store, where every signature is verified again.

use std::sync::Arc;

use quorate_core::{
    checkpoint::Checkpoint,
    hash::Hash,
    key::{KeyId, VerifierKey},
    name::LedgerName,
    note::{Cosignature, SignedNote},
    position::{NodeId, TreeSize},
};
use quorate_ledger::{outcome::NewCheckpoint, registry::CosignerSet};

use super::{
    book::Signed,
    desk::{Certified, Signer, WaitError, lock, newest_first},
    need::Need,
    panel::Panel,
};
use crate::store::{
    faults::StoreFault,
    state::{LedgerView, ReadView, StoredCosignature},
};

impl Signer {
    pub(super) fn certified_at(
        &self,
        ledger: &LedgerName,
        size: TreeSize,
        root: Hash,
        need: &Need,
    ) -> Result<Option<Certified>, WaitError> {
        {
            let mut book = lock(&self.0.book);
            if let Some(page) = book.page(ledger, size).filter(|page| page.root == Some(root)) {
                let Some(times) = page.meeting(need) else {
                    return Ok(None);
                };
                let times = newest_first(times.into_iter());
                let all = page.agreeing().map(|(_, s)| s).chain(page.witnessing().map(|(_, s)| s));
                let key = all.fold((0, 0), |(n, newest), s| (n + 1, s.time.max(newest)));
                if let Some((_, note)) = page.note.as_ref().filter(|(known, _)| *known == key) {
                    return Ok(Some(Certified { size, root, note: Arc::clone(note), times }));
                }
                let signed: Vec<(NodeId, Signed)> = page.agreeing().map(|(id, s)| (id, s.clone())).collect();
                let outside: Vec<(KeyId, Signed)> =
                    page.witnessing().map(|(id, s)| (id, s.clone())).collect();
                let panels: Vec<Arc<Panel>> = page.counting().cloned().collect();
                let note = self.note(ledger, size, root, &signed, &panels, &outside);
                if let Some(page) = book.page(ledger, size) {
                    page.note = Some((key, Arc::clone(&note)));
                }
                return Ok(Some(Certified { size, root, note, times }));
            }
        }
        self.certified_in_store(ledger, size, root, need)
    }

    /// Cosignatures of a size that is no longer in memory; each is verified again, disks are bad input too. Those of outside
    /// witnesses are in memory only.
    fn certified_in_store(
        &self,
        ledger: &LedgerName,
        size: TreeSize,
        root: Hash,
        need: &Need,
    ) -> Result<Option<Certified>, WaitError> {
        if need.outside > 0 {
            return Ok(None);
        }
        let checkpoint = Checkpoint { origin: self.0.origin.ledger(ledger).as_str().to_owned(), size, root };
        let view = self.0.state.view();
        let Some(held) = view.ledger(ledger) else {
            return Ok(None);
        };
        let mut panels = self.panels(&view.certifiers(held, size)?)?;
        let own = panels.len();
        if size == held.size() && own == 1 {
            // The newest set vouches for the head of a ledger that has not grown since.
            panels.push(Arc::new(lock(&self.0.book).newest().clone()));
        }
        let stored = view.cosignatures(held.id(), size)?;
        let valid = stored.into_iter().filter_map(|stored| {
            let key = panels.iter().find_map(|panel| panel.keys().get(&stored.node))?;
            Cosignature::by(key, stored.time_s, stored.signature).verify(key, &checkpoint).ok()?;
            Some((stored.node, Signed { root, time: stored.time_s, signature: stored.signature }))
        });
        let signed: Vec<(NodeId, Signed)> = valid.collect();
        let agrees = |panel: &Arc<Panel>| panel.agrees(signed.iter().map(|(node, _)| *node));
        let (own, newest) = panels.split_at(own);
        let majority = own.iter().all(agrees) || newest.iter().any(agrees);
        if signed.len() < need.cosigners || (need.cosigners == 0 && !majority) {
            return Ok(None);
        }
        let note = self.note(ledger, size, root, &signed, &panels, &[]);
        Ok(Some(Certified {
            size,
            root,
            note,
            times: newest_first(signed.iter().map(|(_, signed)| signed.time)),
        }))
    }

    /// The panels of these sets, which were judged when they were applied.
    pub(super) fn panels(&self, sets: &[Arc<CosignerSet>]) -> Result<Vec<Arc<Panel>>, StoreFault> {
        lock(&self.0.book).panels(sets).map_err(|problem| StoreFault::damaged("_system", problem))
    }

    fn note(
        &self,
        ledger: &LedgerName,
        size: TreeSize,
        root: Hash,
        signed: &[(NodeId, Signed)],
        panels: &[Arc<Panel>],
        outside: &[(KeyId, Signed)],
    ) -> Arc<str> {
        let checkpoint = Checkpoint { origin: self.0.origin.ledger(ledger).as_str().to_owned(), size, root };
        let log_line = self.log_key(ledger).sign(&checkpoint);
        let mut note = SignedNote::new(checkpoint);
        note.add(log_line);
        for (node, signed) in signed {
            if let Some(key) = panels.iter().find_map(|panel| panel.keys().get(node)) {
                note.add(Cosignature::by(key, signed.time, signed.signature).to_line());
            }
        }
        for (id, signed) in outside {
            if let Some(key) = self.0.outside.keys().get(id) {
                note.add(Cosignature::by(key, signed.time, signed.signature).to_line());
            }
        }
        note.to_string().into()
    }

    pub(super) fn missing(&self, ledger: &LedgerName, size: TreeSize, need: &Need) -> WaitError {
        let mut book = lock(&self.0.book);
        let newest = book.newest().clone();
        let (have, missing, outside) = match book.page(ledger, size) {
            Some(page) => {
                let outside: Vec<KeyId> =
                    page.witnessing().map(|(id, _)| id).filter(|id| need.counts(*id)).collect();
                (page.agreeing().count() + outside.len(), page.missing(), outside)
            }
            None => (0, newest.keys().keys().copied().collect(), Vec::new()),
        };
        let absent = self.0.outside.keys().values().filter(|key| need.counts(key.id()));
        let absent = absent.filter(|key| !outside.contains(&key.id())).map(|key| key.name().to_owned());
        let need = need.enough(newest.majority());
        let missing: Vec<String> =
            missing.into_iter().map(|id| self.0.origin.node(id)).chain(absent).collect();
        WaitError::Timeout { size, have, need, missing: missing.join(", ") }
    }

    /// Keeps a cosignature of a size of `_system`, whoever sent it, if it is one of somebody who counts there.
    ///
    /// # Errors
    /// A fault of the store.
    pub(crate) fn archive(&self, size: TreeSize, stored: StoredCosignature) -> Result<(), StoreFault> {
        let view = self.0.state.view();
        let ledger = LedgerName::system();
        let Some(system) = view.ledger(&ledger) else {
            return Ok(());
        };
        let root = system.root_at(size)?.unwrap_or(Hash::ZERO);
        let checkpoint = Checkpoint { origin: self.0.origin.ledger(&ledger).as_str().to_owned(), size, root };
        let panels = self.panels(&view.certifiers(system, size)?)?;
        let key = panels.iter().find_map(|panel| panel.keys().get(&stored.node));
        let holds = |key: &VerifierKey| {
            Cosignature::by(key, stored.time_s, stored.signature).verify(key, &checkpoint).is_ok()
        };
        if !key.is_some_and(holds) {
            tracing::warn!(node = %stored.node, %size, "refused a cosignature of the beginning of an epoch");
            return Ok(());
        }
        self.0.state.put_cosignatures(system.id(), size, &[stored])?;
        let signed = Signed { root, time: stored.time_s, signature: stored.signature };
        // In memory too, if it is there. The book is let go before anything follows from it.
        let added = {
            let mut book = lock(&self.0.book);
            book.page(&ledger, size).is_some().then(|| book.add(&ledger, stored.node, size, signed))
        };
        if let Some(Ok(change)) = added
            && self.react(ledger.as_str(), change)
        {
            self.0.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(())
    }
}

/// The heads of all ledgers as checkpoints, with the sets that certify them.
///
/// # Errors
/// A fault of the store.
pub(crate) fn heads(view: &ReadView) -> Result<Vec<NewCheckpoint>, StoreFault> {
    let head = |ledger: &Arc<LedgerView>| {
        Ok(NewCheckpoint {
            ledger: ledger.head().name.clone(),
            size: ledger.size(),
            root: ledger.head().frontier.root(),
            state_root: ledger.head().state_root,
            time: ledger.head().time,
            sets: view.certifiers(ledger, ledger.size())?,
        })
    };
    view.ledgers().iter().map(head).collect()
}
