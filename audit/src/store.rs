//! The auditor's own files: one database per ledger.
//!
//! ```text
//! leaves   key                            → log index u64 ‖ the operation's fixed part (63 bytes)
//! buckets  first key of a bucket          → hash (32) ‖ number of keys u32
//! requests request id (32)                → not_after u64
//! expiry   not_after u64 ‖ request id     → nothing
//! meta     "position"                     → see `encode`
//! meta     "signed"                       → size u64 ‖ time u64 (seconds) ‖ root 32: what this witness signed last
//! ```
//!
//! A block's changes are one transaction, with the position in it. Transactions need not be on disk at once: what a
//! crash loses is read again, from the position that is there.

use std::fmt;
use std::path::{Path, PathBuf};

use quorate_core::entry::Operation;
use quorate_core::hash::{Hash, sha256};
use quorate_core::position::{Epoch, LogIndex, Micros, TreeSize};
use quorate_core::tree::Frontier;
use quorate_ledger::effects::BucketSummary;
use quorate_ledger::view::{LeafCursor, LeafSource, LedgerId};
use redb::{
    Database, ReadableDatabase as _, ReadableTable, StorageError, Table, TableDefinition, WriteTransaction,
};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

pub(crate) const LEAVES: Definition = TableDefinition::new("leaves");
pub(crate) const BUCKETS: Definition = TableDefinition::new("buckets");
pub(crate) const REQUESTS: Definition = TableDefinition::new("requests");
pub(crate) const EXPIRY: Definition = TableDefinition::new("expiry");
const META: Definition = TableDefinition::new("meta");

const POSITION: &[u8] = b"position";
const PROMISE: &[u8] = b"signed";
/// First line of a position.
const HEADER: &[u8] = b"quorate-audit/v1\n";

/// Why the auditor's own files cannot be used. Never a finding about the ledger.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database says so.
    #[error("{}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: redb::Error,
    },
    /// What is in it is not what this program writes.
    #[error(
        "{} is damaged: {problem}; it holds nothing that cannot be read again: move it away to audit the ledger from its \
         first leaf",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What was promised cannot be read: nothing may be signed.
    #[error("{}: {problem}; nothing is signed: this key may have signed what is not known any more", path.display())]
    Promises {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It is about another ledger.
    #[error("{} is about {found}, not about {wanted}", path.display())]
    OtherLedger {
        /// The file.
        path: PathBuf,
        /// The ledger asked for.
        wanted: String,
        /// The ledger it is about.
        found: String,
    },
}

/// Where an audit is: after a commit leaf, or before the first leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) origin: String,
    pub(crate) tree: Frontier,
    pub(crate) time: Micros,
    pub(crate) epoch: Epoch,
    pub(crate) state_root: Hash,
}

/// What a witness signed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) size: TreeSize,
    pub(crate) time_secs: u64,
    pub(crate) root: Hash,
}

