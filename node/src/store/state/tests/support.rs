//! What the tests stand on: a store in a temporary directory, and blocks in short words.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    hash::{Hash, sha256},
    key::LogKey,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{BlockHeight, Epoch},
};
use quorate_ledger::{
    apply::apply,
    block::{Block, Genesis, Put, Request, Write},
    effects::Effects,
    outcome::RequestOutcome,
    system::{LedgerRecord, ledger_key},
};

use super::super::{ReadView, StateOptions, StateStore, ledger::LedgerView};
use crate::store::{
    faults::StoreFault,
    log::{Identity, LogId},
};
use std::sync::Arc;

/// When the tests begin, microseconds.
pub(crate) const START: u64 = 1_790_000_000_000_000;
pub(crate) const CLUSTER: [u8; 16] = [0x44; 16];
pub(crate) const CLUSTER_NAME: &str = "ledger.example/test";

pub(crate) fn identity(node_id: u64) -> Identity {
    Identity { cluster_id: CLUSTER, node_id }
}

/// Small bounds, and no flush but those asked for.
pub(crate) fn options() -> StateOptions {
    StateOptions {
        block_cache_bytes: 1 << 20,
        // Nothing is flushed that is not asked for: memtables take more where a thread moves between cores.
        write_buffer_bytes: 64 << 20,
        trie_cache_bytes: 16 << 10,
        tile_cache_bytes: 64 << 10,
        flush_entries: u64::MAX,
        bulk: false,
    }
}

/// A store and where it is.
pub(crate) struct Rig {
    pub(crate) home: tempfile::TempDir,
    pub(crate) identity: Identity,
    store: Option<StateStore>,
}

impl Rig {
    /// An empty store of node 1.
    pub(crate) fn new() -> Self {
        Self::of(identity(1))
    }

    pub(crate) fn of(identity: Identity) -> Self {
        let home = tempfile::tempdir().unwrap();
        StateStore::create(&home.path().join("state"), identity, &options()).unwrap();
        let mut rig = Self { home, identity, store: None };
        rig.open();
        rig
    }

