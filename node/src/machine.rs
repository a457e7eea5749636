//! The state machine: committed entries in, the next state of this node out.
//!
//! Blocks are decoded, checked against the chain of applied blocks and handed to the pure transition
//! ([`quorate_ledger::apply`]); what it says changes goes to the state store as one batch with the entry's id. Other
//! entries only move the position. Every checkpoint a block made goes to the [`CheckpointSink`], in order, after the
//! state it stands for can be read (*signed ≤ applied*).
//!
//! A block that is committed is the same on every replica. If it cannot be applied here, this node's disk or
//! memory is wrong, or the block should never have passed the guard: both are faults, and stop the node.

use std::{path::Path, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use prost::Message;
use quorate_core::{hash::Hash, name::ClusterId, position::BlockHeight};
use quorate_ledger::{
    apply::{ApplyError, apply},
    block::Block,
    effects::Effects,
    outcome::NewCheckpoint,
    trie::Tries,
    view::LedgerHead,
};

use crate::{
    block::CarriedBlock,
    consensus::{CommittedEntry, Copied, InstallError, Machine, Outcome, Position, SnapshotHandle},
    decoded::{DecodedBlock, DecodedBlocks},
    signer::heads,
    store::{
        faults::StoreFault,
        log::{LogId, Payload},
        state::{Applied, ReadView, SnapshotError, StateStore},
    },
};

#[cfg(test)]
mod tests;

/// Takes what this node has to sign.
pub trait CheckpointSink: Send + Sync + 'static {
    /// A block made this checkpoint, or a snapshot that was installed brought it. Called in the order of applying,
    /// on the apply thread: it must not wait. After a restart the last ones come again.
    fn checkpoint(&self, checkpoint: NewCheckpoint);

    /// Whether a received snapshot, every hash of which was recomputed, continues what this node signed, and its heads
    /// are what `notes` certify.
    ///
    /// # Errors
    /// Why not: the snapshot is refused.
    fn accepts(&self, snapshot: &ReadView, notes: &[String]) -> Result<(), String>;

    /// The notes that certify these heads, which were applied here, once they are signed; after a while, who has not signed
    /// which.
    fn certificates(&self, heads: Vec<Arc<LedgerHead>>) -> BoxFuture<'static, Result<Vec<String>, String>>;
}

/// The machine of this node.
pub struct StateMachine {
    store: Arc<StateStore>,
    cluster: ClusterId,
    sink: Arc<dyn CheckpointSink>,
    decoded: Arc<DecodedBlocks>,
}

impl StateMachine {
    /// A machine over `store`, of the cluster `cluster`.
    pub fn new(store: Arc<StateStore>, cluster: ClusterId, sink: Arc<dyn CheckpointSink>) -> Self {
        Self { store, cluster, sink, decoded: Arc::default() }
    }

    /// The same, which takes blocks from here where they are decoded already.
    #[must_use]
    pub fn with_decoded(self, decoded: Arc<DecodedBlocks>) -> Self {
        Self { decoded, ..self }
    }

    fn apply_entry(&self, entry: CommittedEntry) -> Result<Option<Outcome>, StoreFault> {
        match entry.payload {
            Payload::Blank => self.store.note(entry.id, None).map(|()| None),
            Payload::Membership(bytes) => self.store.note(entry.id, Some(bytes)).map(|()| None),
            Payload::Block(bytes) => self.apply_block(entry.id, bytes).map(Some),
        }
    }

    fn decode(&self, id: LogId, payload: Bytes) -> Result<DecodedBlock, StoreFault> {
        let carried = CarriedBlock::parse(self.cluster, payload).map_err(|error| undecodable(id, error))?;
        let block = Block::decode(carried.body.clone()).map_err(|error| undecodable(id, error))?;
        Ok(DecodedBlock { carried, block })
    }

    fn apply_block(&self, id: LogId, payload: Bytes) -> Result<Outcome, StoreFault> {
        let DecodedBlock { carried, block } = match self.decoded.take(&payload) {
            Some(decoded) => decoded,
            None => self.decode(id, payload)?,
        };
        let header = *carried.header();
        if header.term.get() != id.term {
            return Err(StoreFault::diverged(entry(id), format!("a block of term {}", id.term), header.term));
        }
        let effects = self.store.apply(id, |view, tries| {
            check_chain(id, view, header.height, header.previous)?;
            transition(id, view, tries, &block, header.height, header.hash())
        })?;
        for checkpoint in &effects.outcome.checkpoints {
            self.sink.checkpoint(checkpoint.clone());
        }
        Ok(Arc::new(effects.outcome))
    }
}

