//! Filling a new store with a history that another cluster wrote.
//!
//! Contract: a store is made from the blocks of each ledger, in log order, as if this node had applied them, and every
//! root on the way is recomputed ([`quorate_ledger::replay`]). It then stands for the Raft entry 0 of term 0: where a
//! cluster's own first entry would be. Complete or not at all: **if we crash**, there is no store.
//!
//! What is seeded says what it continues ([`ClusterState::continues`](quorate_ledger::view::ClusterState)), so that the
//! first transaction on top of it has to say so too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    entry::OpKind,
    hash::Hash,
    name::{ClusterOrigin, LedgerName},
    position::{Epoch, LogIndex},
    tree::Frontier,
};
use quorate_ledger::{
    effects::{BucketSummary, LedgerEffects},
    replay::{ReplayError, StoredBlock, replay},
    system::{COSIGNERS_KEY, CosignerSet, Lineage, SETTINGS_KEY, SettingsRecord},
    trie::Tries,
    view::{ClusterState, LedgerHead, LedgerId, Settings},
};

use super::{
    batch::{self, Absent},
    contents::StoredContent,
    database::{Access, Database},
    directory::{Directory, sync_directory, sync_file},
    ledger::LedgerView,
    meta::{Applied, AppliedRow},
    options::{StateOptions, Table},
    rows,
    scrub::scrub,
    store::{StateStore, grow, place},
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
    /// Contents that are not there, and whose erase operation has not come yet.
    absent: BTreeSet<(LedgerId, LogIndex, Vec<u8>)>,
    /// The buckets of the state trees as they are now. They change with nearly every write, and are stored once, at the
    /// end: nobody reads their rows before.
    buckets: BTreeMap<(LedgerId, Vec<u8>), BucketSummary>,
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
        Ok(Self {
            view,
            tries: Tries::new(options.trie_cache_bytes),
            absent: BTreeSet::new(),
            buckets: BTreeMap::new(),
        })
    }

    /// All that was added so far.
    #[must_use]
    pub fn view(&self) -> &ReadView {
        &self.view
    }

    /// Adds the next block of a ledger. The first ledger is `_system`.
    ///
    /// # Errors
    /// [`SeedError::History`] when the block does not follow from those before it; a fault of the disk.
    pub fn block(&mut self, name: &LedgerName, block: StoredBlock) -> Result<(), SeedError> {
        let head = self.view.ledger(name).map(|ledger| Arc::clone(ledger.head()));
        let id = head.as_ref().map_or(self.view.cluster.next_ledger, |head| head.id);
        let wrong = |problem: String| SeedError::History { ledger: name.clone(), problem };
        if head.is_none() {
            let next = id.0.checked_add(1).ok_or_else(|| wrong("it is one ledger too many".to_owned()))?;
            self.view.cluster.next_ledger = LedgerId(next);
        }
        self.note_absent(id, head.as_deref(), &block);
        let time = block.commit.time;
        let newborn =
            || LedgerHead { id, name: name.clone(), frontier: Frontier::new(), time, state_root: Hash::ZERO };
        let mut effects =
            replay(&self.view, &mut self.tries, head, newborn, block).map_err(|error| match error {
                ReplayError::Apply(quorate_ledger::apply::ApplyError::Store(fault)) => fault.into(),
                error => wrong(error.to_string()),
            })?;
        self.note_buckets(&mut effects);
        let database = Arc::clone(&self.view.database);
        let mut batch = database.batch(batch::weight(&effects));
        let grown = grow(&self.view, &effects, &self.tries, &mut batch, Absent::ErasedLater)?;
        place(&mut self.view, grown)?;
        Ok(database.write(batch)?)
    }

    fn note_buckets(&mut self, effects: &mut LedgerEffects) {
        let id = effects.id();
        for change in std::mem::take(&mut effects.buckets) {
            match change.bucket {
                Some(bucket) => self.buckets.insert((id, change.first_key), bucket),
                None => self.buckets.remove(&(id, change.first_key)),
            };
        }
    }

    fn note_absent(&mut self, id: LedgerId, head: Option<&LedgerHead>, block: &StoredBlock) {
        let first = head.map_or(0, |head| head.frontier.size().get());
        for (index, transaction) in (first..).zip(&block.transactions) {
            for (operation, content) in transaction.operations.iter().zip(&transaction.record.contents) {
                match (operation.kind, content, operation.prev_index) {
                    (OpKind::Put, None, _) => {
                        self.absent.insert((id, LogIndex::new(index), operation.key.clone()));
                    }
                    (OpKind::Erase, _, Some(erased)) => {
                        self.absent.remove(&(id, erased, operation.key.clone()));
                    }
                    _ => {}
                }
            }
        }
    }

    fn write_buckets(&self) -> Result<(), StoreFault> {
        let database = &self.view.database;
        let mut batch = database.batch(0);
        for (count, ((ledger, first_key), bucket)) in (1_usize..).zip(&self.buckets) {
            batch::put_bucket(&mut batch, &rows::keyed(*ledger, first_key), bucket)?;
            if count.is_multiple_of(AT_ONCE) {
                database.write(std::mem::replace(&mut batch, database.batch(0)))?;
            }
        }
        database.write(batch)
    }

    /// Makes it a store: what it stands for, and everything on disk.
    fn finish(self, identity: Identity, seeded: Seeded) -> Result<(), SeedError> {
        self.write_buckets()?;
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
