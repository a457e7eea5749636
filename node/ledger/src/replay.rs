//! Stored blocks in, the effects they once had out, with the whole state of the ledger in memory.
//!
//! Contract: [`Replay::push`] gives, for each block as an archive has it, what [`apply`](crate::apply::apply) gave when the
//! block was applied, but for the state: [`Replay::into_state`] gives that once, at the end, in key order. So a store that
//! is filled with both is the store of a node that applied every block. Each block is checked against those before it:
//! revisions and previous indexes, times, requests that are executed once, and the state root, which is recomputed at every
//! commit leaf. That leaves decode, that operations lead to their `ops_root`, and that contents open their digests, the caller
//! has checked.
//!
//! A put whose contents are not there any more has `None` for them; that an operation erased them is for the caller
//! to see to.
//!
//! Memory: some 250 bytes and the key for each key ever written, and 18 bytes at most for each transaction.

use std::collections::{BTreeMap, HashSet};

use prost::bytes::Bytes;
use quorate_core::{
    entry::{CommitLeaf, OpKind, Operation, TransactionLeaf},
    hash::{Hash, leaf_hash},
    position::{Epoch, LogIndex, Revision, TreeSize},
    state_tree::{CritTree, StateLeaf, StateTip, Tip},
};

use crate::{
    effects::{BucketSummary, Erasure, LedgerEffects, NewRequest, TransactionRecord},
    trie::MAX_BUCKET_KEYS,
    view::{KnownRequest, LedgerHead},
};

/// What one block added to a ledger.
#[derive(Debug, Clone)]
pub struct StoredBlock {
    /// Its transactions, in log order.
    pub transactions: Vec<StoredTransaction>,
    /// Its commit leaf.
    pub commit: CommitLeaf,
}

/// A transaction as it is stored.
#[derive(Debug, Clone)]
pub struct StoredTransaction {
    /// Its leaf.
    pub leaf: TransactionLeaf,
    /// Its operations.
    pub operations: Vec<Operation>,
    /// All that a store keeps of it.
    pub record: TransactionRecord,
}

/// Why a block cannot be replayed. The replay must not be gone on with then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError<E> {
    /// What was written before could not be read.
    #[error(transparent)]
    History(E),
    /// The block does not follow from those before it.
    #[error("leaf {index}: {problem}")]
    Contradiction {
        /// Where.
        index: LogIndex,
        /// What.
        problem: String,
    },
}

/// What the blocks before wrote, for the few questions that the state does not answer. Asked for erases, and for requests that
/// were perhaps executed before.
pub trait History {
    /// Why it cannot be read.
    type Error;

    /// The newest transaction with this request id, known by its time or not.
    fn request(&self, request_id: &Hash) -> Result<Option<KnownRequest>, Self::Error>;

    /// The log index of a revision of a key that has later ones.
    fn overwritten(&self, key: &[u8], revision: Revision) -> Result<Option<LogIndex>, Self::Error>;
}

/// A ledger, as far as it was replayed.
#[derive(Debug)]
pub struct Replay {
    head: LedgerHead,
    epoch: Epoch,
    tree: CritTree<Newest>,
    /// The first eight bytes of every request id there was: one that is not here was never executed.
    seen: HashSet<u64>,
}

/// A part of the state: a bucket of its tree.
#[derive(Debug, Clone)]
pub struct StatePart {
    /// The bucket.
    pub bucket: BucketSummary,
    /// Its leaves in key order, each with the write's position in its transaction.
    pub leaves: Vec<(StateLeaf, u16)>,
}

/// A key's newest write.
#[derive(Debug, Clone)]
struct Newest {
    tip: StateTip,
    position: u16,
}

impl Tip for Newest {
    fn key(&self) -> &[u8] {
        self.tip.key()
    }

    fn hash(&self) -> Hash {
        self.tip.hash()
    }
}

/// What a block has done so far.
#[derive(Debug, Default)]
struct Done {
    transactions: Vec<TransactionRecord>,
    requests: BTreeMap<Hash, NewRequest>,
    erased: Vec<Erasure>,
    /// What the block has overwritten of the blocks before, if it erases anything at all.
    overwritten: Option<BTreeMap<(Vec<u8>, Revision), LogIndex>>,
}

impl Replay {
    /// A ledger in which no key was written yet.
    #[must_use]
    pub fn new(head: LedgerHead) -> Self {
        Self { head, epoch: Epoch::default(), tree: CritTree::new(), seen: HashSet::new() }
    }

    /// The ledger after the blocks that were replayed.
    #[must_use]
    pub const fn head(&self) -> &LedgerHead {
        &self.head
    }

