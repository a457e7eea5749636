//! openraft's storage suite on the RocksDB log store and the adapters.

use std::sync::Arc;

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;
use tokio::sync::watch;

use super::toy::{Toy, ToyState};
use crate::{
    consensus::{
        ConsensusConfig, Machine, log_storage::RaftLog, own_fault::OwnFault, snapshot_kept::Outgoing,
        state_machine::RaftMachine, types::TypeConfig,
    },
    pace::Load,
    store::log::{Identity, LogConfig, LogStore},
};

/// `tail_entries`: how much the log store keeps in memory, so that the suite also runs on the database alone.
struct Builder {
    tail_entries: usize,
}

impl StoreBuilder<TypeConfig, RaftLog, RaftMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, RaftLog, RaftMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { cluster_id: [7; 16], node_id: 1 };
        LogStore::create(&dir.path().join("log"), identity).unwrap();
        let config = LogConfig { tail_entries: self.tail_entries, ..LogConfig::default() };
        let store = LogStore::open(&dir.path().join("log"), identity, config).unwrap();
        let toy: Arc<dyn Machine> = Arc::new(Toy::new(dir.path(), ToyState::default(), true));
        let settings = ConsensusConfig::new(identity.cluster_id, identity.node_id).snapshot;
        let outgoing = Outgoing::new(Arc::clone(&toy), settings, Load::none());
        // The suite purges what it never applied; a limit is only set when consensus starts.
        let applied = Arc::new(watch::channel(None).0);
        let machine = RaftMachine::new(toy, outgoing, store.clone(), applied, OwnFault::default()).unwrap();
        Ok((dir, RaftLog::new(store, 1 << 20, OwnFault::default()), machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes_with_entries_in_memory() {
    Suite::test_all(Builder { tail_entries: 65_536 }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes_with_entries_read_from_the_database() {
    Suite::test_all(Builder { tail_entries: 1 }).await.unwrap();
}