/// The pure transition, with its errors as faults.
fn transition(
    id: LogId,
    view: &ReadView,
    tries: &mut Tries,
    block: &Block,
    height: BlockHeight,
    hash: Hash,
) -> Result<Effects, StoreFault> {
    apply(view, tries, block, height, hash).map_err(|error| match error {
        ApplyError::Store(fault) => fault,
        ApplyError::Trie(error) => StoreFault::damaged(entry(id), error),
        error @ ApplyError::Newer(_) => StoreFault::newer(entry(id), error),
        error => StoreFault::diverged(entry(id), "a block that can be applied", error),
    })
}

/// A block has to be the next one: its height, and the hash of the one before.
fn check_chain(id: LogId, view: &ReadView, height: BlockHeight, previous: Hash) -> Result<(), StoreFault> {
    let (expected, hash) = match view.cluster().last_block {
        None => (Some(BlockHeight::new(0)), Hash::ZERO),
        Some((last, hash)) => (last.next(), hash),
    };
    if Some(height) == expected && previous == hash {
        return Ok(());
    }
    let expected = expected.map_or_else(|| "none".to_owned(), |height| height.to_string());
    Err(StoreFault::diverged(
        entry(id),
        format!("block {expected} behind block hash {hash}"),
        format!("block {height} behind {previous}"),
    ))
}

fn entry(id: LogId) -> String {
    format!("Raft entry {id}")
}

fn undecodable(id: LogId, error: impl std::fmt::Display) -> StoreFault {
    StoreFault::diverged(entry(id), "a block", format!("bytes that do not decode ({error})"))
}

fn install_error(error: SnapshotError) -> InstallError {
    match error {
        SnapshotError::Refused(problem) => InstallError::Refused(problem),
        SnapshotError::Fault(fault) => InstallError::Fault(fault),
    }
}

fn position(applied: Applied) -> Position {
    Position { last: applied.last, membership: applied.membership }
}

fn applied(position: &Position) -> Applied {
    Applied { last: position.last, membership: position.membership.clone() }
}

impl Machine for StateMachine {
    fn applied(&self) -> Result<Position, StoreFault> {
        self.store.durable().map(position)
    }

    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<Vec<Outcome>, StoreFault> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            outcomes.extend(self.apply_entry(entry)?);
        }
        Ok(outcomes)
    }

    fn snapshot(&self) -> Result<Copied, StoreFault> {
        let copy = self.store.flushed_copy()?;
        let notes = self.sink.certificates(copy.heads);
        // From here on the handle removes the files.
        Ok(Copied { files: SnapshotHandle::new(position(copy.applied), Vec::new(), copy.path), notes })
    }

    fn keep(&self, snapshot: &SnapshotHandle) -> Result<(), StoreFault> {
        self.store.keep_copy(snapshot.dir(), &snapshot.label())
    }

    fn kept(&self) -> Option<SnapshotHandle> {
        let (path, label) = self.store.kept_copy()?;
        let handle = SnapshotHandle::from_label(path, &label);
        handle.inspect_err(|error| tracing::warn!(%error, "a snapshot that was kept is not used")).ok()
    }

    fn begin_install(&self, bytes: u64) -> Result<PathBuf, InstallError> {
        self.store.begin_install(bytes).map_err(install_error)
    }

    fn discard_install(&self) -> Result<(), StoreFault> {
        self.store.discard_install()
    }

    fn check_install(&self, position: &Position, notes: &[String], dir: &Path) -> Result<(), InstallError> {
        let accept = |view: &ReadView| self.sink.accepts(view, notes);
        self.store.check_snapshot(&applied(position), dir, accept).map_err(install_error)
    }

    fn install(&self, position: &Position, dir: &Path) -> Result<(), StoreFault> {
        let view = self.store.install(&applied(position), dir)?;
        for head in heads(&view)? {
            self.sink.checkpoint(head);
        }
        Ok(())
    }
}
