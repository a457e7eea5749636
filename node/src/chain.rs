//! The chain of blocks in this node's log: what the last one is, and whether the next ones follow.
//!
//! The log is the truth. What is remembered here is only what was read from it or from the applied state, by (raft
//! index, term): an entry that is replaced later has another term, so a memory of it can never be taken for the new one.
//!
//! A follower checks every block *before* Raft sees it (trust.md, rule 6): signature of its proposer, chain, and time
//! not more than a minute ahead of this node's clock. A second block for an entry whose block is known is refused, and
//! with both signatures it is evidence: a leader uses each (term, height) once.
//!
//! A block that was checked is kept decoded until it is applied ([`DecodedBlocks`]).
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

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    block::{BlockHeader, BlockPublicKey, SignedBlock},
    evidence::Evidence,
    hash::Hash,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{BlockHeight, Micros, NodeId, Term},
};
use quorate_ledger::{
    block::Block,
    registry::{NODE_PREFIX, NodeRecord, Registry},
};
use quorate_proto::peer::v1 as pb;

use crate::{
    block::{CarriedBlock, Link},
    clock::Clock,
    cluster::Cluster,
    consensus::BlockGuard,
    decoded::{DecodedBlock, DecodedBlocks},
    evidence::EvidenceFiles,
    peer::BlockHandler,
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

/// Blocks remembered, without their bodies.
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
    evidence: EvidenceFiles,
    known: Mutex<BTreeMap<(u64, u64), Known>>,
    keys: Mutex<Keys>,
    decoded: Arc<DecodedBlocks>,
}

/// A block that was taken: its place, and what its proposer signed. In the log, unless Raft did not take it.
#[derive(Debug, Clone, Copy)]
struct Known {
    link: Link,
    proposer: NodeId,
    signed: SignedBlock,
}

impl Known {
    fn of(block: &CarriedBlock) -> Self {
        Self { link: block.link(), proposer: block.proposer, signed: *block.signed() }
    }
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
    pub fn new(
        cluster: &Cluster,
        (log, state): (LogStore, Arc<StateStore>),
        clock: Clock,
        evidence: EvidenceFiles,
    ) -> Self {
        Self {
            cluster: cluster.id,
            origin: cluster.origin.clone(),
            founders: cluster.members.values().map(|member| (member.id, member.block_key)).collect(),
            log,
            state,
            clock,
            evidence,
            known: Mutex::default(),
            keys: Mutex::default(),
            decoded: Arc::default(),
        }
    }

