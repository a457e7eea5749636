//! The chain of blocks in this node's log: what the last one is, and whether the next ones follow.
//!
//! The log is the truth. What is remembered here is only what was read from it or from the applied state, by (raft
//! index, term): an entry that is replaced later has another term, so a memory of it can never be taken for the new one.
//!
//! A follower checks every block *before* Raft sees it (trust.md, rule 6): signature of its proposer, chain, and time
//! not more than a minute ahead of this node's clock.
//!
//! Whose signatures count is what the applied state says; before there is one, the founders'. A node that catches up gets
//! blocks of a node together with the earlier one that registers it, and has applied neither. So the keys of a registration
//! in a checked block count for the blocks behind it at once: it is proven that the node has them, and the block that says
//! so is signed by a proposer that is known. Blocks of removed nodes count as long as Raft takes them, which is when they
//! were made while the node was a member.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prost::Message;
use quorate_core::{
    block::BlockPublicKey,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{Micros, NodeId},
};
use quorate_ledger::{
    block::Block,
    registry::{NODE_PREFIX, NodeRecord, Registry},
};

use crate::{
    block::{CarriedBlock, Link},
    clock::Clock,
    cluster::Cluster,
    consensus::BlockGuard,
    store::{
        faults::StoreFault,
        log::{LogEntry, LogId, LogStore, Payload},
        state::StateStore,
    },
};

/// How far a block may be dated ahead of this node's clock, microseconds.
const MAX_AHEAD_US: u64 = 60 * 1_000_000;

/// Keys remembered that are not registered yet, at most.
const ANNOUNCED: usize = 64;

/// Links remembered.
const REMEMBERED: usize = 4_096;

/// The chain of blocks of this node.
pub struct Chain {
    cluster: ClusterId,
    origin: ClusterOrigin,
    /// Whose blocks count before the state says so.
    founders: BTreeMap<NodeId, BlockPublicKey>,
    log: LogStore,
    state: Arc<StateStore>,
    clock: Clock,
    known: Mutex<BTreeMap<(u64, u64), Link>>,
    keys: Mutex<Keys>,
}

/// Keys as they were read last.
#[derive(Default)]
struct Keys {
    /// The registry that `registered` was read from.
    registry: Arc<Registry>,
    registered: BTreeMap<NodeId, BlockPublicKey>,
    /// Of registrations in blocks that were checked and are not applied yet.
    announced: BTreeMap<NodeId, BlockPublicKey>,
}

impl Keys {
    fn follow(&mut self, registry: Arc<Registry>) {
        if Arc::ptr_eq(&self.registry, &registry) {
            return;
        }
        let key = |(id, node): (&NodeId, &NodeRecord)| {
            BlockPublicKey::try_from(&*node.block_public_key).ok().map(|key| (*id, key))
        };
        self.registered = registry.nodes().iter().filter_map(key).collect();
        let registered = &self.registered;
        self.announced.retain(|id, _| !registered.contains_key(id));
        self.registry = registry;
    }
}

impl Chain {
    /// The chain of the blocks of a cluster with these founders.
    pub fn new(cluster: &Cluster, log: LogStore, state: Arc<StateStore>, clock: Clock) -> Self {
        Self {
            cluster: cluster.id,
            origin: cluster.origin.clone(),
            founders: cluster.members.values().map(|member| (member.id, member.block_key)).collect(),
            log,
            state,
            clock,
            known: Mutex::default(),
            keys: Mutex::default(),
        }
    }

    /// The key of a proposer, if it is or was a node of this cluster.
    fn key_of(&self, proposer: NodeId) -> Option<BlockPublicKey> {
        let registry = Arc::clone(&self.state.view().cluster().registry);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.follow(registry);
        let founder = self.founders.get(&proposer).filter(|_| keys.registered.is_empty());
        keys.registered.get(&proposer).or(founder).or_else(|| keys.announced.get(&proposer)).copied()
    }

    /// Takes over the keys that a checked block registers.
    fn announce(&self, block: &Block) {
        let system = block.requests.iter().filter(|request| request.ledger == LedgerName::SYSTEM);
        for write in
            system.flat_map(|request| &request.writes).filter(|write| write.key.starts_with(NODE_PREFIX))
        {
            let put = write.put.as_ref().and_then(|put| NodeRecord::decode(put.value.clone()).ok());
            let Some(record) = put.filter(|record| record.check(&self.cluster, &self.origin).is_ok()) else {
                continue;
            };
            if let Ok(key) = BlockPublicKey::try_from(&*record.block_public_key) {
                let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                if keys.announced.len() < ANNOUNCED {
                    keys.announced.entry(NodeId::new(record.node_id)).or_insert(key);
                }
            }
        }
    }

