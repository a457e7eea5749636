//! The floor: what this node has promised, kept apart from the log.
//!
//! RocksDB's recovery drops everything behind a damaged or cut-off place in its write-ahead log, and says
//! nothing. A node that came back so would have forgotten entries it acknowledged, or a vote it gave. The
//! floor is a file of its own, synced after each group of writes reached the disk and before anybody is
//! told so; at start the log is compared with it ([`LogFault::ShorterThanPromised`] and its neighbours).
//!
//! Layout: two slots of 4,096 bytes, allocated once. A slot is `QRFLOOR1 ‖ length u32 ‖ LogFloor ‖
//! SHA-256 of all that`, the rest zero. Write number n goes to slot n mod 2. *Crash here:* a torn slot
//! fails its hash and the other one, the previous floor, holds; that is enough, because nobody was told
//! about the group whose floor was torn.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use prost::Message;
use quorate_proto::peer::v1 as pb;
use sha2::{Digest, Sha256};

use super::{
    fault::LogFault,
    records::RecordsState,
    types::{LogId, Vote},
};

const MAGIC: &[u8; 8] = b"QRFLOOR1";
const SLOT: usize = 4096;
const HEADER: usize = 12;
const HASH: usize = 32;

/// What was promised. Every part only moves forward, except that a truncation lowers `last` first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promise {
    /// The last entry acknowledged as durable.
    pub(crate) last: Option<LogId>,
    /// The vote as last saved.
    pub(crate) vote: Option<Vote>,
    /// The durable records as last acknowledged.
    pub(crate) records: RecordsState,
}

/// The open floor file. Owned by the flush thread.
#[derive(Debug)]
pub(crate) struct Floor {
    path: PathBuf,
    file: File,
    sequence: u64,
    promise: Promise,
}

impl Floor {
    /// Creates the file with an empty promise, synced.
    pub(crate) fn create(path: &Path) -> Result<(), LogFault> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(LogFault::io(path))?;
        file.write_all_at(&[0; SLOT * 2], 0).map_err(LogFault::io(path))?;
        let mut floor = Self { path: path.to_owned(), file, sequence: 0, promise: Promise::default() };
        floor.write(Promise::default())?;
        floor.file.sync_all().map_err(LogFault::io(path))
    }

    /// Opens the file and reads the newer readable slot.
    pub(crate) fn open(path: &Path) -> Result<Self, LogFault> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(LogFault::io(path))?;
        let newest = [0, 1]
            .into_iter()
            .filter_map(|slot| read_slot(&file, slot))
            .max_by_key(|(sequence, _)| *sequence);
        let (sequence, promise) =
            newest.ok_or_else(|| LogFault::FloorUnreadable { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), file, sequence, promise })
    }

    /// The promise on disk.
    pub(crate) fn promise(&self) -> Promise {
        self.promise
    }

    /// Makes `promise` the one on disk; returns after the disk has it. Nothing is written when it is the same.
    pub(crate) fn raise(&mut self, promise: Promise) -> Result<(), LogFault> {
        if promise == self.promise {
            return Ok(());
        }
        self.write(promise)
    }

    fn write(&mut self, promise: Promise) -> Result<(), LogFault> {
        let sequence = self.sequence.saturating_add(1);
        let slot = encode_slot(sequence, &promise);
        let at = if sequence.is_multiple_of(2) { 0 } else { SLOT as u64 };
        self.file.write_all_at(&slot, at).map_err(LogFault::io(&self.path))?;
        self.file.sync_data().map_err(LogFault::io(&self.path))?;
        self.sequence = sequence;
        self.promise = promise;
        Ok(())
    }
}

fn encode_slot(sequence: u64, promise: &Promise) -> Vec<u8> {
    let message = pb::LogFloor {
        sequence,
        last_log_id: promise.last.map(Into::into),
        vote: promise.vote.map(Into::into),
        records: Some(promise.records.into()),
    };
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut slot = Vec::with_capacity(SLOT);
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&length.to_be_bytes());
    slot.extend_from_slice(&body);
    let hash = Sha256::digest(&slot);
    slot.extend_from_slice(&hash);
    slot.resize(SLOT, 0);
    slot
}

/// The content of a slot, or `None` when it is torn or damaged.
fn read_slot(file: &File, slot: u64) -> Option<(u64, Promise)> {
    let mut bytes = [0; SLOT];
    file.read_exact_at(&mut bytes, slot.checked_mul(SLOT as u64)?).ok()?;
    let length = usize::try_from(u32::from_be_bytes(bytes.get(8..HEADER)?.try_into().ok()?)).ok()?;
    let end = HEADER.checked_add(length)?;
    let hashed = bytes.get(..end)?;
    let hash = bytes.get(end..end.checked_add(HASH)?)?;
    if !hashed.starts_with(MAGIC) || Sha256::digest(hashed).as_slice() != hash {
        return None;
    }
    let message = pb::LogFloor::decode(hashed.get(HEADER..)?).ok()?;
    let promise = Promise {
        last: message.last_log_id.map(Into::into),
        vote: message.vote.map(Into::into),
        records: message.records?.try_into().ok()?,
    };
    Some((message.sequence, promise))
}
