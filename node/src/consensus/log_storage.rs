//! The log store, as openraft wants it.
//!
//! Writes go straight to [`LogStore`], which answers when they are readable and completes them from its
//! flush thread. Reads are answered from memory where possible; what has to come from the database is
//! read on a blocking thread, and in pieces bounded by bytes.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use openraft::{
    OptionalSend,
    storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage},
};

use crate::store::log::{LogEntry, LogStore};

use super::{
    own_fault::OwnFault,
    types::{
        RaftEntryOf, RaftLogId, RaftVoteOf, TypeConfig, from_raft_entry, from_raft_id, from_raft_vote,
        to_raft_entry, to_raft_id, to_raft_vote,
    },
};

/// Adapter around the store; clones are its readers.
#[derive(Clone, Debug)]
pub(crate) struct RaftLog {
    store: LogStore,
    max_read_bytes: usize,
    fault: OwnFault,
}

impl RaftLog {
    /// `max_read_bytes` bounds one read for replication, except that one entry is always read. Failures are kept in
    /// `fault`.
    pub(crate) fn new(store: LogStore, max_read_bytes: usize, fault: OwnFault) -> Self {
        Self { store, max_read_bytes, fault }
    }

    async fn read(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<LogEntry>> {
        if let Some(entries) = self.store.read_memory(start, end, max_bytes) {
            return Ok(entries);
        }
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || store.read(start, end, max_bytes));
        read.await.map_err(|e| self.fault.of(e))?.map_err(|e| self.fault.of(e))
    }

    async fn read_raft(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<RaftEntryOf>> {
        let entries = self.read(start, end, max_bytes).await?;
        entries.into_iter().map(|entry| to_raft_entry(entry).map_err(|e| self.fault.of(e))).collect()
    }
}

/// The half-open range of a `RangeBounds`.
fn limits(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntryOf>> {
        let (start, end) = limits(&range);
        self.read_raft(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntryOf>> {
        self.read_raft(start, end, self.max_read_bytes).await
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<RaftEntryOf>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = limits(&range);
        let log = self.clone();
        stream::try_unfold((log, start), move |(log, start)| async move {
            if start >= end {
                return Ok(None);
            }
            let entries = log.read_raft(start, end, log.max_read_bytes).await?;
            let next = entries.last().map(|entry| entry.log_id.index.saturating_add(1));
            Ok::<_, io::Error>(next.map(|next| (stream::iter(entries).map(Ok), (log, next))))
        })
        .try_flatten()
        .boxed()
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVoteOf>> {
        Ok(self.store.bounds().vote.map(to_raft_vote))
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let bounds = self.store.bounds();
        Ok(LogState {
            last_purged_log_id: bounds.purged.map(to_raft_id),
            last_log_id: bounds.last.map(to_raft_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVoteOf) -> io::Result<()> {
        self.store.save_vote(from_raft_vote(vote)).await.map_err(|e| self.fault.of(e))
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        match committed {
            Some(committed) => {
                self.store.save_committed(from_raft_id(&committed)).map_err(|e| self.fault.of(e))
            }
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        Ok(self.store.bounds().committed.map(to_raft_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntryOf> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(from_raft_entry).collect();
        let done = Box::new(move || callback.io_completed(Ok(())));
        self.store.append(entries, done).map_err(|e| self.fault.of(e))
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        self.store.truncate_after(last.as_ref().map(from_raft_id)).await.map_err(|e| self.fault.of(e))
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        self.store.purge(from_raft_id(&upto)).map_err(|e| self.fault.of(e))
    }
}
