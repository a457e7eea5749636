//! Verifying an archive: every root is recomputed, with no code of a node.
//!
//! Per ledger: the log root from the leaves, at the checkpoint's size; each key's revisions and previous indexes, one
//! after the other; each commit leaf's state root from the newest write of every key; times and epochs that never fall.
//! A value that is not there must have been erased by an operation in the log. The ledgers are those that the archived
//! `_system` has registered: none can be left out.
//!
//! Memory: the present operation of every key of one ledger at a time, and what one segment holds.

use std::collections::BTreeSet;

use quorate_core::{
    entry::{OpKind, Operation},
    hash::Hash,
    name::{ClusterOrigin, LedgerName},
    policy::{CertifiedCheckpoint, Policy},
    position::{Epoch, LogIndex, Micros, Revision, TreeSize},
    state_tree::{CritTree, StateLeaf, StateTip},
    tree::Frontier,
};

use crate::{
    block::{Block, Transaction},
    error::ArchiveError,
    manifest::{ArchivedLedger, MANIFEST},
    reader::Archive,
};

/// What the keys of the registry begin with, before a ledger's name.
const REGISTRY: &[u8] = b"ledgers/";

/// An archive that holds, under a policy. Only [`Archive::verify`] and [`Export::verify`](crate::Export::verify) make one.
#[derive(Debug)]
pub struct Verified {
    pub(crate) cluster: ClusterOrigin,
    pub(crate) ledgers: Vec<VerifiedLedger>,
}

/// A ledger of it.
#[derive(Debug)]
pub struct VerifiedLedger {
    name: LedgerName,
    certified: CertifiedCheckpoint,
    state_root: Hash,
    time: Micros,
    transactions: u64,
    keys: u64,
    erased: u64,
    bytes: u64,
}

impl Verified {
    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterOrigin {
        &self.cluster
    }

    /// Its ledgers, `_system` first.
    #[must_use]
    pub fn ledgers(&self) -> &[VerifiedLedger] {
        &self.ledgers
    }
}

impl VerifiedLedger {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &LedgerName {
        &self.name
    }

    /// The checkpoint that covers it, and who signed it.
    #[must_use]
    pub const fn certified(&self) -> &CertifiedCheckpoint {
        &self.certified
    }

    /// The root of its state.
    #[must_use]
    pub const fn state_root(&self) -> Hash {
        self.state_root
    }

    /// The time of its last block.
    #[must_use]
    pub const fn time(&self) -> Micros {
        self.time
    }

    /// How many transactions it has.
    #[must_use]
    pub const fn transactions(&self) -> u64 {
        self.transactions
    }

    /// How many keys were ever written.
    #[must_use]
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// How many values were erased and are not in the archive.
    #[must_use]
    pub const fn erased(&self) -> u64 {
        self.erased
    }

    /// Bytes of its segments.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Archive {
    /// Recomputes everything, and holds it against the checkpoints, which `policy` must accept. `progress` is told how
    /// many leaves were done, again and again.
    ///
    /// # Errors
    /// [`ArchiveError`]: the first thing that is wrong, with its file.
    pub fn verify(&self, policy: &Policy, mut progress: impl FnMut(u64)) -> Result<Verified, ArchiveError> {
        let certified = self.certify(policy)?;
        let mut ledgers = Vec::with_capacity(certified.len());
        let mut registered = BTreeSet::new();
        for (ledger, certified) in self.manifest().ledgers.iter().zip(certified) {
            let mut state = State::default();
            let wrong = |index, problem| self.wrong(ledger, index, problem);
            self.walk(ledger, |block| {
                let leaves = u64::try_from(block.len()).unwrap_or(u64::MAX);
                state.push(&block).map_err(|(index, problem)| wrong(index, problem))?;
                progress(leaves);
                Ok(())
            })?;
            if ledger.name.is_system() {
                registered = state.registered().map_err(|problem| self.whole(ledger, problem))?;
            }
            let verified = state.finish(&ledger.name, certified, ledger.bytes());
            ledgers.push(verified.map_err(|problem| self.whole(ledger, problem))?);
        }
        self.check_registry(&registered)?;
        Ok(Verified { cluster: self.manifest().cluster.clone(), ledgers })
    }

