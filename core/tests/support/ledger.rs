//! The records and the trees, and the blocks that add to them.

use std::collections::BTreeMap;

use quorate_core::answer::{Contents, Meta};
use quorate_core::checkpoint::Checkpoint;
use quorate_core::entry::{
    CommitLeaf, OpKind, Operation, TransactionLeaf, meta_digest, ops_root, request_id,
};
use quorate_core::hash::Hash;
use quorate_core::key::{CosignerKey, LogKey, VerifierKey};
use quorate_core::name::{ClusterId, ClusterOrigin, LedgerName};
use quorate_core::note::SignedNote;
use quorate_core::policy::{CertifiedCheckpoint, Policy};
use quorate_core::position::{Epoch, LogIndex, Micros, NodeId, Revision};
use quorate_core::state_tree::MemoryStateTree;
use quorate_core::tree::MemoryTree;

/// What a client asks for.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Put(Vec<u8>, Vec<u8>, Option<u64>),
    Delete(Vec<u8>),
    /// Erase the value of this revision of a key.
    Erase(Vec<u8>, u64),
}

impl Op {
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Put(key, ..) | Self::Delete(key) | Self::Erase(key, _) => key,
        }
    }
}

/// A write as it happened: what is true.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) index: u64,
    pub(crate) operation: Operation,
    pub(crate) contents: Option<Contents>,
    pub(crate) erased_at: Option<u64>,
}

/// A transaction as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) leaf: Vec<u8>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) contents: Vec<Option<Contents>>,
    pub(crate) meta: Meta,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) log_key: LogKey,
    pub(crate) nodes: Vec<CosignerKey>,
    pub(crate) origin: String,
    pub(crate) tree: MemoryTree,
    pub(crate) leaves: Vec<Vec<u8>>,
    pub(crate) state: MemoryStateTree,
    pub(crate) transactions: BTreeMap<u64, Stored>,
    pub(crate) records: BTreeMap<Vec<u8>, Vec<Record>>,
    /// Time of each leaf.
    pub(crate) times: Vec<u64>,
    pub(crate) cosign_seconds: u64,
    requests: u64,
}

impl Ledger {
    /// A ledger born with its first block, at 1,000 seconds, cosigned by three nodes.
    pub(crate) fn new(seed: u8) -> Self {
        Self::named(seed, "default")
    }

    /// The same with another name.
    pub(crate) fn named(seed: u8, name: &str) -> Self {
        let cluster = ClusterOrigin::new("ledger.test", &ClusterId::new([seed; 16])).unwrap();
        let origin = cluster.ledger(&LedgerName::new(name).unwrap());
        let nodes = (1..=3).map(|node| {
            let secret = [seed.wrapping_add(node).wrapping_mul(7); 32];
            CosignerKey::from_seed(&cluster.node(NodeId::new(u64::from(node))), &secret).unwrap()
        });
        let mut ledger = Self {
            log_key: LogKey::derive(&[seed; 32], &origin),
            nodes: nodes.collect(),
            origin: origin.to_string(),
            tree: MemoryTree::new(),
            leaves: Vec::new(),
            state: MemoryStateTree::new(),
            transactions: BTreeMap::new(),
            records: BTreeMap::new(),
            times: Vec::new(),
            cosign_seconds: 0,
            requests: 0,
        };
        ledger.block(1_000_000_000, &[]);
        ledger
    }

    /// A ledger with a story: every kind of write, on few keys, and one key erased.
    pub(crate) fn with_story() -> Self {
        let mut ledger = Self::new(1);
        let put = |key: &str, value: &str| Op::Put(key.into(), value.into(), None);
        ledger.block(1_001_000_000, &[vec![put("a/1", "one"), put("a/2", "two")], vec![put("b", "bee")]]);
        ledger.block(1_002_000_000, &[vec![put("a/1", "one again")]]);
        ledger.block(1_003_000_000, &[vec![Op::Delete("a/2".into()), put("c", "sea"), put("d", "dee")]]);
        ledger.block(1_004_000_000, &[vec![Op::Put("e".into(), "short-lived".into(), Some(1_005_000_000))]]);
        ledger.block(1_005_000_000, &[vec![put("a/1", "one at last"), Op::Erase("c".into(), 1)]]);
        ledger.block(1_006_000_000, &[vec![Op::Erase("a/1".into(), 1)], vec![put("a/2", "two is back")]]);
        ledger
    }

