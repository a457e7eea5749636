//! Which nodes have started, and whether this one takes part: notes that are never forgotten.
//!
//! They are durable records of the log store, and so under its floor: `life/own` (16 bytes), `life/takes-part` (empty),
//! and `life/<id>`, the first life that a founder told. Nothing is ever overwritten or removed. The life of a node that
//! joined later is in its record in `_system`.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use quorate_core::position::NodeId;
use tokio::sync::Mutex;

use super::open::Stores;
use crate::{
    cluster::Cluster,
    peer::{EnrollHandler, Enrolled, Life},
    store::{
        log::{LogFault, LogStore},
        state::{SEEDED_AT, StateStore},
    },
};

const OWN: &[u8] = b"life/own";
const TAKES_PART: &[u8] = b"life/takes-part";

/// Why a note cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The log store.
    #[error(transparent)]
    Log(#[from] LogFault),
    /// A record that is none.
    #[error("the record of the life of {0} is damaged: replace this node by a new one under a new id")]
    Damaged(String),
    /// The operating system.
    #[error("no random bytes from the operating system: {0}")]
    Random(#[from] getrandom::Error),
}

/// The notes of this node. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Register(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: LogStore,
    state: Arc<StateStore>,
    /// Whom this node asks.
    others: BTreeSet<NodeId>,
    founders: BTreeSet<NodeId>,
    own: Life,
    takes_part: AtomicBool,
    /// Held from looking whether there is a note until it is made.
    noting: Mutex<()>,
}

impl Register {
    /// Reads the notes, and draws this node's life if it has none. A log that has been in use before there were notes
    /// takes part. One that was only seeded ([`SEEDED_AT`]) does not: nobody was told anything yet.
    pub(super) async fn open(me: NodeId, cluster: &Cluster, stores: &Stores) -> Result<Self, RegisterError> {
        let log = stores.log.clone();
        let own = match log.record(OWN) {
            Some(record) => {
                Life::from_bytes(&record).ok_or_else(|| RegisterError::Damaged("this node".to_owned()))?
            }
            None => {
                let own = Life::random()?;
                log.put_records(vec![(OWN.to_vec(), own.to_bytes())])?.await;
                own
            }
        };
        let bounds = log.bounds();
        let has_entries = bounds.last.is_some_and(|last| last != SEEDED_AT);
        let takes_part = log.record(TAKES_PART).is_some() || has_entries || bounds.vote.is_some();
        let others = cluster.peers().into_keys().filter(|id| *id != me).collect();
        let founders = cluster.members.keys().copied().collect();
        let (state, takes_part) = (Arc::clone(&stores.state), AtomicBool::new(takes_part));
        Ok(Self(Arc::new(Inner { log, state, others, founders, own, takes_part, noting: Mutex::default() })))
    }

    /// The other nodes that the cluster file names.
    pub(super) fn others(&self) -> &BTreeSet<NodeId> {
        &self.0.others
    }

    /// This node's life.
    pub(super) fn own(&self) -> Life {
        self.0.own
    }

    /// Whether this node may have voted or acknowledged.
    pub(super) fn takes_part(&self) -> bool {
        self.0.takes_part.load(Ordering::Acquire)
    }

    /// Whether `node` told its life here: it did not take part then.
    pub(super) fn knows(&self, node: NodeId) -> bool {
        self.0.log.record(&key(node)).is_some()
    }

    /// Notes that this node takes part from now on. Returns when that is on disk.
    pub(super) async fn take_part(&self) -> Result<(), RegisterError> {
        self.0.log.put_records(vec![(TAKES_PART.to_vec(), Bytes::new())])?.await;
        self.0.takes_part.store(true, Ordering::Release);
        Ok(())
    }

    /// The first life that `node` told; this one, if it told none before.
    async fn note(&self, node: NodeId, life: Life) -> Result<Life, RegisterError> {
        let _one_at_a_time = self.0.noting.lock().await;
        if let Some(record) = self.0.log.record(&key(node)) {
            return Life::from_bytes(&record).ok_or_else(|| RegisterError::Damaged(format!("node {node}")));
        }
        self.0.log.put_records(vec![(key(node), life.to_bytes())])?.await;
        tracing::info!(peer = %node, "this node has started for the first time, as far as is known here");
        Ok(life)
    }
}

fn key(node: NodeId) -> Vec<u8> {
    format!("life/{node}").into_bytes()
}

impl EnrollHandler for Register {
    async fn enroll(&self, peer: NodeId, life: Life) -> Result<Enrolled, String> {
        let registry = Arc::clone(&self.0.state.view().cluster().registry);
        let registered = registry.node(peer).and_then(|record| Life::from_bytes(&record.life));
        let first = match registered {
            // Of a node that joined, the life is agreed on.
            Some(life) => life,
            None if self.0.founders.contains(&peer) => {
                self.note(peer, life).await.map_err(|error| error.to_string())?
            }
            None => return Err(format!("node {peer} is not registered, as far as is known here")),
        };
        if first != life {
            tracing::error!(peer = %peer, "a node that lost its data directory asks to take part again: refused");
        }
        Ok(Enrolled { life: first, takes_part: self.takes_part() })
    }
}
