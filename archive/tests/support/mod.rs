//! Clusters made without nodes: blocks in, archives out. What a replica would answer, from the core's trees alone.
#![allow(dead_code, reason = "each user takes what it needs")]

use std::{collections::BTreeMap, path::Path, sync::Arc};

use prost::Message as _;
use quorate_archive::{ArchiveError, Folder, Published, Storage, Writer};
use quorate_core::{
    checkpoint::Checkpoint,
    entry::{
        CommitLeaf, OpKind, Operation, TransactionLeaf, meta_digest, ops_root, request_id, value_digest,
    },
    frozen::{FreezeRecord, FreezeState, frozen_key},
    hash::{Hash, leaf_hash},
    key::{CosignerKey, LogKey},
    name::{ClusterId, ClusterOrigin, LedgerName},
    note::SignedNote,
    policy::Policy,
    position::{Epoch, LogIndex, Micros, NodeId, Revision},
    state_tree::{MemoryStateTree, StateLeaf},
    tree::Frontier,
};
use quorate_proto::v1::{Content, LogEntry};

/// The documents of `_system` that a node reads back, as far as it does: epoch 1; 15 minutes and 4 MiB.
const COSIGNERS: &[u8] = &[0x08, 1];
const SETTINGS: &[u8] = &[0x08, 0x80, 0xd2, 0x93, 0xad, 0x03, 0x10, 0x80, 0x80, 0x80, 0x02];

/// That there is a ledger `default`.
const REGISTERED: &[u8] = b"\x0a\x07default";

/// What a transaction does.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// Erase the value of this revision of a key.
    Erase(Vec<u8>, u64),
}

pub(crate) fn put(key: &str, value: &str) -> Op {
    Op::Put(key.into(), value.into())
}

/// One ledger: its trees, and the entries that were made since they were last taken.
pub(crate) struct Ledger {
    pub(crate) name: LedgerName,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) log: Frontier,
    pub(crate) state: MemoryStateTree,
    /// Log indexes of all writes of a key.
    writes: BTreeMap<Vec<u8>, Vec<u64>>,
    time: u64,
    requests: u64,
}

impl Ledger {
    fn new(name: &str) -> Self {
        let mut ledger = Self {
            name: LedgerName::new(name).unwrap(),
            entries: Vec::new(),
            log: Frontier::new(),
            state: MemoryStateTree::new(),
            writes: BTreeMap::new(),
            time: 1_790_000_000_000_000,
            requests: 0,
        };
        ledger.block(Vec::new());
        ledger
    }

    /// Commits a block.
    pub(crate) fn block(&mut self, transactions: Vec<Vec<Op>>) {
        self.time += 1_000;
        let first_index = self.log.size().next_index();
        let tx_count = u32::try_from(transactions.len()).unwrap();
        let mut newest = BTreeMap::new();
        for ops in transactions {
            self.transaction(ops, &mut newest);
        }
        self.state.insert_all(newest.into_values()).unwrap();
        let leaf = CommitLeaf {
            time: Micros::new(self.time),
            first_index,
            tx_count,
            state_root: self.state.root(),
            epoch: Epoch::new(1),
        };
        self.append(LogEntry { leaf: leaf.encode().to_vec().into(), ..LogEntry::default() });
    }

    fn transaction(&mut self, ops: Vec<Op>, newest: &mut BTreeMap<Vec<u8>, StateLeaf>) {
        let index = self.log.size().next_index();
        let (mut operations, mut contents) = (Vec::new(), Vec::new());
        for op in ops {
            let (operation, content) = self.operation(op, index);
            if operation.kind.is_write() {
                let leaf = StateLeaf::new(index, operation.encode()).unwrap();
                newest.insert(operation.key.clone(), leaf);
            }
            operations.push(operation.encode());
            contents.push(content);
        }
        self.requests += 1;
        let (meta, salt) = (b"\n\tanonymous".to_vec(), [7; 16]);
        let leaf = TransactionLeaf {
            time: Micros::new(self.time),
            not_after: Micros::new(self.time + 60_000_000),
            op_count: u32::try_from(operations.len()).unwrap(),
            ops_root: ops_root(&operations),
            request_id: request_id("anonymous", &self.requests.to_be_bytes()).unwrap(),
            meta_digest: meta_digest(&salt, &meta),
        };
        self.append(LogEntry {
            leaf: leaf.encode().to_vec().into(),
            operations: operations.into_iter().map(Into::into).collect(),
            contents,
            meta: meta.into(),
            meta_salt: salt.to_vec().into(),
            ..LogEntry::default()
        });
    }

