//! Filling a new store with a history that another cluster wrote.
//!
//! Contract: a store is made from the blocks of each ledger, in log order, as if this node had applied them, and every
//! root on the way is recomputed ([`quorate_ledger::replay`]), one ledger after the other. It then stands for the Raft entry 0 of term 0: where a
//! cluster's own first entry would be. Complete or not at all: **if we crash**, there is no store.
//!
//! What is seeded says what it continues ([`ClusterState::continues`](quorate_ledger::view::ClusterState)), so that the
//! first transaction on top of it has to say so too.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    entry::OpKind,
    hash::Hash,
    name::{ClusterOrigin, LedgerName},
    position::{Epoch, LogIndex, Revision},
    tree::Frontier,
};
use quorate_ledger::{
    replay::{History, Replay, ReplayError, StatePart, StoredBlock},
    system::{COSIGNERS_KEY, CosignerSet, Lineage, SETTINGS_KEY, SettingsRecord},
    trie::Tries,
    view::{ClusterState, KnownRequest, LedgerHead, LedgerId, Settings},
};

use super::{
    batch,
    contents::StoredContent,
    database::{Access, Database},
    directory::{Directory, sync_directory, sync_file},
    fill::Rows,
    ledger::{LedgerView, known_request},
    load::load_ledger,
    meta::{Applied, AppliedRow},
    options::{StateOptions, Table},
    rows,
    scrub::scrub,
    store::{StateStore, place},
    tiles::TileCache,
    view::ReadView,
};
use crate::store::{
    faults::{OpenError, StoreFault},
    log::{Identity, LogId},
};

/// The Raft entry that a seeded store stands for.
pub(crate) const SEEDED_AT: LogId = LogId { term: 0, index: 0 };

/// Rows written or removed in one batch.
const AT_ONCE: usize = 10_000;

/// Why a store was not seeded. There is none then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SeedError {
    /// What it is seeded with is wrong.
    #[error("ledger {ledger}: {problem}")]
    History {
        /// The ledger.
        ledger: LedgerName,
        /// What is wrong.
        problem: String,
    },
    /// The directory, or the disk.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl From<StoreFault> for SeedError {
    fn from(fault: StoreFault) -> Self {
        Self::Open(fault.into())
    }
}

/// What a seeded store is to say of itself, beside what is in its ledgers.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// The origin of the new cluster.
    pub origin: ClusterOrigin,
    /// Its founding members, as an entry of the Raft log carries them.
    pub membership: Bytes,
    /// What it continues.
    pub lineage: Lineage,
}

/// A store that is being filled.
#[derive(Debug)]
pub struct Seeder {
    view: ReadView,
    tries: Tries,
    /// The ledger whose blocks are added now.
    open: Option<Open>,
    /// Contents that are not there, and whose erase operation has not come yet.
    absent: BTreeSet<(LedgerId, LogIndex, Vec<u8>)>,
}

/// A ledger whose blocks are added now. Its state is in memory; the rest of its rows is written beside.
#[derive(Debug)]
struct Open {
    replay: Replay,
    rows: Rows,
}

/// What the rows that were written before say.
struct Written<'o> {
    database: &'o Database,
    open: &'o Rows,
    head: &'o LedgerHead,
}

impl History for Written<'_> {
    type Error = StoreFault;

    fn request(&self, request_id: &Hash) -> Result<Option<KnownRequest>, StoreFault> {
        self.open.sync()?;
        known_request(self.database, self.head.id, request_id, self.head.frontier.size())
    }

    fn overwritten(&self, key: &[u8], revision: Revision) -> Result<Option<LogIndex>, StoreFault> {
        self.open.sync()?;
        let row_key = rows::revision(self.head.id, key, revision);
        let Some(row) = self.database.get(Table::Revisions, &row_key)? else {
            return Ok(None);
        };
        let damaged = || self.database.damaged(Table::Revisions, &row_key, "the row does not have 8 bytes");
        let index = row.as_ref().try_into().map_err(|_| damaged())?;
        Ok(Some(LogIndex::from_be_bytes(index)))
    }
}

