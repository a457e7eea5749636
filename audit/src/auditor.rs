//! One ledger, recomputed.

use std::collections::VecDeque;
use std::path::Path;

use quorate_client::LogLeaf;
use quorate_core::checkpoint::Checkpoint;
use quorate_core::entry::{CommitLeaf, Leaf, Operation};
use quorate_core::hash::{Hash, leaf_hash};
use quorate_core::position::{Epoch, LogIndex, Micros, TreeSize};
use quorate_core::tree::Frontier;
use quorate_ledger::effects::BucketChange;
use quorate_ledger::trie::{LeafReader, TrieError, Tries};
use quorate_ledger::view::LedgerId;
use redb::{ReadableTable as _, Table, WriteTransaction};

use crate::block::{Before, Changes, Entry, Newest, Refused, check_frame, judge, size_after};
use crate::finding::Finding;
use crate::store::{
    BUCKETS, EXPIRY, LEAVES, Leaves, Position, Promise, REQUESTS, Store, StoreError, decode_leaf,
    encode_bucket, encode_leaf, put_position,
};
use crate::submission::Recorded;

/// Each ledger has a state tree of its own here.
const LEDGER: LedgerId = LedgerId(0);
/// Roots of the last checkpoints that are remembered, to compare with what replicas show.
const ROOTS: usize = 65_536;

/// How much memory an audit takes, besides about 25 bytes per key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Cached pages of the database, bytes.
    pub store_cache: usize,
    /// Cached leaves of the state tree, bytes.
    pub tree_cache: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { store_cache: 64 << 20, tree_cache: 64 << 20 }
    }
}

