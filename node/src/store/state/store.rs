//! The state store: one writer, any number of readers.
//!
//! The apply thread writes each block as one batch together with the id of its Raft entry, and publishes the view
//! after it. Nothing waits for the disk: **if we crash**, all tables are together as of the last flush, and the Raft
//! log brings them forward by the same path. What is durable is asked of the database itself
//! ([`StateStore::durable`]), never remembered.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use quorate_core::position::TreeSize;
use quorate_ledger::{
    effects::{Effects, LedgerEffects},
    trie::{TrieStats, Tries},
    view::LedgerId,
};

use super::{
    batch::{self, Absent},
    cosignatures::{self, StoredCosignature},
    database::{Access, Batch, Database},
    directory::Directory,
    epochs,
    ledger::LedgerView,
    load::{load, persisted},
    meta::{Applied, AppliedRow},
    options::{StateOptions, Table},
    parking::Guarded,
    rows,
    tiles::Edge,
    view::ReadView,
};
use crate::store::{
    faults::{OpenError, StoreFault},
    log::{Identity, LogId},
};

/// The state of this node: everything that follows from the Raft log.
#[derive(Debug)]
pub struct StateStore {
    pub(super) directory: Directory,
    pub(super) identity: Identity,
    pub(super) options: StateOptions,
    published: RwLock<Arc<ReadView>>,
    pub(super) writer: Guarded<Writer>,
    /// Held while the cosignatures of a checkpoint are read and written back.
    cosigning: Guarded<()>,
    /// Held while a directory of a new name is made.
    pub(super) naming: Guarded<()>,
}

/// What only the apply thread uses.
#[derive(Debug)]
pub(super) struct Writer {
    /// The state trees after the last block.
    pub(super) tries: Tries,
    /// Raft index at which a flush was begun last.
    pub(super) flushed: u64,
    /// Why nothing more can be applied: the trees may be ahead of what is stored.
    pub(super) broken: Option<StoreFault>,
}

impl Writer {
    pub(super) fn new(tries: Tries, applied: &Applied) -> Self {
        Self { tries, flushed: applied.last.map_or(0, |id| id.index), broken: None }
    }
}

impl StateStore {
    /// Whether there is a directory with something in it.
    pub fn exists(path: &Path) -> bool {
        path.join("IDENTITY").exists()
    }

    /// Checks who the store in `path` belongs to, in which format it is, and that no damage was found in it. Only reads.
    ///
    /// # Errors
    /// Any [`OpenError`] that can be found without opening the database.
    pub fn check_owner(path: &Path, identity: Identity) -> Result<(), OpenError> {
        Directory::check(path, identity)
    }

    /// Makes an empty store in `path`, which must be empty or not exist; complete or not at all.
    ///
    /// # Errors
    /// [`OpenError::NotQuorate`] where something is, [`OpenError::Fault`].
    pub fn create(path: &Path, identity: Identity, options: &StateOptions) -> Result<(), OpenError> {
        Directory::create(path, identity, |path| {
            let database = Database::open(path, options, Access::Create)?;
            let mut batch = database.batch(0);
            batch.put(Table::Meta, rows::APPLIED, &AppliedRow::new(identity.cluster_id).encode())?;
            database.write(batch)?;
            Ok(database.flush(true)?)
        })
    }

    /// Opens the store in `path`, checks who it belongs to, rebuilds what is kept in memory, and checks the roots.
    ///
    /// # Errors
    /// Any [`OpenError`]; nothing was changed then, except that leftovers of an earlier run may be gone.
    pub fn open(path: &Path, identity: Identity, options: StateOptions) -> Result<Self, OpenError> {
        let (directory, current) = Directory::open(path, identity)?;
        let database =
            Database::open(&current, &options, Access::Write).map_err(|fault| in_use(path, fault))?;
        let (view, tries) = load(Arc::new(database), identity.cluster_id, &options)?;
        Ok(Self {
            directory,
            identity,
            options,
            writer: Guarded::new(Writer::new(tries, &view.applied)),
            published: RwLock::new(Arc::new(view)),
            cosigning: Guarded::default(),
            naming: Guarded::default(),
        })
    }