impl StateStore {
    /// Makes the store in `path`, which must be empty or not exist. `fill` adds the blocks and says what else there is.
    ///
    /// # Errors
    /// [`SeedError`], or what `fill` says.
    pub fn seed<E: From<SeedError> + From<OpenError> + From<StoreFault>>(
        path: &Path,
        identity: Identity,
        options: &StateOptions,
        fill: impl FnOnce(&mut Seeder) -> Result<Seeded, E>,
    ) -> Result<(), E> {
        Directory::create(path, identity, |path| {
            let mut seeder = Seeder::begin(path, identity, options)?;
            let seeded = fill(&mut seeder)?;
            Ok(seeder.finish(identity, seeded)?)
        })
    }

    /// Makes the store in `path` a copy of a seeded one that nobody has open, for another node.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn copy_seed(from: (&Path, Identity), path: &Path, identity: Identity) -> Result<(), OpenError> {
        let database = Directory::inspect(from.0, from.1)?;
        Directory::create(path, identity, |path| Ok(copy_database(&database, path)?))
    }

    /// Makes a new store in `path` of this one, which is used up: the same ledgers, in another cluster. What the nodes of
    /// the old cluster signed stays behind.
    ///
    /// # Errors
    /// [`SeedError`]: there is no store then, and this one must not be used again.
    pub fn reseed(self, path: &Path, identity: Identity, seeded: Seeded) -> Result<(), SeedError> {
        let view = self.view();
        let (database, cluster) = (Arc::clone(&view.database), view.cluster.clone());
        let cluster = ClusterState { last_block: None, origin: Some(seeded.origin.clone()), ..cluster };
        forget_cosignatures(&database)?;
        write_applied(&database, identity, cluster, seeded)?;
        let files = database.path().to_owned();
        drop((view, self));
        // Closed only when nobody has it any more: what is copied must not change.
        let closed = Arc::into_inner(database);
        drop(
            closed
                .ok_or_else(|| StoreFault::io(files.display().to_string(), "the database is still in use"))?,
        );
        Directory::create(path, identity, |path| Ok(copy_database(&files, path)?))
    }

    /// Recomputes everything that is in the present view, without a copy of it.
    ///
    /// # Errors
    /// The first thing that is wrong, or a fault of the disk.
    pub fn recompute(&self) -> Result<(), StoreFault> {
        scrub(&self.view())
    }
}

/// Copies the files of a database that nobody has open, synced.
fn copy_database(from: &Path, to: &Path) -> Result<(), StoreFault> {
    fs::create_dir(to).map_err(|error| StoreFault::file(to, "creating", &error))?;
    for file in fs::read_dir(from).map_err(|error| StoreFault::file(from, "listing", &error))? {
        let file = file.map_err(|error| StoreFault::file(from, "listing", &error))?;
        let copy = to.join(file.file_name());
        fs::copy(file.path(), &copy).map_err(|error| StoreFault::file(&copy, "writing", &error))?;
        sync_file(&copy)?;
    }
    sync_directory(to)
}

/// Removes what the nodes of another cluster signed.
fn forget_cosignatures(database: &Database) -> Result<(), StoreFault> {
    loop {
        let mut batch = database.batch(0);
        let mut scan = database.scan_prefix(Table::Cosignatures, &[])?;
        let mut count = 0;
        while count < AT_ONCE
            && let Some(key) = scan.next(|key, _| Ok(key.to_vec()))?
        {
            batch.delete(Table::Cosignatures, &key)?;
            count += 1;
        }
        database.write(batch)?;
        if count < AT_ONCE {
            return Ok(());
        }
    }
}