    fn check_registry(&self, registered: &BTreeSet<LedgerName>) -> Result<(), ArchiveError> {
        let ledgers = self.manifest().ledgers.iter();
        let archived: BTreeSet<LedgerName> =
            ledgers.map(|ledger| ledger.name.clone()).filter(|name| !name.is_system()).collect();
        let Some(ledger) = archived.symmetric_difference(registered).next() else {
            return Ok(());
        };
        let problem = match registered.contains(ledger) {
            true => "it is registered in _system, and is not in the archive",
            false => "it is not registered in _system",
        };
        let (path, ledger) = (self.path(MANIFEST), ledger.clone());
        Err(ArchiveError::Ledger { path, ledger, problem: problem.to_owned() })
    }

    /// What is wrong at a leaf, with the file it is in.
    fn wrong(&self, ledger: &ArchivedLedger, index: LogIndex, problem: String) -> ArchiveError {
        let segment = ledger.segments.iter().rfind(|segment| segment.first <= index);
        let path = segment.map_or_else(|| self.path(MANIFEST), |one| self.path(&ledger.file(one)));
        ArchiveError::Entry { path, ledger: ledger.name.clone(), index, problem }
    }

    fn whole(&self, ledger: &ArchivedLedger, problem: String) -> ArchiveError {
        ArchiveError::Ledger { path: self.path(MANIFEST), ledger: ledger.name.clone(), problem }
    }
}

/// A ledger, as far as its blocks were read.
#[derive(Default)]
pub(crate) struct State {
    log: Frontier,
    tree: CritTree<StateTip>,
    time: Micros,
    epoch: Epoch,
    transactions: u64,
    erased: u64,
    /// Puts whose contents are not there and were not erased yet: log index and key.
    absent: BTreeSet<(LogIndex, Vec<u8>)>,
}

/// What is wrong, and at which leaf.
pub(crate) type Problem = (LogIndex, String);

impl State {
    pub(crate) fn push(&mut self, block: &Block) -> Result<(), Problem> {
        let commit = block.commit();
        let at = commit.index().unwrap_or(commit.first_index);
        if commit.time < self.time || commit.epoch < self.epoch {
            return Err((at, "its time or epoch is earlier than that of the block before".to_owned()));
        }
        (self.time, self.epoch) = (commit.time, commit.epoch);
        for transaction in block.transactions() {
            self.transactions = self.transactions.saturating_add(1);
            self.note_contents(transaction);
        }
        self.write(block)?;
        let root = self.tree.root_hash();
        if root != commit.state_root {
            let said = commit.state_root;
            return Err((
                at,
                format!("the operations lead to the state root {root}, and the commit leaf says {said}"),
            ));
        }
        self.log.extend(block.leaf_hashes().iter().copied());
        Ok(())
    }

    /// Notes values that are not there, and those that are erased now.
    fn note_contents(&mut self, transaction: &Transaction) {
        for (operation, content) in transaction.operations().iter().zip(transaction.contents()) {
            match (operation.kind, operation.prev_index) {
                (OpKind::Put, _) if content.is_none() => {
                    self.erased = self.erased.saturating_add(1);
                    self.absent.insert((transaction.index(), operation.key.clone()));
                }
                (OpKind::Erase, Some(erased)) if !self.absent.is_empty() => {
                    self.absent.remove(&(erased, operation.key.clone()));
                }
                _ => {}
            }
        }
    }

