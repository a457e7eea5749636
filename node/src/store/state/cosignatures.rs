//! Cosignatures of checkpoints: what this node and its peers signed, by ledger and size.
//!
//! They are not part of the replicated state: each node stores what it has. Written outside apply in small batches,
//! lost with a crash like everything since the last flush, and then asked for again (its own from what it durably
//! remembers of signing).
//!
//! Row: one entry of 80 bytes per node, by ascending node id: `node u64 ‖ time in seconds u64 ‖ signature 64`.

use quorate_core::position::{NodeId, TreeSize};
use quorate_ledger::view::LedgerId;

use super::{
    database::{Database, Direction, after_prefix},
    options::Table,
    rows,
};
use crate::store::faults::StoreFault;

const ENTRY: usize = 80;

/// A node's cosignature of a checkpoint. The store does not check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredCosignature {
    /// Who signed.
    pub node: NodeId,
    /// The time signed, seconds since the Unix epoch.
    pub time_s: u64,
    /// Ed25519.
    pub signature: [u8; 64],
}

/// The cosignatures of one checkpoint, by ascending node id.
pub(crate) fn get(
    database: &Database,
    ledger: LedgerId,
    size: TreeSize,
) -> Result<Vec<StoredCosignature>, StoreFault> {
    let key = rows::cosignatures(ledger, size);
    match database.get(Table::Cosignatures, &key)? {
        Some(row) => decode(database, &key, &row),
        None => Ok(Vec::new()),
    }
}

/// Adds cosignatures; of one node the latest stays. Returns all. The caller lets nobody else write meanwhile.
pub(crate) fn put(
    database: &Database,
    ledger: LedgerId,
    size: TreeSize,
    added: &[StoredCosignature],
) -> Result<Vec<StoredCosignature>, StoreFault> {
    let mut all = get(database, ledger, size)?;
    for new in added {
        match all.binary_search_by_key(&new.node, |old| old.node) {
            Ok(at) if all[at].time_s <= new.time_s => all[at] = *new,
            Ok(_) => {}
            Err(at) => all.insert(at, *new),
        }
    }
    let mut batch = database.batch(0);
    let row = all.iter().flat_map(encode).collect::<Vec<_>>();
    batch.put(Table::Cosignatures, &rows::cosignatures(ledger, size), &row)?;
    database.write(batch)?;
    Ok(all)
}

/// The cosignatures of up to `limit` checkpoints of at least `from`, by ascending size.
pub(crate) fn list(
    database: &Database,
    ledger: LedgerId,
    from: TreeSize,
    limit: usize,
) -> Result<Vec<(TreeSize, Vec<StoredCosignature>)>, StoreFault> {
    let first = rows::cosignatures(ledger, from);
    let end = after_prefix(&rows::ledger(ledger));
    let mut scan = database.scan(Table::Cosignatures, &first, end.as_deref(), Direction::Ascending)?;
    let mut found = Vec::new();
    while found.len() < limit {
        let next = scan.next(|key, row| {
            let size = key.last_chunk::<8>().copied().unwrap_or_default();
            Ok((TreeSize::from_be_bytes(size), decode(database, key, row)?))
        })?;
        let Some(next) = next else { break };
        found.push(next);
    }
    Ok(found)
}

fn encode(cosignature: &StoredCosignature) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..8].copy_from_slice(&cosignature.node.to_be_bytes());
    entry[8..16].copy_from_slice(&cosignature.time_s.to_be_bytes());
    entry[16..].copy_from_slice(&cosignature.signature);
    entry
}

fn decode(database: &Database, key: &[u8], row: &[u8]) -> Result<Vec<StoredCosignature>, StoreFault> {
    let (entries, rest) = row.as_chunks::<ENTRY>();
    let read = |entry: &[u8; ENTRY]| {
        let (node, rest) = entry.split_first_chunk::<8>()?;
        let (time, signature) = rest.split_first_chunk::<8>()?;
        Some(StoredCosignature {
            node: NodeId::from_be_bytes(*node),
            time_s: u64::from_be_bytes(*time),
            signature: *signature.first_chunk::<64>()?,
        })
    };
    let all = entries.iter().map(read).collect::<Option<Vec<_>>>().filter(|_| rest.is_empty());
    all.ok_or_else(|| {
        database.damaged(Table::Cosignatures, key, "the row is not made of entries of 80 bytes")
    })
}
