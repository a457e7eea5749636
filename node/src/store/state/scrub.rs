//! Recomputes everything: every hash, and every row that follows from others.
//!
//! Used in two ways: a received snapshot must pass before it is installed, and a node reads its own state again now and
//! then ([`StateStore::scrub`]). The latter goes through a copy (links to the very files), which stands still while
//! blocks are applied, and reads at the pace of whoever asked for it.
//!
//! What passes is exactly what applying the log would have stored, up to what only the cosigners can say: that this
//! *is* the log.
//!
//! Per ledger: each leaf under its index, gap-free, in blocks that end with their commit leaf · each tile from the
//! leaves · each operation under its `ops_root`, each value and meta under its digest · an erased value has its erase
//! operation, and an erase operation has erased · each row of an overwritten revision from the writes, each request row from the
//! leaves, and no others · each newest write is the last revision, in the state tree under the state root, and no
//! others. Nothing at all for ledgers that do not exist.

use std::{path::Path, sync::Arc};

use quorate_core::{
    entry::{Leaf, OpKind, Operation, TransactionLeaf, meta_digest, ops_root},
    hash::{Hash, leaf_hash},
    position::{LogIndex, Micros, Revision},
    state_tree::KeyRange,
    tree::tile::Tile,
};

use quorate_ledger::trie::LeafReader;

use super::{
    contents::{StoredContent, StoredMeta},
    database::{Access, Database, Direction, after_prefix},
    directory::Directory,
    ledger::{LedgerView, read_requests},
    load::load,
    options::Table,
    proofs::trie_fault,
    rows,
    runs::LogRecord,
    store::StateStore,
    values::ContentsScan,
    view::ReadView,
};
use crate::store::faults::StoreFault;

/// Told how many bytes were read since it was told last; an error ends the pass.
pub(crate) type Step<'s> = dyn FnMut(u64) -> Result<(), StoreFault> + 's;

/// Checks everything in a view's database.
///
/// # Errors
/// The first thing that is wrong, or a fault of the store.
pub(crate) fn scrub(view: &ReadView) -> Result<(), StoreFault> {
    scrub_by_steps(view, &mut |_| Ok(()))
}

impl StateStore {
    /// When a pass over everything stored ended last, if that is known.
    pub fn scrubbed_at(&self) -> Option<Micros> {
        scrubbed_at(&self.directory)
    }

    /// The same of the store in `path`, which need not be open.
    pub fn scrubbed_in(path: &Path) -> Option<Micros> {
        scrubbed_at(&Directory::unchecked(path))
    }

    /// Notes that such a pass ended.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn note_scrubbed(&self, now: Micros) -> Result<(), StoreFault> {
        self.directory.note_scrubbed(now.as_secs())
    }

    /// Notes for ever that what is stored is damaged: the store is not opened again.
    ///
    /// # Errors
    /// A fault of the disk.
    pub fn condemn(&self, fault: &StoreFault) -> Result<(), StoreFault> {
        self.directory.condemn(&fault.to_string())
    }

    /// Reads everything that is on the disk of a state with all that was applied before the call, and recomputes every
    /// hash. `step` is told of the bytes as they are read. May run beside [`StateStore::apply`]; one at a time.
    ///
    /// # Errors
    /// The first thing that is wrong, a fault of the store, or the error of `step`.
    pub fn scrub(&self, step: &mut Step<'_>) -> Result<(), StoreFault> {
        let copy = self.snapshot()?;
        let present = self.view().database.path().display().to_string();
        let scrubbed = self.scrub_copy(&copy.path, step);
        if let Err(error) = std::fs::remove_dir_all(&copy.path) {
            tracing::warn!(path = %copy.path.display(), %error, "the copy that was scrubbed was not removed");
        }
        // The files are those of the present database.
        scrubbed.map_err(|fault| fault.at(&copy.path.display().to_string(), &present))
    }

    fn scrub_copy(&self, path: &Path, step: &mut Step<'_>) -> Result<(), StoreFault> {
        let options = self.checking();
        let database = Arc::new(Database::open(path, &options, Access::Read)?);
        let (view, _) = load(database, self.identity.cluster_id, &options)?;
        scrub_by_steps(&view, step)
    }
}

