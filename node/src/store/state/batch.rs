//! From the effects of a block to rows, for one batch.

use std::collections::BTreeMap;

use quorate_core::{
    entry::{OpKind, Operation},
    hash::Hash,
    position::{LogIndex, Revision, TreeSize},
};
use quorate_ledger::effects::{BucketSummary, LedgerEffects, NewRequest, TransactionRecord};

use super::{
    contents::{self, Part, StoredContent, StoredMeta, TransactionContents},
    database::{Batch, Database},
    ledger::LedgerView,
    meta,
    options::Table,
    rows,
    runs::RunWriter,
    tiles::Edge,
};
use crate::store::faults::StoreFault;

/// Adds all rows of what a block changed in one ledger, and moves its `edge` on. `before`: the ledger before the
/// block, `None` at its birth. `absent`: what becomes of contents that are not there and that this block does not erase.
pub(crate) fn put_ledger(
    batch: &mut Batch<'_>,
    database: &Database,
    before: Option<&LedgerView>,
    effects: &LedgerEffects,
    edge: &mut Edge,
    absent: Absent,
) -> Result<(), StoreFault> {
    let commit = check_shape(effects)?;
    let size_before = before.map_or(TreeSize::ZERO, LedgerView::size);
    if size_before.next_index() != effects.first_index {
        return Err(unfit(
            effects,
            format!("a first leaf {} behind size {size_before}", effects.first_index),
        ));
    }
    let erasures = Erasures::of(effects, absent)?;
    put_log(batch, effects, commit, &erasures)?;
    put_erasures(batch, before, effects, &erasures)?;
    put_state(batch, effects)?;
    put_requests(batch, database, effects)?;
    for (position, hash) in (effects.first_index.get()..).zip(&effects.leaf_hashes) {
        edge.push(effects.id(), TreeSize::new(position), *hash, batch)?;
    }
    batch.put(Table::Meta, &rows::head(effects.id()), &meta::encode_head(&effects.head))
}

/// About how many bytes of a batch the rows of these changes take. (A batch that grows by itself is copied again and
/// again.)
pub(crate) fn weight(effects: &LedgerEffects) -> usize {
    let operations = |transaction: &TransactionRecord| -> usize {
        // In its run, and as a newest write with its bucket.
        transaction.operations.iter().map(|operation| 2 * operation.len() + 160).sum()
    };
    let contents = |transaction: &TransactionRecord| -> usize {
        let present = transaction.contents.iter().flatten();
        present.map(|content| content.value.len() + content.attributes.len() + 64).sum()
    };
    effects.transactions.iter().map(|one| operations(one) + contents(one) + one.meta.len() + 512).sum()
}

/// The log index of the commit leaf, if leaves, hashes and head fit each other.
fn check_shape(effects: &LedgerEffects) -> Result<LogIndex, StoreFault> {
    let transactions = u64::try_from(effects.transactions.len()).map_err(|error| unfit(effects, error))?;
    let commit =
        effects.first_index.checked_add(transactions).ok_or_else(|| unfit(effects, "log index overflow"))?;
    let size = effects.head.frontier.size();
    if commit.size_through() != Some(size) || effects.leaf_hashes.len() != effects.transactions.len() + 1 {
        let found = format!(
            "a commit leaf at {commit}, {} leaf hashes and a head of size {size}",
            effects.leaf_hashes.len()
        );
        return Err(unfit(effects, found));
    }
    Ok(commit)
}

fn unfit(effects: &LedgerEffects, problem: impl std::fmt::Display) -> StoreFault {
    StoreFault::diverged(
        format!("effects on ledger {}", effects.head.name),
        "leaves that reach its head",
        problem,
    )
}

/// Leaves, operations, contents and overwritten revisions.
fn put_log(
    batch: &mut Batch<'_>,
    effects: &LedgerEffects,
    commit: LogIndex,
    erasures: &Erasures<'_>,
) -> Result<(), StoreFault> {
    let ledger = effects.id();
    let too_long = |error| unfit(effects, error);
    let mut runs = RunWriter::new(effects.first_index, commit);
    for (index, transaction) in (effects.first_index.get()..).zip(&effects.transactions) {
        let index = LogIndex::new(index);
        runs.push(&transaction.leaf, &transaction.operations).map_err(too_long)?;
        let contents = contents_of(effects, index, transaction, erasures)?;
        for (position, row) in contents::encode(contents).map_err(|error| unfit(effects, error))? {
            batch.put(Table::Contents, &rows::contents_part(ledger, index, position), &row)?;
        }
        for operation in &transaction.operations {
            let write =
                parts(operation).ok_or_else(|| unfit(effects, "an operation that does not decode"))?;
            // The write that it follows is the key's newest no longer.
            if let Some(overwritten) =
                write.revision.previous().filter(|revision| *revision >= Revision::FIRST)
                && write.kind.is_write()
            {
                let row = rows::revision(ledger, write.key, overwritten);
                batch.put(Table::Revisions, &row, &write.prev_index.to_be_bytes())?;
            }
        }
    }
    runs.push(&effects.commit_leaf, &[] as &[&[u8]]).map_err(too_long)?;
    for (first, row) in runs.finish().map_err(too_long)? {
        batch.put(Table::Blocks, &rows::run(ledger, first), &row)?;
    }
    Ok(())
}

