//! From the effects of a block to rows, for one batch.

use quorate_core::{
    entry::{OpKind, Operation},
    position::{LogIndex, Revision, TreeSize},
};
use quorate_ledger::effects::{LedgerEffects, TransactionRecord};

use super::{
    contents,
    database::{Batch, Database},
    meta,
    options::Table,
    rows,
    runs::RunWriter,
    tiles::Edge,
};
use crate::store::faults::StoreFault;

/// Adds all rows of what a block changed in one ledger, and moves its `edge` on.
pub(crate) fn put_ledger(
    batch: &mut Batch<'_>,
    database: &Database,
    effects: &LedgerEffects,
    edge: &mut Edge,
) -> Result<(), StoreFault> {
    let commit = check_shape(effects)?;
    put_log(batch, effects, commit)?;
    put_state(batch, effects)?;
    put_requests(batch, database, effects)?;
    for (position, hash) in (effects.first_index.get()..).zip(&effects.leaf_hashes) {
        edge.push(effects.id(), TreeSize::new(position), *hash, batch)?;
    }
    batch.put(Table::Meta, &rows::head(effects.id()), &meta::encode_head(&effects.head))
}

/// The log index of the commit leaf, if leaves, hashes and head fit each other.
fn check_shape(effects: &LedgerEffects) -> Result<LogIndex, StoreFault> {
    let transactions = u64::try_from(effects.transactions.len()).map_err(|error| unfit(effects, error))?;
    let commit = effects.first_index.checked_add(transactions).ok_or_else(|| unfit(effects, "log index overflow"))?;
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
    StoreFault::diverged(format!("effects on ledger {}", effects.head.name), "leaves that reach its head", problem)
}

/// Leaves, operations and contents.
fn put_log(batch: &mut Batch<'_>, effects: &LedgerEffects, commit: LogIndex) -> Result<(), StoreFault> {
    let ledger = effects.id();
    let too_long = |error| unfit(effects, error);
    let mut runs = RunWriter::new(effects.first_index, commit);
    for (index, transaction) in (effects.first_index.get()..).zip(&effects.transactions) {
        runs.push(&transaction.leaf, &transaction.operations).map_err(too_long)?;
        put_contents(batch, effects, LogIndex::new(index), transaction)?;
    }
    runs.push(&effects.commit_leaf, &[]).map_err(too_long)?;
    for (first, row) in runs.finish().map_err(too_long)? {
        batch.put(Table::Blocks, &rows::run(ledger, first), &row)?;
    }
    Ok(())
}

/// Contents of a transaction, and the revisions it wrote.
fn put_contents(
    batch: &mut Batch<'_>,
    effects: &LedgerEffects,
    index: LogIndex,
    transaction: &TransactionRecord,
) -> Result<(), StoreFault> {
    let ledger = effects.id();
    if transaction.contents.len() != transaction.operations.len() {
        let found = format!("{} contents at {index}", transaction.contents.len());
        let expected = format!("{} contents", transaction.operations.len());
        return Err(StoreFault::diverged(format!("effects on ledger {}", effects.head.name), expected, found));
    }
    for (position, row) in contents::encode(transaction).map_err(|error| unfit(effects, error))? {
        batch.put(Table::Contents, &rows::contents_part(ledger, index, position), &row)?;
    }
    for operation in &transaction.operations {
        let write = parts(operation).ok_or_else(|| unfit(effects, "an operation that does not decode"))?;
        if write.kind.is_write() {
            let row = rows::revision(ledger, write.key, write.revision);
            batch.put(Table::Revisions, &row, &index.to_be_bytes())?;
        }
    }
    Ok(())
}

/// The newest writes of keys, and the buckets of the state tree.
fn put_state(batch: &mut Batch<'_>, effects: &LedgerEffects) -> Result<(), StoreFault> {
    let ledger = effects.id();
    for (index, operation) in &effects.state_leaves {
        let (fixed, key) = operation
            .split_at_checked(Operation::FIXED_LEN)
            .ok_or_else(|| unfit(effects, "an operation that does not decode"))?;
        let row = [&index.to_be_bytes(), fixed].concat();
        batch.put(Table::Leaves, &rows::keyed(ledger, key), &row)?;
    }
    for change in &effects.buckets {
        let key = rows::keyed(ledger, &change.first_key);
        match &change.bucket {
            Some(bucket) => {
                let row = [&bucket.hash.as_bytes()[..], &bucket.count.to_be_bytes()].concat();
                batch.put(Table::Buckets, &key, &row)?;
            }
            None => batch.delete(Table::Buckets, &key)?,
        }
    }
    Ok(())
}

/// The known requests. A request id used again after its time gets one more entry behind the older ones, so that
/// every view finds what was newest for it.
fn put_requests(batch: &mut Batch<'_>, database: &Database, effects: &LedgerEffects) -> Result<(), StoreFault> {
    for (request_id, index, not_after) in &effects.requests {
        let key = rows::request(effects.id(), request_id);
        let mut row = database.get(Table::Requests, &key)?.map_or_else(Vec::new, |row| row.to_vec());
        row.extend_from_slice(&index.to_be_bytes());
        row.extend_from_slice(&not_after.to_be_bytes());
        batch.put(Table::Requests, &key, &row)?;
    }
    Ok(())
}

/// The parts of an encoded operation that rows are made of.
pub(crate) struct Parts<'o> {
    pub(crate) kind: OpKind,
    pub(crate) revision: Revision,
    pub(crate) key: &'o [u8],
}

/// Reads these parts; `None` if it is no operation. The rest of it is not looked at.
pub(crate) fn parts(operation: &[u8]) -> Option<Parts<'_>> {
    let (fixed, key) = operation.split_at_checked(Operation::FIXED_LEN)?;
    let kind = OpKind::from_byte(*fixed.first()?).ok()?;
    let revision = fixed.get(1..9)?.first_chunk::<8>()?;
    Some(Parts { kind, revision: Revision::from_be_bytes(*revision), key })
}
