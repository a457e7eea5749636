//! A snapshot on its way from a leader to a follower, taken whole, altered, and sent on as one that is right in itself.
//!
//! The files that the leader sends are opened as what they are, a state store. A block that nobody agreed on is applied to
//! it: `k` holds another value, and every hash in the store follows from that. The notes of the heads are signed anew with
//! the leader's keys. What is offered to the follower is a state that a leader could make up alone.

use std::{fs, path::Path};

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use prost::Message as _;
use quorate_core::{
    checkpoint::Checkpoint,
    hash::{Hash, sha256},
    position::{BlockHeight, Micros},
};
use quorate_ledger::{
    apply::apply,
    block::{Block, Put, Request, Write},
};
use quorate_node::store::{
    faults::StoreFault,
    log::{Identity, LogId},
    state::{StateCopy, StateOptions, StateStore},
};
use quorate_proto::{peer::v1 as pb, v1::TransactionMeta};

use crate::{
    notes::{seconds, sign},
    stolen::{Failure, Stolen},
};

/// Bytes in one piece.
const PIECE: usize = 1 << 20;

/// How long a made-up request is valid, microseconds.
const VALID_US: u64 = 60_000_000;

/// What a leader sends, taken in: its header, and the bytes of each file.
pub struct Taken {
    /// As it was offered.
    pub header: pb::SnapshotHeader,
    files: Vec<Vec<u8>>,
}

/// The answer that makes a leader send everything.
#[must_use]
pub fn everything(header: &pb::SnapshotHeader) -> pb::SnapshotMissing {
    let parts = (0..).zip(&header.files).map(|(file, _)| pb::MissingPart { file, offset: 0 });
    pb::SnapshotMissing { parts: parts.collect() }
}

impl Taken {
    /// Receives everything of a snapshot.
    ///
    /// # Errors
    /// It does not come as it was asked for.
    pub async fn receive(mut chunks: BoxStream<'static, pb::SnapshotChunk>) -> Result<Self, Failure> {
        let mut taken: Option<Self> = None;
        while let Some(chunk) = chunks.next().await {
            match (chunk.step, &mut taken) {
                (Some(pb::snapshot_chunk::Step::Header(header)), None) => {
                    let files = vec![Vec::new(); header.files.len()];
                    taken = Some(Self { header, files });
                }
                (Some(pb::snapshot_chunk::Step::Data(data)), Some(taken)) => {
                    let file = taken.files.get_mut(usize::try_from(data.file)?);
                    file.ok_or("a piece of no file")?.extend_from_slice(&data.data);
                }
                (Some(pb::snapshot_chunk::Step::End(_)), Some(_)) => {
                    return taken.ok_or_else(|| "no header".into());
                }
                _ => return Err("a snapshot out of order".into()),
            }
        }
        Err("a snapshot that ends early".into())
    }

    /// Makes of it the state after a block that nobody agreed on, with notes by the leader alone.
    ///
    /// # Errors
    /// Files that are no state store.
    pub fn altered(self, leader: &Stolen) -> Result<Self, Failure> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("state");
        let identity = Identity { cluster_id: *leader.cluster.id.as_bytes(), node_id: leader.id.get() };
        StateStore::create(&path, identity, &StateOptions::default())?;
        let database = path.join("db-1");
        for file in fs::read_dir(&database)? {
            fs::remove_file(file?.path())?;
        }
        for (file, bytes) in self.header.files.iter().zip(&self.files) {
            fs::write(database.join(&file.name), bytes)?;
        }
        let store = StateStore::open(&path, identity, StateOptions::default())?;
        make_up(&store)?;
        let copy = store.snapshot()?;
        let (names, files) = read(&copy.path)?;
        let header = pb::SnapshotHeader {
            meta: self
                .header
                .meta
                .map(|meta| pb::SnapshotMeta { last_log_id: copy.applied.last.map(Into::into), ..meta }),
            files: names,
            notes: notes(&copy, leader),
            ..self.header
        };
        Ok(Self { header, files })
    }

    /// The pieces that a receiver asks for, in envelopes like this one.
    #[must_use]
    pub fn pieces(
        &self,
        envelope: Option<&pb::Envelope>,
        missing: &pb::SnapshotMissing,
    ) -> BoxStream<'static, pb::SnapshotChunk> {
        use pb::snapshot_chunk::Step;
        let mut steps = vec![Step::Header(self.header.clone())];
        for part in &missing.parts {
            let file = usize::try_from(part.file).ok().and_then(|file| self.files.get(file));
            let start = usize::try_from(part.offset).unwrap_or(usize::MAX);
            let bytes = file.and_then(|bytes| bytes.get(start..)).unwrap_or_default();
            let mut offset = part.offset;
            let mut pieces = bytes.chunks(PIECE).peekable();
            if pieces.peek().is_none() {
                let data = Bytes::new();
                steps.push(Step::Data(pb::SnapshotData { file: part.file, offset, data, last: true }));
            }
            while let Some(piece) = pieces.next() {
                let (data, last) = (Bytes::copy_from_slice(piece), pieces.peek().is_none());
                steps.push(Step::Data(pb::SnapshotData { file: part.file, offset, data, last }));
                offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            }
        }
        steps.push(Step::End(pb::SnapshotEnd {}));
        let chunk = |step| pb::SnapshotChunk { envelope: envelope.cloned(), step: Some(step) };
        let chunks: Vec<_> = steps.into_iter().map(chunk).collect();
        stream::iter(chunks).boxed()
    }
}

