//! Segments: consecutive leaves in one file, each a length-delimited `quorate.v1.LogEntry` with its contents.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message as _;
use quorate_core::{hash::sha256, name::LedgerName, position::LogIndex};
use quorate_proto::v1::LogEntry;

use crate::{
    error::ArchiveError,
    files,
    manifest::{ArchivedLedger, Segment},
};

/// Bytes after which a segment is closed; one entry more may be in it.
const SEGMENT_BYTES: u64 = 16 << 20;

/// A segment that is being written.
pub(crate) struct SegmentWriter {
    path: PathBuf,
    file: BufWriter<File>,
    first: LogIndex,
    entries: u64,
    bytes: u64,
    /// One entry, encoded; its memory is reused.
    encoded: Vec<u8>,
}

impl SegmentWriter {
    /// Begins the segment with the leaf `first`.
    pub(crate) fn begin(dir: &Path, ledger: &LedgerName, first: LogIndex) -> Result<Self, ArchiveError> {
        let path = files::segment_path(dir, ledger, first);
        let file = File::create(&path).map_err(ArchiveError::io("create", &path))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { path, file, first, entries: 0, bytes: 0, encoded: Vec::new() })
    }

    /// Adds the next leaf; whether the segment is full.
    pub(crate) fn push(&mut self, entry: &LogEntry) -> Result<bool, ArchiveError> {
        self.encoded.clear();
        let encoded = entry.encode_length_delimited(&mut self.encoded);
        encoded.map_err(|error| ArchiveError::file(&self.path, error))?;
        self.file.write_all(&self.encoded).map_err(ArchiveError::io("write", &self.path))?;
        self.entries = self.entries.saturating_add(1);
        let len = u64::try_from(self.encoded.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(len);
        Ok(self.bytes >= SEGMENT_BYTES)
    }

    /// Ends the segment: its bytes are on disk when this returns. The digest is that of what the disk gives back.
    pub(crate) fn finish(self) -> Result<Segment, ArchiveError> {
        let file = self.file.into_inner().map_err(|error| error.into_error());
        let synced = file.and_then(|file| file.sync_all());
        synced.map_err(ArchiveError::io("write", &self.path))?;
        let stored = std::fs::read(&self.path).map_err(ArchiveError::io("read", &self.path))?;
        if u64::try_from(stored.len()).ok() != Some(self.bytes) {
            let problem = format!("{} bytes were written, and it has {}", self.bytes, stored.len());
            return Err(ArchiveError::file(&self.path, problem));
        }
        let sha256 = sha256(&[&stored]);
        Ok(Segment { first: self.first, entries: self.entries, bytes: self.bytes, sha256 })
    }
}

/// Reads a segment whole, and checks that it is the one of the manifest. Values share its memory.
pub(crate) fn read(
    dir: &Path,
    ledger: &ArchivedLedger,
    segment: &Segment,
) -> Result<Vec<LogEntry>, ArchiveError> {
    let path = ledger.path(dir, segment);
    let wrong = |problem: String| ArchiveError::file(&path, problem);
    let bytes = files::read(&path)?.ok_or_else(|| wrong("the segment is missing".to_owned()))?;
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
