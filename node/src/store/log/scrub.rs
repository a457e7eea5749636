//! Reads the whole log again: every entry, marker and record against its checksum.
//!
//! May run while the log is written: what is purged or truncated meanwhile is passed over. What is only in memory and in the
//! write-ahead log yet is read from memory.

use rocksdb::ReadOptions;

use super::{fault::LogFault, read, recover::read_row, rows, store::LogStore};
use crate::store::faults::StoreFault;

/// Bytes read at once.
const BATCH_BYTES: usize = 256 << 10;

impl LogStore {
    /// Checks everything that is in the log now; `step` is told how many bytes were read since it was told last, and may
    /// end it.
    ///
    /// # Errors
    /// The first thing that is wrong, a failing disk, or the error of `step`.
    pub fn scrub(&self, step: &mut dyn FnMut(u64) -> Result<(), StoreFault>) -> Result<(), StoreFault> {
        let fault = |fault: LogFault| self.fault(&fault);
        self.check_markers().map_err(fault)?;
        self.check_records().map_err(fault)?;
        let mut next = 0;
        loop {
            let (first, end) = self.range();
            next = first.max(next);
            if next >= end {
                return Ok(());
            }
            // Blocks that only this reads need no place in the cache, and come from the disk.
            let mut reads = ReadOptions::default();
            reads.fill_cache(false);
            let entries = match read::from_database(self.database(), next, end, BATCH_BYTES, reads) {
                Ok(entries) => entries,
                // Purged or truncated while it was read.
                Err(LogFault::Gap { .. }) if self.range() != (first, end) => continue,
                Err(error) => return Err(self.fault(&error)),
            };
            let bytes = entries.iter().fold(0_usize, |sum, entry| sum.saturating_add(entry.weight()));
            next = next.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
            step(u64::try_from(bytes).unwrap_or(u64::MAX))?;
        }
    }

    fn check_markers(&self) -> Result<(), LogFault> {
        for key in [rows::COMMITTED, rows::PURGED] {
            read_row(self.database(), key)?.map(|row| rows::decode_log_id(key, &row)).transpose()?;
        }
        read_row(self.database(), rows::VOTE)?.map(|row| rows::decode_vote(&row)).transpose()?;
        Ok(())
    }

    fn fault(&self, fault: &LogFault) -> StoreFault {
        let place = self.database().path().display().to_string();
        if fault.is_damage() { StoreFault::damaged(place, fault) } else { StoreFault::io(place, fault) }
    }
}