/// Applies a block in which `k` is written once more.
fn make_up(store: &StateStore) -> Result<(), Failure> {
    let last = store.view().applied().last.ok_or("a state of nothing")?;
    let now = Micros::from_secs(seconds()).ok_or("the clock is wrong")?.get();
    let meta = TransactionMeta { author: "anonymous".to_owned() };
    let put = Put {
        salt: Bytes::from_static(&[7; 16]),
        attributes: Bytes::new(),
        value: Bytes::from_static(b"what nobody wrote"),
        expires_at: 0,
    };
    let request = Request {
        ledger: "default".to_owned(),
        author: meta.author.clone(),
        idempotency_key: Bytes::from_static(b"made up"),
        not_after: now.saturating_add(VALID_US),
        meta: meta.encode_to_vec().into(),
        meta_salt: Bytes::from_static(&[7; 16]),
        preconditions: Vec::new(),
        writes: vec![Write { key: Bytes::from_static(b"k"), put: Some(put), erase: None }],
    };
    let block = Block { time: now, requests: vec![request], genesis: None };
    let hash = sha256(&[&block.encode_to_vec()]);
    let id = LogId { index: last.index.saturating_add(1), ..last };
    let effects = store.apply(id, |view, tries| {
        let height = view.cluster().last_block.and_then(|(height, _)| height.next());
        let height = height.unwrap_or(BlockHeight::new(0));
        apply(view, tries, &block, height, hash)
            .map_err(|error| StoreFault::diverged("a made-up block", "one that can be applied", error))
    })?;
    if effects.outcome.checkpoints.is_empty() {
        return Err(format!("the made-up request is rejected: {:?}", effects.outcome.requests).into());
    }
    store.flush()?;
    Ok(())
}

/// Notes of the heads, signed by the leader.
fn notes(copy: &StateCopy, leader: &Stolen) -> Vec<String> {
    let note = |head: &std::sync::Arc<quorate_ledger::view::LedgerHead>| {
        let origin = leader.cluster.origin.ledger(&head.name).as_str().to_owned();
        let (size, root): (_, Hash) = (head.frontier.size(), head.frontier.root());
        sign(&Checkpoint { origin, size, root }, std::slice::from_ref(leader)).to_string()
    };
    copy.heads.iter().map(note).collect()
}

/// The files of a directory: as they are offered, and their bytes.
fn read(directory: &Path) -> Result<(Vec<pb::SnapshotFile>, Vec<Vec<u8>>), Failure> {
    let (mut names, mut files) = (Vec::new(), Vec::new());
    for file in fs::read_dir(directory)? {
        let file = file?;
        let bytes = fs::read(file.path())?;
        names.push(pb::SnapshotFile {
            name: file.file_name().to_string_lossy().into_owned(),
            size: u64::try_from(bytes.len())?,
            sha256: Bytes::copy_from_slice(sha256(&[&bytes]).as_bytes()),
        });
        files.push(bytes);
    }
    Ok((names, files))
}
