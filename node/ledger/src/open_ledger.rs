//! A ledger while a block is applied to it: its state before, and what the block has done so far.

use std::{collections::BTreeMap, sync::Arc};

use prost::bytes::Bytes;
use quorate_core::{
    entry::{CommitLeaf, MAX_KEY_LEN, Operation, TransactionLeaf, meta_digest, ops_root},
    hash::{Hash, leaf_hash},
    name::LedgerName,
    position::{Epoch, LogIndex, Micros, Revision},
};

use crate::{
    apply::ApplyError,
    block::{Request, Write},
    effects::{Content, Erasure, LedgerEffects, NewRequest, TransactionRecord},
    judge::{Facts, Newest, WriteFacts, salt},
    keys::{Key, Keys, Place, Written},
    trie::{LeafReader, TrieError, Tries},
    view::{KnownRequest, LeafSource, LedgerHead, LedgerId, View},
};

/// A ledger that a block may change.
pub(crate) struct OpenLedger<'v, V: LeafSource> {
    before: Arc<LedgerHead>,
    born: bool,
    /// The time of the leaves this block adds.
    time: Micros,
    transactions: Vec<TransactionRecord>,
    /// The keys that the block's requests name.
    keys: Keys<'v>,
    requests: BTreeMap<Hash, NewRequest>,
    erased: Vec<Erasure>,
    view: &'v V,
    leaves: LeafReader<'v, V>,
}

/// What is known of a request by the time it is judged.
pub(crate) enum Earlier {
    /// The transaction at this index is its answer.
    Known(LogIndex),
    /// There was a transaction, and its time is over.
    Forgotten,
    /// There was none.
    Never,
}