    /// Takes in the next block. The effects have neither state leaves nor buckets.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn push<H: History>(
        &mut self,
        history: &H,
        block: StoredBlock,
    ) -> Result<LedgerEffects, ReplayError<H::Error>> {
        let commit = block.commit;
        let first_index = self.head.frontier.size().next_index();
        let is_write = |operation: &Operation| operation.kind.is_write();
        let erases =
            block.transactions.iter().any(|transaction| !transaction.operations.iter().all(is_write));
        let mut done = Done { overwritten: erases.then(BTreeMap::new), ..Done::default() };
        let count = block.transactions.len();
        done.transactions.reserve(count);
        for transaction in block.transactions {
            let index = offset(first_index, done.transactions.len());
            self.transaction(history, &commit, (first_index, index), &mut done, transaction)?;
        }
        let state_root = self.tree.root_hash();
        let expected = CommitLeaf {
            time: commit.time,
            first_index,
            tx_count: u32::try_from(count).unwrap_or(u32::MAX),
            state_root,
            epoch: commit.epoch,
        };
        let is_earlier = commit.time < self.head.time || commit.epoch < self.epoch;
        if expected != commit || is_earlier {
            let index = commit.index().unwrap_or(commit.first_index);
            let problem =
                "the state, the time or the number of transactions before it lead to another commit leaf";
            return Err(ReplayError::Contradiction { index, problem: problem.to_owned() });
        }
        Ok(self.close(&commit, done))
    }

    fn close(&mut self, commit: &CommitLeaf, done: Done) -> LedgerEffects {
        let commit_leaf = commit.encode().to_vec();
        let leaves = done.transactions.iter().map(|transaction| &transaction.leaf).chain([&commit_leaf]);
        let leaf_hashes: Vec<Hash> = leaves.map(|leaf| leaf_hash(leaf)).collect();
        let born = self.head.frontier.size() == TreeSize::ZERO;
        self.epoch = commit.epoch;
        (self.head.time, self.head.state_root) = (commit.time, commit.state_root);
        self.head.frontier.extend(leaf_hashes.iter().copied());
        LedgerEffects {
            head: self.head.clone(),
            born,
            first_index: commit.first_index,
            transactions: done.transactions,
            commit_leaf,
            leaf_hashes,
            state_leaves: Vec::new(),
            state_positions: Vec::new(),
            buckets: Vec::new(),
            erased: done.erased,
            requests: done.requests.into_values().collect(),
        }
    }

    /// Takes in a transaction that was committed before, if it follows from what is before it.
    fn transaction<H: History>(
        &mut self,
        history: &H,
        commit: &CommitLeaf,
        (first, index): (LogIndex, LogIndex),
        done: &mut Done,
        transaction: StoredTransaction,
    ) -> Result<(), ReplayError<H::Error>> {
        let StoredTransaction { leaf, operations, record } = transaction;
        let wrong = |problem: String| ReplayError::Contradiction { index, problem };
        if leaf.time != commit.time {
            return Err(wrong(format!("its time is {}, and that of its block {}", leaf.time, commit.time)));
        }
        let earlier = self.earlier(history, &leaf.request_id, done)?;
        if let Some(known) = earlier.filter(|known| commit.time <= known.not_after) {
            return Err(wrong(format!("its request was executed before, at {}", known.index)));
        }
        let known = KnownRequest { index, not_after: leaf.not_after };
        let request = NewRequest { id: leaf.request_id, known, again: earlier.is_some() };
        let mut edit = self.tree.edit();
        for (position, (operation, bytes)) in operations.iter().zip(&record.operations).enumerate() {
            let contradiction = |problem: String| wrong(format!("operation {position}: {problem}"));
            if operation.kind == OpKind::Erase {
                drop(edit);
                self.erase(history, first, operation, done)?.map_err(contradiction)?;
                edit = self.tree.edit();
                continue;
            }
            let tip = StateLeaf::new(index, bytes.to_vec()).map(StateTip::new);
            let tip = tip.map_err(|error| contradiction(error.to_string()))?;
            let place = u16::try_from(position).map_err(|error| contradiction(error.to_string()))?;
            let before = edit.insert(Newest { tip, position: place });
            let before = before.map_err(|error| contradiction(error.to_string()))?;
            let before = before.as_ref().and_then(brief);
            follows(operation, before).map_err(contradiction)?;
            if let (Some((index, revision, _)), Some(overwritten)) = (before, &mut done.overwritten) {
                overwritten.insert((operation.key.clone(), revision), index);
            }
        }
        drop(edit);
        done.requests.insert(leaf.request_id, request);
        done.transactions.push(record);
        Ok(())
    }

    /// The transaction before that had this request id.
    fn earlier<H: History>(
        &mut self,
        history: &H,
        id: &Hash,
        done: &Done,
    ) -> Result<Option<KnownRequest>, ReplayError<H::Error>> {
        let prefix = id.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        if self.seen.insert(prefix) {
            return Ok(None);
        }
        match done.requests.get(id) {
            Some(new) => Ok(Some(new.known)),
            None => history.request(id).map_err(ReplayError::History),
        }
    }

    /// Destroys what an earlier transaction wrote: at once if this block wrote it, through the store otherwise.
    fn erase<H: History>(
        &self,
        history: &H,
        first: LogIndex,
        operation: &Operation,
        done: &mut Done,
    ) -> Result<Result<(), String>, ReplayError<H::Error>> {
        let refused = || Ok(Err("it erases a revision that there is not".to_owned()));
        let newest = self.tree.get(&operation.key).and_then(brief);
        let Some((index, revision, _)) = newest else { return refused() };
        if operation.revision < Revision::FIRST || operation.revision > revision {
            return refused();
        }
        let overwritten = |done: &Done| {
            let key = (operation.key.clone(), operation.revision);
            done.overwritten.as_ref().and_then(|overwritten| overwritten.get(&key).copied())
        };
        let found = match overwritten(done) {
            _ if operation.revision == revision => Some(index),
            Some(index) => Some(index),
            None => {
                let stored = history.overwritten(&operation.key, operation.revision);
                stored.map_err(ReplayError::History)?
            }
        };
        let Some(found) = found.filter(|found| Some(*found) == operation.prev_index) else {
            return refused();
        };
        let back = found.get().checked_sub(first.get()).and_then(|back| usize::try_from(back).ok());
        match back.and_then(|back| done.transactions.get_mut(back)) {
            Some(transaction) => forget(transaction, &operation.key),
            None => {
                let key = Bytes::copy_from_slice(&operation.key);
                done.erased.push(Erasure { index: found, key });
            }
        }
        Ok(Ok(()))
    }

    /// The state after the last block, in key order. It leads to the head's state root.
    pub fn into_state(self) -> impl Iterator<Item = StatePart> {
        self.tree.into_parts(MAX_BUCKET_KEYS).into_iter().map(|part| {
            let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
            // The keys are in order: they are those of a tree.
            let hash = CritTree::from_sorted(part.iter().map(|newest| newest.tip.clone()));
            let hash = hash.map_or(Hash::ZERO, |tree| tree.root_hash());
            let leaves = part.into_iter().map(|newest| (newest.tip.into_leaf(), newest.position));
            StatePart { bucket: BucketSummary { hash, count }, leaves: leaves.collect() }
        })
    }
}

