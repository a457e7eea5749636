//! Waiting for signatures.

use std::time::Duration;

use quorate_core::{hash::Hash, name::LedgerName, position::TreeSize};
use tokio::sync::watch;

use super::{Certified, SAVE_EVERY, Signer, WaitError, lock};
use crate::signer::need::Need;

impl Signer {
    /// Waits until enough have signed the checkpoint of `size` with `root`, which this node has applied, and gives its note.
    ///
    /// # Errors
    /// [`WaitError`]: who is missing when `timeout` is over.
    pub async fn wait(
        &self,
        ledger: &LedgerName,
        size: TreeSize,
        root: Hash,
        need: &Need,
        timeout: Duration,
    ) -> Result<Certified, WaitError> {
        self.check_possible(need)?;
        self.signed_in_time(ledger, size, root, need, timeout, || self.hurry()).await
    }

    /// The same for a majority; nobody has to hurry for it.
    ///
    /// # Errors
    /// [`WaitError`]: who is missing when `timeout` is over.
    pub(in crate::signer) async fn certified(
        &self,
        ledger: &LedgerName,
        size: TreeSize,
        root: Hash,
        timeout: Duration,
    ) -> Result<Certified, WaitError> {
        self.signed_in_time(ledger, size, root, &Need::default(), timeout, || ()).await
    }

    async fn signed_in_time(
        &self,
        ledger: &LedgerName,
        size: TreeSize,
        root: Hash,
        need: &Need,
        timeout: Duration,
        waiting: impl Fn(),
    ) -> Result<Certified, WaitError> {
        let by_majority = *need == Need::default();
        let enough = async {
            let mut changed = self.0.changed.subscribe();
            loop {
                changed.mark_unchanged();
                if let Some(certified) = self.certified_at(ledger, size, root, need)? {
                    return Ok(certified);
                }
                waiting();
                if by_majority {
                    self.until_certified(ledger, size).await;
                } else if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match tokio::time::timeout(timeout, enough).await {
            Ok(result) => result,
            Err(_) => Err(self.missing(ledger, size, need)),
        }
    }

    /// Returns when a majority has signed a larger size of a ledger than this.
    pub async fn certified_beyond(&self, ledger: &LedgerName, size: TreeSize) {
        let mut watch = self.watch_certified(ledger);
        if self.certified_size(ledger) <= size && watch.wait_for(|certified| *certified > size).await.is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    fn watch_certified(&self, ledger: &LedgerName) -> watch::Receiver<TreeSize> {
        let mut all = lock(&self.0.certified);
        all.entry(ledger.clone()).or_insert_with(|| watch::Sender::new(TreeSize::ZERO)).subscribe()
    }

    async fn until_certified(&self, ledger: &LedgerName, size: TreeSize) {
        let mut watch = self.watch_certified(ledger);
        // A size that is not certified itself although a larger one is has too few signatures for ever: look once,
        // then wait for the deadline.
        if *watch.borrow() >= size {
            tokio::time::sleep(SAVE_EVERY).await;
        } else if watch.wait_for(|certified| *certified >= size).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
