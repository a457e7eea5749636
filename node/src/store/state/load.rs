//! From a database to a view: what is rebuilt at every start, and checked.
//!
//! Rebuilt: the right edge of each log tree, from its last leaves and the tiles below; the upper state trees, from
//! the stored buckets. Checked: that the log root is the head's, that the last leaf is a commit leaf with the head's
//! time and state root, and that the buckets lead to that root. A database that passes serves; what it does not
//! read here is checked when it is read. The nodes of the cluster, and which ledgers
//! are frozen, are read from the documents of `_system`; one that this version does not know is a fault.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use quorate_core::{
    hash::{Hash, leaf_hash},
    position::{LogIndex, TreeSize},
    tree::{Frontier, tile::TileReader},
};
use quorate_ledger::{
    effects::BucketSummary,
    trie::{OpenError as TrieOpenError, Tries},
    view::{LedgerHead, LedgerId},
};

use super::{
    database::{Database, Scan},
    documents, epochs,
    ledger::LedgerView,
    meta::{self, AppliedRow},
    options::{StateOptions, Table},
    rows,
    tiles::{Edge, TileCache},
    view::ReadView,
};
use crate::store::faults::StoreFault;

/// Builds the view of all that is in `database`, and the state trees to go on with.
pub(crate) fn load(
    database: Arc<Database>,
    cluster_id: [u8; 16],
    options: &StateOptions,
) -> Result<(ReadView, Tries), StoreFault> {
    let row = read_applied(&database)?;
    if row.cluster_id != cluster_id {
        let place = database.place(Table::Meta, rows::APPLIED);
        let (expected, found) = (hex::encode(cluster_id), hex::encode(row.cluster_id));
        return Err(StoreFault::mismatch(place, format!("cluster {expected}"), format!("cluster {found}")));
    }
    let cache = Arc::new(TileCache::new(options.tile_cache_bytes));
    let mut tries = Tries::new(options.trie_cache_bytes);
    let mut names = BTreeMap::new();
    let mut ledgers = Vec::new();
    for head in heads(&database, row.cluster.next_ledger)? {
        names.insert(head.name.clone(), head.id);
        ledgers.push(Arc::new(load_ledger(&database, &cache, &mut tries, head)?));
    }
    let mut view = ReadView {
        database,
        cache,
        applied: row.applied,
        cluster: row.cluster,
        names: Arc::new(names),
        ledgers,
    };
    documents::check(&view)?;
    view.cluster.registry = Arc::new(epochs::registry(&view)?);
    view.cluster.frozen = Arc::new(documents::frozen(&view)?);
    Ok((view, tries))
}

/// The row that says what was applied.
pub(crate) fn read_applied(database: &Database) -> Result<AppliedRow, StoreFault> {
    decode_applied(database, database.get(Table::Meta, rows::APPLIED)?)
}

/// The same as a crash would leave it.
pub(crate) fn persisted(database: &Database) -> Result<AppliedRow, StoreFault> {
    decode_applied(database, database.get_persisted(Table::Meta, rows::APPLIED)?)
}

fn decode_applied(
    database: &Database,
    row: Option<impl Deref<Target = [u8]>>,
) -> Result<AppliedRow, StoreFault> {
    let row = row.ok_or_else(|| database.damaged(Table::Meta, rows::APPLIED, "the row is missing"))?;
    AppliedRow::decode(&row).map_err(|error| database.damaged(Table::Meta, rows::APPLIED, error))
}

/// The heads of the ledgers 0 to `next`, each exactly once.
pub(crate) fn heads(database: &Database, next: LedgerId) -> Result<Vec<Arc<LedgerHead>>, StoreFault> {
    let mut heads: Vec<Arc<LedgerHead>> = Vec::new();
    let mut scan = database.scan_prefix(Table::Meta, rows::HEADS)?;
    loop {
        let head = scan.next(|key, row| {
            let head = meta::decode_head(row).map_err(|error| database.damaged(Table::Meta, key, error))?;
            if key != rows::head(head.id) {
                return Err(database.damaged(
                    Table::Meta,
                    key,
                    format!("it holds the head of ledger {}", head.id.0),
                ));
            }
            Ok(head)
        })?;
        let Some(head) = head else { break };
        heads.push(head);
    }
    let expected = (0..next.0).collect::<Vec<_>>();
    let found = heads.iter().map(|head| head.id.0).collect::<Vec<_>>();
    if found != expected {
        let place = database.place(Table::Meta, rows::HEADS);
        return Err(StoreFault::mismatch(
            place,
            format!("ledgers {expected:?}"),
            format!("ledgers {found:?}"),
        ));
    }
    Ok(heads)
}

