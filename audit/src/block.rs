//! The rules that a block must keep, besides the roots.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::entry::{CommitLeaf, MAX_NOT_AFTER, OpKind, Operation, TransactionLeaf, ops_root};
use quorate_core::hash::Hash;
use quorate_core::position::{LogIndex, Micros, Revision, TreeSize};

/// A transaction of the block, as the log has it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) index: LogIndex,
    pub(crate) leaf: TransactionLeaf,
    /// Encoded.
    pub(crate) operations: Vec<Vec<u8>>,
}

/// The newest write of a key before an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) index: LogIndex,
    pub(crate) kind: OpKind,
    pub(crate) revision: Revision,
}

impl Newest {
    /// Of a decoded write.
    pub(crate) fn of(index: LogIndex, operation: &Operation) -> Self {
        Self { index, kind: operation.kind, revision: operation.revision }
    }
}

/// What is known from before the block.
pub(crate) trait Before {
    /// The store's error.
    type Error;

    /// The newest write of a key.
    fn newest(&self, key: &[u8]) -> Result<Option<Newest>, Self::Error>;

    /// Until when a request is known, if it is.
    fn not_after(&self, request: &Hash) -> Result<Option<Micros>, Self::Error>;
}

/// What a block changes: the newest writes by key, encoded, and the requests.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) writes: BTreeMap<Vec<u8>, (LogIndex, Vec<u8>, Newest)>,
    pub(crate) requests: BTreeMap<Hash, Micros>,
}

/// Why a block was not taken in.
#[derive(Debug)]
pub(crate) enum Refused<E> {
    /// It breaks a rule, at this leaf.
    Rule(LogIndex, String),
    /// The store failed.
    Store(E),
}

impl<E> From<E> for Refused<E> {
    fn from(error: E) -> Self {
        Self::Store(error)
    }
}