fn scrubbed_at(directory: &Directory) -> Option<Micros> {
    Micros::from_secs(directory.scrubbed_at()?)
}

fn scrub_by_steps(view: &ReadView, step: &mut Step<'_>) -> Result<(), StoreFault> {
    for ledger in view.ledgers() {
        Scrub::new(ledger, step)?.run()?;
    }
    let beyond = rows::ledger(view.cluster().next_ledger);
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Meta) {
        let mut scan = view.database.scan(table, &beyond, None, Direction::Ascending)?;
        if let Some(key) = scan.next(|key, _| Ok(key.to_vec()))? {
            return Err(view.database.damaged(table, &key, "the row belongs to no ledger"));
        }
    }
    Ok(())
}

struct Scrub<'v, 's> {
    view: &'v LedgerView,
    step: &'s mut Step<'s>,
    contents: ContentsScan<'v>,
    /// The tiles being filled, by level.
    tiles: Vec<(Tile, u64)>,
    transactions: usize,
    /// Operations that are writes; those that are a key's first; those that are its newest.
    writes: usize,
    keys: usize,
    newest: usize,
    full_tiles: usize,
}

impl<'v, 's> Scrub<'v, 's> {
    fn new(view: &'v LedgerView, step: &'s mut Step<'s>) -> Result<Self, StoreFault> {
        let contents = view.all_contents()?;
        let (tiles, transactions, writes, keys, newest, full_tiles) = (Vec::new(), 0, 0, 0, 0, 0);
        Ok(Self { view, step, contents, tiles, transactions, writes, keys, newest, full_tiles })
    }

    /// Tells what was read.
    fn step(&mut self) -> Result<(), StoreFault> {
        (self.step)(self.view.database.take_read_bytes())
    }

    fn run(mut self) -> Result<(), StoreFault> {
        self.log()?;
        if let Some(index) = self.contents.peek()? {
            return Err(self.wrong(index, "there are contents of what is no transaction"));
        }
        self.state()?;
        self.expect_rows(Table::Revisions, self.writes - self.keys, |_| Some(1))?;
        self.expect_rows(Table::Tiles, self.full_tiles, |_| Some(1))?;
        self.expect_rows(Table::Requests, self.transactions, |row| {
            read_requests(row).map(|known| known.len())
        })
    }

    /// All leaves in order, as blocks.
    fn log(&mut self) -> Result<(), StoreFault> {
        let mut block_first = LogIndex::new(0);
        let view = self.view;
        let mut records = view.records(block_first)?;
        while let Some(record) = records.next() {
            let record = record?;
            let (index, block) = (record.index, records.block());
            match Leaf::decode(&record.leaf).map_err(|error| self.wrong(index, error))? {
                Leaf::Transaction(leaf) if block.first == block_first && index < block.commit => {
                    self.transaction(&record, &leaf)?;
                }
                Leaf::Commit(leaf)
                    if block.first == block_first
                        && index == block.commit
                        && leaf.first_index == block_first
                        && leaf.index() == Some(index)
                        && record.operations.is_empty() =>
                {
                    block_first = index.next().ok_or_else(|| self.wrong(index, "the log ends"))?;
                }
                _ => return Err(self.wrong(index, "the leaf does not fit its block")),
            }
            self.tile(leaf_hash(&record.leaf))?;
            self.step()?;
        }
        let behind = rows::run(self.view.id(), self.view.size().next_index());
        let end = after_prefix(&rows::ledger(self.view.id()));
        let database = &self.view.database;
        let mut rest = database.scan(Table::Blocks, &behind, end.as_deref(), Direction::Ascending)?;
        match rest.next(|key, _| Ok(key.to_vec()))? {
            Some(key) => Err(database.damaged(Table::Blocks, &key, "the row lies behind the last leaf")),
            None => Ok(()),
        }
    }