    /// Makes the writes of a block, each behind the key's write before; what they share is hashed once.
    fn write(&mut self, block: &Block) -> Result<(), Problem> {
        let mut edit = self.tree.edit();
        for transaction in block.transactions() {
            let index = transaction.index();
            for (operation, bytes) in transaction.operations().iter().zip(transaction.operation_bytes()) {
                let wrong = |problem: &dyn std::fmt::Display| (index, problem.to_string());
                if operation.kind == OpKind::Erase {
                    drop(edit);
                    let newest = self.tree.get(&operation.key).and_then(|tip| brief(tip.leaf()));
                    erases(operation, newest).map_err(|problem| wrong(&problem))?;
                    edit = self.tree.edit();
                    continue;
                }
                let leaf = StateLeaf::new(index, bytes.to_vec()).map_err(|error| wrong(&error))?;
                let before = edit.insert(StateTip::new(leaf)).map_err(|error| wrong(&error))?;
                let newest = before.as_ref().and_then(|tip| brief(tip.leaf()));
                follows(operation, newest).map_err(|problem| wrong(&problem))?;
            }
        }
        Ok(())
    }

    /// The ledgers registered in `_system`.
    fn registered(&self) -> Result<BTreeSet<LedgerName>, String> {
        let names = self.tree.iter().filter_map(|tip| tip.leaf().key().strip_prefix(REGISTRY));
        names
            .map(|name| {
                let name = String::from_utf8_lossy(name);
                LedgerName::new(&name).map_err(|error| format!("it registers {name:?}: {error}"))
            })
            .collect()
    }

    /// The ledger, if its leaves lead to the checkpoint. `bytes`: what it takes where it is stored.
    pub(crate) fn finish(
        self,
        name: &LedgerName,
        certified: CertifiedCheckpoint,
        bytes: u64,
    ) -> Result<VerifiedLedger, String> {
        let (checkpoint, size, root) = (certified.checkpoint(), self.log.size(), self.log.root());
        if (size, root) != (checkpoint.size, checkpoint.root) || size == TreeSize::ZERO {
            return Err(format!(
                "its {size} leaves lead to the root {root}, and the checkpoint of size {} says {}",
                checkpoint.size, checkpoint.root
            ));
        }
        if let Some((index, _)) = self.absent.first() {
            return Err(format!("a value written at {index} is missing, and no operation erased it"));
        }
        Ok(VerifiedLedger {
            name: name.clone(),
            state_root: self.tree.root_hash(),
            time: self.time,
            transactions: self.transactions,
            keys: u64::try_from(self.tree.len()).unwrap_or(u64::MAX),
            erased: self.erased,
            bytes,
            certified,
        })
    }
}

/// A key's newest write: log index, revision and kind.
type Newest = (LogIndex, Revision, OpKind);

/// These of a leaf of the tree, whose operation was decoded before.
fn brief(leaf: &StateLeaf) -> Option<Newest> {
    let (kind, rest) = leaf.op().split_first()?;
    let revision = Revision::from_be_bytes(*rest.first_chunk::<8>()?);
    Some((leaf.index(), revision, OpKind::from_byte(*kind).ok()?))
}

/// An erase names a write that the key has.
fn erases(operation: &Operation, newest: Option<Newest>) -> Result<(), String> {
    let erased = operation.prev_index.filter(|_| operation.revision >= Revision::FIRST);
    let known = newest.zip(erased).is_some_and(|((index, revision, _), erased)| {
        operation.revision < revision && erased < index || (operation.revision, erased) == (revision, index)
    });
    if known {
        Ok(())
    } else {
        Err(format!("it erases revision {} of a key that has none", operation.revision))
    }
}

/// A write has the revision after the key's newest, and names its log index.
fn follows(operation: &Operation, newest: Option<Newest>) -> Result<(), String> {
    let expected = match newest {
        None => Some(Revision::FIRST),
        Some((_, revision, _)) => revision.next(),
    };
    if Some(operation.revision) != expected || operation.prev_index != newest.map(|(index, _, _)| index) {
        return Err(format!(
            "revision {} of a key with the previous index {:?}, and the write before is {:?}",
            operation.revision,
            operation.prev_index.map(LogIndex::get),
            newest.map(|(index, revision, _)| (index.get(), revision.get())),
        ));
    }
    if operation.kind == OpKind::Delete && newest.is_none_or(|(_, _, kind)| kind != OpKind::Put) {
        return Err("it deletes a key that does not exist".to_owned());
    }
    Ok(())
}
