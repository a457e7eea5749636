//! What the model answers to a question, to compare with what was believed.

use quorate_core::answer::{Absent, Content, HistoryEntry, Reading};

use super::support::{Ledger, Record};
use super::world::Age;

/// What a reader sees, in words of the model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Value(u64, Vec<u8>),
    Never,
    Deleted(u64),
    Expired(u64),
    Erased(u64, u64),
}

impl Seen {
    pub(crate) fn of(reading: &Reading) -> Self {
        match reading {
            Reading::Value(value) => Self::Value(value.write().index().get(), value.bytes().to_vec()),
            Reading::Absent(Absent::Deleted(write)) => Self::Deleted(write.index().get()),
            Reading::Absent(Absent::Expired(write)) => Self::Expired(write.index().get()),
            Reading::Absent(_) => Self::Never,
            Reading::Erased(erased) => Self::Erased(erased.write().index().get(), erased.at().get()),
        }
    }

    /// The truth of a write at a time; a value that was erased may still be shown by who kept it.
    fn truths(record: Option<&Record>, time: u64) -> Self {
        let Some(record) = record else { return Self::Never };
        let operation = &record.operation;
        if operation.expires_at.is_some_and(|expires| expires.get() <= time) {
            return Self::Expired(record.index);
        }
        match (&record.contents, record.erased_at) {
            (Some(contents), _) => Self::Value(record.index, contents.value.clone()),
            (None, Some(at)) => Self::Erased(record.index, at),
            (None, None) => Self::Deleted(record.index),
        }
    }
}

/// What a key holds at the checkpoint of this age.
pub(crate) fn now(age: &Age, key: &[u8]) -> Seen {
    let ledger = &age.ledger;
    let time = ledger.times.last().copied().unwrap().max(ledger.cosign_seconds * 1_000_000);
    Seen::truths(ledger.records.get(key).and_then(|records| records.last()), time)
}

/// What a key held as of a log index.
pub(crate) fn then(ledger: &Ledger, key: &[u8], index: u64) -> Seen {
    Seen::truths(ledger.as_of(key, index), ledger.times[index as usize])
}

/// Whether a reading is what the model says, or the very bytes of a write that was erased since.
pub(crate) fn is_true(age: &Age, reading: &Reading, truth: &Seen) -> bool {
    let seen = Seen::of(reading);
    if let (Seen::Erased(index, _), Reading::Value(value)) = (truth, reading) {
        return value.write().index().get() == *index
            && wrote(age, value.write().key(), *index, value.contents().digest());
    }
    seen == *truth
}

/// Whether the write of a key at an index has this digest.
fn wrote(age: &Age, key: &[u8], index: u64, digest: quorate_core::hash::Hash) -> bool {
    let records = age.ledger.records.get(key).map_or(&[][..], Vec::as_slice);
    records.iter().any(|record| record.index == index && record.operation.value_digest == digest)
}

/// Whether an entry of a history is this record.
pub(crate) fn is_entry(entry: &HistoryEntry<'_>, record: &Record) -> bool {
    let same = entry.write().index().get() == record.index && *entry.write().operation() == record.operation;
    let content = match (entry.content(), &record.contents) {
        (Content::Value(shown), _) => shown.digest() == record.operation.value_digest,
        (Content::Erased { at }, None) => record.erased_at == Some(at.get()),
        (Content::Deleted, None) => record.erased_at.is_none(),
        _ => false,
    };
    same && content
}
