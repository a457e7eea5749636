//! Rounds of signing: which checkpoints are signed together, and when the newest is signed again.

use quorate_core::name::LedgerName;
use quorate_ledger::outcome::NewCheckpoint;
use tokio::sync::mpsc;

use super::{Signer, lock, wire};
use crate::signer::{book::Signed, haste::REST, pen::Draft};

/// Checkpoints signed with one durable write at most.
const BATCH: usize = 256;

/// Age from which a checkpoint is signed again when somebody asks, seconds (trust.md, rule 5).
const STALE_S: u64 = 10;

impl Signer {
    pub(super) async fn sign_all(
        self,
        mut batch: Vec<NewCheckpoint>,
        mut checkpoints: mpsc::UnboundedReceiver<NewCheckpoint>,
    ) {
        while !batch.is_empty() || checkpoints.recv_many(&mut batch, BATCH).await > 0 {
            let mut drafts = Vec::with_capacity(batch.len());
            if !self.compute(&mut batch, &mut drafts) {
                return;
            }
            if !self.0.haste.is_on() && !self.gather(&mut batch, &mut drafts, &mut checkpoints).await {
                return;
            }
            self.sign(&drafts).await;
        }
    }

    /// Takes more checkpoints until those that came first have rested. False when nothing is to be signed any more.
    async fn gather(
        &self,
        batch: &mut Vec<NewCheckpoint>,
        drafts: &mut Vec<Draft>,
        checkpoints: &mut mpsc::UnboundedReceiver<NewCheckpoint>,
    ) -> bool {
        let rest = self.0.haste.rest(REST);
        tokio::pin!(rest);
        while drafts.len() < BATCH {
            tokio::select! {
                () = &mut rest => break,
                taken = checkpoints.recv_many(batch, BATCH - drafts.len()) => {
                    if taken == 0 {
                        break;
                    }
                    if !self.compute(batch, drafts) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Enters checkpoints into the book, and adds what is to be signed. False when nothing is to be signed any more.
    fn compute(&self, batch: &mut Vec<NewCheckpoint>, drafts: &mut Vec<Draft>) -> bool {
        if !self.0.health.is_good() {
            return false;
        }
        for checkpoint in batch.drain(..) {
            let NewCheckpoint { ledger, size, root, sets, .. } = checkpoint;
            let origin = self.0.origin.ledger(&ledger);
            let panels = match self.panels(&sets) {
                Ok(panels) => panels,
                Err(fault) => {
                    self.0.health.fail(fault.to_string());
                    return false;
                }
            };
            // Whoever does not count says nothing.
            let listed = panels.iter().any(|panel| panel.lists(self.0.me));
            let change = lock(&self.0.book).computed(&ledger, &origin, size, root, panels);
            self.react(ledger.as_str(), change);
            if listed {
                drafts.push(Draft { ledger, size, root, refresh: false });
            }
        }
        let again = lock(&self.0.book).adopt();
        if !again.is_empty() && lock(&self.0.book).newest().lists(self.0.me) {
            let draft = |(ledger, size, root)| Draft { ledger, size, root, refresh: false };
            drafts.extend(again.into_iter().map(draft));
        }
        true
    }

    /// Signs, keeps and sends. A node with a fault signs nothing any more, whoever asks.
    pub(super) async fn sign(&self, drafts: &[Draft]) {
        let signed = {
            let mut pen = self.0.pen.lock().await;
            if !self.0.health.is_good() {
                return;
            }
            let now = self.0.clock.now().as_secs();
            match pen.sign(drafts, now).await {
                Ok(signed) => signed,
                Err(fault) => return self.0.health.fail(fault.to_string()),
            }
        };
        let mut messages = Vec::with_capacity(signed.len());
        for (ledger, size, entry) in signed {
            messages.push(wire(&ledger, size, &entry));
            let change = lock(&self.0.book).add_own(&ledger, self.0.me, size, entry);
            self.react(ledger.as_str(), change);
        }
        if !messages.is_empty() {
            self.0.outbox.send(messages);
            self.0.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// True when the head is stale anywhere: signed more than 10 s ago here or by a member.
    pub(super) async fn sign_again(&self, ledger: &LedgerName) -> bool {
        let now = self.0.clock.now().as_secs();
        let draft = {
            let mut book = lock(&self.0.book);
            let size = book.head(ledger);
            let Some(page) = book.page(ledger, size) else {
                return false;
            };
            let fresh = |signed: &Signed| now.saturating_sub(signed.time) <= STALE_S;
            if page.signed.values().all(fresh) {
                return false;
            }
            let own_is_fresh = !page.lists(self.0.me) || page.signed.get(&self.0.me).is_some_and(fresh);
            let Some(root) = page.root else { return false };
            (!own_is_fresh).then(|| Draft { ledger: ledger.clone(), size, root, refresh: true })
        };
        if let Some(draft) = draft {
            self.sign(&[draft]).await;
        }
        true
    }
}