/// Why an audit does not go on.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The ledger is wrong.
    #[error(transparent)]
    Finding(#[from] Finding),
    /// The auditor's own files are.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The audit of one ledger: everything up to its position was recomputed and follows.
#[derive(Debug)]
pub struct Auditor {
    store: Store,
    tries: Tries,
    position: Position,
    /// Leaves after the position, whose block has not ended.
    open: Vec<Entry>,
    /// The tree with them.
    tree: Frontier,
    roots: VecDeque<(TreeSize, Hash)>,
    operations: u64,
}

impl Auditor {
    /// Opens an audit, or begins one: in this file, of the ledger with this origin.
    ///
    /// # Errors
    /// [`StoreError`]; a file that is not as it was left is one, not a beginning.
    pub fn open(path: &Path, origin: &str, bounds: Bounds) -> Result<Self, StoreError> {
        let store = Store::open(path, bounds.store_cache)?;
        let position = store.position(origin)?.unwrap_or_else(|| Position {
            origin: origin.to_owned(),
            tree: Frontier::new(),
            time: Micros::default(),
            epoch: Epoch::default(),
            state_root: Hash::ZERO,
        });
        let mut tries = Tries::new(bounds.tree_cache);
        let buckets = store.buckets()?.into_iter().map(Ok::<_, std::convert::Infallible>);
        let opened = tries.open(LEDGER, &position.state_root, buckets);
        opened.map_err(|error| store.damaged(format!("its state tree: {error}")))?;
        let (tree, roots) = (position.tree.clone(), VecDeque::new());
        Ok(Self { store, tries, position, open: Vec::new(), tree, roots, operations: 0 })
    }

    /// Origin of the ledger.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.position.origin
    }

    /// Where to go on reading.
    #[must_use]
    pub fn next(&self) -> LogIndex {
        self.tree.size().next_index()
    }

    /// Everything below this was recomputed.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.position.tree.size()
    }

    /// The root of the log there.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.position.tree.root()
    }

    /// Time of the last block.
    #[must_use]
    pub fn time(&self) -> Micros {
        self.position.time
    }

    /// Keys ever written.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.tries.stats().keys
    }

    /// Operations recomputed since the audit was opened.
    #[must_use]
    pub const fn operations(&self) -> u64 {
        self.operations
    }

    /// The computed root of a checkpoint at or before the position, if it is remembered.
    #[must_use]
    pub fn root_at(&self, size: TreeSize) -> Option<Hash> {
        if size == self.size() {
            return Some(self.root());
        }
        let place = self.roots.binary_search_by_key(&size, |(size, _)| *size).ok()?;
        self.roots.get(place).map(|(_, root)| *root)
    }

    /// Takes in the next leaves. What follows from them is in the file when this returns; it survives a crash of this
    /// process at once, and one of the machine if `durable`.
    ///
    /// # Errors
    /// [`AuditError::Finding`]: the first leaf that does not follow. The audit is over then.
    pub fn take(&mut self, leaves: Vec<LogLeaf>, durable: bool) -> Result<(), AuditError> {
        let mut transaction = self.store.begin()?;
        if !durable {
            let set = transaction.set_durability(redb::Durability::None);
            set.map_err(|error| self.store.damaged(error))?;
        }
        for leaf in leaves {
            self.take_leaf(&transaction, leaf)?;
        }
        put_position(&transaction, &self.position).map_err(|error| self.store.error(error))?;
        transaction.commit().map_err(|error| self.store.error(error))?;
        Ok(())
    }

    fn take_leaf(&mut self, transaction: &WriteTransaction, leaf: LogLeaf) -> Result<(), AuditError> {
        let at = leaf.index;
        if at != self.next() {
            return Err(self.finding(at, format!("the next leaf is {}", self.next())));
        }
        self.tree.push(leaf_hash(&leaf.leaf));
        match Leaf::decode(&leaf.leaf).map_err(|error| self.finding(at, error.to_string()))? {
            Leaf::Transaction(decoded) => {
                self.open.push(Entry { index: at, leaf: decoded, operations: leaf.operations });
                Ok(())
            }
            Leaf::Commit(commit) if leaf.operations.is_empty() => self.close(transaction, at, &commit),
            Leaf::Commit(_) => Err(self.finding(at, "a commit leaf has no operations".to_owned())),
            Leaf::Opaque(_) => {
                Err(self.finding(at, "a leaf of a kind that this version does not know".to_owned()))
            }
        }
    }

    /// Judges the block that ends here, and takes in what it changes.
    fn close(
        &mut self,
        transaction: &WriteTransaction,
        at: LogIndex,
        commit: &CommitLeaf,
    ) -> Result<(), AuditError> {
        let entries = std::mem::take(&mut self.open);
        let frame = check_frame(at, commit, &entries, self.position.time);
        frame.map_err(|(index, what)| self.finding(index, what))?;
        if commit.epoch < self.position.epoch {
            let what = format!("epoch {} after {}", commit.epoch, self.position.epoch);
            return Err(self.finding(at, what));
        }
        let open = |table| transaction.open_table(table).map_err(|error| self.store.error(error));
        let mut tables = Tables {
            leaves: open(LEAVES)?,
            buckets: open(BUCKETS)?,
            requests: open(REQUESTS)?,
            expiry: open(EXPIRY)?,
        };
        tables.forget_before(commit.time).map_err(|error| self.store.error(error))?;
        let changes = judge(&entries, &tables).map_err(|refused| match refused {
            Refused::Rule(index, what) => self.finding(index, what),
            Refused::Store(error) => self.store.error(error).into(),
        })?;
        let buckets = self.grow(&tables, &changes)?;
        let root = self.tries.get(LEDGER).map_or(Hash::ZERO, |trie| trie.root());
        if root != commit.state_root {
            let what = format!(
                "the commit leaf has the state root {}; the writes lead to {root}",
                commit.state_root
            );
            return Err(self.finding(at, what));
        }
        tables.put(&changes, &buckets).map_err(|error| self.store.error(error))?;
        let operations = entries.iter().map(|entry| entry.operations.len()).sum::<usize>();
        self.operations = self.operations.saturating_add(u64::try_from(operations).unwrap_or(u64::MAX));
        self.position.tree = self.tree.clone();
        (self.position.time, self.position.epoch) = (commit.time, commit.epoch);
        self.position.state_root = root;
        self.roots.push_back((size_after(at), self.position.tree.root()));
        if self.roots.len() > ROOTS {
            self.roots.pop_front();
        }
        Ok(())
    }

    /// Takes the block's writes into the state tree.
    fn grow(&mut self, tables: &Tables<'_>, changes: &Changes) -> Result<Vec<BucketChange>, AuditError> {
        let leaves: Vec<(LogIndex, &[u8])> =
            changes.writes.values().map(|(index, bytes, _)| (*index, bytes.as_slice())).collect();
        let source = Leaves(&tables.leaves);
        let Some(trie) = self.tries.get_mut(LEDGER) else {
            return Err(self.store.damaged("it has no state tree").into());
        };
        let changed = trie.update(&LeafReader::new(&source), &leaves);
        changed.map_err(|error| match error {
            TrieError::Source(error) => self.store.error(error).into(),
            damaged @ TrieError::Damaged { .. } => self.store.damaged(damaged).into(),
        })
    }

    /// That a checkpoint has the root that was recomputed for its size, if that is known.
    ///
    /// # Errors
    /// A finding, by whom it was shown.
    pub fn check_root(&self, checkpoint: &Checkpoint, by: &str) -> Result<(), AuditError> {
        match self.root_at(checkpoint.size) {
            Some(root) if root != checkpoint.root => {
                Err(Finding::root(self.origin(), checkpoint.size, &root, &checkpoint.root, by).into())
            }
            _ => Ok(()),
        }
    }

    /// Drops the beginning of a block whose end was not seen: it is read again.
    pub fn rewind(&mut self) {
        self.open.clear();
        self.tree = self.position.tree.clone();
    }

    /// Makes durable that the root at the position is about to be signed, and gives the time to sign it with; `None` if a
    /// larger size was signed before, by an audit whose files were put back since.
    pub(crate) fn promise(&self, now_secs: u64) -> Result<Option<u64>, StoreError> {
        self.promise_at((self.size(), self.root()), now_secs)
    }

    /// The same of any size and root that were recomputed.
    pub(crate) fn promise_at(
        &self,
        (size, root): (TreeSize, Hash),
        now_secs: u64,
    ) -> Result<Option<u64>, StoreError> {
        let before = self.store.promise()?;
        let time = before.as_ref().map_or(now_secs, |before| now_secs.max(before.time_secs));
        if before.is_some_and(|before| before.size > size || (before.size == size && before.root != root)) {
            return Ok(None);
        }
        self.store.put_promise(&Promise { size, root, time_secs: time })?;
        Ok(Some(time))
    }

    /// What was signed last.
    pub(crate) fn promised(&self) -> Result<Option<Recorded>, StoreError> {
        let promise = self.store.promise()?;
        Ok(promise.map(|Promise { size, root, .. }| Recorded { size, root }))
    }

    /// What cannot be used for want of something in this process.
    pub(crate) fn unusable(&self, problem: impl std::fmt::Display) -> StoreError {
        self.store.damaged(problem)
    }

    fn finding(&self, index: LogIndex, what: String) -> AuditError {
        Finding { ledger: self.position.origin.clone(), index, what }.into()
    }
}

