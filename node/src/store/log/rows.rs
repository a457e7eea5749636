//! Rows of the log database: which keys exist, and how entries and markers are encoded.
//!
//! Column family `log`: key = index as 8 bytes big-endian (so rows are in log order), value = framed
//! `quorate.peer.v1.Entry`. Column family `meta`: `vote`, `committed`, `purged`, `records`, and one
//! row `r/<key>` per durable record. All values are framed (see `frame`).

use prost::Message;
use quorate_proto::peer::v1 as pb;

use super::{
    fault::LogFault,
    frame,
    types::{LogEntry, LogId, Vote},
};

/// Column family of entries.
pub(crate) const LOG: &str = "log";
/// Column family of markers and records.
pub(crate) const META: &str = "meta";

pub(crate) const VOTE: &[u8] = b"vote";
pub(crate) const COMMITTED: &[u8] = b"committed";
pub(crate) const PURGED: &[u8] = b"purged";
pub(crate) const RECORDS: &[u8] = b"records";
pub(crate) const RECORD_PREFIX: &[u8] = b"r/";

/// Key of the entry at `index`.
pub(crate) fn entry_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// Index of a key of column family `log`.
pub(crate) fn entry_index(key: &[u8]) -> Result<u64, LogFault> {
    let bytes: [u8; 8] = key
        .try_into()
        .map_err(|_| LogFault::undecodable("log key", format!("{} bytes instead of 8", key.len())))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Row of an entry.
pub(crate) fn encode_entry(entry: &LogEntry) -> Vec<u8> {
    let message = pb::Entry::from(entry.clone());
    let mut out = Vec::with_capacity(message.encoded_len().saturating_add(frame::FRAME_OVERHEAD));
    message.encode_raw(&mut out);
    frame::seal(&entry_key(entry.id.index), out)
}

/// The entry in a row; checks the checksum and that the row is where its index says.
pub(crate) fn decode_entry(index: u64, stored: &[u8]) -> Result<LogEntry, LogFault> {
    let row = || format!("log entry {index}");
    let bytes = frame::unseal(&entry_key(index), stored, row)?;
    let message = pb::Entry::decode(bytes).map_err(|e| LogFault::undecodable(&row(), e))?;
    let entry = LogEntry::try_from(message).map_err(|e| LogFault::missing(&row(), e))?;
    if entry.id.index != index {
        return Err(LogFault::undecodable(
            &row(),
            format!("the entry says it is at index {}", entry.id.index),
        ));
    }
    Ok(entry)
}

/// Row of a log id (`COMMITTED`, `PURGED`).
pub(crate) fn encode_log_id(key: &[u8], id: LogId) -> Vec<u8> {
    frame::seal(key, pb::LogId::from(id).encode_to_vec())
}

/// The log id in the row of `key`.
pub(crate) fn decode_log_id(key: &[u8], stored: &[u8]) -> Result<LogId, LogFault> {
    Ok(decode::<pb::LogId>(key, stored)?.into())
}

/// Row of the vote.
pub(crate) fn encode_vote(vote: Vote) -> Vec<u8> {
    frame::seal(VOTE, pb::Vote::from(vote).encode_to_vec())
}

/// The vote in its row.
pub(crate) fn decode_vote(stored: &[u8]) -> Result<Vote, LogFault> {
    Ok(decode::<pb::Vote>(VOTE, stored)?.into())
}

/// A framed message in the row of `key`.
pub(crate) fn decode<M: Message + Default>(key: &[u8], stored: &[u8]) -> Result<M, LogFault> {
    let row = || format!("log store row `{}`", String::from_utf8_lossy(key));
    let bytes = frame::unseal(key, stored, row)?;
    M::decode(bytes).map_err(|e| LogFault::undecodable(&row(), e))
}

/// Key of a durable record's row.
pub(crate) fn record_key(key: &[u8]) -> Vec<u8> {
    [RECORD_PREFIX, key].concat()
}