    /// A store with a cluster and the ledger `default`.
    pub(crate) fn founded() -> Self {
        let rig = Self::new();
        rig.apply(&genesis(CLUSTER_NAME, CLUSTER, START));
        rig.apply(&block(START, [birth(&origin(), "default")]));
        rig
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// Closes the store.
    pub(crate) fn close(&mut self) {
        self.store = None;
    }

    pub(crate) fn open(&mut self) {
        self.store = Some(StateStore::open(&self.path(), self.identity, options()).unwrap());
    }

    /// Goes on as after a crash at this moment: with what is on the disk.
    pub(crate) fn crash(&mut self) {
        let copy = self.home.path().join("copy");
        // A copy of moving files is no crash; nothing is flushed by this.
        let still = rocksdb::WaitForCompactOptions::default();
        self.view().database.rocksdb().wait_for_compact(&still).unwrap();
        copy_directory(&self.path(), &copy);
        self.close();
        fs::remove_dir_all(self.path()).unwrap();
        fs::rename(copy, self.path()).unwrap();
        self.open();
    }

    pub(crate) fn store(&self) -> &StateStore {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn view(&self) -> Arc<ReadView> {
        self.store().view()
    }

    pub(crate) fn ledger(&self) -> Arc<LedgerView> {
        Arc::clone(self.view().ledger(&default()).unwrap())
    }

    /// The entry behind the last one.
    pub(crate) fn next_entry(&self) -> LogId {
        next_entry(self.store())
    }

    /// Applies a block as the next one.
    pub(crate) fn apply(&self, block: &Block) -> Effects {
        apply_to(self.store(), block, None).unwrap()
    }

    /// Applies a block of one request, which has to be committed.
    pub(crate) fn commit(&self, writes: impl IntoIterator<Item = Write>) -> Effects {
        let key = format!("request {}", self.next_entry().index);
        let effects = self.apply(&block(START, [request("default", &key, writes)]));
        assert!(
            matches!(effects.outcome.requests[..], [RequestOutcome::Committed(_)]),
            "{:?}",
            effects.outcome
        );
        effects
    }
}

pub(crate) fn next_entry(store: &StateStore) -> LogId {
    let index = store.view().applied().last.map_or(0, |last| last.index + 1);
    LogId { term: 1, index }
}

/// Applies a block as the next one; `epoch`: as if this one were in force.
pub(crate) fn apply_to(
    store: &StateStore,
    block: &Block,
    epoch: Option<Epoch>,
) -> Result<Effects, StoreFault> {
    store.apply(next_entry(store), |view, tries| {
        let mut view = view.clone();
        let present = view.cluster.epoch;
        view.cluster.epoch = epoch.unwrap_or(present);
        let height =
            view.cluster.last_block.map_or(BlockHeight::new(0), |(height, _)| height.next().unwrap());
        let mut effects = apply(&view, tries, block, height, hash_of(block))
            .map_err(|error| StoreFault::diverged("test", "ok", error))?;
        // What is in force is what the documents say.
        effects.cluster.epoch = if epoch.is_some() { present } else { effects.cluster.epoch };
        Ok(effects)
    })
}

fn hash_of(block: &Block) -> Hash {
    sha256(&[&block.encode_to_vec()])
}

pub(crate) fn default() -> LedgerName {
    LedgerName::new("default").unwrap()
}

pub(crate) fn origin() -> ClusterOrigin {
    ClusterOrigin::new(CLUSTER_NAME, &ClusterId::new(CLUSTER)).unwrap()
}

pub(crate) fn genesis(name: &str, id: [u8; 16], time: u64) -> Block {
    let cluster_id = Bytes::copy_from_slice(&id);
    Block { time, requests: Vec::new(), genesis: Some(Genesis { cluster_id, cluster_name: name.to_owned() }) }
}

pub(crate) fn block(time: u64, requests: impl IntoIterator<Item = Request>) -> Block {
    Block { time, requests: requests.into_iter().collect(), genesis: None }
}

pub(crate) fn request(ledger: &str, key: &str, writes: impl IntoIterator<Item = Write>) -> Request {
    Request {
        ledger: ledger.to_owned(),
        author: "anonymous".to_owned(),
        idempotency_key: Bytes::copy_from_slice(key.as_bytes()),
        not_after: START + 60_000_000,
        meta: Bytes::from_static(b"\x0a\x09anonymous"),
        meta_salt: Bytes::from_static(&[1; 16]),
        preconditions: Vec::new(),
        writes: writes.into_iter().collect(),
    }
}

pub(crate) fn put(key: &[u8], value: &[u8]) -> Write {
    let put = Put {
        salt: Bytes::from_static(&[2; 16]),
        attributes: Bytes::from_static(b"attributes"),
        value: Bytes::copy_from_slice(value),
        expires_at: 0,
    };
    Write { key: Bytes::copy_from_slice(key), put: Some(put), erase: None }
}

pub(crate) fn delete(key: &[u8]) -> Write {
    Write { key: Bytes::copy_from_slice(key), put: None, erase: None }
}

pub(crate) fn erase(key: &[u8], revision: u64) -> Write {
    Write { key: Bytes::copy_from_slice(key), put: None, erase: Some(revision) }
}

/// The request that creates a ledger.
pub(crate) fn birth(origin: &ClusterOrigin, name: &str) -> Request {
    let name = LedgerName::new(name).unwrap();
    let origin = origin.ledger(&name);
    let record = LedgerRecord {
        name: name.as_str().to_owned(),
        origin: origin.as_str().to_owned(),
        log_vkey: LogKey::derive(&[7; 32], &origin).verifier().to_string(),
    };
    request("_system", &format!("create {name}"), [put(&ledger_key(&name), &record.encode_to_vec())])
}

pub(crate) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else if let Err(error) = fs::copy(entry.path(), target) {
            // RocksDB removes files that it does not need any more when it likes.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}

/// The names in a directory, sorted.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
