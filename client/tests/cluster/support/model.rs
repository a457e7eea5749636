//! A cluster in memory: ledgers with real trees, nodes with real keys, and the plain records beside them.

use std::collections::BTreeMap;

use quorate_core::answer::{Contents, LeafProof, Meta, RevealedOperation, TransactionProof};
use quorate_core::checkpoint::Checkpoint;
use quorate_core::entry::{
    CommitLeaf, OpKind, Operation, TransactionLeaf, meta_digest, op_path, ops_root, request_id,
};
use quorate_core::hash::Hash;
use quorate_core::key::{CosignerKey, LogKey, VerifierKey};
use quorate_core::name::{ClusterId, ClusterOrigin, LedgerName};
use quorate_core::note::SignedNote;
use quorate_core::policy::Policy;
use quorate_core::position::{Epoch, LogIndex, Micros, NodeId, Revision, TreeSize};
use quorate_core::state_tree::{MemoryStateTree, Query};
use quorate_core::tree::{MemoryTree, consistency_path, inclusion_path, root_at};

const SEED: u8 = 9;
/// `TransactionMeta { author: "anonymous" }`.
const META: &[u8] = b"\x0a\x09anonymous";

/// One write or erase that a request asks for.
pub(crate) enum Ask {
    Put { key: Vec<u8>, contents: Contents, expires_at: Option<u64> },
    Delete { key: Vec<u8> },
    Erase { key: Vec<u8>, revision: u64 },
}

/// A write as it happened.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) index: u64,
    pub(crate) operation: Operation,
    pub(crate) contents: Option<Contents>,
    pub(crate) erased_at: Option<u64>,
}

#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) operations: Vec<Operation>,
    pub(crate) contents: Vec<Option<Contents>>,
}

#[derive(Clone)]
pub(crate) struct LedgerModel {
    pub(crate) name: String,
    pub(crate) tree: MemoryTree,
    pub(crate) leaves: Vec<Vec<u8>>,
    pub(crate) state: MemoryStateTree,
    pub(crate) transactions: BTreeMap<u64, Stored>,
    pub(crate) records: BTreeMap<Vec<u8>, Vec<Record>>,
    pub(crate) requests: BTreeMap<Hash, u64>,
    time: u64,
}

/// A cluster. Cloning it makes a fork: the same keys, another future.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) ledgers: BTreeMap<String, LedgerModel>,
}

pub(crate) fn cluster() -> ClusterOrigin {
    ClusterOrigin::new("client.test", &ClusterId::new([SEED; 16])).unwrap()
}

pub(crate) fn node_key(node: u8) -> CosignerKey {
    let name = cluster().node(NodeId::new(u64::from(node)));
    CosignerKey::from_seed(&name, &[SEED.wrapping_mul(node + 3); 32]).unwrap()
}

pub(crate) fn log_key(ledger: &str) -> LogKey {
    LogKey::derive(&[SEED; 32], &cluster().ledger(&LedgerName::new(ledger).unwrap()))
}

/// Three nodes, a majority, and the log of `_system` alone: all other log keys come from the registry.
pub(crate) fn policy(k: usize) -> Policy {
    let nodes: Vec<VerifierKey> = (1..=3).map(|node| node_key(node).verifier().clone()).collect();
    Policy::k_of_n(log_key("_system").verifier(), &nodes, k).unwrap()
}

impl Model {
    /// A cluster with the ledger `default`.
    pub(crate) fn new() -> Self {
        let mut model = Self { ledgers: BTreeMap::new() };
        model.ledgers.insert("_system".to_owned(), LedgerModel::new("_system"));
        model.create("default");
        model
    }

    pub(crate) fn create(&mut self, name: &str) {
        let origin = cluster().ledger(&LedgerName::new(name).unwrap()).to_string();
        let vkey = log_key(name).verifier().to_string();
        let fields = [name.to_owned(), origin, vkey];
        let mut document = Vec::new();
        for (tag, field) in (1_u8..).zip(fields) {
            document.push(tag << 3 | 2);
            document.push(u8::try_from(field.len()).unwrap());
            document.extend(field.into_bytes());
        }
        let contents = Contents { salt: [1; 16], attributes: Vec::new(), value: document };
        let key = format!("ledgers/{name}").into_bytes();
        let system = self.ledgers.get_mut("_system").unwrap();
        system.commit(name.as_bytes(), u64::MAX, &[Ask::Put { key, contents, expires_at: None }]);
        self.ledgers.insert(name.to_owned(), LedgerModel::new(name));
    }
}

impl LedgerModel {
    fn new(name: &str) -> Self {
        let mut ledger = Self {
            name: name.to_owned(),
            tree: MemoryTree::new(),
            leaves: Vec::new(),
            state: MemoryStateTree::new(),
            transactions: BTreeMap::new(),
            records: BTreeMap::new(),
            requests: BTreeMap::new(),
            time: 1_000_000_000,
        };
        ledger.end_block(0);
        ledger
    }

    pub(crate) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// Commits one transaction in a block of its own. Gives its index, and whether it was known.
    pub(crate) fn commit(&mut self, idempotency_key: &[u8], not_after: u64, asks: &[Ask]) -> (u64, bool) {
        let request = request_id("anonymous", idempotency_key).unwrap();
        if let Some(index) = self.requests.get(&request) {
            return (*index, true);
        }
        self.time += 1_000_000;
        let index = self.size();
        let mut stored = Stored { operations: Vec::new(), contents: Vec::new() };
        for ask in asks {
            self.apply(index, ask, &mut stored);
        }
        let leaf = TransactionLeaf {
            time: Micros::new(self.time),
            not_after: Micros::new(not_after),
            op_count: u32::try_from(stored.operations.len()).unwrap(),
            ops_root: ops_root(stored.operations.iter().map(Operation::encode)),
            request_id: request,
            meta_digest: meta_digest(&[7; 16], META),
        };
        self.append(leaf.encode().to_vec());
        self.transactions.insert(index, stored);
        self.requests.insert(request, index);
        self.end_block(index);
        (index, false)
    }