    /// Commits a block. Operations that a server would reject are left out.
    pub(crate) fn block(&mut self, time: u64, transactions: &[Vec<Op>]) {
        let time = time.max(self.times.last().copied().unwrap_or_default());
        let first_index = self.size();
        for operations in transactions {
            self.transaction(time, operations);
        }
        self.commit(time, first_index);
    }

    fn commit(&mut self, time: u64, first_index: u64) {
        let tx_count = u32::try_from(self.size() - first_index).unwrap();
        let commit = self.commit_leaf(time, first_index, tx_count);
        self.append(time, commit.encode().to_vec());
        self.cosign_seconds = self.cosign_seconds.max(time / 1_000_000);
    }

    fn commit_leaf(&self, time: u64, first_index: u64, tx_count: u32) -> CommitLeaf {
        CommitLeaf {
            time: Micros::new(time),
            first_index: LogIndex::new(first_index),
            tx_count,
            state_root: self.state.root(),
            epoch: Epoch::new(1),
        }
    }

    fn transaction(&mut self, time: u64, operations: &[Op]) {
        let index = self.size();
        let mut stored = Stored {
            leaf: Vec::new(),
            operations: Vec::new(),
            contents: Vec::new(),
            meta: Meta { salt: [7; 16], bytes: b"\x0a\x05alice".to_vec() },
        };
        for op in operations {
            let known = stored.operations.iter().any(|other: &Operation| other.key == op.key());
            if !known {
                self.operation(index, op, &mut stored);
            }
        }
        self.records.retain(|_, records| !records.is_empty());
        if stored.operations.is_empty() {
            return;
        }
        self.requests += 1;
        let leaf = TransactionLeaf {
            time: Micros::new(time),
            not_after: Micros::new(time + 60_000_000),
            op_count: u32::try_from(stored.operations.len()).unwrap(),
            ops_root: ops_root(stored.operations.iter().map(Operation::encode)),
            request_id: request_id("alice", &self.requests.to_be_bytes()).unwrap(),
            meta_digest: meta_digest(&stored.meta.salt, &stored.meta.bytes),
        };
        stored.leaf = leaf.encode().to_vec();
        self.append(time, stored.leaf.clone());
        self.transactions.insert(index, stored);
    }

    /// Adds one operation to a transaction, unless a server would reject it.
    fn operation(&mut self, index: u64, op: &Op, stored: &mut Stored) {
        let records = self.records.entry(op.key().to_vec()).or_default();
        let last = records.last();
        let mut operation = Operation {
            kind: OpKind::Put,
            revision: last.map_or(Revision::FIRST, |last| last.operation.revision.next().unwrap()),
            prev_index: last.map(|last| LogIndex::new(last.index)),
            expires_at: None,
            value_len: 0,
            value_digest: Hash::ZERO,
            key: op.key().to_vec(),
        };
        let contents = match op {
            Op::Put(_, value, expires_at) => {
                let mut salt = [0; 16];
                salt[..8].copy_from_slice(&index.to_be_bytes());
                salt[8..].copy_from_slice(&(stored.operations.len() as u64).to_be_bytes());
                let contents = Contents { salt, attributes: b"text".to_vec(), value: value.clone() };
                operation.expires_at = expires_at.map(Micros::new);
                operation.value_len = u32::try_from(value.len()).unwrap();
                operation.value_digest = contents.digest();
                Some(contents)
            }
            Op::Delete(_) if last.is_none_or(|last| last.operation.kind == OpKind::Delete) => return,
            Op::Delete(_) => {
                operation.kind = OpKind::Delete;
                None
            }
            Op::Erase(_, revision) => {
                let of = |record: &&mut Record| record.operation.revision.get() == *revision;
                let Some(record) = records.iter_mut().find(of) else {
                    return;
                };
                if record.contents.take().is_none() {
                    return;
                }
                record.erased_at = Some(index);
                operation.kind = OpKind::Erase;
                operation.revision = record.operation.revision;
                operation.prev_index = Some(LogIndex::new(record.index));
                let (erased, key) = (record.index, op.key());
                let stored = self.transactions.get_mut(&erased).unwrap();
                let place = stored.operations.iter().position(|operation| operation.key == key).unwrap();
                stored.contents[place] = None;
                None
            }
        };
        if operation.kind.is_write() {
            self.state.insert(LogIndex::new(index), operation.encode()).unwrap();
            let (operation, contents) = (operation.clone(), contents.clone());
            records.push(Record { index, operation, contents, erased_at: None });
        }
        stored.operations.push(operation);
        stored.contents.push(contents);
    }

