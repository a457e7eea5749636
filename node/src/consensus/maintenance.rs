//! When the state is flushed and the log purged: by entries and by bytes, whichever comes first.
//!
//! After a crash the log is applied again from the flushed position, so this bounds both the log on disk
//! and the time of a start. Purging follows each flush by itself, up to the flushed position less what is
//! kept for followers that are slightly behind. While a follower fetches a snapshot, the log behind that snapshot is kept
//! for it, within a bound.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use crate::store::log::{LogId, LogStore, next_index};

use super::{inbound::Inbound, settings::ConsensusConfig, snapshot_kept::Outgoing, types::Raft};

/// Between two looks at whether a snapshot is still fetched.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

/// Watches what is applied and triggers flushes. The task ends when consensus does.
pub(crate) fn start(
    config: &ConsensusConfig,
    raft: Raft,
    log: LogStore,
    mut applied: watch::Receiver<Option<LogId>>,
    outgoing: Outgoing,
    inbound: Inbound,
) -> JoinHandle<()> {
    let (entries, bytes) = (config.flush_after_entries.max(1), config.flush_after_bytes.max(1));
    tokio::spawn(async move {
        let mut base_index = next_index(*applied.borrow_and_update());
        let mut base_bytes = log.appended_bytes();
        while applied.changed().await.is_ok() {
            let index = next_index(*applied.borrow_and_update());
            let appended = log.appended_bytes();
            let due =
                index.saturating_sub(base_index) >= entries || appended.saturating_sub(base_bytes) >= bytes;
            if !due || outgoing.holds_log(appended.saturating_sub(base_bytes)) {
                continue;
            }
            if raft.trigger().snapshot().await.is_err() {
                return;
            }
            (base_index, base_bytes) = (index, appended);
            discard_incoming(&inbound).await;
        }
    })
}

/// A node that has been given the log by entries needs no snapshot: what is left of one only takes space.
async fn discard_incoming(inbound: &Inbound) {
    let Ok(mut receiving) = Arc::clone(&inbound.receiving).try_lock_owned() else {
        return;
    };
    *receiving = None;
    let machine = Arc::clone(&inbound.machine);
    let discarded = tokio::task::spawn_blocking(move || {
        let _nobody_receives = receiving;
        machine.discard_install()
    });
    match discarded.await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => tracing::warn!(%fault, "what is left of a snapshot could not be removed"),
        Err(error) => tracing::warn!(%error, "what is left of a snapshot could not be removed"),
    }
}

/// Gives up snapshots that nobody fetches any more. Never ends.
pub(crate) fn expire(outgoing: Outgoing) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(EXPIRE_EVERY).await;
            let outgoing = outgoing.clone();
            // An error means that it panicked, which ends the process.
            tokio::task::spawn_blocking(move || outgoing.expire()).await.ok();
        }
    })
}