    fn apply(&mut self, index: u64, ask: &Ask, stored: &mut Stored) {
        let key = match ask {
            Ask::Put { key, .. } | Ask::Delete { key } | Ask::Erase { key, .. } => key,
        };
        let records = self.records.entry(key.clone()).or_default();
        let last = records.last();
        let mut operation = Operation {
            kind: OpKind::Delete,
            revision: last.map_or(Revision::FIRST, |last| last.operation.revision.next().unwrap()),
            prev_index: last.map(|last| LogIndex::new(last.index)),
            expires_at: None,
            value_len: 0,
            value_digest: Hash::ZERO,
            key: key.clone(),
        };
        let mut shown = None;
        match ask {
            Ask::Put { contents, expires_at, .. } => {
                operation.kind = OpKind::Put;
                operation.expires_at = expires_at.map(Micros::new);
                operation.value_len = u32::try_from(contents.value.len()).unwrap();
                operation.value_digest = contents.digest();
                shown = Some(contents.clone());
            }
            Ask::Delete { .. } => {}
            Ask::Erase { revision, .. } => {
                let record =
                    records.iter_mut().find(|record| record.operation.revision.get() == *revision).unwrap();
                record.contents = None;
                record.erased_at = Some(index);
                operation.kind = OpKind::Erase;
                operation.revision = record.operation.revision;
                operation.prev_index = Some(LogIndex::new(record.index));
                let erased = self.transactions.get_mut(&record.index).unwrap();
                let place = erased.operations.iter().position(|operation| operation.key == *key).unwrap();
                erased.contents[place] = None;
            }
        }
        if operation.kind.is_write() {
            self.state.insert(LogIndex::new(index), operation.encode()).unwrap();
            let record =
                Record { index, operation: operation.clone(), contents: shown.clone(), erased_at: None };
            self.records.get_mut(key).unwrap().push(record);
        }
        stored.operations.push(operation);
        stored.contents.push(shown);
    }

    fn end_block(&mut self, first_index: u64) {
        let tx_count = self.size() - first_index;
        let commit = CommitLeaf {
            time: Micros::new(self.time),
            first_index: LogIndex::new(first_index),
            tx_count: u32::try_from(tx_count).unwrap(),
            state_root: self.state.root(),
            epoch: Epoch::new(1),
        };
        self.append(commit.encode().to_vec());
    }

    fn append(&mut self, leaf: Vec<u8>) {
        self.tree.append(&leaf);
        self.leaves.push(leaf);
    }

    pub(crate) fn checkpoint(&self, size: u64) -> Checkpoint {
        let root = root_at(&self.tree, TreeSize::new(size)).unwrap();
        let origin = cluster().ledger(&LedgerName::new(&self.name).unwrap()).to_string();
        Checkpoint { origin, size: TreeSize::new(size), root }
    }

    /// The checkpoint of a size, signed by the log and these nodes at this time (seconds).
    pub(crate) fn note(&self, size: u64, nodes: &[u8], time: u64) -> SignedNote {
        sign(&self.name, &self.checkpoint(size), nodes, time)
    }

    pub(crate) fn leaf(&self, index: u64, size: u64) -> LeafProof {
        LeafProof {
            leaf: self.leaves[usize::try_from(index).unwrap()].clone(),
            path: inclusion_path(&self.tree, LogIndex::new(index), TreeSize::new(size)).unwrap(),
        }
    }

    pub(crate) fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        consistency_path(&self.tree, TreeSize::new(old), TreeSize::new(new)).unwrap()
    }

    /// A transaction under a size; `key`: only the operation on it, with its path.
    pub(crate) fn transaction(&self, index: u64, size: u64, key: Option<&[u8]>) -> TransactionProof {
        let stored = &self.transactions[&index];
        let encoded: Vec<Vec<u8>> = stored.operations.iter().map(Operation::encode).collect();
        let chosen = stored.operations.iter().enumerate();
        let chosen = chosen.filter(|(_, operation)| key.is_none_or(|key| operation.key == key));
        let operations = chosen.map(|(place, _)| RevealedOperation {
            operation: encoded[place].clone(),
            position: u32::try_from(place).unwrap(),
            path: key.map_or_else(Vec::new, |_| op_path(&encoded, place).unwrap()),
            contents: stored.contents[place].clone(),
        });
        let LeafProof { leaf, path } = self.leaf(index, size);
        let meta = key.is_none().then(|| Meta { salt: [7; 16], bytes: META.to_vec() });
        TransactionProof { index: LogIndex::new(index), leaf, path, operations: operations.collect(), meta }
    }

    pub(crate) fn prove(&self, query: &Query) -> Vec<u8> {
        self.state.prove(query)
    }

    pub(crate) fn records(&self, key: &[u8]) -> &[Record] {
        self.records.get(key).map_or(&[], Vec::as_slice)
    }
}

pub(crate) fn sign(ledger: &str, checkpoint: &Checkpoint, nodes: &[u8], time: u64) -> SignedNote {
    let mut note = SignedNote::new(checkpoint.clone());
    note.add(log_key(ledger).sign(checkpoint));
    for node in nodes {
        note.add(node_key(*node).cosign(checkpoint, time).unwrap().to_line());
    }
    note
}
