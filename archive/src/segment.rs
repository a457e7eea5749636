//! Segments: consecutive leaves in one file, each a length-delimited `quorate.v1.LogEntry` with its contents.

use bytes::Bytes;
use prost::Message as _;
use quorate_core::{hash::sha256, name::LedgerName, position::LogIndex};
use quorate_proto::v1::LogEntry;

use crate::{
    error::ArchiveError,
    manifest::{ArchivedLedger, Segment},
    storage::{self, Storage},
};

/// Bytes after which a segment is closed; one entry more may be in it.
const SEGMENT_BYTES: usize = 16 << 20;

/// Bytes that the last entry of a segment usually has, at most.
const ROOM: usize = 1 << 20;

/// A segment that is being made, in memory.
pub(crate) struct SegmentWriter {
    name: String,
    first: LogIndex,
    entries: u64,
    bytes: Vec<u8>,
}

impl SegmentWriter {
    /// Begins the segment with the leaf `first`.
    pub(crate) fn begin(ledger: &LedgerName, first: LogIndex) -> Self {
        // All at once: growing by doubling would hold the segment three times.
        let bytes = Vec::with_capacity(SEGMENT_BYTES.saturating_add(ROOM));
        Self { name: storage::segment_of(ledger, first), first, entries: 0, bytes }
    }

    /// Adds the next leaf; whether the segment is full.
    pub(crate) fn push(&mut self, entry: &LogEntry) -> Result<bool, ArchiveError> {
        let encoded = entry.encode_length_delimited(&mut self.bytes);
        encoded.map_err(|error| ArchiveError::file(&self.name, error))?;
        self.entries = self.entries.saturating_add(1);
        Ok(self.bytes.len() >= SEGMENT_BYTES)
    }

    /// Ends the segment: it is stored when this returns.
    pub(crate) fn finish(self, storage: &dyn Storage) -> Result<Segment, ArchiveError> {
        let Self { name, first, entries, bytes } = self;
        storage.write(&name, &bytes)?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(Segment { first, entries, bytes: len, sha256: sha256(&[&bytes]) })
    }
}

/// Reads a segment whole, and checks that it is the one of the manifest. Values share its memory.
pub(crate) fn read(
    storage: &dyn Storage,
    ledger: &ArchivedLedger,
    segment: &Segment,
) -> Result<Vec<LogEntry>, ArchiveError> {
    let name = ledger.file(segment);
    let wrong = |problem: String| ArchiveError::file(storage.path(&name), problem);
    let bytes = storage.read(&name)?.ok_or_else(|| wrong("the segment is missing".to_owned()))?;
    if u64::try_from(bytes.len()).ok() != Some(segment.bytes) {
        return Err(wrong(format!(
            "it has {} bytes, and had {} when it was written",
            bytes.len(),
            segment.bytes
        )));
    }
    let found = sha256(&[&bytes]);
    if found != segment.sha256 {
        return Err(wrong(format!("its SHA-256 is {found}, and was {} when it was written", segment.sha256)));
    }
    let mut bytes = Bytes::from(bytes);
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let entry = LogEntry::decode_length_delimited(&mut bytes);
        entries.push(entry.map_err(|error| wrong(error.to_string()))?);
    }
    if u64::try_from(entries.len()).ok() != Some(segment.entries) {
        return Err(wrong(format!("it has {} leaves, not {}", entries.len(), segment.entries)));
    }
    Ok(entries)
}
