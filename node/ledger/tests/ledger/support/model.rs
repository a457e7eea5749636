//! The transition function once more, told as plainly as possible: whole histories, no trees, no caches, its own
//! encodings. Ledgers only; not the system documents.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::hash::{Hash, sha256};
use quorate_ledger::block::{Block, Condition, Precondition, Request, Write};

use super::naive;

/// What became of a request, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed(u64),
    Known(u64),
    /// The kind of rejection, and its position.
    Rejected(&'static str, usize),
}

/// One write of a key.
#[derive(Debug, Clone)]
struct Written {
    index: u64,
    op: Vec<u8>,
    is_put: bool,
    expires_at: u64,
}

/// A ledger.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) leaves: Vec<Vec<u8>>,
    time: u64,
    keys: BTreeMap<Vec<u8>, Vec<Written>>,
    requests: BTreeMap<(String, Vec<u8>), (u64, u64)>,
    /// Contents not erased: by log index and key.
    pub(crate) contents: BTreeMap<(u64, Vec<u8>), Vec<u8>>,
}

/// All ledgers of a cluster whose cosigner set and settings never change.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) ledgers: BTreeMap<String, Ledger>,
    /// Those that take no transactions in the next block.
    pub(crate) frozen: BTreeSet<String>,
    epoch: u64,
}

impl Model {
    /// Ledgers born at `time`.
    pub(crate) fn new(names: &[&str], time: u64, epoch: u64) -> Self {
        let born = |name: &&str| {
            let mut ledger = Ledger { time, ..Ledger::default() };
            ledger.close(0, epoch);
            ((*name).to_owned(), ledger)
        };
        Self { ledgers: names.iter().map(born).collect(), frozen: BTreeSet::new(), epoch }
    }

    pub(crate) fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    pub(crate) fn apply(&mut self, block: &Block) -> Vec<Fate> {
        let sizes: BTreeMap<String, usize> =
            self.ledgers.iter().map(|(name, ledger)| (name.clone(), ledger.leaves.len())).collect();
        let fates = block.requests.iter().map(|request| match self.ledgers.get_mut(&request.ledger) {
            None => Fate::Rejected("ledger", 0),
            Some(ledger) => {
                let time = block.time.max(ledger.time);
                match ledger.known(request, time) {
                    Some(index) => Fate::Known(index),
                    None if self.frozen.contains(&request.ledger) => Fate::Rejected("frozen", 0),
                    None => ledger.ask(request, time),
                }
            }
        });
        let fates = fates.collect();
        for (name, ledger) in &mut self.ledgers {
            if ledger.leaves.len() > sizes[name] {
                ledger.time = ledger.time.max(block.time);
                ledger.close(sizes[name], self.epoch);
            }
        }
        fates
    }
}

impl Ledger {
    pub(crate) fn state_root(&self) -> Hash {
        naive::state_root(&self.state())
    }

    pub(crate) fn log_root(&self) -> Hash {
        let hashes: Vec<_> = self.leaves.iter().map(|leaf| sha256(&[b"\x00", leaf])).collect();
        naive::log_root(&hashes)
    }

