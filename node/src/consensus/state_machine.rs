//! The machine, as openraft wants it.
//!
//! To openraft, "building a snapshot" here means making the state durable and linking its files; once a majority has
//! signed what is in them, that is the snapshot that stands, and the log may be purged up to it (`snapshot_kept`).

use std::{io, path::PathBuf, sync::Arc};

use futures::{Stream, StreamExt};
use openraft::{
    OptionalSend,
    alias::{SnapshotMetaOf, SnapshotOf},
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};
use tokio::sync::watch;

use crate::store::log::{LogId, LogStore, Payload, next_index};

use super::{
    applier::Applier,
    codec::decode_membership,
    machine::{Machine, Outcome, Position},
    own_fault::OwnFault,
    snapshot_kept::{NotRenewed, Outgoing},
    types::{
        Applied, RaftLogId, RaftStored, TypeConfig, from_raft_entry, from_raft_id, to_raft_id,
        to_raft_membership,
    },
};

/// Entries handed to the apply thread at once: at most this many, or this many bytes.
const BATCH_ENTRIES: usize = 256;
const BATCH_BYTES: usize = 8 << 20;

/// What openraft carries as a snapshot.
#[derive(Clone)]
pub(crate) enum SnapshotSource {
    /// The state of this machine, to be made into files when it is sent.
    Local(Outgoing),
    /// Files that were received and checked, to be installed.
    Received(PathBuf, Position),
}

/// Adapter around the machine.
#[derive(Clone)]
pub(crate) struct RaftMachine {
    machine: Arc<dyn Machine>,
    applier: Applier,
    outgoing: Outgoing,
    log: LogStore,
    /// The last entry applied in this process. Owned here; readers wait on it.
    applied: Arc<watch::Sender<Option<LogId>>>,
    fault: OwnFault,
}

impl RaftMachine {
    pub(crate) fn new(
        machine: Arc<dyn Machine>,
        outgoing: Outgoing,
        log: LogStore,
        applied: Arc<watch::Sender<Option<LogId>>>,
        fault: OwnFault,
    ) -> io::Result<Self> {
        let applier = Applier::start(Arc::clone(&machine))?;
        Ok(Self { machine, applier, outgoing, log, applied, fault })
    }

    /// The durable position, as openraft's metadata.
    fn durable(&self) -> io::Result<Placed> {
        let position = self.machine.applied().map_err(|e| self.fault.of(e))?;
        self.log.raise_purge_limit(next_index(position.last));
        placed(&position)
    }

    /// The position of the snapshot that stands, the same way.
    fn standing(&self) -> io::Result<Option<Placed>> {
        self.outgoing.position(self.log.bounds().purged).map(|position| placed(&position)).transpose()
    }

    async fn apply_batch(&self, batch: &mut Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let mut entries = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        for (entry, responder) in batch.drain(..) {
            let entry = from_raft_entry(entry);
            waiting.push((entry.id, matches!(entry.payload, Payload::Block(_)), responder));
            entries.push(entry);
        }
        let Some(last) = waiting.last().map(|(id, _, _)| *id) else {
            return Ok(());
        };
        let outcomes = self.applier.apply(entries).await.map_err(|e| self.fault.of(e))?;
        let blocks = waiting.iter().filter(|(_, is_block, _)| *is_block).count();
        if outcomes.len() != blocks {
            let text = format!("{} outcomes for {blocks} blocks up to {last}", outcomes.len());
            return Err(self.fault.of(text));
        }
        self.applied.send_replace(Some(last));
        let mut outcomes = outcomes.into_iter();
        for (_, is_block, responder) in waiting {
            let outcome: Option<Outcome> = if is_block { outcomes.next() } else { None };
            if let Some(responder) = responder {
                responder.send(Applied(outcome));
            }
        }
        Ok(())
    }
}

/// A position, as openraft's metadata.
type Placed = (Option<RaftLogId>, RaftStored);

fn placed(position: &Position) -> io::Result<Placed> {
    Ok((position.last.map(to_raft_id), stored_membership(position)?))
}

/// The membership of a position, as openraft stores it.
pub(crate) fn stored_membership(position: &Position) -> io::Result<RaftStored> {
    let Some((id, bytes)) = &position.membership else {
        return Ok(RaftStored::default());
    };
    let membership = decode_membership(bytes).and_then(to_raft_membership).map_err(io::Error::other)?;
    Ok(RaftStored::new(Some(to_raft_id(*id)), membership))
}

/// Makes the state durable; the metadata of "the snapshot" is the position of the one that stands after that.
pub(crate) struct Flush(RaftMachine);

impl RaftSnapshotBuilder<TypeConfig> for Flush {
    type SnapshotData = SnapshotSource;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotSource>> {
        let Self(this) = self;
        let renewed = this.outgoing.renew().await;
        let durable = this.durable()?;
        let (last_log_id, last_membership) = match renewed {
            Ok(kept) => placed(kept.snapshot.position())?,
            Err(NotRenewed::Uncertified(missing)) => {
                tracing::info!(%missing, "no new snapshot stands: its heads are not certified");
                metrics::counter!("quorate_snapshots_uncertified_total").increment(1);
                // What nobody certifies does not keep the log for ever.
                if this.outgoing.is_large() { durable } else { this.standing()?.unwrap_or_default() }
            }
            Err(fault) => return Err(this.fault.of(fault)),
        };
        let meta = SnapshotMetaOf::<TypeConfig> { last_log_id, last_membership };
        Ok(SnapshotOf::<TypeConfig, _> { meta, snapshot: SnapshotSource::Local(this.outgoing.clone()) })
    }
}

impl RaftStateMachine<TypeConfig> for RaftMachine {
    type SnapshotData = SnapshotSource;
    type SnapshotBuilder = Flush;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, RaftStored)> {
        self.durable()
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut batch = Vec::new();
        let mut bytes = 0_usize;
        while let Some(item) = entries.next().await {
            let item = item?;
            if let openraft::EntryPayload::Normal(block) = &item.0.payload {
                bytes = bytes.saturating_add(block.bytes.len());
            }
            batch.push(item);
            if batch.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES {
                self.apply_batch(&mut batch).await?;
                bytes = 0;
            }
        }
        self.apply_batch(&mut batch).await
    }

    async fn get_snapshot_builder(&mut self) -> Flush {
        Flush(self.clone())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotSource,
    ) -> io::Result<()> {
        let (dir, position) = match snapshot {
            SnapshotSource::Received(dir, position) => (dir, position),
            #[cfg(test)]
            SnapshotSource::Local(from) => super::tests::copy_snapshot(from.machine(), &self.machine),
            #[cfg(not(test))]
            SnapshotSource::Local(_) => return Err(io::Error::other("the own state is not installed again")),
        };
        if position.last != meta.last_log_id.as_ref().map(from_raft_id) {
            return Err(io::Error::other("a snapshot is installed under another position than its own"));
        }
        self.applier.install(position.clone(), dir).await.map_err(|e| self.fault.of(e))?;
        // What stood is of a state that is gone; the log does not reach back to it.
        self.outgoing.clear();
        self.log.raise_purge_limit(next_index(position.last));
        self.applied.send_replace(position.last);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotSource>>> {
        let (last_log_id, last_membership) = match self.standing()? {
            Some(standing) => standing,
            None => self.durable()?,
        };
        Ok(last_log_id.map(|last| SnapshotOf::<TypeConfig, _> {
            meta: SnapshotMetaOf::<TypeConfig> { last_log_id: Some(last), last_membership },
            snapshot: SnapshotSource::Local(self.outgoing.clone()),
        }))
    }
}
