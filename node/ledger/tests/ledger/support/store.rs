//! A store in memory: writes effects as the node's store does, and serves them as a view.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Bound,
    sync::Arc,
};

use prost::bytes::Bytes;
use quorate_core::{
    entry::Operation,
    hash::Hash,
    name::LedgerName,
    position::{Epoch, LogIndex, Revision},
    state_tree::StateLeaf,
};
use quorate_ledger::{
    effects::{BucketChange, BucketSummary, Content, Effects, LedgerEffects},
    trie::Tries,
    view::{ClusterState, KnownRequest, LeafCursor, LeafSource, LedgerHead, LedgerId, Settings, View},
};

/// A failed read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadFailed;

/// Everything that is stored.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) cluster: ClusterState,
    pub(crate) heads: BTreeMap<LedgerName, Arc<LedgerHead>>,
    pub(crate) leaves: BTreeMap<(LedgerId, Vec<u8>), StateLeaf>,
    pub(crate) buckets: BTreeMap<(LedgerId, Vec<u8>), BucketSummary>,
    pub(crate) contents: BTreeMap<(LedgerId, LogIndex, Bytes), Content>,
    requests: BTreeMap<(LedgerId, Hash), KnownRequest>,
    revisions: BTreeMap<(LedgerId, Vec<u8>, Revision), LogIndex>,
    /// How many more reads succeed; `None`: all.
    pub(crate) reads_left: Cell<Option<u32>>,
    /// The first keys of the buckets that were read, in the order in which they were.
    pub(crate) buckets_read: RefCell<Vec<Vec<u8>>>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            cluster: ClusterState {
                origin: None,
                id: None,
                last_block: None,
                epoch: Epoch::new(0),
                registry: Arc::default(),
                settings: Settings::default(),
                next_ledger: LedgerId(0),
                continues: None,
                frozen: Arc::default(),
            },
            heads: BTreeMap::new(),
            leaves: BTreeMap::new(),
            buckets: BTreeMap::new(),
            contents: BTreeMap::new(),
            requests: BTreeMap::new(),
            revisions: BTreeMap::new(),
            reads_left: Cell::new(None),
            buckets_read: RefCell::default(),
        }
    }

    /// Writes the effects of a block.
    pub(crate) fn write(&mut self, effects: &Effects) {
        self.cluster = effects.cluster.clone();
        for ledger in &effects.ledgers {
            self.write_ledger(ledger);
        }
    }

    fn write_ledger(&mut self, effects: &LedgerEffects) {
        let id = effects.id();
        assert_eq!(effects.born, !self.heads.contains_key(&effects.head.name));
        self.heads.insert(effects.head.name.clone(), Arc::new(effects.head.clone()));
        for (number, transaction) in effects.transactions.iter().enumerate() {
            let index = effects.first_index.checked_add(number as u64).unwrap();
            for (op, content) in transaction.operations.iter().zip(&transaction.contents) {
                let operation = Operation::decode(op).unwrap();
                if let Some(content) = content {
                    self.contents.insert((id, index, Bytes::from(operation.key.clone())), content.clone());
                }
                if operation.kind.is_write() {
                    self.revisions.insert((id, operation.key, operation.revision), index);
                }
            }
        }
        for erasure in &effects.erased {
            assert!(erasure.index < effects.first_index);
            self.contents.remove(&(id, erasure.index, erasure.key.clone()));
        }
        for new in &effects.requests {
            let earlier = self.requests.insert((id, new.id), new.known);
            assert_eq!(earlier.is_some(), new.again);
        }
        self.write_leaves(id, &effects.state_leaves);
        self.write_buckets(id, &effects.buckets);
    }

    pub(crate) fn write_leaves(&mut self, ledger: LedgerId, leaves: &[(LogIndex, impl AsRef<[u8]>)]) {
        for (index, op) in leaves {
            let leaf = StateLeaf::new(*index, op.as_ref().to_vec()).unwrap();
            self.leaves.insert((ledger, leaf.key().to_vec()), leaf);
        }
    }

    pub(crate) fn write_buckets(&mut self, ledger: LedgerId, changes: &[BucketChange]) {
        assert!(changes.is_sorted_by(|a, b| a.first_key < b.first_key));
        for change in changes {
            let key = (ledger, change.first_key.clone());
            match change.bucket {
                Some(bucket) => self.buckets.insert(key, bucket),
                None => Some(self.buckets.remove(&key).expect("only a stored bucket goes")),
            };
        }
    }

    /// A ledger's buckets, in key order.
    pub(crate) fn buckets_of(
        &self,
        ledger: LedgerId,
    ) -> impl Iterator<Item = Result<(Vec<u8>, BucketSummary), ReadFailed>> {
        let all = self.buckets.range((ledger, Vec::new())..);
        all.take_while(move |((id, _), _)| *id == ledger).map(|((_, key), bucket)| Ok((key.clone(), *bucket)))
    }

    /// The state trees as a restart finds them.
    pub(crate) fn open_tries(&self, cache_bytes: usize) -> Tries {
        let mut tries = Tries::new(cache_bytes);
        for head in self.heads.values() {
            tries.open(head.id, &head.state_root, self.buckets_of(head.id)).unwrap();
        }
        tries
    }

    fn read(&self) -> Result<(), ReadFailed> {
        match self.reads_left.get() {
            Some(0) => Err(ReadFailed),
            left => {
                self.reads_left.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

impl View for Store {
    type Error = ReadFailed;

    fn cluster(&self) -> Result<ClusterState, ReadFailed> {
        self.read()?;
        Ok(self.cluster.clone())
    }

    fn ledger(&self, name: &LedgerName) -> Result<Option<Arc<LedgerHead>>, ReadFailed> {
        self.read()?;
        Ok(self.heads.get(name).cloned())
    }

    fn request(&self, ledger: LedgerId, request_id: &Hash) -> Result<Option<KnownRequest>, ReadFailed> {
        self.read()?;
        Ok(self.requests.get(&(ledger, *request_id)).copied())
    }

    fn write_index(
        &self,
        ledger: LedgerId,
        key: &[u8],
        revision: Revision,
    ) -> Result<Option<LogIndex>, ReadFailed> {
        self.read()?;
        Ok(self.revisions.get(&(ledger, key.to_vec(), revision)).copied())
    }
}

impl LeafSource for Store {
    type Error = ReadFailed;
    type Leaves<'s> = StoreLeaves<'s>;

    fn leaves(&self, ledger: LedgerId) -> Result<StoreLeaves<'_>, ReadFailed> {
        Ok(StoreLeaves { store: self, ledger })
    }
}

/// Reads of one ledger's leaves.
#[derive(Debug)]
pub(crate) struct StoreLeaves<'s> {
    store: &'s Store,
    ledger: LedgerId,
}

impl LeafCursor for StoreLeaves<'_> {
    type Error = ReadFailed;

    fn read(
        &mut self,
        first: &[u8],
        count: usize,
        mut each: impl FnMut(LogIndex, &[u8], &[u8]),
    ) -> Result<(), ReadFailed> {
        self.store.read()?;
        self.store.buckets_read.borrow_mut().push(first.to_vec());
        let range = (Bound::Included((self.ledger, first.to_vec())), Bound::Unbounded);
        let leaves = self.store.leaves.range(range).take_while(|((id, _), _)| *id == self.ledger);
        for (_, leaf) in leaves.take(count) {
            let (fixed, key) = leaf.op().split_at(Operation::FIXED_LEN);
            each(leaf.index(), fixed, key);
        }
        Ok(())
    }
}