    /// The newest write of every key.
    pub(crate) fn state(&self) -> Vec<naive::Leaf<'_>> {
        self.keys
            .iter()
            .filter_map(|(key, writes)| Some((key.as_slice(), writes.last()?.index, &*writes.last()?.op)))
            .collect()
    }

    fn close(&mut self, first: usize, epoch: u64) {
        let mut leaf = vec![1, 2];
        leaf.extend(self.time.to_be_bytes());
        leaf.extend((first as u64).to_be_bytes());
        leaf.extend(((self.leaves.len() - first) as u32).to_be_bytes());
        leaf.extend(self.state_root().as_bytes());
        leaf.extend(epoch.to_be_bytes());
        self.leaves.push(leaf);
    }

    fn known(&self, request: &Request, time: u64) -> Option<u64> {
        let id = (request.author.clone(), request.idempotency_key.to_vec());
        self.requests.get(&id).filter(|(_, not_after)| time <= *not_after).map(|(index, _)| *index)
    }

    fn ask(&mut self, request: &Request, time: u64) -> Fate {
        let id = (request.author.clone(), request.idempotency_key.to_vec());
        if request.not_after < time {
            return Fate::Rejected("late", 0);
        }
        if request.not_after > time + 15 * 60 * 1_000_000 {
            return Fate::Rejected("ahead", 0);
        }
        for (position, precondition) in request.preconditions.iter().enumerate() {
            if !self.holds(precondition, time) {
                return Fate::Rejected("precondition", position);
            }
        }
        for (position, write) in request.writes.iter().enumerate() {
            let history = self.keys.get(&*write.key).map_or(&[][..], Vec::as_slice);
            match (&write.put, write.erase) {
                (None, None) if !history.last().is_some_and(|last| last.is_put) => {
                    return Fate::Rejected("delete", position);
                }
                (None, Some(revision)) if revision == 0 || revision > history.len() as u64 => {
                    return Fate::Rejected("erase", position);
                }
                _ => {}
            }
        }
        let index = self.leaves.len() as u64;
        let ops: Vec<_> = request.writes.iter().map(|write| self.write(index, write)).collect();
        let op_hashes: Vec<_> = ops.iter().map(|op| sha256(&[b"\x00", op])).collect();
        let (author, key) = (request.author.as_bytes(), &request.idempotency_key);
        let request_id = sha256(&[b"\x06", &[author.len() as u8], author, &[key.len() as u8], key]);
        let mut leaf = vec![1, 1];
        leaf.extend(time.to_be_bytes());
        leaf.extend(request.not_after.to_be_bytes());
        leaf.extend((ops.len() as u32).to_be_bytes());
        leaf.extend(naive::log_root(&op_hashes).as_bytes());
        leaf.extend(request_id.as_bytes());
        leaf.extend(sha256(&[b"\x05", &request.meta_salt, &request.meta]).as_bytes());
        self.leaves.push(leaf);
        self.requests.insert(id, (index, request.not_after));
        Fate::Committed(index)
    }

    fn holds(&self, precondition: &Precondition, time: u64) -> bool {
        let history = self.keys.get(&*precondition.key).map_or(&[][..], Vec::as_slice);
        let last = history.last();
        let exists = last.is_some_and(|last| last.is_put && (last.expires_at == 0 || last.expires_at > time));
        match precondition.condition.unwrap() {
            Condition::MustExist(_) => exists,
            Condition::MustNotExist(_) => !exists,
            Condition::RevisionEquals(revision) => history.len() as u64 == revision,
            Condition::NotModifiedAfter(index) => last.is_none_or(|last| last.index <= index),
        }
    }

    /// The operation of a write, done.
    fn write(&mut self, index: u64, write: &Write) -> Vec<u8> {
        let history = self.keys.entry(write.key.to_vec()).or_default();
        let (kind, revision, previous) = match (&write.put, write.erase) {
            (_, Some(revision)) => (3, revision, history[revision as usize - 1].index),
            (put, None) => {
                let kind = if put.is_some() { 1 } else { 2 };
                (kind, history.len() as u64 + 1, history.last().map_or(u64::MAX, |last| last.index))
            }
        };
        let mut op = vec![kind];
        op.extend(revision.to_be_bytes());
        op.extend(previous.to_be_bytes());
        let expires_at = write.put.as_ref().map_or(0, |put| put.expires_at);
        op.extend(expires_at.to_be_bytes());
        match &write.put {
            None => op.extend([0; 36]),
            Some(put) => {
                let attr_len = (put.attributes.len() as u32).to_be_bytes();
                op.extend((put.value.len() as u32).to_be_bytes());
                op.extend(sha256(&[b"\x04", &put.salt, &attr_len, &put.attributes, &put.value]).as_bytes());
            }
        }
        op.extend((write.key.len() as u16).to_be_bytes());
        op.extend_from_slice(&write.key);
        if kind == 3 {
            self.contents.remove(&(previous, write.key.to_vec()));
            return op;
        }
        if let Some(put) = &write.put {
            self.contents.insert((index, write.key.to_vec()), put.value.to_vec());
        }
        history.push(Written { index, op: op.clone(), is_put: kind == 1, expires_at });
        op
    }
}