    /// The view after the last applied entry.
    pub fn view(&self) -> Arc<ReadView> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn publish(&self, view: Arc<ReadView>) -> Arc<ReadView> {
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *published, view)
    }

    /// Applies the entry `id`: `transition` says what it changes, given the view and the state trees before it.
    /// Writes that, with `id`, as one batch, and publishes the view after it. On the apply thread only.
    ///
    /// # Errors
    /// A fault of the store or of `transition`, after which every further call fails too.
    pub fn apply(
        &self,
        id: LogId,
        transition: impl FnOnce(&ReadView, &mut Tries) -> Result<Effects, StoreFault>,
    ) -> Result<Effects, StoreFault> {
        self.write(id, |before, writer| {
            let effects = transition(before, &mut writer.tries)?;
            let mut after = before.clone();
            after.applied.last = Some(id);
            after.cluster = effects.cluster.clone();
            let weight = effects.ledgers.iter().map(batch::weight).sum();
            let mut batch = before.database.batch(weight);
            for ledger in &effects.ledgers {
                let view = grow(before, ledger, &writer.tries, &mut batch)?;
                place(&mut after, view)?;
            }
            self.commit(&after, batch)?;
            if after.cluster.epoch != before.cluster.epoch {
                epochs::record(&after)?;
            }
            Ok((after, effects))
        })
    }

    /// Notes the entry `id`, which changes nothing in the ledgers; `membership`: the bytes of one that carries a
    /// membership. On the apply thread only.
    ///
    /// # Errors
    /// A fault of the store, after which every further call fails too.
    pub fn note(&self, id: LogId, membership: Option<Bytes>) -> Result<(), StoreFault> {
        self.write(id, |before, _| {
            let mut after = before.clone();
            after.applied.last = Some(id);
            if let Some(bytes) = membership {
                after.applied.membership = Some((id, bytes));
            }
            self.commit(&after, before.database.batch(0))?;
            Ok((after, ()))
        })
    }

    /// One step of the apply thread: from the present view to the next.
    fn write<T>(
        &self,
        id: LogId,
        step: impl FnOnce(&ReadView, &mut Writer) -> Result<(ReadView, T), StoreFault>,
    ) -> Result<T, StoreFault> {
        let mut writer = self.writer.lock();
        if let Some(fault) = &writer.broken {
            return Err(fault.clone());
        }
        let before = self.view();
        let result = check_next(before.applied.last, id).and_then(|()| step(&before, &mut writer));
        let (after, result) = result.inspect_err(|fault| writer.broken = Some(fault.clone()))?;
        self.publish(Arc::new(after));
        if id.index.saturating_sub(writer.flushed) >= self.options.flush_entries {
            writer.flushed = id.index;
            before.database.flush(false).inspect_err(|fault| writer.broken = Some(fault.clone()))?;
        }
        Ok(result)
    }

    /// Writes a batch together with what it is the result of.
    fn commit(&self, after: &ReadView, mut batch: Batch<'_>) -> Result<(), StoreFault> {
        let row = AppliedRow {
            cluster_id: self.identity.cluster_id,
            applied: after.applied.clone(),
            cluster: after.cluster.clone(),
        };
        batch.put(Table::Meta, rows::APPLIED, &row.encode())?;
        after.database.write(batch)
    }

    /// What a start after a crash at this moment would find applied.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn durable(&self) -> Result<Applied, StoreFault> {
        let view = self.view();
        view.database.check_background()?;
        Ok(persisted(&view.database)?.applied)
    }

    /// Makes durable what was applied before the call.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn flush(&self) -> Result<(), StoreFault> {
        let view = self.view();
        view.database.flush(true)?;
        view.database.check_background()
    }

    /// Adds cosignatures of a checkpoint, of each node the latest; gives all of that checkpoint. The caller has
    /// checked them. Readable on return; lost with a crash like everything since the last flush.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn put_cosignatures(
        &self,
        ledger: LedgerId,
        size: TreeSize,
        added: &[StoredCosignature],
    ) -> Result<Vec<StoredCosignature>, StoreFault> {
        let _alone = self.cosigning.lock();
        cosignatures::put(&self.view().database, ledger, size, added)
    }

    /// What the state trees take in memory.
    pub fn trie_stats(&self) -> TrieStats {
        self.writer.lock().tries.stats()
    }
}

/// Writes a ledger's changes to `batch`; gives the ledger after them.
pub(super) fn grow(
    before: &ReadView,
    effects: &LedgerEffects,
    tries: &Tries,
    batch: &mut Batch<'_>,
) -> Result<LedgerView, StoreFault> {
    let old = before.by_id(effects.id()).map(Arc::as_ref);
    let mut edge = old.map_or_else(Edge::default, |old| old.edge.clone());
    batch::put_ledger(batch, &before.database, old, effects, &mut edge, Absent::Fault)?;
    let place = || format!("state tree of ledger {}", effects.head.name);
    let trie = tries.snapshot(effects.id());
    let trie = trie.ok_or_else(|| StoreFault::diverged(place(), "a tree", "none"))?;
    if trie.root() != effects.head.state_root {
        return Err(StoreFault::diverged(place(), effects.head.state_root, trie.root()));
    }
    Ok(LedgerView {
        database: Arc::clone(&before.database),
        cache: Arc::clone(&before.cache),
        head: Arc::new(effects.head.clone()),
        edge,
        trie,
    })
}

/// Puts a ledger into a view: in the place of its older self, or as the next one.
pub(super) fn place(after: &mut ReadView, view: LedgerView) -> Result<(), StoreFault> {
    let id = view.id();
    let at = usize::try_from(id.0).unwrap_or(usize::MAX);
    if let Some(old) = after.ledgers.get_mut(at) {
        *old = Arc::new(view);
        return Ok(());
    }
    if at != after.ledgers.len() {
        let expected = format!("ledger {} as the next one", after.ledgers.len());
        return Err(StoreFault::diverged("effects", expected, format!("ledger {}", id.0)));
    }
    Arc::make_mut(&mut after.names).insert(view.head.name.clone(), id);
    after.ledgers.push(Arc::new(view));
    Ok(())
}

/// An entry is applied right behind the last one, and terms never fall.
fn check_next(last: Option<LogId>, id: LogId) -> Result<(), StoreFault> {
    let follows = match last {
        Some(last) => Some(id.index) == last.index.checked_add(1) && id.term >= last.term,
        None => true,
    };
    if follows {
        return Ok(());
    }
    let last = last.map_or_else(|| "nothing".to_owned(), |last| last.to_string());
    Err(StoreFault::diverged("applied position", format!("the entry behind {last} (term/index)"), id))
}

/// A database that another process has open is no damage.
pub(super) fn in_use(path: &Path, fault: StoreFault) -> OpenError {
    let problem = fault.to_string();
    if problem.contains("LOCK") || problem.contains("lock hold") {
        OpenError::InUse { path: path.to_owned(), problem }
    } else {
        OpenError::Fault(fault)
    }
}
