//! When the state is flushed and the log purged: by entries and by bytes, whichever comes first.
//!
//! After a crash the log is applied again from the flushed position, so this bounds both the log on disk
//! and the time of a start. With each flush a certified snapshot takes the place of the one that stands
//! ([`super::snapshot_kept`]), and purging follows by itself, up to that snapshot less what is kept for followers that are
//! slightly behind. While a follower fetches a snapshot, the log behind it is kept for it, within a bound.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::store::log::{LogId, LogStore, next_index};

use super::{inbound::Inbound, settings::ConsensusConfig, snapshot_kept::Outgoing, types::Raft};

/// How often it is looked whether a snapshot stands, although nothing is applied.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Between two attempts when none stands, or an old one.
const AGAIN_AFTER: Duration = Duration::from_secs(15);

/// Age from which a snapshot is replaced although little was applied: it keeps files that RocksDB has replaced.
const OLD: Duration = Duration::from_secs(600);

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
        let mut tried: Option<Instant> = None;
        loop {
            if let Ok(Err(_)) = tokio::time::timeout(LOOK_EVERY, applied.changed()).await {
                return;
            }
            let index = next_index(*applied.borrow_and_update());
            let appended = log.appended_bytes();
            let grown =
                index.saturating_sub(base_index) >= entries || appended.saturating_sub(base_bytes) >= bytes;
            let may_try = index > 0 && tried.is_none_or(|at| at.elapsed() >= AGAIN_AFTER);
            let due = grown || (may_try && lacks(&outgoing, &log));
            if !due || outgoing.holds_log() {
                continue;
            }
            if raft.trigger().snapshot().await.is_err() {
                return;
            }
            (base_index, base_bytes, tried) = (index, appended, Some(Instant::now()));
            discard_incoming(&inbound).await;
        }
    })
}

/// Whether no snapshot stands from which a follower could be brought back, or an old one.
fn lacks(outgoing: &Outgoing, log: &LogStore) -> bool {
    outgoing.position(log.bounds().purged).is_none() || outgoing.age().is_some_and(|age| age > OLD)
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