type Rows<'x> = Table<'x, &'static [u8], &'static [u8]>;

/// The tables of a transaction.
struct Tables<'x> {
    leaves: Rows<'x>,
    buckets: Rows<'x>,
    requests: Rows<'x>,
    expiry: Rows<'x>,
}

impl Before for Tables<'_> {
    type Error = redb::Error;

    fn newest(&self, key: &[u8]) -> Result<Option<Newest>, redb::Error> {
        let Some(row) = self.leaves.get(key)? else {
            return Ok(None);
        };
        let corrupted = || redb::Error::Corrupted("the row of a key does not decode".to_owned());
        let (index, fixed) = decode_leaf(row.value()).ok_or_else(corrupted)?;
        let operation = Operation::decode(&[fixed, key].concat()).map_err(|_| corrupted())?;
        Ok(Some(Newest::of(index, &operation)))
    }

    fn not_after(&self, request: &Hash) -> Result<Option<Micros>, redb::Error> {
        let Some(row) = self.requests.get(request.as_bytes().as_slice())? else {
            return Ok(None);
        };
        let bytes = <[u8; 8]>::try_from(row.value());
        let bytes =
            bytes.map_err(|_| redb::Error::Corrupted("the row of a request does not decode".to_owned()))?;
        Ok(Some(Micros::from_be_bytes(bytes)))
    }
}

impl Tables<'_> {
    /// Forgets requests that are not known any more at this time.
    fn forget_before(&mut self, time: Micros) -> Result<(), redb::Error> {
        let end = time.to_be_bytes();
        let mut gone = Vec::new();
        for row in self.expiry.range::<&[u8]>(..end.as_slice())? {
            gone.push(row?.0.value().to_vec());
        }
        for row in gone {
            self.expiry.remove(row.as_slice())?;
            // A request that was made again since has a later row, and stays.
            if let Some((until, request)) = row.split_first_chunk::<8>()
                && self.requests.get(request)?.is_some_and(|known| known.value() == until)
            {
                self.requests.remove(request)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, changes: &Changes, buckets: &[BucketChange]) -> Result<(), redb::Error> {
        for (key, (index, bytes, _)) in &changes.writes {
            self.leaves.insert(key.as_slice(), encode_leaf(*index, bytes).as_slice())?;
        }
        for BucketChange { first_key, bucket } in buckets {
            match bucket {
                Some(bucket) => {
                    drop(self.buckets.insert(first_key.as_slice(), encode_bucket(bucket).as_slice())?)
                }
                None => drop(self.buckets.remove(first_key.as_slice())?),
            }
        }
        for (request, not_after) in &changes.requests {
            let until = not_after.to_be_bytes();
            self.requests.insert(request.as_bytes().as_slice(), until.as_slice())?;
            let row = [until.as_slice(), request.as_bytes()].concat();
            self.expiry.insert(row.as_slice(), [].as_slice())?;
        }
        Ok(())
    }
}
