//! A block in, effects out.
//!
//! Contract: [`apply`] is a function of the view, the state trees and the block. It changes nothing but the state
//! trees, which are then those after the block; on an error, which is always a fault that stops the node, they
//! must not be used again. Requests are judged one after the other, each against the state that the ones before
//! it left, and each ledger that grew gets one commit leaf.
//!
//! Settings, the cosigner set and which ledgers are frozen hold, once a block changed them, from the next block on; a ledger
//! that it creates is born with a commit leaf of its own and takes requests from the next block on. A document of `_system` that
//! this version does not know stops the node: what it changes is known to a newer version, and going on without would diverge.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use quorate_core::{
    entry::{EntryError, MAX_LEDGERS_PER_BLOCK, MAX_NOT_AFTER, request_id},
    hash::Hash,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{BlockHeight, Epoch, Micros, Revision},
    tree::Frontier,
};

use crate::{
    block::{Block, Request},
    effects::{Effects, LedgerEffects},
    judge::{self, Rules, malformed},
    open_ledger::{Earlier, OpenLedger},
    outcome::{BlockOutcome, Committed, NewCheckpoint, Rejection, RequestOutcome},
    registry::{CosignerSet, Registry},
    system::{self, Circumstances, Refused, SystemChange},
    trie::{TrieError, Tries},
    view::{ClusterState, LeafSource, LedgerHead, LedgerId, Settings, View},
};

/// Why a block could not be applied at all. Each of these stops the node: the block was agreed on, so what is wrong
/// is on this machine, or the block should never have been accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError<E> {
    /// The store failed.
    #[error(transparent)]
    Store(E),
    /// The state tree could not be read.
    #[error(transparent)]
    Trie(TrieError<E>),
    /// The state tree is not the one of the ledger's head.
    #[error("ledger {ledger} has the state root {expected}, its tree in memory has {found:?}")]
    WrongTrie {
        /// The ledger.
        ledger: LedgerId,
        /// The root of its head.
        expected: Hash,
        /// The root of its tree, if there is a tree.
        found: Option<Hash>,
    },
    /// A key's revision is not in the store.
    #[error(
        "ledger {ledger}: the store does not know revision {revision} of a key that has later ones ({key:02x?})"
    )]
    LostRevision {
        /// The ledger.
        ledger: LedgerId,
        /// The key.
        key: Vec<u8>,
        /// The revision.
        revision: Revision,
    },
    /// The block is not the next one.
    #[error("the block has height {height}, the last one applied is {last:?}")]
    WrongHeight {
        /// The height of the block.
        height: BlockHeight,
        /// The height of the last block applied.
        last: Option<BlockHeight>,
    },
    /// A document of `_system` is of a kind, or has a field, that this version does not know: a newer one wrote it, and what it
    /// changes is not known here.
    #[error("a document of _system that this version does not know: {0}")]
    Newer(String),
    /// The first block of a cluster does not found it, or another one does.
    #[error("block {height} cannot found a cluster: {problem}")]
    Genesis {
        /// The height of the block.
        height: BlockHeight,
        /// What is wrong.
        problem: String,
    },
}

impl<E> From<TrieError<E>> for ApplyError<E> {
    fn from(error: TrieError<E>) -> Self {
        match error {
            TrieError::Source(error) => Self::Store(error),
            damaged @ TrieError::Damaged { .. } => Self::Trie(damaged),
        }
    }
}

/// Applies a block: see the module documentation. `block_hash` is the hash of the block as it was signed.
///
/// # Errors
/// [`ApplyError`], none of which is an outcome.
pub fn apply<V>(
    view: &V,
    tries: &mut Tries,
    block: &Block,
    height: BlockHeight,
    block_hash: Hash,
) -> Result<Effects, ApplyError<<V as View>::Error>>
where
    V: View + LeafSource<Error = <V as View>::Error>,
{
    let mut work = Work::begin(view, tries, block, height)?;
    let judged = block.requests.iter().enumerate().map(|(position, request)| work.judge(position, request));
    let judged = judged.collect::<Result<Vec<_>, _>>()?;
    let requests = judged.into_iter().map(|judged| work.outcome(judged)).collect();
    let before = (Arc::clone(&work.before.registry), work.before.epoch);
    let (mut cluster, ledgers) = work.close()?;
    cluster.last_block = Some((height, block_hash));
    let checkpoints = ledgers.iter().map(|ledger| checkpoint(ledger, &before, &cluster)).collect();
    Ok(Effects { cluster, ledgers, outcome: BlockOutcome { height, requests, checkpoints } })
}