impl<'v, V> OpenLedger<'v, V>
where
    V: View + LeafSource<Error = <V as View>::Error>,
{
    /// A ledger as `view` has it, in a block of this time.
    pub(crate) fn new(view: &'v V, before: Arc<LedgerHead>, born: bool, block_time: Micros) -> Self {
        Self {
            view,
            leaves: LeafReader::new(view),
            time: block_time.max(before.time),
            before,
            born,
            transactions: Vec::new(),
            keys: Keys::default(),
            requests: BTreeMap::new(),
            erased: Vec::new(),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &LedgerName {
        &self.before.name
    }

    /// The time of the leaves this block adds.
    pub(crate) fn time(&self) -> Micros {
        self.time
    }

    /// Whether the block adds leaves here.
    pub(crate) fn is_touched(&self) -> bool {
        self.born || !self.transactions.is_empty()
    }

    /// Log index that the next transaction of the block gets.
    fn next_index(&self) -> LogIndex {
        self.index_of(self.transactions.len())
    }

    /// Log index of a transaction of the block.
    pub(crate) fn index_of(&self, transaction: usize) -> LogIndex {
        let first = self.before.frontier.size().next_index();
        u64::try_from(transaction).ok().and_then(|count| first.checked_add(count)).expect("a log index fits")
    }

    /// The transactions so far.
    pub(crate) fn transactions(&self) -> &[TransactionRecord] {
        &self.transactions
    }

    /// Whether a transaction answered this request before.
    pub(crate) fn known(&self, request_id: &Hash) -> Result<Earlier, ApplyError<<V as View>::Error>> {
        let earlier = match self.requests.get(request_id) {
            Some(new) => Some(new.known),
            None => self.view.request(self.before.id, request_id).map_err(ApplyError::Store)?,
        };
        Ok(match earlier {
            Some(known) if self.time <= known.not_after => Earlier::Known(known.index),
            Some(_) => Earlier::Forgotten,
            None => Earlier::Never,
        })
    }

    /// Takes in the keys that these requests of the block name (with their positions in it), which may be anything, and
    /// finds each in the state tree, in key order: neighbours are met together. What cannot be read is passed over:
    /// whoever needs it meets it again, and says so.
    pub(crate) fn prepare(&mut self, tries: &Tries, requests: &[(usize, &'v Request)]) {
        self.keys = Keys::of(requests);
        let Some(trie) = tries.get(self.before.id) else { return };
        let valid = |key: &&mut Key<'_>| (1..=MAX_KEY_LEN).contains(&key.bytes.len());
        for key in self.keys.iter_mut().filter(valid) {
            let Ok(found) = trie.lookup(&self.leaves, key.bytes) else { return };
            key.before = Some(found.map(|(index, operation)| Newest::new(index, &operation)));
        }
    }

    /// Whether two writes of the request at this position of the block have the same key.
    pub(crate) fn repeats(&self, position: usize) -> bool {
        self.keys.repeat(position)
    }

    /// Reads the state of all keys of the request at this position of the block, the block's earlier requests included.
    pub(crate) fn facts(
        &self,
        tries: &Tries,
        position: usize,
        request: &Request,
    ) -> Result<Facts, ApplyError<<V as View>::Error>> {
        let (asked, written) = self.keys.of_request(position).split_at(request.preconditions.len());
        let facts = |(write, key): (&Write, &usize)| -> Result<_, ApplyError<<V as View>::Error>> {
            let newest = self.newest(tries, *key)?;
            Ok(WriteFacts { newest, erased: self.erased_index(write, *key, newest.as_ref())? })
        };
        Ok(Facts {
            preconditions: asked.iter().map(|key| self.newest(tries, *key)).collect::<Result<_, _>>()?,
            writes: request.writes.iter().zip(written).map(facts).collect::<Result<_, _>>()?,
        })
    }

    /// The newest write of a key.
    fn newest(&self, tries: &Tries, key: usize) -> Result<Option<Newest>, ApplyError<<V as View>::Error>> {
        let key = &self.keys[key];
        if let Some(written) = &key.written {
            return Ok(Some(written.newest));
        }
        if let Some(before) = key.before {
            return Ok(before);
        }
        let trie = tries.get(self.before.id).expect("the tree of an open ledger was there");
        let found = trie.lookup(&self.leaves, key.bytes)?;
        Ok(found.map(|(index, operation)| Newest::new(index, &operation)))
    }

    /// For an erase: the log index of the write to be erased; `None` if there is none.
    fn erased_index(
        &self,
        write: &Write,
        key: usize,
        newest: Option<&Newest>,
    ) -> Result<Option<LogIndex>, ApplyError<<V as View>::Error>> {
        let (Some(revision), Some(newest)) = (write.erase.map(Revision::new), newest) else {
            return Ok(None);
        };
        if revision < Revision::FIRST || revision > newest.revision {
            return Ok(None);
        }
        if let Some((transaction, _)) = self.place_of(key, revision) {
            return Ok(Some(self.index_of(transaction)));
        }
        let ledger = self.before.id;
        let stored = self.view.write_index(ledger, &write.key, revision).map_err(ApplyError::Store)?;
        stored.map(Some).ok_or_else(|| ApplyError::LostRevision { ledger, key: write.key.to_vec(), revision })
    }

    /// Where this revision of a key is, if the block wrote it.
    fn place_of(&self, key: usize, revision: Revision) -> Option<Place> {
        let written = self.keys[key].written.as_ref()?;
        written.place_before(usize::try_from(written.newest.revision.since(revision)?).ok()?)
    }

    /// Commits the request at this position of the block with these operations; `again`: whether the view has an
    /// earlier transaction of it.
    pub(crate) fn commit(
        &mut self,
        (position, request): (usize, &Request),
        (request_id, again): (Hash, bool),
        operations: Vec<Operation>,
    ) {
        let index = self.next_index();
        let keys = self.keys.of_request(position)[request.preconditions.len()..].to_vec();
        for (number, (key, operation)) in keys.into_iter().zip(&operations).enumerate() {
            if operation.kind.is_write() {
                let place = (self.transactions.len(), number);
                self.keys[key].write(Newest::new(index, operation), place);
            } else {
                self.erase(key, operation);
            }
        }
        let operations = encode_all(&operations);
        let not_after = Micros::new(request.not_after);
        let leaf = TransactionLeaf {
            time: self.time,
            not_after,
            op_count: u32::try_from(operations.len()).expect("the form was checked"),
            ops_root: ops_root(&operations),
            request_id,
            meta_digest: meta_digest(&salt(&request.meta_salt).expect("the form was checked"), &request.meta),
        };
        self.requests.insert(
            request_id,
            NewRequest { id: request_id, known: KnownRequest { index, not_after }, again },
        );
        self.transactions.push(TransactionRecord {
            leaf: leaf.encode().to_vec(),
            operations,
            meta: request.meta.clone(),
            meta_salt: request.meta_salt.clone(),
            contents: request.writes.iter().map(content).collect(),
        });
    }

    /// Destroys what an earlier transaction wrote: at once if this block wrote it, through the store otherwise.
    fn erase(&mut self, key: usize, operation: &Operation) {
        match (self.place_of(key, operation.revision), operation.prev_index) {
            (Some((transaction, position)), _) => self.transactions[transaction].contents[position] = None,
            (None, Some(index)) => self.erased.push(Erasure { index, key: self.keys[key].bytes.clone() }),
            (None, None) => {}
        }
    }

    /// Ends the block here: its leaves, the state tree, the new head.
    pub(crate) fn close(
        self,
        tries: &mut Tries,
        epoch: Epoch,
    ) -> Result<LedgerEffects, TrieError<<V as View>::Error>> {
        let first_index = self.index_of(0);
        let (state_leaves, state_positions): (Vec<_>, Vec<_>) =
            self.keys.written().map(|written| self.state_leaf(written)).unzip();
        let trie = tries.get_mut(self.before.id).expect("the tree of an open ledger was there");
        let buckets = trie.update(&self.leaves, &state_leaves)?;
        let commit_leaf = CommitLeaf {
            time: self.time,
            first_index,
            tx_count: u32::try_from(self.transactions.len()).expect("a block has few transactions"),
            state_root: trie.root(),
            epoch,
        };
        let commit_leaf = commit_leaf.encode().to_vec();
        let leaves = self.transactions.iter().map(|transaction| &transaction.leaf).chain([&commit_leaf]);
        let leaf_hashes: Vec<Hash> = leaves.map(|leaf| leaf_hash(leaf)).collect();
        let mut head = LedgerHead { time: self.time, state_root: trie.root(), ..(*self.before).clone() };
        head.frontier.extend(leaf_hashes.iter().copied());
        Ok(LedgerEffects {
            head,
            born: self.born,
            first_index,
            commit_leaf,
            leaf_hashes,
            state_leaves,
            state_positions,
            buckets,
            requests: self.requests.into_values().collect(),
            erased: self.erased,
            transactions: self.transactions,
        })
    }

    /// The newest write of a key that the block has written, and its position in its transaction.
    fn state_leaf(&self, written: &Written) -> ((LogIndex, Bytes), u16) {
        let (transaction, position) = written.place;
        let operation = self.transactions[transaction].operations[position].clone();
        let position = u16::try_from(position).expect("the form was checked");
        ((written.newest.index, operation), position)
    }

    /// The ledger's number.
    pub(crate) fn id(&self) -> LedgerId {
        self.before.id
    }
}

/// Encoded operations, one behind the other in one run of memory.
fn encode_all(operations: &[Operation]) -> Vec<Bytes> {
    let keys: usize = operations.iter().map(|operation| operation.key.len()).sum();
    let mut bytes = Vec::with_capacity(operations.len() * Operation::FIXED_LEN + keys);
    let mut encode = |operation: &Operation| {
        operation.encode_to(&mut bytes);
        bytes.len()
    };
    let ends: Vec<usize> = operations.iter().map(&mut encode).collect();
    let mut rest = Bytes::from(bytes);
    let mut start = 0;
    let split = |end| {
        let operation = rest.split_to(end - start);
        start = end;
        operation
    };
    ends.into_iter().map(split).collect()
}

/// What a write leaves to be stored apart.
fn content(write: &Write) -> Option<Content> {
    write.put.as_ref().map(|put| Content {
        salt: put.salt.clone(),
        attributes: put.attributes.clone(),
        value: put.value.clone(),
    })
}