/// What becomes of a put's contents that are not there and that its own block does not erase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// A fault: apply has them all.
    Fault,
    /// A later block erases them. Only while a store is filled from an archive ([`seed`](super::seed)), which sees to it
    /// that this comes true for each.
    ErasedLater,
}

/// Stands for the erase operation that is still to come.
const ERASED_LATER: LogIndex = LogIndex::new(u64::MAX);

/// What is stored of a transaction's contents. A put without contents was erased by the block that made it, or, while a
/// store is filled from an archive, by a later one.
fn contents_of(
    effects: &LedgerEffects,
    index: LogIndex,
    transaction: &TransactionRecord,
    erasures: &Erasures<'_>,
) -> Result<TransactionContents, StoreFault> {
    if transaction.contents.len() != transaction.operations.len() {
        let lengths = (transaction.contents.len(), transaction.operations.len());
        return Err(unfit(
            effects,
            format!("{} contents for {} operations at {index}", lengths.0, lengths.1),
        ));
    }
    let slots = transaction.operations.iter().zip(&transaction.contents).map(|(operation, content)| {
        let write = parts(operation).ok_or_else(|| unfit(effects, "an operation that does not decode"))?;
        Ok(match (write.kind, content) {
            (OpKind::Put, Some(content)) => StoredContent::Present(content.clone()),
            (OpKind::Put, None) => StoredContent::Erased { by: erasures.by(effects, index, write.key)? },
            (OpKind::Delete | OpKind::Erase, None) => StoredContent::Nothing,
            (kind, Some(_)) => return Err(unfit(effects, format!("contents of a {kind} at {index}"))),
        })
    });
    let operations = slots.collect::<Result<_, _>>()?;
    let meta = StoredMeta::Present { meta: transaction.meta.clone(), salt: transaction.meta_salt.clone() };
    Ok(TransactionContents { meta, operations })
}

/// Destroys what earlier blocks wrote and this one erases.
fn put_erasures(
    batch: &mut Batch<'_>,
    before: Option<&LedgerView>,
    effects: &LedgerEffects,
    erasures: &Erasures<'_>,
) -> Result<(), StoreFault> {
    let mut changed: BTreeMap<Vec<u8>, Part> = BTreeMap::new();
    for erasure in &effects.erased {
        let by = erasures.by(effects, erasure.index, &erasure.key)?;
        let view = before.ok_or_else(|| unfit(effects, "an erasure in a ledger that is being born"))?;
        let (row, slot, part) = view.part_of_write(erasure.index, &erasure.key)?;
        let part = changed.entry(row).or_insert(part);
        // What is erased already keeps the first erase; a delete has nothing to destroy.
        let present = |content: &&mut StoredContent| {
            matches!(content, StoredContent::Present(_) | StoredContent::Erased { by: ERASED_LATER })
        };
        if let Some(content) = part.slots.get_mut(slot).filter(present) {
            *content = StoredContent::Erased { by };
        }
    }
    for (row, part) in changed {
        let bytes = contents::encode_part(&part).map_err(|error| unfit(effects, error))?;
        batch.put(Table::Contents, &row, &bytes)?;
    }
    Ok(())
}

/// The erase operations of a block: log index and key of what they erase → log index of the first that does.
struct Erasures<'e> {
    operations: BTreeMap<(LogIndex, &'e [u8]), LogIndex>,
    absent: Absent,
}

impl<'e> Erasures<'e> {
    fn of(effects: &'e LedgerEffects, absent: Absent) -> Result<Self, StoreFault> {
        let mut erasures = BTreeMap::new();
        for (index, transaction) in (effects.first_index.get()..).zip(&effects.transactions) {
            for operation in &transaction.operations {
                let erase =
                    parts(operation).ok_or_else(|| unfit(effects, "an operation that does not decode"))?;
                if erase.kind == OpKind::Erase {
                    erasures.entry((erase.prev_index, erase.key)).or_insert(LogIndex::new(index));
                }
            }
        }
        Ok(Self { operations: erasures, absent })
    }