    fn transaction(&mut self, record: &LogRecord, leaf: &TransactionLeaf) -> Result<(), StoreFault> {
        let index = record.index;
        let count = u32::try_from(record.operations.len()).map_err(|error| self.wrong(index, error))?;
        if count != leaf.op_count || ops_root(&record.operations) != leaf.ops_root {
            return Err(self.wrong(index, "the operations do not have the leaf's ops_root"));
        }
        let known =
            self.view.database.get(Table::Requests, &rows::request(self.view.id(), &leaf.request_id))?;
        let known = known.and_then(|row| read_requests(&row)).unwrap_or_default();
        if !known.iter().any(|known| known.index == index && known.not_after == leaf.not_after) {
            return Err(self.wrong(index, "its request is not among the known requests"));
        }
        let contents = self.contents.take(index, record.operations.len())?;
        match &contents.meta {
            StoredMeta::Present { meta, salt } => {
                let salt = salt.as_ref().try_into().map_err(|error| self.wrong(index, error))?;
                if meta_digest(&salt, meta) != leaf.meta_digest {
                    return Err(self.wrong(index, "the meta does not have the leaf's meta_digest"));
                }
            }
            StoredMeta::Erased { .. } => {
                return Err(self.wrong(index, "the meta is gone and nothing erased it"));
            }
        }
        for (position, (bytes, content)) in record.operations.iter().zip(&contents.operations).enumerate() {
            let operation = Operation::decode(bytes).map_err(|error| self.wrong(index, error))?;
            self.content(index, &operation, content)?;
            if operation.kind.is_write() {
                self.write(index, position, &operation, bytes)?;
            }
        }
        self.transactions += 1;
        Ok(())
    }