/// Writes what a seeded store stands for, and everything to the disk.
fn write_applied(
    database: &Database,
    identity: Identity,
    cluster: ClusterState,
    seeded: Seeded,
) -> Result<(), StoreFault> {
    let continues = Some(seeded.lineage.encode_to_vec().into());
    let applied = Applied { last: Some(SEEDED_AT), membership: Some((SEEDED_AT, seeded.membership)) };
    let cluster = ClusterState { continues, ..cluster };
    let row = AppliedRow { cluster_id: identity.cluster_id, applied, cluster };
    let mut batch = database.batch(0);
    batch.put(Table::Meta, rows::APPLIED, &row.encode())?;
    database.write(batch)?;
    database.flush(true)?;
    database.check_background()
}

impl Seeder {
    fn begin(path: &Path, identity: Identity, options: &StateOptions) -> Result<Self, StoreFault> {
        let view = ReadView {
            database: Arc::new(Database::open(path, options, Access::Create)?),
            cache: Arc::new(TileCache::new(options.tile_cache_bytes)),
            applied: Applied::default(),
            cluster: AppliedRow::new(identity.cluster_id).cluster,
            names: Arc::default(),
            ledgers: Vec::new(),
        };
        let tries = Tries::new(options.trie_cache_bytes);
        Ok(Self { view, tries, open: None, absent: BTreeSet::new() })
    }

    /// All ledgers that were ended.
    #[must_use]
    pub fn view(&self) -> &ReadView {
        &self.view
    }

    /// Adds the next block of a ledger. The first ledger is `_system`; one ends where the next begins, and is not gone on with.
    ///
    /// # Errors
    /// [`SeedError::History`] when the block does not follow from those before it; a fault of the disk.
    pub fn block(&mut self, name: &LedgerName, block: StoredBlock) -> Result<(), SeedError> {
        if self.open.as_ref().is_none_or(|open| open.replay.head().name != *name) {
            self.end()?;
            self.begin_ledger(name, &block)?;
        }
        let Some(open) = &mut self.open else {
            return Err(SeedError::History { ledger: name.clone(), problem: "it did not begin".to_owned() });
        };
        let head = open.replay.head().clone();
        note_absent(&mut self.absent, &head, &block);
        let written = Written { database: &self.view.database, open: &open.rows, head: &head };
        let effects = open.replay.push(&written, block).map_err(|error| match error {
            ReplayError::History(fault) => fault.into(),
            error @ ReplayError::Contradiction { .. } => {
                SeedError::History { ledger: name.clone(), problem: error.to_string() }
            }
        })?;
        Ok(open.rows.block(effects)?)
    }

    fn begin_ledger(&mut self, name: &LedgerName, block: &StoredBlock) -> Result<(), SeedError> {
        let wrong = |problem: &str| SeedError::History { ledger: name.clone(), problem: problem.to_owned() };
        if self.view.ledger(name).is_some() {
            return Err(wrong("its blocks do not come one after the other"));
        }
        let id = self.view.cluster.next_ledger;
        let next = id.0.checked_add(1).ok_or_else(|| wrong("it is one ledger too many"))?;
        self.view.cluster.next_ledger = LedgerId(next);
        let time = block.commit.time;
        let newborn =
            LedgerHead { id, name: name.clone(), frontier: Frontier::new(), time, state_root: Hash::ZERO };
        self.tries.create(id);
        let trie = self.tries.snapshot(id).ok_or_else(|| wrong("it has no state tree"))?;
        let rows = Rows::start(&self.view.database, &self.view.cache, trie)?;
        self.open = Some(Open { replay: Replay::new(newborn), rows });
        Ok(())
    }

    /// Ends the ledger whose blocks were added last: its state is written in key order, and what is stored of it is loaded as at
    /// any start of a node, with the checks of that. From then on it is in the [view](Seeder::view).
    ///
    /// # Errors
    /// A fault of the disk, or of what was stored.
    pub fn end(&mut self) -> Result<(), SeedError> {
        let Some(Open { replay, rows }) = self.open.take() else {
            return Ok(());
        };
        let head = Arc::new(replay.head().clone());
        rows.end()?;
        self.write_state(head.id, replay)?;
        let loaded = load_ledger(&self.view.database, &self.view.cache, &mut self.tries, head)?;
        Ok(place(&mut self.view, loaded)?)
    }

