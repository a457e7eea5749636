//! A ledger in as few words as the format allows: blocks in, leaves and roots out.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::entry::{
    CommitLeaf, MAX_KEY_LEN, MAX_NOT_AFTER, MAX_OPS, OpKind, Operation, TransactionLeaf, meta_digest,
    ops_root, request_id, value_digest,
};
use quorate_core::hash::{Hash, leaf_hash};
use quorate_core::position::{Epoch, LogIndex, Micros, Revision};
use quorate_core::state_tree::MemoryStateTree;
use quorate_core::tree::Frontier;

use crate::model;
use crate::vectors::{Block, Op, Tx};

/// What a block did.
pub(crate) struct Done {
    pub(crate) transactions: Vec<Transaction>,
    /// `None` if the block added nothing.
    pub(crate) commit: Option<PlacedLeaf>,
    pub(crate) refused: usize,
    pub(crate) size: u64,
    pub(crate) log_root: Hash,
    pub(crate) state_root: Hash,
}

pub(crate) struct Transaction {
    pub(crate) leaf: PlacedLeaf,
    pub(crate) ops: Vec<Vec<u8>>,
    pub(crate) ops_root: Hash,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlacedLeaf {
    pub(crate) index: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) hash: Hash,
}

/// All that a ledger remembers. The trees of the crate grow along with plain lists and maps, and both must agree.
#[derive(Default)]
pub(crate) struct Ledger {
    time: u64,
    leaves: Vec<Vec<u8>>,
    frontier: Frontier,
    /// Newest write of each key: log index and encoding.
    state: BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    state_tree: MemoryStateTree,
    /// Log index of every write by key and revision.
    writes: BTreeMap<(Vec<u8>, u64), u64>,
    /// Until when a request is known.
    known: BTreeMap<Hash, u64>,
}

impl Ledger {
    pub(crate) fn apply(&mut self, block: &Block) -> Done {
        self.time = self.time.max(block.time);
        let first_index = self.size();
        let is_birth = self.leaves.is_empty();
        let transactions: Vec<Transaction> = block.txs.iter().filter_map(|tx| self.transact(tx)).collect();
        let state_root = self.state_root();
        let refused = block.txs.len() - transactions.len();
        let commit = (is_birth || !transactions.is_empty()).then(|| {
            let leaf = CommitLeaf {
                time: Micros::new(self.time),
                first_index: LogIndex::new(first_index),
                tx_count: u32::try_from(transactions.len()).unwrap(),
                state_root,
                epoch: Epoch::new(block.epoch),
            };
            self.append(leaf.encode().to_vec())
        });
        assert_eq!(self.frontier.root(), model::log_root(&self.leaves));
        Done { transactions, commit, refused, size: self.size(), log_root: self.frontier.root(), state_root }
    }

    fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    fn state_root(&self) -> Hash {
        let root = model::state_root(&self.state);
        assert_eq!(self.state_tree.root(), root);
        root
    }

    fn append(&mut self, bytes: Vec<u8>) -> PlacedLeaf {
        let (index, hash) = (self.size(), leaf_hash(&bytes));
        assert_eq!(self.frontier.push(hash).get(), index);
        self.leaves.push(bytes.clone());
        PlacedLeaf { index, bytes, hash }
    }

    /// `None` if the request is already known or cannot be done: then nothing happens at all.
    fn transact(&mut self, tx: &Tx) -> Option<Transaction> {
        let request = request_id(&tx.author, &tx.idempotency_key).ok()?;
        let is_known = self.known.get(&request).is_some_and(|until| self.time <= *until);
        let latest = self.time + MAX_NOT_AFTER.get();
        let keys: BTreeSet<&[u8]> = tx.ops.iter().map(|op| op.key.as_slice()).collect();
        let fits = (1..=MAX_OPS).contains(&tx.ops.len()) && keys.len() == tx.ops.len();
        if is_known || !fits || !(self.time..=latest).contains(&tx.not_after) {
            return None;
        }
        let operations: Vec<Operation> = tx.ops.iter().map(|op| self.operation(op)).collect::<Option<_>>()?;
        let ops: Vec<Vec<u8>> = operations.iter().map(Operation::encode).collect();
        let leaf = TransactionLeaf {
            time: Micros::new(self.time),
            not_after: Micros::new(tx.not_after),
            op_count: u32::try_from(ops.len()).unwrap(),
            ops_root: ops_root(&ops),
            request_id: request,
            meta_digest: meta_digest(&tx.meta_salt, &tx.meta),
        };
        assert_eq!(leaf.ops_root, model::log_root(&ops));
        let placed = self.append(leaf.encode().to_vec());
        self.known.insert(request, tx.not_after);
        for operation in operations {
            self.write(placed.index, operation);
        }
        Some(Transaction { leaf: placed, ops, ops_root: leaf.ops_root })
    }

    /// The operation as it will be written; `None` if it cannot be done.
    fn operation(&self, op: &Op) -> Option<Operation> {
        let newest =
            self.state.get(&op.key).map(|(index, bytes)| (*index, Operation::decode(bytes).unwrap()));
        let kind = match op.kind.as_str() {
            "put" => OpKind::Put,
            "delete" => OpKind::Delete,
            "erase" => OpKind::Erase,
            other => panic!("kind {other}"),
        };
        let (revision, prev_index) = match (kind, &newest) {
            (OpKind::Erase, _) => {
                // Any write of the key, a delete too, and again: what it destroys may be gone already.
                let index = self.writes.get(&(op.key.clone(), op.revision))?;
                (op.revision, Some(*index))
            }
            (OpKind::Delete, None) => return None,
            (OpKind::Delete, Some((_, newest))) if newest.kind == OpKind::Delete => return None,
            (_, None) => (1, None),
            (_, Some((index, newest))) => (newest.revision.get() + 1, Some(*index)),
        };
        if !(1..=MAX_KEY_LEN).contains(&op.key.len()) {
            return None;
        }
        let is_put = kind == OpKind::Put;
        let digest = || value_digest(&op.salt, &op.attributes, &op.value);
        Some(Operation {
            kind,
            revision: Revision::new(revision),
            prev_index: prev_index.map(LogIndex::new),
            expires_at: (op.expires_at != 0 && is_put).then(|| Micros::new(op.expires_at)),
            value_len: if is_put { u32::try_from(op.value.len()).unwrap() } else { 0 },
            value_digest: if is_put { digest() } else { Hash::ZERO },
            key: op.key.clone(),
        })
    }

    fn write(&mut self, index: u64, operation: Operation) {
        if !operation.kind.is_write() {
            return;
        }
        let bytes = operation.encode();
        let place = (operation.key.clone(), operation.revision.get());
        self.writes.insert(place, index);
        self.state_tree.insert(LogIndex::new(index), bytes.clone()).unwrap();
        self.state.insert(operation.key, (index, bytes));
    }
}