/// Builds the view of a ledger of which everything is stored.
pub(super) fn load_ledger(
    database: &Arc<Database>,
    cache: &Arc<TileCache>,
    tries: &mut Tries,
    head: Arc<LedgerHead>,
) -> Result<LedgerView, StoreFault> {
    let place = || format!("{}, ledger {}", database.path().display(), head.name);
    let buckets = Buckets { database, scan: database.scan_prefix(Table::Buckets, &rows::ledger(head.id))? };
    tries.open(head.id, &head.state_root, buckets).map_err(|error| match error {
        TrieOpenError::Source(fault) => fault,
        error => StoreFault::damaged(place(), error),
    })?;
    let trie =
        tries.snapshot(head.id).ok_or_else(|| StoreFault::damaged(place(), "the state tree did not open"))?;
    let mut view = LedgerView {
        database: Arc::clone(database),
        cache: Arc::clone(cache),
        head: Arc::clone(&head),
        edge: Edge::default(),
        trie,
    };
    let last = last_leaf_hashes(&view)?;
    view.edge = Edge::load(database, head.id, view.size(), &last)?;
    check_head(&view, place)?;
    Ok(view)
}

/// The hashes of the leaves that no full tile has: the last size mod 256.
fn last_leaf_hashes(view: &LedgerView) -> Result<Vec<Hash>, StoreFault> {
    let width = u64::from(quorate_core::tree::tile::WIDTH);
    let first = LogIndex::new(view.size().get() / width * width);
    view.records(first)?.map(|record| record.map(|record| leaf_hash(&record.leaf))).collect()
}

/// Compares the head with the log tree and the last leaf.
fn check_head(view: &LedgerView, place: impl Fn() -> String) -> Result<(), StoreFault> {
    let head = view.head();
    let frontier = Frontier::read(&TileReader::new(view.tiles()), view.size());
    let frontier = frontier.map_err(|error| StoreFault::damaged(place(), error))?;
    if frontier != head.frontier {
        let (expected, found) = (head.frontier.root(), frontier.root());
        let size = view.size();
        return Err(StoreFault::mismatch(
            place(),
            format!("log root {expected} at size {size}"),
            format!("{found} in its leaves and tiles"),
        ));
    }
    let commit = view.commit_leaf(view.size())?.filter(|_| view.size() > TreeSize::ZERO);
    let commit = commit.ok_or_else(|| StoreFault::damaged(place(), "its last leaf is not a commit leaf"))?;
    if (commit.state_root, commit.time) != (head.state_root, head.time) {
        return Err(StoreFault::mismatch(
            place(),
            format!("state root {} and time {} of its last commit leaf", commit.state_root, commit.time),
            format!("{} and {} in its head", head.state_root, head.time),
        ));
    }
    Ok(())
}

/// The stored buckets of a ledger, in key order.
struct Buckets<'d> {
    database: &'d Database,
    scan: Scan<'d>,
}

impl Iterator for Buckets<'_> {
    type Item = Result<(Vec<u8>, BucketSummary), StoreFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let database = self.database;
        self.scan
            .next(|key, row| {
                let damaged = || database.damaged(Table::Buckets, key, "the row does not have 36 bytes");
                let (hash, count) = row.split_first_chunk::<{ Hash::LEN }>().ok_or_else(damaged)?;
                let count = count.try_into().map(u32::from_be_bytes).map_err(|_| damaged())?;
                let first_key = key.get(4..).unwrap_or_default().to_vec();
                Ok((first_key, BucketSummary { hash: Hash::new(*hash), count }))
            })
            .transpose()
    }
}