    /// Writes the newest write of every key, and the buckets of the state tree.
    fn write_state(&self, ledger: LedgerId, replay: Replay) -> Result<(), StoreFault> {
        let database = &self.view.database;
        let (mut batch, mut count) = (database.batch(0), 0);
        let mut row_key = rows::ledger(ledger).to_vec();
        for StatePart { bucket, leaves } in replay.into_state() {
            if let Some((first, _)) = leaves.first() {
                batch::put_bucket(&mut batch, &rows::keyed(ledger, first.key()), &bucket)?;
            }
            for (leaf, position) in &leaves {
                batch::put_leaf(&mut batch, &mut row_key, leaf.index(), leaf.op(), *position)?;
            }
            count += leaves.len();
            if count >= AT_ONCE {
                database.write(std::mem::replace(&mut batch, database.batch(0)))?;
                count = 0;
            }
        }
        database.write(batch)
    }

    /// Makes it a store: what it stands for, and everything on disk.
    fn finish(mut self, identity: Identity, seeded: Seeded) -> Result<(), SeedError> {
        self.end()?;
        let system = LedgerName::system();
        let wrong = |problem: String| SeedError::History { ledger: system.clone(), problem };
        if let Some((ledger, index, _)) = self.absent.first() {
            let problem = format!("a value written at {index} is missing, and no operation erased it");
            let ledger = self.view.by_id(*ledger).map_or(system.clone(), |ledger| ledger.head().name.clone());
            return Err(SeedError::History { ledger, problem });
        }
        let ledger = self.view.ledger(&system).ok_or_else(|| wrong("it has no leaves".to_owned()))?;
        let set: CosignerSet = document(ledger, COSIGNERS_KEY)?;
        let settings: SettingsRecord = document(ledger, SETTINGS_KEY)?;
        let mut cluster = self.view.cluster.clone();
        cluster.origin = Some(seeded.origin.clone());
        cluster.epoch = Epoch::new(set.epoch);
        cluster.settings =
            Settings { max_not_after_us: settings.max_not_after_us, max_value_len: settings.max_value_len };
        Ok(write_applied(&self.view.database, identity, cluster, seeded)?)
    }
}

/// Notes contents that are not there, and those whose erase operation is here.
fn note_absent(absent: &mut BTreeSet<(LedgerId, LogIndex, Vec<u8>)>, head: &LedgerHead, block: &StoredBlock) {
    for (index, transaction) in (head.frontier.size().get()..).zip(&block.transactions) {
        for (operation, content) in transaction.operations.iter().zip(&transaction.record.contents) {
            match (operation.kind, content, operation.prev_index) {
                (OpKind::Put, None, _) => {
                    absent.insert((head.id, LogIndex::new(index), operation.key.clone()));
                }
                (OpKind::Erase, _, Some(erased)) if !absent.is_empty() => {
                    absent.remove(&(head.id, erased, operation.key.clone()));
                }
                _ => {}
            }
        }
    }
}

/// The present document of `_system` under a key.
fn document<M: Message + Default>(system: &LedgerView, key: &[u8]) -> Result<M, SeedError> {
    let name = String::from_utf8_lossy(key).into_owned();
    let wrong = |problem: String| SeedError::History {
        ledger: LedgerName::system(),
        problem: format!("{name}: {problem}"),
    };
    let newest = system.newest(key)?.ok_or_else(|| wrong("it was never written".to_owned()))?;
    match system.written(newest.index(), key)? {
        StoredContent::Present(content) => M::decode(content.value).map_err(|error| wrong(error.to_string())),
        StoredContent::Nothing | StoredContent::Erased { .. } => Err(wrong("it is not there".to_owned())),
    }
}