    /// The blocks that were sealed or checked here, for whoever applies them.
    pub fn decoded(&self) -> &Arc<DecodedBlocks> {
        &self.decoded
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
            if let Some(known) = self.recall(entry.id) {
                return Ok(Some(known.link));
            }
            if let Payload::Block(payload) = entry.payload {
                let block = CarriedBlock::parse(self.cluster, payload).map_err(|error| damaged(&error))?;
                let known = Known::of(&block);
                self.remember(entry.id, known);
                return Ok(Some(known.link));
            }
            match at.checked_sub(1) {
                Some(before) => at = before,
                None => break,
            }
        }
        Ok(applied.last_block)
    }

    /// The newest blocks that were taken here, without their bodies.
    pub fn held(&self) -> Vec<pb::BlockClaim> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().map(|known| claim(known.proposer, &known.signed)).collect()
    }

    /// The blocks held here for the same term, height and proposer as these, where they are others. Two signatures of one
    /// proposer are kept as evidence; what is not signed by whom it names is passed over.
    pub fn convict(&self, theirs: &[pb::BlockClaim]) -> Vec<pb::BlockClaim> {
        let own: BTreeMap<_, Known> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let place = |known: &Known| {
                let header = &known.signed.header;
                (header.term.get(), header.height.get(), known.proposer.get())
            };
            known.values().map(|known| (place(known), *known)).collect()
        };
        let mut others = Vec::new();
        for block in theirs {
            let held = own.get(&(block.term, block.height, block.proposer));
            let Some((held, other)) = held.zip(signed(self.cluster, block)) else {
                continue;
            };
            if held.signed.header.hash() == other.header.hash() {
                continue;
            }
            let key = self.key_of(held.proposer);
            let both = key.and_then(|key| Some((held.signed.verify(&key).ok()?, other.verify(&key).ok()?)));
            if let Some(evidence) = both.and_then(|(held, other)| Evidence::of_blocks(&held, &other)) {
                self.evidence.keep(&evidence);
                others.push(claim(held.proposer, &held.signed));
            }
        }
        others
    }

    fn recall(&self, id: LogId) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&(id.index, id.term)).copied()
    }

    fn remember(&self, id: LogId, block: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((id.index, id.term), block);
        while known.len() > REMEMBERED {
            known.pop_first();
        }
    }

    /// The block that was taken for an entry: what is remembered, or else what the log holds.
    fn taken(&self, id: LogId) -> Result<Option<Known>, String> {
        let known = self.recall(id);
        if known.is_some() || self.log.id_at(id.index).map_err(|fault| fault.to_string())? != Some(id) {
            return Ok(known);
        }
        let entries =
            self.log.read(id.index, id.index.saturating_add(1), 0).map_err(|fault| fault.to_string())?;
        match entries.into_iter().next().filter(|entry| entry.id == id).map(|entry| entry.payload) {
            Some(Payload::Block(payload)) => {
                let block = CarriedBlock::parse(self.cluster, payload).map_err(|error| error.to_string())?;
                Ok(Some(Known::of(&block)))
            }
            _ => Ok(None),
        }
    }

    /// Refuses a block for an entry that has another one: an entry of Raft is one block of one leader, and what was taken
    /// first stays. Two signatures of one proposer are kept as evidence.
    fn no_second(&self, id: LogId, known: &Known, block: &CarriedBlock) -> Result<(), String> {
        if known.link == block.link() {
            return Ok(());
        }
        let (term, height) = (block.header().term, block.header().height);
        let key = self.key_of(block.proposer);
        let signed = block.verify_signature(key.as_ref()).map_err(|error| error.to_string())?;
        if known.proposer != block.proposer {
            // What was remembered may be of a node that Raft did not follow.
            return match self.log.id_at(id.index).map_err(|fault| fault.to_string())? == Some(id) {
                true => Err(format!(
                    "nodes {} and {} both signed a block for it: the second is refused",
                    known.proposer, block.proposer
                )),
                false => Ok(()),
            };
        }
        let first = key.and_then(|key| known.signed.verify(&key).ok());
        let both = first.and_then(|first| Evidence::of_blocks(&first, &signed));
        both.iter().for_each(|evidence| self.evidence.keep(evidence));
        Err(format!(
            "node {} signed two blocks for term {term} and height {height}: this one is refused",
            block.proposer
        ))
    }

    fn check_entry(&self, id: LogId, payload: bytes::Bytes, previous: Option<Link>) -> Result<Link, String> {
        let refuse = |problem: String| format!("entry {id}: {problem}");
        let block =
            CarriedBlock::parse(self.cluster, payload.clone()).map_err(|error| refuse(error.to_string()))?;
        let link = block.link();
        if let Some(known) = self.taken(id).map_err(refuse)? {
            self.no_second(id, &known, &block).map_err(refuse)?;
            if known.link == link {
                return Ok(link);
            }
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
        self.remember(id, Known::of(&block));
        self.decoded.keep(payload, DecodedBlock { carried: block, block: body });
        Ok(link)
    }
}

fn claim(proposer: NodeId, signed: &SignedBlock) -> pb::BlockClaim {
    let SignedBlock { header, signature } = signed;
    pb::BlockClaim {
        term: header.term.get(),
        height: header.height.get(),
        previous: Bytes::copy_from_slice(header.previous.as_bytes()),
        proposer: proposer.get(),
        body_hash: Bytes::copy_from_slice(header.body_hash.as_bytes()),
        signature: Bytes::copy_from_slice(signature),
    }
}

/// A claim as what would be signed; `None` if it has not the form.
fn signed(cluster: ClusterId, claim: &pb::BlockClaim) -> Option<SignedBlock> {
    let header = BlockHeader {
        cluster,
        term: Term::new(claim.term),
        height: BlockHeight::new(claim.height),
        previous: Hash::try_from(claim.previous.as_ref()).ok()?,
        body_hash: Hash::try_from(claim.body_hash.as_ref()).ok()?,
    };
    Some(SignedBlock { header, signature: claim.signature.as_ref().try_into().ok()? })
}

impl BlockHandler for Chain {
    fn compare(&self, theirs: &[pb::BlockClaim]) -> Vec<pb::BlockClaim> {
        self.convict(theirs)
    }
}

impl BlockGuard for Chain {
    fn check(&self, prev: Option<LogId>, entries: &[LogEntry]) -> Result<(), String> {
        let applied = Applied::read(&self.state);
        let prev_is_applied = prev.is_none_or(|prev| applied.index.is_some_and(|index| prev.index <= index));
        let mut previous = None;
        let mut looked = false;
        for entry in entries {
            let Payload::Block(payload) = &entry.payload else {
                continue;
            };
            // What is applied here is compared by consensus: another term there is a fault. Another block of the same term
            // changes nothing any more, and is evidence.
            if applied.index.is_some_and(|index| entry.id.index <= index) {
                if let Some(known) = self.recall(entry.id) {
                    let block = CarriedBlock::parse(self.cluster, payload.clone());
                    let block = block.map_err(|error| format!("entry {}: {error}", entry.id))?;
                    self.no_second(entry.id, &known, &block)
                        .map_err(|problem| format!("entry {}: {problem}", entry.id))?;
                }
                continue;
            }
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

#[cfg(test)]
mod tests;