/// Times, numbers and places of a block, whose commit leaf is at `at`. `time` is that of the block before.
pub(crate) fn check_frame(
    at: LogIndex,
    commit: &CommitLeaf,
    entries: &[Entry],
    time: Micros,
) -> Result<(), (LogIndex, String)> {
    let wrong = |what: String| Err((at, what));
    let first = entries.first().map_or(at, |entry| entry.index);
    if commit.first_index != first {
        return wrong(format!("first_index is {}, the block begins at {first}", commit.first_index));
    }
    if usize::try_from(commit.tx_count).ok() != Some(entries.len()) {
        return wrong(format!(
            "tx_count is {}, the block has {} transactions",
            commit.tx_count,
            entries.len()
        ));
    }
    if entries.is_empty() && at != LogIndex::default() {
        return wrong(
            "a block without transactions adds no leaf to a ledger that is born already".to_owned(),
        );
    }
    if commit.time < time {
        return wrong(format!("its time {} is before that of the block before, {time}", commit.time));
    }
    for entry in entries {
        let (index, leaf) = (entry.index, &entry.leaf);
        if leaf.time != commit.time {
            return Err((index, format!("its time {} is not that of its block, {}", leaf.time, commit.time)));
        }
        match leaf.not_after.since(leaf.time) {
            None => {
                return Err((
                    index,
                    format!("not_after {} is before its time {}", leaf.not_after, leaf.time),
                ));
            }
            Some(ahead) if ahead > MAX_NOT_AFTER.get() => {
                return Err((index, format!("not_after is {ahead} microseconds after its time, too far")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Judges the transactions of a block one by one, and gives what they change.
pub(crate) fn judge<B: Before>(entries: &[Entry], before: &B) -> Result<Changes, Refused<B::Error>> {
    let mut changes = Changes::default();
    for entry in entries {
        take_request(entry, before, &mut changes)?;
        let rule = |what| Refused::Rule(entry.index, what);
        if usize::try_from(entry.leaf.op_count).ok() != Some(entry.operations.len()) {
            let (said, are) = (entry.leaf.op_count, entry.operations.len());
            return Err(rule(format!("op_count is {said}, there are {are} operations")));
        }
        if ops_root(&entry.operations) != entry.leaf.ops_root {
            return Err(rule("its operations do not lead to its ops_root".to_owned()));
        }
        let mut keys = BTreeSet::new();
        for bytes in &entry.operations {
            let operation = Operation::decode(bytes).map_err(|error| rule(error.to_string()))?;
            if !keys.insert(operation.key.clone()) {
                return Err(rule(format!("key {} occurs twice in it", operation.key.escape_ascii())));
            }
            let newest = match changes.writes.get(&operation.key) {
                Some((_, _, newest)) => Some(*newest),
                None => before.newest(&operation.key)?,
            };
            check_operation(entry.index, &operation, newest)
                .map_err(|what| rule(format!("key {}: {what}", operation.key.escape_ascii())))?;
            if operation.kind.is_write() {
                let newest = Newest::of(entry.index, &operation);
                changes.writes.insert(operation.key, (entry.index, bytes.clone(), newest));
            }
        }
    }
    Ok(changes)
}

fn take_request<B: Before>(
    entry: &Entry,
    before: &B,
    changes: &mut Changes,
) -> Result<(), Refused<B::Error>> {
    let (request, time) = (entry.leaf.request_id, entry.leaf.time);
    let known = match changes.requests.get(&request) {
        Some(known) => Some(*known),
        None => before.not_after(&request)?,
    };
    if let Some(known) = known.filter(|known| time <= *known) {
        let what = format!("its request {request} is known until {known}, and was executed again");
        return Err(Refused::Rule(entry.index, what));
    }
    changes.requests.insert(request, entry.leaf.not_after);
    Ok(())
}

/// That an operation continues its key.
fn check_operation(at: LogIndex, operation: &Operation, newest: Option<Newest>) -> Result<(), String> {
    if operation.kind == OpKind::Erase {
        return check_erase(at, operation, newest);
    }
    let revision = newest.map_or(Some(Revision::FIRST), |newest| newest.revision.next());
    if Some(operation.revision) != revision {
        let before = newest.map_or_else(|| "none".to_owned(), |newest| newest.revision.to_string());
        return Err(format!("revision {} after {before}", operation.revision));
    }
    let previous = newest.map(|newest| newest.index);
    if operation.prev_index != previous {
        let show =
            |index: Option<LogIndex>| index.map_or_else(|| "none".to_owned(), |index| index.to_string());
        return Err(format!(
            "prev_index is {}, its previous write is at {}",
            show(operation.prev_index),
            show(previous)
        ));
    }
    match (operation.kind, newest) {
        (OpKind::Delete, None) => Err("it is deleted and was never written".to_owned()),
        (OpKind::Delete, Some(newest)) if newest.kind != OpKind::Put => Err("it is deleted twice".to_owned()),
        _ => Ok(()),
    }
}

/// An erase names an earlier write: the newest one exactly, an older one as far as revisions and places show.
fn check_erase(at: LogIndex, operation: &Operation, newest: Option<Newest>) -> Result<(), String> {
    let Some(newest) = newest else {
        return Err("it is erased and was never written".to_owned());
    };
    let (revision, index) = (operation.revision, operation.prev_index);
    let Some(index) = index.filter(|index| *index < at) else {
        return Err("an erase names the place of an earlier write".to_owned());
    };
    let fits = match revision.cmp(&newest.revision) {
        std::cmp::Ordering::Equal => index == newest.index,
        std::cmp::Ordering::Less => revision >= Revision::FIRST && index < newest.index,
        std::cmp::Ordering::Greater => false,
    };
    match fits {
        true => Ok(()),
        false => Err(format!(
            "it erases revision {revision} at {index}; the newest is revision {} at {}",
            newest.revision, newest.index
        )),
    }
}

/// The size after a leaf.
pub(crate) fn size_after(at: LogIndex) -> TreeSize {
    at.size_through().unwrap_or_default()
}