    /// A block with one transaction of these encoded operations, whatever they say. The state stays as it is.
    pub(crate) fn raw_transaction(&mut self, operations: &[Vec<u8>]) -> u64 {
        let time = *self.times.last().unwrap();
        let first_index = self.size();
        let leaf = TransactionLeaf {
            time: Micros::new(time),
            not_after: Micros::new(time),
            op_count: u32::try_from(operations.len()).unwrap(),
            ops_root: ops_root(operations),
            request_id: Hash::ZERO,
            meta_digest: Hash::ZERO,
        };
        let known = operations.iter().filter_map(|operation| Operation::decode(operation).ok());
        let stored = Stored {
            leaf: leaf.encode().to_vec(),
            operations: known.collect(),
            contents: vec![None; operations.len()],
            meta: Meta::default(),
        };
        self.append(time, stored.leaf.clone());
        self.transactions.insert(first_index, stored);
        self.commit(time, first_index);
        first_index
    }

    /// A commit leaf of a block that is said to begin at this index.
    pub(crate) fn raw_commit(&mut self, first_index: u64) {
        let time = *self.times.last().unwrap();
        let commit = self.commit_leaf(time, first_index, 0);
        self.append(time, commit.encode().to_vec());
    }

    fn append(&mut self, time: u64, leaf: Vec<u8>) {
        self.tree.append(&leaf);
        self.leaves.push(leaf);
        self.times.push(time);
    }

    pub(crate) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.size() - 1
    }

    pub(crate) fn head(&self) -> Checkpoint {
        Checkpoint { origin: self.origin.clone(), size: self.tree.size(), root: self.tree.root() }
    }

    /// The head, signed by the log and all nodes.
    pub(crate) fn note(&self) -> SignedNote {
        self.sign(&self.head(), &[0, 1, 2], self.cosign_seconds)
    }

    /// A checkpoint signed by the log and these nodes.
    pub(crate) fn sign(&self, checkpoint: &Checkpoint, nodes: &[usize], time: u64) -> SignedNote {
        let mut note = SignedNote::new(checkpoint.clone());
        note.add(self.log_key.sign(checkpoint));
        for node in nodes {
            note.add(self.nodes[*node].cosign(checkpoint, time).unwrap().to_line());
        }
        note
    }

    pub(crate) fn node_keys(&self) -> Vec<VerifierKey> {
        self.nodes.iter().map(|node| node.verifier().clone()).collect()
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy::majority(self.log_key.verifier(), &self.node_keys()).unwrap()
    }

    /// A policy that asks for every key, so that a spoilt signature never goes unnoticed.
    pub(crate) fn strict_policy(&self) -> Policy {
        Policy::k_of_n(self.log_key.verifier(), &self.node_keys(), 3).unwrap()
    }

    pub(crate) fn certified(&self) -> CertifiedCheckpoint {
        self.policy().certify(self.note()).unwrap()
    }

    /// The newest write of a key at or before a log index.
    pub(crate) fn as_of(&self, key: &[u8], index: u64) -> Option<&Record> {
        self.records.get(key)?.iter().rfind(|record| record.index <= index)
    }
}
