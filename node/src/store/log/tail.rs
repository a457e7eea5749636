//! The newest entries of the log, in memory.
//!
//! Followers that keep up and the apply thread read entries that were written a moment ago. They are
//! answered from here, without RocksDB and without a copy (the bytes are shared). Bounded by weight and
//! count; what falls out is read from the database.

use std::collections::VecDeque;

use super::types::{LogEntry, LogId};

/// A run of consecutive entries that ends at the end of the log. Guarded by the store's state lock.
#[derive(Debug)]
pub(crate) struct Tail {
    entries: VecDeque<LogEntry>,
    weight: usize,
    max_weight: usize,
    max_entries: usize,
}

impl Tail {
    pub(crate) fn new(max_weight: usize, max_entries: usize) -> Self {
        Self { entries: VecDeque::new(), weight: 0, max_weight, max_entries }
    }

    /// Index of the first entry held.
    pub(crate) fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|e| e.id.index)
    }

    /// Adds the next entry and drops the oldest ones over the bounds; the newest always stays.
    pub(crate) fn push(&mut self, entry: LogEntry) {
        self.weight = self.weight.saturating_add(entry.weight());
        self.entries.push_back(entry);
        while self.entries.len() > 1
            && (self.weight > self.max_weight || self.entries.len() > self.max_entries)
        {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(old) = self.entries.pop_front() {
            self.weight = self.weight.saturating_sub(old.weight());
        }
    }

    /// Removes the entries after `last` (all of them for `None`).
    pub(crate) fn truncate_after(&mut self, last: Option<u64>) {
        while self.entries.back().is_some_and(|e| last.is_none_or(|last| e.id.index > last)) {
            if let Some(old) = self.entries.pop_back() {
                self.weight = self.weight.saturating_sub(old.weight());
            }
        }
    }

    /// Removes the entries up to and with `index`.
    pub(crate) fn purge(&mut self, index: u64) {
        while self.entries.front().is_some_and(|e| e.id.index <= index) {
            self.drop_front();
        }
    }

    /// Id of the entry at `index`, if it is held.
    pub(crate) fn id_at(&self, index: u64) -> Option<LogId> {
        self.get(index).map(|e| e.id)
    }

    fn get(&self, index: u64) -> Option<&LogEntry> {
        let offset = usize::try_from(index.checked_sub(self.first_index()?)?).ok()?;
        self.entries.get(offset)
    }

    /// Entries from `start` (which must be held) up to but without `end`, until `max_weight` is used up;
    /// at least one if there is one.
    pub(crate) fn read(&self, start: u64, end: u64, max_weight: usize) -> Vec<LogEntry> {
        let mut weight = 0_usize;
        let mut out = Vec::new();
        let mut index = start;
        while index < end {
            let Some(entry) = self.get(index) else { break };
            weight = weight.saturating_add(entry.weight());
            if weight > max_weight && !out.is_empty() {
                break;
            }
            out.push(entry.clone());
            index = index.saturating_add(1);
        }
        out
    }
}