    fn operation(&mut self, op: Op, index: LogIndex) -> (Operation, Content) {
        let (kind, key, value) = match op {
            Op::Put(key, value) => (OpKind::Put, key, value),
            Op::Delete(key) => (OpKind::Delete, key, Vec::new()),
            Op::Erase(key, revision) => return (self.erase(key, revision), Content::default()),
        };
        let writes = self.writes.entry(key.clone()).or_default();
        let prev_index = writes.last().copied().map(LogIndex::new);
        writes.push(index.get());
        let revision = Revision::new(u64::try_from(writes.len()).unwrap());
        let salt = [9; 16];
        let is_put = kind == OpKind::Put;
        let operation = Operation {
            kind,
            revision,
            prev_index,
            expires_at: None,
            value_len: u32::try_from(value.len()).unwrap(),
            value_digest: if is_put { value_digest(&salt, b"", &value) } else { Hash::ZERO },
            key,
        };
        let content = Content { salt: salt.to_vec().into(), value: value.into(), ..Content::default() };
        (operation, if is_put { content } else { Content::default() })
    }

    fn erase(&self, key: Vec<u8>, revision: u64) -> Operation {
        let erased = self.writes[&key][usize::try_from(revision).unwrap() - 1];
        Operation {
            kind: OpKind::Erase,
            revision: Revision::new(revision),
            prev_index: Some(LogIndex::new(erased)),
            expires_at: None,
            value_len: 0,
            value_digest: Hash::ZERO,
            key,
        }
    }

    fn append(&mut self, entry: LogEntry) {
        let index = self.log.push(leaf_hash(&entry.leaf)).get();
        self.entries.push(LogEntry { index, ..entry });
    }
}

/// A cluster: its keys, and its ledgers `_system` and `default`.
pub(crate) struct Cluster {
    pub(crate) origin: ClusterOrigin,
    secret: [u8; 32],
    nodes: Vec<CosignerKey>,
    pub(crate) ledgers: Vec<Ledger>,
}

impl Cluster {
    pub(crate) fn new(seed: u8) -> Self {
        let origin = ClusterOrigin::new("ledger.test", &ClusterId::new([seed; 16])).unwrap();
        let node = |id: u8| {
            let name = origin.node(NodeId::new(u64::from(id)));
            CosignerKey::from_seed(&name, &[seed.wrapping_add(id).wrapping_mul(7); 32]).unwrap()
        };
        let nodes = (1..=3).map(node).collect();
        let mut system = Ledger::new("_system");
        let documents = [("cosigners", COSIGNERS), ("settings", SETTINGS), ("ledgers/default", REGISTERED)];
        let documents = documents.map(|(key, value)| Op::Put(key.into(), value.to_vec()));
        system.block(vec![documents.to_vec()]);
        let ledgers = vec![system, Ledger::new("default")];
        Self { origin, secret: [seed; 32], nodes, ledgers }
    }

    /// Freezes the ledger `default`, or thaws it.
    pub(crate) fn freeze(&mut self, state: FreezeState) {
        let record = FreezeRecord::new(&self.ledgers[1].name, state, "the year is over");
        let key = frozen_key(&self.ledgers[1].name);
        self.ledgers[0].block(vec![vec![Op::Put(key, record.encode_to_vec())]]);
    }

    /// The ledger `default`.
    pub(crate) fn default(&mut self) -> &mut Ledger {
        &mut self.ledgers[1]
    }

    pub(crate) fn log_key(&self, name: &LedgerName) -> LogKey {
        LogKey::derive(&self.secret, &self.origin.ledger(name))
    }

    /// The log lines of all ledgers, and two of three cosigners.
    pub(crate) fn policy(&self) -> Policy {
        let cosigners: Vec<_> = self.nodes.iter().map(|node| node.verifier().clone()).collect();
        let mut text = String::new();
        for ledger in &self.ledgers[1..] {
            text.push_str(&format!("log {}\n", self.log_key(&ledger.name).verifier()));
        }
        let first = self.log_key(&self.ledgers[0].name);
        text.push_str(&Policy::majority(first.verifier(), &cosigners).unwrap().to_string());
        Policy::parse(text).unwrap()
    }

    /// The head of a ledger, signed by the log and these many nodes.
    pub(crate) fn note(&self, ledger: &Ledger, nodes: usize) -> SignedNote {
        let origin = self.origin.ledger(&ledger.name).to_string();
        let checkpoint = Checkpoint { origin, size: ledger.log.size(), root: ledger.log.root() };
        let mut note = SignedNote::new(checkpoint.clone());
        note.add(self.log_key(&ledger.name).sign(&checkpoint));
        for node in &self.nodes[..nodes] {
            note.add(node.cosign(&checkpoint, ledger.time / 1_000_000).unwrap().to_line());
        }
        note
    }

    /// A backup: what is new since the archive was last written.
    pub(crate) fn backup(&self, dir: &Path) -> Result<Published, ArchiveError> {
        self.backup_in(Arc::new(Folder::new(dir)))
    }

    /// The same, anywhere.
    pub(crate) fn backup_in(&self, storage: Arc<dyn Storage>) -> Result<Published, ArchiveError> {
        let mut writer = Writer::open_in(storage, &self.origin)?;
        for ledger in &self.ledgers {
            let mut target = writer.ledger(&ledger.name);
            let from = usize::try_from(target.next().get()).unwrap();
            for entry in ledger.entries.get(from..).unwrap_or_default() {
                target.push(entry)?;
            }
            target.finish(self.note(ledger, 2))?;
        }
        writer.publish(&self.policy())
    }
}