    /// What an operation wrote is what it says.
    fn content(
        &self,
        index: LogIndex,
        operation: &Operation,
        content: &StoredContent,
    ) -> Result<(), StoreFault> {
        let key = &operation.key;
        let fits = match (operation.kind, content) {
            (OpKind::Put, StoredContent::Present(content)) => {
                let salt = content.salt.as_ref().try_into().map_err(|error| self.wrong(index, error))?;
                operation.wrote(&salt, &content.attributes, &content.value)
            }
            (OpKind::Put, StoredContent::Erased { by }) => self.erases(*by, index, key)?,
            (OpKind::Delete, StoredContent::Nothing) => true,
            (OpKind::Erase, StoredContent::Nothing) => self.is_erased(operation)?,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let problem =
            format!("the contents of the {} of key {} do not fit it", operation.kind, hex::encode(key));
        Err(self.wrong(index, problem))
    }

    /// A write is in the chain of its key's revisions, and is its newest write or has a younger one.
    fn write(
        &mut self,
        index: LogIndex,
        position: usize,
        operation: &Operation,
        bytes: &[u8],
    ) -> Result<(), StoreFault> {
        let key = &operation.key;
        let newest = self.view.stored(key)?.filter(|(leaf, _)| leaf.index() >= index);
        let (newest, place) = newest.ok_or_else(|| {
            let row = rows::keyed(self.view.id(), key);
            self.view.database.damaged(
                Table::Leaves,
                &row,
                format!("a newest write at {index} or later has to be here"),
            )
        })?;
        let before = match operation.revision.previous().filter(|revision| *revision >= Revision::FIRST) {
            Some(revision) => self.view.revision_below(&newest, revision)?,
            None => None,
        };
        let own = self.view.revision_below(&newest, operation.revision)?;
        if own != Some(index) || before != operation.prev_index {
            let problem =
                format!("revision {} of key {} is not in its chain", operation.revision, hex::encode(key));
            return Err(self.wrong(index, problem));
        }
        if newest.index() == index {
            if newest.op() != bytes || usize::from(place) != position {
                return Err(
                    self.wrong(index, format!("the newest write of key {} is another", hex::encode(key)))
                );
            }
            self.newest += 1;
        }
        self.writes += 1;
        self.keys += usize::from(operation.revision == Revision::FIRST);
        Ok(())
    }

    /// Whether the transaction at `by` erases what the one at `index` wrote to `key`.
    fn erases(&self, by: LogIndex, index: LogIndex, key: &[u8]) -> Result<bool, StoreFault> {
        let Some(record) = self.view.record(by)? else {
            return Ok(false);
        };
        let operations = record.operations.iter().filter_map(|operation| Operation::decode(operation).ok());
        let mut erases = operations.filter(|op| op.kind == OpKind::Erase && op.key == key);
        Ok(erases.any(|op| op.prev_index == Some(index)))
    }

    /// Whether what an erase operation names is gone.
    fn is_erased(&self, erase: &Operation) -> Result<bool, StoreFault> {
        let Some(index) = erase.prev_index else {
            return Ok(false);
        };
        let written = self.view.revision_index(&erase.key, erase.revision)?;
        let (_, at, part) = self.view.part_of_write(index, &erase.key)?;
        let gone = !matches!(part.slots.get(at), Some(StoredContent::Present(_)));
        Ok(gone && written == Some(index))
    }

    /// The next leaf hash: a tile that it completes has to be stored.
    fn tile(&mut self, leaf_hash: Hash) -> Result<(), StoreFault> {
        let mut hash = leaf_hash;
        for level in 0_u8.. {
            let at = usize::from(level);
            if self.tiles.len() == at {
                self.tiles.push((Tile::new(), 0));
            }
            let (tile, number) = &mut self.tiles[at];
            let key = rows::tile(self.view.id(), level, *number);
            let damaged =
                |problem: &dyn std::fmt::Display| self.view.database.damaged(Table::Tiles, &key, problem);
            let Some(root) = tile.push(hash).map_err(|error| damaged(&error))? else {
                break;
            };
            let stored = self.view.database.get(Table::Tiles, &key)?;
            let computed = tile.hashes().iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>();
            if stored.as_deref() != Some(&computed) {
                return Err(damaged(&"the tile is not that of the leaves"));
            }
            (*tile, *number) = (Tile::new(), *number + 1);
            self.full_tiles += 1;
            hash = root;
        }
        Ok(())
    }

    /// Each newest write is in the state tree, which has the head's state root; and there are no others.
    fn state(&mut self) -> Result<(), StoreFault> {
        let all = KeyRange { first: Vec::new(), end: None };
        let (mut found, view) = (0, self.view);
        let reader = LeafReader::new(view);
        for leaf in view.state_leaves(&all, Direction::Ascending, view.size())? {
            self.step()?;
            let leaf = leaf?;
            let in_tree = view.trie.lookup(&reader, leaf.key());
            let in_tree = in_tree.map_err(|error| trie_fault(self.view.database.path(), error))?;
            let same = in_tree.is_some_and(|(index, op)| index == leaf.index() && op.encode() == leaf.op());
            if !same {
                let row = rows::keyed(self.view.id(), leaf.key());
                return Err(self.view.database.damaged(Table::Leaves, &row, "it is not in the state tree"));
            }
            found += 1;
        }
        let in_tree = usize::try_from(self.view.trie.keys()).unwrap_or(usize::MAX);
        if [found, in_tree, self.newest] != [self.keys; 3] {
            let place = self.view.database.place(Table::Leaves, &rows::ledger(self.view.id()));
            let found =
                format!("{found} of them, {in_tree} in the state tree, {} newest writes", self.newest);
            return Err(StoreFault::mismatch(place, format!("{} keys", self.keys), found));
        }
        Ok(())
    }

    /// Counts what is in a ledger's rows of a table: all that was found by name, and no more.
    fn expect_rows(
        &mut self,
        table: Table,
        expected: usize,
        count: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<(), StoreFault> {
        let view = self.view;
        let database = &view.database;
        let prefix = rows::ledger(view.id());
        let mut scan = database.scan_prefix(table, &prefix)?;
        let mut found = 0;
        let counted = |key: &[u8], row: &[u8]| {
            count(row).ok_or_else(|| database.damaged(table, key, "the row does not decode"))
        };
        while let Some(number) = scan.next(counted)? {
            found += number;
            self.step()?;
        }
        if found != expected {
            return Err(StoreFault::mismatch(
                database.place(table, &prefix),
                format!("{expected} entries"),
                found,
            ));
        }
        Ok(())
    }

    fn wrong(&self, index: LogIndex, problem: impl std::fmt::Display) -> StoreFault {
        self.view.damaged_run(index, problem)
    }
}
