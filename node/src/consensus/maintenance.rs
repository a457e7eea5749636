//! When the state is flushed and the log purged: by entries and by bytes, whichever comes first.
//!
//! After a crash the log is applied again from the flushed position, so this bounds both the log on disk
//! and the time of a start. Purging follows each flush by itself, up to the flushed position less what is
//! kept for followers that are slightly behind.

use tokio::{sync::watch, task::JoinHandle};

use crate::store::log::{LogId, LogStore, next_index};

use super::{settings::ConsensusConfig, types::Raft};

/// Watches what is applied and triggers flushes. The task ends when consensus does.
pub(crate) fn start(
    config: &ConsensusConfig,
    raft: Raft,
    log: LogStore,
    mut applied: watch::Receiver<Option<LogId>>,
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
            if !due {
                continue;
            }
            if raft.trigger().snapshot().await.is_err() {
                return;
            }
            (base_index, base_bytes) = (index, appended);
        }
    })
}