    fn by(&self, effects: &LedgerEffects, index: LogIndex, key: &[u8]) -> Result<LogIndex, StoreFault> {
        let later = (self.absent == Absent::ErasedLater).then_some(ERASED_LATER);
        let by = self.operations.get(&(index, key)).copied().or(later);
        by.ok_or_else(|| unfit(effects, format!("contents at {index} destroyed without an erase operation")))
    }
}

/// The newest writes of keys, with their places in their transactions, and the buckets of the state tree.
fn put_state(batch: &mut Batch<'_>, effects: &LedgerEffects) -> Result<(), StoreFault> {
    let ledger = effects.id();
    if effects.state_positions.len() != effects.state_leaves.len() {
        return Err(unfit(effects, "newest writes without a position"));
    }
    let mut row_key = rows::ledger(ledger).to_vec();
    for ((index, operation), position) in effects.state_leaves.iter().zip(&effects.state_positions) {
        put_leaf(batch, &mut row_key, *index, operation, *position)?;
    }
    for change in &effects.buckets {
        row_key.truncate(4);
        row_key.extend_from_slice(&change.first_key);
        match &change.bucket {
            Some(bucket) => put_bucket(batch, &row_key, bucket)?,
            None => batch.delete(Table::Buckets, &row_key)?,
        }
    }
    Ok(())
}

/// A key's newest write, and its position in its transaction. `row_key` begins with the ledger's; its memory is used again.
pub(super) fn put_leaf(
    batch: &mut Batch<'_>,
    row_key: &mut Vec<u8>,
    index: LogIndex,
    operation: &[u8],
    position: u16,
) -> Result<(), StoreFault> {
    let split = operation.split_at_checked(Operation::FIXED_LEN);
    let (fixed, key) = split.ok_or_else(|| {
        StoreFault::damaged("the state of a ledger", "the operation of a newest write does not decode")
    })?;
    let mut row = [0; 10 + Operation::FIXED_LEN];
    row[..8].copy_from_slice(&index.to_be_bytes());
    row[8..10].copy_from_slice(&position.to_be_bytes());
    row[10..].copy_from_slice(fixed);
    row_key.truncate(4);
    row_key.extend_from_slice(key);
    batch.put(Table::Leaves, row_key, &row)
}

/// A bucket of the state tree.
pub(super) fn put_bucket(
    batch: &mut Batch<'_>,
    row_key: &[u8],
    bucket: &BucketSummary,
) -> Result<(), StoreFault> {
    let mut row = [0; Hash::LEN + 4];
    row[..Hash::LEN].copy_from_slice(bucket.hash.as_bytes());
    row[Hash::LEN..].copy_from_slice(&bucket.count.to_be_bytes());
    batch.put(Table::Buckets, row_key, &row)
}

/// The known requests. A request id used again after its time gets one more entry behind the older ones, so that
/// every view finds what was newest for it.
fn put_requests(
    batch: &mut Batch<'_>,
    database: &Database,
    effects: &LedgerEffects,
) -> Result<(), StoreFault> {
    for NewRequest { id, known, again } in &effects.requests {
        let key = rows::request(effects.id(), id);
        let earlier = if *again { database.get(Table::Requests, &key)? } else { None };
        let mut row = earlier.map_or_else(Vec::new, |row| row.to_vec());
        row.extend_from_slice(&known.index.to_be_bytes());
        row.extend_from_slice(&known.not_after.to_be_bytes());
        batch.put(Table::Requests, &key, &row)?;
    }
    Ok(())
}

/// The parts of an encoded operation that rows are made of.
pub(crate) struct Parts<'o> {
    pub(crate) kind: OpKind,
    pub(crate) revision: Revision,
    /// `u64::MAX` where there is none.
    pub(crate) prev_index: LogIndex,
    pub(crate) key: &'o [u8],
}

/// Reads these parts; `None` if it is no operation. The rest of it is not looked at.
pub(crate) fn parts(operation: &[u8]) -> Option<Parts<'_>> {
    let (fixed, key) = operation.split_at_checked(Operation::FIXED_LEN)?;
    let kind = OpKind::from_byte(*fixed.first()?).ok()?;
    let revision = Revision::from_be_bytes(*fixed.get(1..9)?.first_chunk::<8>()?);
    let prev_index = LogIndex::from_be_bytes(*fixed.get(9..17)?.first_chunk::<8>()?);
    Some(Parts { kind, revision, prev_index, key })
}