/// The files of one ledger's audit. One process at a time has them open.
pub(crate) struct Store {
    database: Database,
    path: PathBuf,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or makes the file, with at most so many bytes of it cached.
    ///
    /// # Errors
    /// [`StoreError`]; also while another process has it open.
    pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let opened = Database::builder().set_cache_size(cache_bytes).create(&path);
        let database = opened.map_err(|error| database_error(&path, error))?;
        let store = Self { database, path };
        let tables = store.begin()?;
        for table in [LEAVES, BUCKETS, REQUESTS, EXPIRY, META] {
            tables.open_table(table).map_err(|error| store.error(error))?;
        }
        tables.commit().map_err(|error| store.error(error))?;
        Ok(store)
    }

    pub(crate) fn error(&self, source: impl Into<redb::Error>) -> StoreError {
        database_error(&self.path, source)
    }

    pub(crate) fn damaged(&self, problem: impl fmt::Display) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), problem: problem.to_string() }
    }

    /// A transaction that is on disk when it is committed.
    pub(crate) fn begin(&self) -> Result<WriteTransaction, StoreError> {
        self.database.begin_write().map_err(|error| self.error(error))
    }

    /// The position, if the audit has begun.
    pub(crate) fn position(&self, origin: &str) -> Result<Option<Position>, StoreError> {
        let read = self.database.begin_read().map_err(|error| self.error(error))?;
        let table = read.open_table(META).map_err(|error| self.error(error))?;
        let Some(row) = table.get(POSITION).map_err(|error| self.error(error))? else {
            return Ok(None);
        };
        let position = decode(row.value()).ok_or_else(|| self.damaged("its position does not decode"))?;
        if position.origin == origin {
            return Ok(Some(position));
        }
        let (path, wanted) = (self.path.clone(), origin.to_owned());
        Err(StoreError::OtherLedger { path, wanted, found: position.origin })
    }

    /// What was signed last, if anything.
    pub(crate) fn promise(&self) -> Result<Option<Promise>, StoreError> {
        let read = self.database.begin_read().map_err(|error| self.error(error))?;
        let table = read.open_table(META).map_err(|error| self.error(error))?;
        let Some(row) = table.get(PROMISE).map_err(|error| self.error(error))? else {
            return Ok(None);
        };
        let decoded = decode_promise(row.value());
        let problem = || "what was signed last does not decode".to_owned();
        let path = || self.path.clone();
        decoded.map(Some).ok_or_else(|| StoreError::Promises { path: path(), problem: problem() })
    }

    /// Notes what is about to be signed; it is on disk when this returns.
    pub(crate) fn put_promise(&self, promise: &Promise) -> Result<(), StoreError> {
        let row = [
            promise.size.to_be_bytes().as_slice(),
            &promise.time_secs.to_be_bytes(),
            promise.root.as_bytes(),
        ]
        .concat();
        let transaction = self.begin()?;
        {
            let mut table = transaction.open_table(META).map_err(|error| self.error(error))?;
            table.insert(PROMISE, row.as_slice()).map_err(|error| self.error(error))?;
        }
        transaction.commit().map_err(|error| self.error(error))
    }

    /// The stored buckets of the state tree, in key order, each given to `each`.
    pub(crate) fn buckets(&self) -> Result<Vec<(Vec<u8>, BucketSummary)>, StoreError> {
        let read = self.database.begin_read().map_err(|error| self.error(error))?;
        let table = read.open_table(BUCKETS).map_err(|error| self.error(error))?;
        let mut buckets = Vec::new();
        for row in table.range::<&[u8]>(..).map_err(|error| self.error(error))? {
            let (key, value) = row.map_err(|error| self.error(error))?;
            let summary =
                decode_bucket(value.value()).ok_or_else(|| self.damaged("a bucket does not decode"))?;
            buckets.push((key.value().to_vec(), summary));
        }
        Ok(buckets)
    }
}

fn database_error(path: &Path, source: impl Into<redb::Error>) -> StoreError {
    StoreError::Database { path: path.to_owned(), source: source.into() }
}

/// Writes the position into a transaction.
pub(crate) fn put_position(transaction: &WriteTransaction, position: &Position) -> Result<(), redb::Error> {
    transaction.open_table(META)?.insert(POSITION, encode(position).as_slice())?;
    Ok(())
}

