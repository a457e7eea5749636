//! From a backup to a cluster.

use std::path::Path;

use quorate_archive::{Archive, ArchivedLedger, Block, Transaction};
use quorate_core::state_tree::KeyRange;
use quorate_core::{name::LedgerName, policy::Policy, position::Micros};
use quorate_ledger::{
    effects::{Content, TransactionRecord},
    replay::{StoredBlock, StoredTransaction},
    system::{LINEAGE_PREFIX, Lineage, LineageLedger},
};

use super::{
    ContinueError, ContinuedFile, ContinuedLedgerFile,
    make::{make, membership, options},
};
use crate::{
    cluster::Cluster,
    provision::Plan,
    store::{
        faults::StoreFault,
        state::{Direction, ReadView, Seeded, Seeder, StateStore},
    },
};

/// A cluster that was made of a backup.
#[derive(Debug)]
pub struct Restored {
    /// The cluster.
    pub cluster: Cluster,
    /// What its first transaction will say of it.
    pub lineage: Lineage,
}

/// Makes a cluster at `out` that continues the history in `archive`, whose checkpoints `policy` must accept. Everything
/// is recomputed on the way. `progress` is told how many leaves were done, again and again.
///
/// # Errors
/// [`ContinueError`]: nothing is at `out` then.
pub fn restore(
    archive: &Archive,
    policy: &Policy,
    plan: &Plan,
    out: &Path,
    now: Micros,
    mut progress: impl FnMut(u64),
) -> Result<Restored, ContinueError> {
    archive.certify(policy)?;
    let manifest = archive.manifest();
    let ledger_file = |ledger: &ArchivedLedger| ContinuedLedgerFile {
        name: ledger.name.to_string(),
        size: ledger.checkpoint().size.get(),
        root: ledger.checkpoint().root.to_string(),
    };
    let continues = ContinuedFile {
        kind: RESTORED.to_owned(),
        previous: manifest.cluster.to_string(),
        ledgers: manifest.ledgers.iter().map(ledger_file).collect(),
    };
    let mut made = None;
    let cluster = make(plan, out, now, continues, |cluster, path, identity| {
        StateStore::seed::<ContinueError>(path, identity, &options(), |seeder| {
            for ledger in &manifest.ledgers {
                fill(archive, ledger, seeder, &mut progress)?;
            }
            let lineage = lineage(archive, seeder.view(), now)?;
            made = Some(lineage.clone());
            Ok(Seeded { origin: cluster.origin.clone(), membership: membership(cluster), lineage })
        })
    })?;
    Ok(Restored { cluster, lineage: made.unwrap_or_default() })
}

const RESTORED: &str = "restored";

/// Adds a ledger: every block, and at the end the root of its checkpoint.
fn fill(
    archive: &Archive,
    ledger: &ArchivedLedger,
    seeder: &mut Seeder,
    progress: &mut impl FnMut(u64),
) -> Result<(), ContinueError> {
    archive.walk(ledger, |block| {
        let leaves = u64::try_from(block.len()).unwrap_or(u64::MAX);
        seeder.block(&ledger.name, stored(block))?;
        progress(leaves);
        Ok::<(), ContinueError>(())
    })?;
    seeder.end()?;
    let checkpoint = ledger.checkpoint();
    let found = seeder.view().ledger(&ledger.name).map(|found| found.head().frontier.root());
    if found != Some(checkpoint.root) {
        let found = found.map_or_else(|| "none".to_owned(), |root| root.to_string());
        let place = format!("ledger {} at size {}", ledger.name, checkpoint.size);
        return Err(StoreFault::mismatch(place, checkpoint.root, found).into());
    }
    Ok(())
}

/// A block of an archive, whose digests the archive has checked.
fn stored(block: Block) -> StoredBlock {
    let (transactions, commit) = block.into_parts();
    StoredBlock { transactions: transactions.into_iter().map(stored_transaction).collect(), commit }
}

fn stored_transaction(transaction: Transaction) -> StoredTransaction {
    let (leaf, operations, entry) = transaction.into_parts();
    let content = |content: quorate_proto::v1::Content| {
        let quorate_proto::v1::Content { salt, attributes, value, .. } = content;
        // Deletes, erases, and puts whose contents were erased.
        (!salt.is_empty()).then_some(Content { salt, attributes, value })
    };
    let record = TransactionRecord {
        leaf: entry.leaf.into(),
        operations: entry.operations,
        meta: entry.meta,
        meta_salt: entry.meta_salt,
        contents: entry.contents.into_iter().map(content).collect(),
    };
    StoredTransaction { leaf, operations, record }
}

/// What the first transaction has to say.
fn lineage(archive: &Archive, view: &ReadView, now: Micros) -> Result<Lineage, StoreFault> {
    let ledger = |ledger: &ArchivedLedger| LineageLedger {
        name: ledger.name.to_string(),
        size: ledger.checkpoint().size.get(),
        root: ledger.checkpoint().root.as_bytes().to_vec().into(),
        note: ledger.note.to_string(),
    };
    Ok(Lineage {
        number: next_number(view)?,
        kind: RESTORED.to_owned(),
        previous: archive.manifest().cluster.to_string(),
        ledgers: archive.manifest().ledgers.iter().map(ledger).collect(),
        time: now.get(),
        loss: String::new(),
    })
}

/// How many clusters wrote this history before, but for the first.
pub(super) fn next_number(view: &ReadView) -> Result<u64, StoreFault> {
    let Some(system) = view.ledger(&LedgerName::system()) else {
        return Ok(1);
    };
    let end = LINEAGE_PREFIX.split_last().map(|(last, rest)| [rest, &[last.saturating_add(1)]].concat());
    let range = KeyRange { first: LINEAGE_PREFIX.to_vec(), end };
    let leaves = system.state_leaves(&range, Direction::Ascending, system.size())?;
    let mut count = 1_u64;
    for leaf in leaves {
        leaf?;
        count = count.saturating_add(1);
    }
    Ok(count)
}
