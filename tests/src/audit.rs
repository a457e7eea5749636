//! An audit of a replica: everything it serves of a log over HTTP is read and recomputed, to the byte.
//!
//! Contract: [`log`] passes only if the entries lead to the root of the checkpoint, and every tile of every level,
//! full or partial, is exactly the hashes of what is below it (c2sp.org/tlog-tiles). [`states`] passes only if every
//! operation is under the `ops_root` of its leaf, and every commit leaf has the state root that follows from the
//! operations alone. What is wrong is named.

use std::{collections::BTreeMap, net::SocketAddr};

use futures::TryStreamExt as _;
use quorate_client::{Client, LogRecord, OperationRecord};
use quorate_core::{
    entry::{Leaf, Operation},
    hash::Hash,
    position::LogIndex,
};

use crate::{cluster::Cluster, http, oracle};

/// Hashes of a full tile, and entries of a full bundle.
pub const TILE: usize = 256;

/// Where an audit reads: paths such as `default/checkpoint`.
pub trait Fetch {
    /// The body of the answer.
    ///
    /// # Errors
    /// No answer, or a status other than 200.
    fn get(&self, path: &str) -> Result<Vec<u8>, String>;
}

impl Fetch for SocketAddr {
    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let answer = http::get(*self, &format!("/{path}")).map_err(|error| format!("{path}: {error}"))?;
        if answer.status != 200 {
            return Err(format!(
                "{path}: status {}: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ));
        }
        Ok(answer.body)
    }
}

/// A log that passed its audit.
#[derive(Debug)]
pub struct Log {
    /// Its leaves.
    pub leaves: Vec<Vec<u8>>,
    /// Its root at every size, from 0.
    pub roots: Vec<Hash>,
}

/// Reads and recomputes a log: checkpoint, entries, tiles of all levels.
///
/// # Errors
/// The first thing that is wrong, by the path it was served under.
pub fn log(fetch: &impl Fetch, ledger: &str) -> Result<Log, String> {
    let note = fetch.get(&format!("{ledger}/checkpoint"))?;
    let checkpoint = oracle::checkpoint_of(&String::from_utf8_lossy(&note))?;
    if !checkpoint.origin.ends_with(&format!("/{ledger}")) {
        return Err(format!("{ledger}/checkpoint: it is of {}", checkpoint.origin));
    }
    let size = usize::try_from(checkpoint.size.get()).map_err(|error| error.to_string())?;
    let leaves = entries(fetch, ledger, size)?;
    let hashes = oracle::leaf_hashes(&leaves);
    let roots = oracle::log_roots(&hashes);
    if roots[size] != checkpoint.root {
        return Err(format!("{ledger}/checkpoint: the entries lead to another root at size {size}"));
    }
    tiles(fetch, ledger, hashes)?;
    partial_tiles(fetch, ledger, &leaves)?;
    Ok(Log { leaves, roots })
}

/// All leaves, bundle by bundle.
fn entries(fetch: &impl Fetch, ledger: &str, size: usize) -> Result<Vec<Vec<u8>>, String> {
    let mut leaves = Vec::with_capacity(size);
    while leaves.len() < size {
        let width = (size - leaves.len()).min(TILE);
        let path = tile_path(ledger, "entries", leaves.len() / TILE, width);
        let bundle = oracle::split_bundle(&fetch.get(&path)?).map_err(|error| format!("{path}: {error}"))?;
        if bundle.len() != width {
            return Err(format!("{path}: {} entries, expected {width}", bundle.len()));
        }
        leaves.extend(bundle);
    }
    Ok(leaves)
}

/// Every tile at this size, level by level: a hash of level n + 1 is the root over a full tile of level n.
fn tiles(fetch: &impl Fetch, ledger: &str, leaf_hashes: Vec<Hash>) -> Result<(), String> {
    let mut below = leaf_hashes;
    for level in 0.. {
        if below.is_empty() {
            break;
        }
        for (number, hashes) in below.chunks(TILE).enumerate() {
            check_tile(fetch, &tile_path(ledger, &level.to_string(), number, hashes.len()), hashes)?;
        }
        below = below.chunks_exact(TILE).map(oracle::log_root).collect();
    }
    Ok(())
}

/// The last tile of level 0 at every published size that ends in it.
fn partial_tiles(fetch: &impl Fetch, ledger: &str, leaves: &[Vec<u8>]) -> Result<(), String> {
    let first = leaves.len() / TILE * TILE;
    let hashes = oracle::leaf_hashes(&leaves[first..]);
    for (index, _) in oracle::commits(leaves).into_iter().filter(|(index, _)| *index >= first) {
        let width = index + 1 - first;
        if width < TILE {
            check_tile(fetch, &tile_path(ledger, "0", first / TILE, width), &hashes[..width])?;
        }
    }
    Ok(())
}

fn check_tile(fetch: &impl Fetch, path: &str, hashes: &[Hash]) -> Result<(), String> {
    let expected: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    let served = fetch.get(path)?;
    match served == expected {
        true => Ok(()),
        false => Err(format!("{path}: {} bytes that are not the hashes of what is below", served.len())),
    }
}

/// The path of a tile: groups of three digits, all but the last marked with an x.
fn tile_path(ledger: &str, level: &str, number: usize, width: usize) -> String {
    let mut digits = format!("{:03}", number % 1_000);
    let mut rest = number / 1_000;
    while rest > 0 {
        digits = format!("x{:03}/{digits}", rest % 1_000);
        rest /= 1_000;
    }
    let partial = if width == TILE { String::new() } else { format!(".p/{width}") };
    format!("{ledger}/tile/{level}/{digits}{partial}")
}

/// Recomputes every `ops_root` and every state root; `records` are the operations that a replica served.
///
/// # Errors
/// The first leaf that does not follow.
pub fn states(leaves: &[Vec<u8>], records: &[LogRecord]) -> Result<oracle::State, String> {
    let mut state = oracle::State::default();
    for (index, leaf) in leaves.iter().enumerate() {
        match (Leaf::decode(leaf).map_err(|error| format!("leaf {index}: {error}"))?, records.get(index)) {
            (Leaf::Transaction(leaf), Some(LogRecord::Transaction(record))) => {
                let operations: Vec<Vec<u8>> = record.operations.iter().map(encoded).collect();
                if oracle::log_root(&oracle::leaf_hashes(&operations)) != leaf.ops_root {
                    return Err(format!("leaf {index}: the operations do not lead to its ops_root"));
                }
                let at = u64::try_from(index).map_err(|error| error.to_string())?;
                operations.iter().for_each(|operation| state.write(at, operation));
            }
            (Leaf::Commit(leaf), _) if state.root() == leaf.state_root => {}
            (Leaf::Commit(_), _) => {
                return Err(format!("leaf {index}: the writes lead to another state root"));
            }
            (_, record) => return Err(format!("leaf {index} is served as {record:?}")),
        }
    }
    Ok(state)
}

fn encoded(record: &OperationRecord) -> Vec<u8> {
    let operation = Operation {
        kind: record.kind,
        revision: record.revision,
        prev_index: record.prev_index,
        expires_at: record.expires_at,
        value_len: record.value_len,
        value_digest: record.value_digest,
        key: record.key.to_vec(),
    };
    operation.encode()
}

/// Audits a ledger on every replica, and gives its leaves: one root per size on all of them, and the states follow.
///
/// # Panics
/// With what is wrong, and on which node.
pub async fn replicas(cluster: &Cluster, client: &Client, ledger: &str) -> Log {
    let first = cluster.nodes.keys().next().expect("a cluster has nodes");
    let certified = cluster.checkpoint(*first, ledger).size;
    let records = client.ledger(ledger).transactions(LogIndex::new(0), None, false);
    let records: Vec<LogRecord> =
        records.try_collect().await.unwrap_or_else(|error| panic!("the log of {ledger}: {error}"));
    assert!(
        u64::try_from(records.len()).is_ok_and(|read| read >= certified.get()),
        "{ledger}: {} records were read, and a checkpoint of {certified} is certified",
        records.len()
    );
    let mut logs = BTreeMap::new();
    for (id, node) in &cluster.nodes {
        cluster.checkpoint(*id, ledger);
        let log = log(&node.http, ledger).unwrap_or_else(|problem| panic!("node {id}: {problem}"));
        logs.insert(*id, log);
    }
    let mut longest: Option<(u64, Log)> = None;
    for (id, log) in logs {
        let Some((first, other)) = longest.take() else {
            longest = Some((id, log));
            continue;
        };
        let common = log.roots.len().min(other.roots.len());
        assert_eq!(
            log.roots[..common],
            other.roots[..common],
            "{ledger}: one root per size, but nodes {first} and {id} differ"
        );
        longest = Some(if log.roots.len() > other.roots.len() { (id, log) } else { (first, other) });
    }
    let (id, log) = longest.expect("a cluster has nodes");
    // The records were read before the tiles: a node may have gone on since.
    let known = log.leaves.len().min(records.len());
    states(&log.leaves[..known], &records).unwrap_or_else(|problem| panic!("{ledger}, node {id}: {problem}"));
    log
}
