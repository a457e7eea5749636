//! Reading entries from the database: checked one by one, bounded, and never silently short.

use rocksdb::{DB, Direction, IteratorMode, ReadOptions};

use super::{fault::LogFault, rows, store::family, types::LogEntry};

/// Entries from `start` on, before `end`, until about `max_bytes` are read; at least one if there is one.
///
/// The range must lie inside the log: a missing entry is a gap.
pub(crate) fn from_database(
    db: &DB,
    start: u64,
    end: u64,
    max_bytes: usize,
    reads: ReadOptions,
) -> Result<Vec<LogEntry>, LogFault> {
    let mut out: Vec<LogEntry> = Vec::new();
    let mut weight = 0_usize;
    let mut expected = start;
    let from = rows::entry_key(start);
    // The iterator yields its error, if it ended with one, as its last item: an early end is seen.
    let begin = IteratorMode::From(&from, Direction::Forward);
    for row in db.iterator_cf_opt(family(db, rows::LOG)?, reads, begin) {
        let (key, stored) = row?;
        let found = rows::entry_index(&key)?;
        if expected >= end {
            break;
        }
        if found != expected {
            return Err(LogFault::Gap { expected, found });
        }
        let entry = rows::decode_entry(found, &stored)?;
        weight = weight.saturating_add(entry.weight());
        if weight > max_bytes && !out.is_empty() {
            return Ok(out);
        }
        out.push(entry);
        expected = expected.saturating_add(1);
    }
    if expected < end {
        return Err(LogFault::Gap { expected, found: end });
    }
    Ok(out)
}