    /// The last block of the log, applied or not; `None` before the first.
    ///
    /// # Errors
    /// What is stored is unreadable: fatal.
    pub fn last(&self) -> Result<Option<Link>, StoreFault> {
        let applied = Applied::read(&self.state);
        match self.log.bounds().last {
            Some(last) => self.at_or_before(last.index, &applied),
            None => Ok(applied.last_block),
        }
    }

    /// Whether the cluster was founded, by a block or by the history that it continues.
    pub fn is_founded(&self) -> bool {
        self.state.view().cluster().origin.is_some()
    }

    /// The last block at or before a Raft index: from the log down to the applied position, else the applied one.
    fn at_or_before(&self, index: u64, applied: &Applied) -> Result<Option<Link>, StoreFault> {
        let damaged = |fault: &dyn std::fmt::Display| StoreFault::damaged("log", fault);
        let mut at = index;
        while applied.index.is_none_or(|applied| at > applied) {
            let entries = self.log.read(at, at.saturating_add(1), 0).map_err(|fault| damaged(&fault))?;
            let Some(entry) = entries.into_iter().next() else {
                return Err(damaged(&format!("no entry {at}")));
            };
            if let Some(link) = self.recall(entry.id) {
                return Ok(Some(link));
            }
            if let Payload::Block(payload) = entry.payload {
                let block = CarriedBlock::parse(self.cluster, payload).map_err(|error| damaged(&error))?;
                self.remember(entry.id, block.link());
                return Ok(Some(block.link()));
            }
            match at.checked_sub(1) {
                Some(before) => at = before,
                None => break,
            }
        }
        Ok(applied.last_block)
    }

    fn recall(&self, id: LogId) -> Option<Link> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&(id.index, id.term)).copied()
    }

    fn remember(&self, id: LogId, link: Link) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((id.index, id.term), link);
        while known.len() > REMEMBERED {
            known.pop_first();
        }
    }

    fn check_entry(&self, id: LogId, payload: bytes::Bytes, previous: Option<Link>) -> Result<Link, String> {
        let refuse = |problem: String| format!("entry {id}: {problem}");
        let block = CarriedBlock::parse(self.cluster, payload).map_err(|error| refuse(error.to_string()))?;
        let link = block.link();
        if self.recall(id) == Some(link) {
            return Ok(link);
        }
        if block.header().term.get() != id.term {
            return Err(refuse(format!("the block was sealed in term {}", block.header().term)));
        }
        let key = self.key_of(block.proposer);
        block.verify(key.as_ref(), previous).map_err(|error| refuse(error.to_string()))?;
        let body = Block::decode(block.body.clone()).map_err(|error| refuse(error.to_string()))?;
        let time = Micros::new(body.time);
        let now = self.clock.now();
        if time.get() > now.get().saturating_add(MAX_AHEAD_US) {
            return Err(refuse(format!("the block is dated {time} µs, and the clock here says {now} µs")));
        }
        self.announce(&body);
        self.remember(id, link);
        Ok(link)
    }
}

impl BlockGuard for Chain {
    fn check(&self, prev: Option<LogId>, entries: &[LogEntry]) -> Result<(), String> {
        let applied = Applied::read(&self.state);
        let prev_is_applied = prev.is_none_or(|prev| applied.index.is_some_and(|index| prev.index <= index));
        let mut previous = None;
        let mut looked = false;
        for entry in entries {
            // What is applied here is compared by consensus: another term there is a fault.
            if applied.index.is_some_and(|index| entry.id.index <= index) {
                continue;
            }
            let Payload::Block(payload) = &entry.payload else {
                continue;
            };
            if !looked {
                looked = true;
                previous = match prev {
                    Some(prev) if !prev_is_applied => {
                        let held = self.log.id_at(prev.index).map_err(|fault| fault.to_string())?;
                        if held != Some(prev) {
                            // Nothing to chain to: Raft answers with a conflict and takes none of the entries. If
                            // it could take them after all, apply finds the broken chain and stops this node.
                            return Ok(());
                        }
                        self.at_or_before(prev.index, &applied).map_err(|fault| fault.to_string())?
                    }
                    _ => applied.last_block,
                };
            }
            previous = Some(self.check_entry(entry.id, payload.clone(), previous)?);
        }
        Ok(())
    }
}

/// The applied position and the last block as of it, read together.
struct Applied {
    index: Option<u64>,
    last_block: Option<Link>,
}

impl Applied {
    fn read(state: &StateStore) -> Self {
        let view = state.view();
        let last_block = view.cluster().last_block.map(|(height, hash)| Link { height, hash });
        Self { index: view.applied().last.map(|id| id.index), last_block }
    }
}
