//! The chain of blocks in this node's log: what the last one is, and whether the next ones follow.
//!
//! The log is the truth. What is remembered here is only what was read from it or from the applied state, by (raft
//! index, term): an entry that is replaced later has another term, so a memory of it can never be taken for the new one.
//!
//! A follower checks every block *before* Raft sees it (trust.md, rule 6): signature of its proposer, chain, and time
//! not more than a minute ahead of this node's clock. A second block for an entry whose block is known is refused, and
//! with both signatures it is evidence: a leader uses each (term, height) once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prost::Message;
use quorate_core::{
    block::{BlockPublicKey, VerifiedBlock},
    evidence::Evidence,
    name::ClusterId,
    position::{Micros, NodeId},
};
use quorate_ledger::block::Block;

use crate::{
    block::{CarriedBlock, Link},
    clock::Clock,
    consensus::BlockGuard,
    evidence::EvidenceFiles,
    store::{
        faults::StoreFault,
        log::{LogEntry, LogId, LogStore, Payload},
        state::StateStore,
    },
};

/// How far a block may be dated ahead of this node's clock, microseconds.
const MAX_AHEAD_US: u64 = 60 * 1_000_000;

/// Blocks remembered.
const REMEMBERED: usize = 4_096;

/// The chain of blocks of this node.
pub struct Chain {
    cluster: ClusterId,
    keys: BTreeMap<NodeId, BlockPublicKey>,
    log: LogStore,
    state: Arc<StateStore>,
    clock: Clock,
    evidence: EvidenceFiles,
    known: Mutex<BTreeMap<(u64, u64), Known>>,
}

/// A block that is or was in the log.
#[derive(Debug, Clone, Copy)]
struct Known {
    link: Link,
    /// With its proposer's signature, where that was checked.
    block: Option<VerifiedBlock>,
}

impl Chain {
    /// The chain of the blocks that these members propose.
    pub fn new(
        cluster: ClusterId,
        keys: BTreeMap<NodeId, BlockPublicKey>,
        log: LogStore,
        state: Arc<StateStore>,
        clock: Clock,
        evidence: EvidenceFiles,
    ) -> Self {
        Self { cluster, keys, log, state, clock, evidence, known: Mutex::default() }
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
                // What is in the log was checked before it got there; its signature is wanted for evidence only.
                let known = Known { link: block.link(), block: block.verify_signature(&self.keys).ok() };
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

    fn check_entry(&self, id: LogId, payload: bytes::Bytes, previous: Option<Link>) -> Result<Link, String> {
        let refuse = |problem: String| format!("entry {id}: {problem}");
        let block = CarriedBlock::parse(self.cluster, payload).map_err(|error| refuse(error.to_string()))?;
        let link = block.link();
        let known = self.recall(id);
        if known.is_some_and(|known| known.link == link) {
            return Ok(link);
        }
        if block.header().term.get() != id.term {
            return Err(refuse(format!("the block was sealed in term {}", block.header().term)));
        }
        let signed = block.verify_signature(&self.keys).map_err(|error| refuse(error.to_string()))?;
        if let Some(known) = known {
            // One entry of Raft is one block of one leader. What was taken first stays.
            let both = known.block.and_then(|first| Evidence::of_blocks(&first, &signed));
            both.iter().for_each(|evidence| self.evidence.keep(evidence));
            let (term, height) = (block.header().term, block.header().height);
            return Err(refuse(format!(
                "node {} signed two blocks for term {term} and height {height}: this one is refused",
                block.proposer
            )));
        }
        signed
            .check_follows(previous.map(|link| (link.height, link.hash)))
            .map_err(|error| refuse(format!("node {}: {error}", block.proposer)))?;
        let time = Micros::new(block_time(&block).map_err(refuse)?);
        let now = self.clock.now();
        if time.get() > now.get().saturating_add(MAX_AHEAD_US) {
            return Err(refuse(format!("the block is dated {time} µs, and the clock here says {now} µs")));
        }
        self.remember(id, Known { link, block: Some(signed) });
        Ok(link)
    }
}

fn block_time(block: &CarriedBlock) -> Result<u64, String> {
    Block::decode(block.body.clone()).map(|body| body.time).map_err(|error| error.to_string())
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

#[cfg(test)]
mod tests;
