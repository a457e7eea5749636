//! A replica: a store, its state trees, and blocks applied to them.

use prost::{Message, bytes::Bytes};
use quorate_core::{
    hash::{Hash, sha256},
    key::LogKey,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{BlockHeight, Micros},
};
use quorate_ledger::{
    apply::{ApplyError, apply},
    block::{Block, Genesis, Request},
    effects::Effects,
    outcome::RequestOutcome,
    system::{LedgerRecord, ledger_key},
    trie::{TrieSnapshot, Tries},
    view::{LedgerHead, LedgerId},
};

use super::{
    requests::{put, request},
    store::{ReadFailed, Store},
};

/// When the tests begin, microseconds.
pub(crate) const START: u64 = 1_790_000_000_000_000;

pub(crate) const CLUSTER_ID: ClusterId = ClusterId::new([0x44; 16]);
pub(crate) const CLUSTER_NAME: &str = "ledger.example/test";

/// A replica in memory.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) store: Store,
    pub(crate) tries: Tries,
    cache_bytes: usize,
}

impl Replica {
    /// Nothing founded yet.
    pub(crate) fn empty(cache_bytes: usize) -> Self {
        Self { store: Store::new(), tries: Tries::new(cache_bytes), cache_bytes }
    }

    /// A cluster with these ledgers, at [`START`].
    pub(crate) fn with_ledgers(cache_bytes: usize, ledgers: &[&str]) -> Self {
        let mut replica = Self::empty(cache_bytes);
        replica.apply(&genesis(CLUSTER_NAME, &CLUSTER_ID, START));
        let births = ledgers.iter().map(|name| birth(&origin(), name));
        let outcomes = replica.apply(&block(START, births)).outcome.requests;
        assert!(
            outcomes.iter().all(|outcome| matches!(outcome, RequestOutcome::Committed(_))),
            "{outcomes:?}"
        );
        replica
    }

    pub(crate) fn next_height(&self) -> BlockHeight {
        self.store.cluster.last_block.map_or(BlockHeight::new(0), |(height, _)| height.next().unwrap())
    }

    /// Applies a block as the next one and stores what it does.
    pub(crate) fn apply(&mut self, block: &Block) -> Effects {
        self.try_apply(block).expect("the block can be applied")
    }

    pub(crate) fn try_apply(&mut self, block: &Block) -> Result<Effects, ApplyError<ReadFailed>> {
        let height = self.next_height();
        let effects = apply(&self.store, &mut self.tries, block, height, hash_of(block))?;
        self.store.write(&effects);
        Ok(effects)
    }

    /// Applies a block with one request, and gives its outcome.
    pub(crate) fn ask(&mut self, time: u64, request: Request) -> RequestOutcome {
        let mut effects = self.apply(&block(time, [request]));
        effects.outcome.requests.pop().unwrap()
    }

    /// Forgets all that is not stored.
    pub(crate) fn restart(&mut self) {
        self.tries = self.store.open_tries(self.cache_bytes);
    }

    pub(crate) fn head(&self, ledger: &str) -> &LedgerHead {
        &self.store.heads[&LedgerName::new(ledger).unwrap()]
    }

    pub(crate) fn id(&self, ledger: &str) -> LedgerId {
        self.head(ledger).id
    }

    pub(crate) fn snapshot(&self, ledger: &str) -> TrieSnapshot {
        self.tries.snapshot(self.id(ledger)).unwrap()
    }
}

/// A stand-in for the hash of the signed block.
pub(crate) fn hash_of(block: &Block) -> Hash {
    sha256(&[&block.encode_to_vec()])
}

pub(crate) fn origin() -> ClusterOrigin {
    ClusterOrigin::new(CLUSTER_NAME, &CLUSTER_ID).unwrap()
}

pub(crate) fn genesis(name: &str, id: &ClusterId, time: u64) -> Block {
    let cluster_id = Bytes::copy_from_slice(id.as_bytes());
    Block { time, requests: Vec::new(), genesis: Some(Genesis { cluster_id, cluster_name: name.to_owned() }) }
}

pub(crate) fn block(time: u64, requests: impl IntoIterator<Item = Request>) -> Block {
    Block { time, requests: requests.into_iter().collect(), genesis: None }
}

/// The request that creates a ledger.
pub(crate) fn birth(origin: &ClusterOrigin, name: &str) -> Request {
    let name = LedgerName::new(name).unwrap();
    let record = record(origin, &name);
    let write = put(&ledger_key(&name), &record.encode_to_vec());
    request("_system", &format!("create {name}"), Micros::new(START + 60_000_000), [write])
}

pub(crate) fn record(origin: &ClusterOrigin, name: &LedgerName) -> LedgerRecord {
    let origin = origin.ledger(name);
    let key = LogKey::derive(&[7; 32], &origin);
    LedgerRecord {
        name: name.as_str().to_owned(),
        origin: origin.as_str().to_owned(),
        log_vkey: key.verifier().to_string(),
    }
}