/// Takes away what a transaction of the same block wrote to a key.
fn forget(transaction: &mut TransactionRecord, key: &[u8]) {
    let writes = |operation: &Bytes| {
        let kind = operation.first().and_then(|byte| OpKind::from_byte(*byte).ok());
        kind.is_some_and(OpKind::is_write) && operation.get(Operation::FIXED_LEN..) == Some(key)
    };
    let written = transaction.operations.iter().position(writes);
    if let Some(content) = written.and_then(|position| transaction.contents.get_mut(position)) {
        *content = None;
    }
}

fn offset(first: LogIndex, count: usize) -> LogIndex {
    LogIndex::new(first.get().saturating_add(u64::try_from(count).unwrap_or(u64::MAX)))
}

/// Log index, revision and kind of a write, whose operation was decoded before.
fn brief(newest: &Newest) -> Option<(LogIndex, Revision, OpKind)> {
    let leaf = newest.tip.leaf();
    let (kind, rest) = leaf.op().split_first()?;
    let revision = Revision::from_be_bytes(*rest.first_chunk::<8>()?);
    Some((leaf.index(), revision, OpKind::from_byte(*kind).ok()?))
}

/// Whether a write is the one that follows the key's newest.
fn follows(operation: &Operation, newest: Option<(LogIndex, Revision, OpKind)>) -> Result<(), String> {
    let revision = match newest {
        None => Some(Revision::FIRST),
        Some((_, revision, _)) => revision.next(),
    };
    if Some(operation.revision) != revision || operation.prev_index != newest.map(|(index, _, _)| index) {
        return Err("its revision or previous index does not follow the key's write before".to_owned());
    }
    if operation.kind == OpKind::Delete && newest.is_none_or(|(_, _, kind)| kind != OpKind::Put) {
        return Err("it deletes a key that does not exist".to_owned());
    }
    Ok(())
}