/// A block being applied.
struct Work<'a, V: LeafSource> {
    view: &'a V,
    tries: &'a mut Tries,
    /// Those of the block with their positions in it, by ledger, as far as their ledger was not asked for.
    requests: BTreeMap<&'a str, Vec<(usize, &'a Request)>>,
    time: Micros,
    /// The state of the cluster before the block: what its requests are judged by.
    before: ClusterState,
    /// The state after it.
    after: ClusterState,
    /// Ledgers by name, as far as they were asked for; `None`: there was none before the block.
    names: BTreeMap<&'a str, Option<LedgerId>>,
    ledgers: BTreeMap<LedgerId, OpenLedger<'a, V>>,
}

/// What became of a request, as long as the block is not closed.
enum Judged {
    Committed { ledger: LedgerId, transaction: usize },
    Done(RequestOutcome),
}

impl Judged {
    fn rejected(rejection: Rejection) -> Self {
        Self::Done(RequestOutcome::Rejected(rejection))
    }
}

impl<'a, V> Work<'a, V>
where
    V: View + LeafSource<Error = <V as View>::Error>,
{
    fn begin(
        view: &'a V,
        tries: &'a mut Tries,
        block: &'a Block,
        height: BlockHeight,
    ) -> Result<Self, ApplyError<<V as View>::Error>> {
        let before = view.cluster().map_err(ApplyError::Store)?;
        let last = before.last_block.map(|(last, _)| last);
        let expected = last.map_or(Some(BlockHeight::new(0)), BlockHeight::next);
        if expected != Some(height) {
            return Err(ApplyError::WrongHeight { height, last });
        }
        let mut work = Self {
            view,
            tries,
            requests: BTreeMap::new(),
            time: Micros::new(block.time),
            after: before.clone(),
            before,
            names: BTreeMap::new(),
            ledgers: BTreeMap::new(),
        };
        work.found(block).map_err(|problem| ApplyError::Genesis { height, problem })?;
        for (position, request) in block.requests.iter().enumerate() {
            work.requests.entry(&request.ledger).or_default().push((position, request));
        }
        Ok(work)
    }

    /// Founds the cluster, if that is what the block is for.
    fn found(&mut self, block: &Block) -> Result<(), String> {
        let genesis = match (&self.before.origin, &block.genesis) {
            (Some(_), None) => return Ok(()),
            (Some(origin), Some(_)) => return Err(format!("it exists already: {origin}")),
            (None, None) => return Err("there is none, and the block has no genesis".to_owned()),
            (None, Some(_)) if !block.requests.is_empty() => return Err("the block has requests".to_owned()),
            (None, Some(genesis)) => genesis,
        };
        let id = ClusterId::try_from(&*genesis.cluster_id).map_err(|error| error.to_string())?;
        let origin = ClusterOrigin::new(&genesis.cluster_name, &id).map_err(|error| error.to_string())?;
        self.after.origin = Some(origin);
        self.after.id = Some(id);
        self.give_birth(LedgerName::system());
        Ok(())
    }

    /// Judges the request at this position of the block, and commits it if nothing is against it.
    fn judge(
        &mut self,
        position: usize,
        request: &'a Request,
    ) -> Result<Judged, ApplyError<<V as View>::Error>> {
        let Some(id) = self.open(&request.ledger)? else {
            return Ok(Judged::rejected(Rejection::UnknownLedger { ledger: request.ledger.clone() }));
        };
        let ledger = &self.ledgers[&id];
        let request_id = match request_id(&request.author, &request.idempotency_key) {
            Ok(request_id) => request_id,
            Err(error) => return Ok(Judged::rejected(unnamed(&error))),
        };
        let again = match ledger.known(&request_id)? {
            Earlier::Known(index) => return Ok(Judged::Done(RequestOutcome::Known { index })),
            Earlier::Forgotten => true,
            Earlier::Never => false,
        };
        if self.after.continues.is_some() && id != SYSTEM {
            return Ok(Judged::rejected(Rejection::NotContinued));
        }
        if let Some((ledger, reason)) = self.before.frozen.get_key_value(ledger.name()) {
            let (ledger, reason) = (ledger.clone(), reason.clone());
            return Ok(Judged::rejected(Rejection::Frozen { ledger, reason }));
        }
        let settings = match self.after.continues {
            None => self.before.settings,
            // The settings are those of the cluster before: they do not bound what founds this one.
            Some(_) => {
                Settings { max_not_after_us: MAX_NOT_AFTER.get(), max_value_len: system::MAX_VALUE_LEN }
            }
        };
        let rules = Rules { time: ledger.time(), settings };
        if let Err(rejection) = judge::check_form(request, ledger.repeats(position), &rules) {
            return Ok(Judged::rejected(rejection));
        }
        let facts = ledger.facts(self.tries, position, request)?;
        let named = if id == SYSTEM { self.named(request)? } else { BTreeSet::new() };
        let judged = judge::judge(request, &facts, &rules).map_err(Refused::from).and_then(|operations| {
            let changes = if id == SYSTEM {
                let cluster = Circumstances {
                    cluster: &self.after,
                    epoch: self.before.epoch,
                    time: rules.time,
                    named: &named,
                };
                system::judge(request, &facts, &cluster)?
            } else {
                Vec::new()
            };
            self.check_room(id, &changes)?;
            Ok((operations, changes))
        });
        let (operations, changes) = match judged {
            Ok(judged) => judged,
            Err(Refused::Rejected(rejection)) => return Ok(Judged::rejected(rejection)),
            Err(Refused::Newer(document)) => return Err(ApplyError::Newer(document)),
        };
        let ledger = self.ledgers.get_mut(&id).expect("the ledger is open");
        let transaction = ledger.transactions().len();
        ledger.commit((position, request), (request_id, again), operations);
        changes.into_iter().for_each(|change| self.change(change));
        Ok(Judged::Committed { ledger: id, transaction })
    }

    /// Opens a ledger, if there was one of this name before the block.
    fn open(&mut self, name: &'a str) -> Result<Option<LedgerId>, ApplyError<<V as View>::Error>> {
        if let Some(found) = self.names.get(name) {
            return Ok(*found);
        }
        let head = match LedgerName::new(name) {
            Ok(valid) => self.view.ledger(&valid).map_err(ApplyError::Store)?,
            Err(_) => None,
        };
        let id = head.as_ref().map(|head| head.id);
        if let Some(head) = head {
            let found = self.tries.get(head.id).map(crate::trie::Trie::root);
            if found != Some(head.state_root) {
                return Err(ApplyError::WrongTrie { ledger: head.id, expected: head.state_root, found });
            }
            let mut ledger = OpenLedger::new(self.view, head, false, self.time);
            ledger.prepare(self.tries, &self.requests.remove(name).unwrap_or_default());
            self.ledgers.insert(ledger.id(), ledger);
        }
        self.names.insert(name, id);
        Ok(id)
    }

    /// Of the ledgers that the documents of a request freeze or thaw, those that there are, born in this block too.
    fn named(&self, request: &Request) -> Result<BTreeSet<LedgerName>, ApplyError<<V as View>::Error>> {
        let mut named = BTreeSet::new();
        for name in request.writes.iter().filter_map(|write| system::frozen_name(&write.key)) {
            let is_born = self.ledgers.values().any(|ledger| *ledger.name() == name);
            if is_born || self.view.ledger(&name).map_err(ApplyError::Store)?.is_some() {
                named.insert(name);
            }
        }
        Ok(named)
    }

    /// Whether the block may still touch this ledger, and those that the request creates.
    fn check_room(&self, id: LedgerId, changes: &[SystemChange]) -> Result<(), Rejection> {
        let touched = self.ledgers.values().filter(|ledger| ledger.is_touched() || ledger.id() == id).count();
        let births = changes.iter().filter(|change| matches!(change, SystemChange::Birth(_))).count();
        if touched + births > MAX_LEDGERS_PER_BLOCK {
            return Err(Rejection::TooManyLedgers);
        }
        Ok(())
    }

    /// Makes a change of the cluster.
    fn change(&mut self, change: SystemChange) {
        match change {
            SystemChange::Birth(name) => self.give_birth(name),
            SystemChange::Registry(registry) => {
                self.after.epoch = registry.epoch();
                self.after.registry = Arc::new(registry);
            }
            SystemChange::Settings(settings) => self.after.settings = settings,
            SystemChange::Continued => self.after.continues = None,
            SystemChange::Frozen(name, reason) => {
                Arc::make_mut(&mut self.after.frozen).insert(name, reason);
            }
            SystemChange::Thawed(name) => {
                Arc::make_mut(&mut self.after.frozen).remove(&name);
            }
        }
    }

    /// Begins a ledger.
    fn give_birth(&mut self, name: LedgerName) {
        let id = self.after.next_ledger;
        self.after.next_ledger =
            LedgerId(id.0.checked_add(1).expect("a cluster has fewer than 2^32 ledgers"));
        self.tries.create(id);
        let frontier = Frontier::new();
        let head = LedgerHead { id, name, frontier, time: self.time, state_root: Hash::ZERO };
        self.ledgers.insert(id, OpenLedger::new(self.view, Arc::new(head), true, self.time));
    }

    /// What became of a request, once all of them are judged.
    fn outcome(&self, judged: Judged) -> RequestOutcome {
        match judged {
            Judged::Done(outcome) => outcome,
            Judged::Committed { ledger, transaction } => {
                let ledger = &self.ledgers[&ledger];
                let record = &ledger.transactions()[transaction];
                let commit_leaf = ledger.index_of(ledger.transactions().len());
                RequestOutcome::Committed(Committed {
                    index: ledger.index_of(transaction),
                    leaf: record.leaf.clone(),
                    operations: record.operations.clone(),
                    size: commit_leaf.size_through().expect("a tree size fits"),
                })
            }
        }
    }

    /// Ends the block in every ledger that it touched.
    fn close(self) -> Result<(ClusterState, Vec<LedgerEffects>), ApplyError<<V as View>::Error>> {
        let touched = self.ledgers.into_values().filter(OpenLedger::is_touched);
        let closed = touched.map(|ledger| ledger.close(self.tries, self.before.epoch));
        Ok((self.after, closed.collect::<Result<_, _>>()?))
    }
}

/// The ledger that every cluster begins with.
const SYSTEM: LedgerId = LedgerId(0);

/// A request that has no id.
fn unnamed(error: &EntryError) -> Rejection {
    let field = match error {
        EntryError::AuthorLength { .. } => "author",
        _ => "idempotency_key",
    };
    malformed(field.to_owned(), error.to_string())
}

/// The checkpoint that a block made in a ledger.
fn checkpoint(
    ledger: &LedgerEffects,
    (registry, epoch): &(Arc<Registry>, Epoch),
    after: &ClusterState,
) -> NewCheckpoint {
    let mut sets: Vec<Arc<CosignerSet>> = registry.cosigners().cloned().into_iter().collect();
    if ledger.id() == SYSTEM && after.epoch != *epoch {
        sets.extend(after.registry.cosigners().cloned());
    }
    let LedgerHead { name, frontier, time, state_root, .. } = &ledger.head;
    NewCheckpoint {
        ledger: name.clone(),
        size: frontier.size(),
        root: frontier.root(),
        state_root: *state_root,
        time: *time,
        sets,
    }
}
