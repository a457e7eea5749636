//! What `open` reads and checks before anything may use the log.
//!
//! Every entry is read once: the log is short, because entries are purged below what the state store has
//! flushed. A gap, a falling term, a wrong checksum or an iterator that ended with an error is a fault, and
//! so is a log, vote or record that stays behind the floor. Nothing is repaired here.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_proto::peer::v1 as pb;
use rocksdb::{DB, Direction, IteratorMode};

use super::{
    fault::LogFault,
    floor::Promise,
    frame,
    records::{Records, RecordsState},
    rows,
    store::{Bounds, family},
    tail::Tail,
    types::{LogId, Vote},
};

/// Everything found on disk.
pub(crate) struct Recovered {
    pub(crate) bounds: Bounds,
    pub(crate) tail: Tail,
    pub(crate) records: Records,
}

/// Reads and checks the whole store.
pub(crate) fn recover(db: &DB, promise: &Promise, mut tail: Tail) -> Result<Recovered, LogFault> {
    let purged = read_log_id(db, rows::PURGED)?;
    let committed = read_log_id(db, rows::COMMITTED)?;
    let vote = read_row(db, rows::VOTE)?.map(|row| rows::decode_vote(&row)).transpose()?;
    let last = scan_log(db, purged, &mut tail)?;
    let records = recover_records(db)?;
    let bounds = Bounds { purged, last, committed, vote };
    check_log(db, promise, &bounds)?;
    check_vote(promise, vote)?;
    check_records(promise.records, records.state())?;
    if committed.is_some_and(|c| last.is_none_or(|l| c.index > l.index)) {
        let committed = committed.unwrap_or(LogId { term: 0, index: 0 });
        return Err(LogFault::CommittedBeyondLog { committed, last });
    }
    Ok(Recovered { bounds, tail, records })
}

pub(crate) fn read_row(db: &DB, key: &[u8]) -> Result<Option<Vec<u8>>, LogFault> {
    Ok(db.get_cf(family(db, rows::META)?, key)?)
}

fn read_log_id(db: &DB, key: &[u8]) -> Result<Option<LogId>, LogFault> {
    read_row(db, key)?.map(|row| rows::decode_log_id(key, &row)).transpose()
}

/// Reads all entries in order into the tail; gives the id of the last one (or the purged one).
fn scan_log(db: &DB, purged: Option<LogId>, tail: &mut Tail) -> Result<Option<LogId>, LogFault> {
    let mut last = purged;
    let start = rows::entry_key(next_index(purged));
    // The iterator yields its error, if it ended with one, as its last item.
    for row in db.iterator_cf(family(db, rows::LOG)?, IteratorMode::From(&start, Direction::Forward)) {
        let (key, stored) = row?;
        let found = rows::entry_index(&key)?;
        let expected = next_index(last);
        if found != expected {
            return Err(LogFault::Gap { expected, found });
        }
        let entry = rows::decode_entry(found, &stored)?;
        if let Some(earlier) = last.filter(|earlier| entry.id.term < earlier.term) {
            return Err(LogFault::TermFalls { earlier, later: entry.id });
        }
        last = Some(entry.id);
        tail.push(entry);
    }
    Ok(last)
}

/// Index after an optional id.
pub(crate) fn next_index(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index.saturating_add(1))
}

/// Reads and checks the durable records.
pub(crate) fn recover_records(db: &DB) -> Result<Records, LogFault> {
    let state = match read_row(db, rows::RECORDS)? {
        Some(row) => RecordsState::try_from(rows::decode::<pb::RecordsState>(rows::RECORDS, &row)?)?,
        None => RecordsState::default(),
    };
    let mut values = BTreeMap::new();
    let from = IteratorMode::From(rows::RECORD_PREFIX, Direction::Forward);
    for row in db.iterator_cf(family(db, rows::META)?, from) {
        let (key, stored) = row?;
        let Some(record) = key.strip_prefix(rows::RECORD_PREFIX) else {
            break;
        };
        let row = || format!("record `{}`", String::from_utf8_lossy(record));
        let value = frame::unseal(&key, &stored, row)?;
        values.insert(record.to_vec(), Bytes::copy_from_slice(value));
    }
    Records::recover(state, values)
}

fn check_log(db: &DB, promise: &Promise, bounds: &Bounds) -> Result<(), LogFault> {
    let Some(promised) = promise.last else {
        return Ok(());
    };
    let found = bounds.last;
    if found.is_none_or(|found| found.index < promised.index) {
        return Err(LogFault::ShorterThanPromised { promised, found });
    }
    if let Some(purged) = bounds.purged.filter(|purged| purged.index >= promised.index) {
        let other = purged.index == promised.index && purged.term != promised.term;
        return if other { Err(LogFault::OtherThanPromised { promised, found: purged }) } else { Ok(()) };
    }
    let row = db.get_cf(family(db, rows::LOG)?, rows::entry_key(promised.index))?;
    let row = row.ok_or(LogFault::ShorterThanPromised { promised, found })?;
    let entry = rows::decode_entry(promised.index, &row)?;
    if entry.id != promised {
        return Err(LogFault::OtherThanPromised { promised, found: entry.id });
    }
    Ok(())
}

fn check_vote(promise: &Promise, found: Option<Vote>) -> Result<(), LogFault> {
    match promise.vote {
        Some(promised) if !found.is_some_and(|found| found.keeps(&promised)) => {
            Err(LogFault::VoteForgotten { promised, found })
        }
        _ => Ok(()),
    }
}

fn check_records(promised: RecordsState, found: RecordsState) -> Result<(), LogFault> {
    if found.sequence < promised.sequence {
        return Err(LogFault::RecordsForgotten { promised: promised.sequence, found: found.sequence });
    }
    if found.sequence == promised.sequence && found.digest != promised.digest {
        return Err(LogFault::RecordsDamaged { sequence: found.sequence });
    }
    Ok(())
}