/// ```text
/// header | time u64 | epoch u64 | state root 32 | size u64 | peaks 32 each | origin length u16 | origin | sha256 of all 32
/// ```
fn encode(position: &Position) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    bytes.extend(position.time.to_be_bytes());
    bytes.extend(position.epoch.to_be_bytes());
    bytes.extend(position.state_root.as_bytes());
    bytes.extend(position.tree.size().to_be_bytes());
    position.tree.peaks().iter().for_each(|peak| bytes.extend(peak.as_bytes()));
    bytes.extend(u16::try_from(position.origin.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(position.origin.as_bytes());
    let digest = sha256(&[&bytes]);
    bytes.extend(digest.as_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Position> {
    let (body, digest) = bytes.split_last_chunk::<32>()?;
    if sha256(&[body]).as_bytes() != digest {
        return None;
    }
    let mut rest = body.strip_prefix(HEADER)?;
    let mut number = || -> Option<[u8; 8]> {
        let (number, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        Some(*number)
    };
    let (time, epoch) = (Micros::from_be_bytes(number()?), Epoch::from_be_bytes(number()?));
    let (state_root, after) = rest.split_first_chunk::<32>()?;
    let (size, mut rest) = after.split_first_chunk::<8>()?;
    let size = TreeSize::from_be_bytes(*size);
    let mut peaks = Vec::new();
    for _ in 0..size.get().count_ones() {
        let (peak, after) = rest.split_first_chunk::<32>()?;
        peaks.push(Hash::new(*peak));
        rest = after;
    }
    let (len, origin) = rest.split_first_chunk::<2>()?;
    if usize::from(u16::from_be_bytes(*len)) != origin.len() {
        return None;
    }
    Some(Position {
        origin: String::from_utf8(origin.to_vec()).ok()?,
        tree: Frontier::from_parts(size, peaks).ok()?,
        time,
        epoch,
        state_root: Hash::new(*state_root),
    })
}

fn decode_promise(bytes: &[u8]) -> Option<Promise> {
    let (size, rest) = bytes.split_first_chunk::<8>()?;
    let (time, root) = rest.split_first_chunk::<8>()?;
    Some(Promise {
        size: TreeSize::from_be_bytes(*size),
        time_secs: u64::from_be_bytes(*time),
        root: Hash::new(root.try_into().ok()?),
    })
}

pub(crate) fn encode_bucket(bucket: &BucketSummary) -> Vec<u8> {
    [bucket.hash.as_bytes().as_slice(), &bucket.count.to_be_bytes()].concat()
}

fn decode_bucket(bytes: &[u8]) -> Option<BucketSummary> {
    let (hash, count) = bytes.split_first_chunk::<32>()?;
    Some(BucketSummary { hash: Hash::new(*hash), count: u32::from_be_bytes(count.try_into().ok()?) })
}

/// The row of a key's newest write.
pub(crate) fn encode_leaf(index: LogIndex, operation: &[u8]) -> Vec<u8> {
    let fixed = operation.get(..Operation::FIXED_LEN).unwrap_or(operation);
    [index.to_be_bytes().as_slice(), fixed].concat()
}

/// Index and fixed part of a row.
pub(crate) fn decode_leaf(row: &[u8]) -> Option<(LogIndex, &[u8])> {
    let (index, fixed) = row.split_first_chunk::<8>()?;
    (fixed.len() == Operation::FIXED_LEN).then_some((LogIndex::from_be_bytes(*index), fixed))
}

/// The leaves as a transaction has them, for the state tree.
pub(crate) struct Leaves<'t, 'x>(pub(crate) &'t Table<'x, &'static [u8], &'static [u8]>);

impl LeafSource for Leaves<'_, '_> {
    type Error = StorageError;
    type Leaves<'s>
        = &'s Self
    where
        Self: 's;

    fn leaves(&self, _: LedgerId) -> Result<&Self, StorageError> {
        Ok(self)
    }
}

impl LeafCursor for &Leaves<'_, '_> {
    type Error = StorageError;

    fn read(
        &mut self,
        first: &[u8],
        count: usize,
        mut each: impl FnMut(LogIndex, &[u8], &[u8]),
    ) -> Result<(), StorageError> {
        for row in self.0.range::<&[u8]>(first..)?.take(count) {
            let (key, value) = row?;
            // A row that is none leaves a gap, which the tree's hashes show.
            if let Some((index, fixed)) = decode_leaf(value.value()) {
                each(index, fixed, key.value());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_a_damaged_one_does_not() {
        let mut tree = Frontier::new();
        tree.extend((0..13_u8).map(|byte| sha256(&[&[byte]])));
        let position = Position {
            origin: "a/b/default".to_owned(),
            tree,
            time: Micros::new(5),
            epoch: Epoch::new(6),
            state_root: Hash::new([7; 32]),
        };
        let bytes = encode(&position);
        assert_eq!(decode(&bytes), Some(position));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(decode(&damaged), None, "byte {place}");
        }
    }
}
