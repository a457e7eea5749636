//! Random histories: what every view reads, old or new, against a naive model made from the effects alone.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};
use quorate_core::{
    entry::{Leaf, Operation},
    hash::leaf_hash,
    position::{LogIndex, Revision, TreeSize},
    proof::{consistency, inclusion},
    state_tree::{KeyRange, Query, StateLeaf, verify},
    tree::{
        MemoryTree, NodeReader, inclusion_path,
        tile::{TileKind, TilePath},
    },
};
use quorate_ledger::{
    block::{Request, Write},
    effects::{Content, Effects, NewRequest},
    view::{KnownRequest, LedgerId},
};

use super::super::{Direction, ReadView, StoredContent, ledger::LedgerView, scrub::scrub};
use super::support::{Rig, START, block, default, delete, erase, put, request};

/// Everything that happened to the ledger, in a list.
#[derive(Default)]
struct Model {
    records: Vec<Entry>,
    tree: MemoryTree,
}

struct Entry {
    leaf: Vec<u8>,
    operations: Vec<Vec<u8>>,
    contents: Vec<Option<Content>>,
}

impl Model {
    fn take(&mut self, effects: &Effects) {
        for ledger in effects.ledgers.iter().filter(|ledger| ledger.id() == LedgerId(1)) {
            for tx in &ledger.transactions {
                let leaf = tx.leaf.clone();
                let operations = tx.operations.iter().map(|op| op.to_vec()).collect();
                self.records.push(Entry { leaf, operations, contents: tx.contents.clone() });
            }
            let leaf = ledger.commit_leaf.clone();
            self.records.push(Entry { leaf, operations: Vec::new(), contents: Vec::new() });
            for erased in &ledger.erased {
                let record = &mut self.records[at(erased.index)];
                let place = record.operations.iter().position(|op| {
                    let op = Operation::decode(op).unwrap();
                    op.kind.is_write() && op.key == erased.key
                });
                record.contents[place.unwrap()] = None;
            }
            for hash in &ledger.leaf_hashes {
                self.tree.append_hash(*hash);
            }
        }
    }

    /// All writes of a key before `size`, oldest first.
    fn writes(&self, key: &[u8], size: TreeSize) -> Vec<StateLeaf> {
        let records = self.records.iter().enumerate().take(at(size.next_index()));
        let operations =
            records.flat_map(|(index, entry)| entry.operations.iter().map(move |op| (index, op)));
        let writes = operations.filter(|(_, op)| {
            let op = Operation::decode(op).unwrap();
            op.kind.is_write() && op.key == key
        });
        writes.map(|(index, op)| StateLeaf::new(LogIndex::new(index as u64), op.clone()).unwrap()).collect()
    }

    fn keys(&self, size: TreeSize) -> BTreeSet<Vec<u8>> {
        let records = self.records.iter().take(at(size.next_index()));
        let operations =
            records.flat_map(|entry| entry.operations.iter().map(|op| Operation::decode(op).unwrap()));
        operations.filter(|op| op.kind.is_write()).map(|op| op.key).collect()
    }

    fn is_commit(&self, index: LogIndex) -> bool {
        matches!(Leaf::decode(&self.records[at(index)].leaf), Ok(Leaf::Commit(_)))
    }
}

fn at(index: LogIndex) -> usize {
    usize::try_from(index.get()).unwrap()
}

fn sizes(view: &LedgerView) -> impl Iterator<Item = TreeSize> {
    let all = 0..=view.size().get();
    let step = usize::try_from(view.size().get() / 24).unwrap().max(1);
    all.step_by(step).chain([view.size().get()]).map(TreeSize::new)
}

fn check_log(view: &LedgerView, model: &Model) {
    for size in sizes(view) {
        let index = size.next_index();
        let inside = size < view.size();
        let expected = inside.then(|| &model.records[at(index)]);
        let record = view.record(index).unwrap();
        assert_eq!(record.as_ref().map(|record| &record.leaf), expected.map(|entry| &entry.leaf));
        assert_eq!(record.as_ref().map(|record| &record.operations), expected.map(|entry| &entry.operations));
        let all: Vec<_> = view.records(index).unwrap().map(|record| record.unwrap().leaf).collect();
        let rest = model.records.iter().take(at(view.size().next_index())).skip(at(index));
        assert_eq!(all, rest.map(|entry| entry.leaf.clone()).collect::<Vec<_>>());
        let Some(expected) = expected else { continue };
        let next = (at(index)..).map(|at| LogIndex::new(at as u64)).find(|at| model.is_commit(*at));
        assert_eq!(view.checkpoint_with(index).unwrap(), next.and_then(LogIndex::size_through));
        let before = (0..at(index)).map(|at| LogIndex::new(at as u64)).rfind(|at| model.is_commit(*at));
        assert_eq!(view.checkpoint_up_to(size).unwrap(), before.and_then(LogIndex::size_through));
        let commit = size.last_index().is_some_and(|last| model.is_commit(last));
        assert_eq!(view.is_checkpoint(size).unwrap(), commit);
        assert_eq!(view.commit_leaf(size).unwrap().is_some(), commit);
        check_contents(view, index, expected);
    }
}

/// Contents are read as they are by now, through any view.
fn check_contents(view: &LedgerView, index: LogIndex, expected: &Entry) {
    let contents = view.contents(index).unwrap();
    assert_eq!(contents.is_some(), !expected.operations.is_empty());
    let Some(contents) = contents else { return };
    assert_eq!(contents.operations.len(), expected.contents.len());
    for (position, (found, expected)) in contents.operations.iter().zip(&expected.contents).enumerate() {
        assert_eq!(view.content(index, u16::try_from(position).unwrap()).unwrap(), *found);
        match found {
            StoredContent::Present(content) => assert_eq!(Some(content), expected.as_ref()),
            StoredContent::Erased { .. } | StoredContent::Nothing => assert_eq!(*expected, None),
        }
    }
}

fn check_keys(view: &LedgerView, model: &Model, pool: &[Vec<u8>]) {
    let now = view.size();
    for key in pool {
        let all = model.writes(key, now);
        assert_eq!(view.newest(key).unwrap().as_ref(), all.last());
        for write in &all {
            let expected = &model.records[at(write.index())];
            let place = expected.operations.iter().position(|op| op == write.op()).unwrap();
            let found = view.written(write.index(), key).unwrap();
            assert_eq!(found, view.content(write.index(), u16::try_from(place).unwrap()).unwrap());
        }
        for revision in 0..=all.len() as u64 + 1 {
            let expected =
                revision.checked_sub(1).and_then(|number| all.get(usize::try_from(number).unwrap()));
            assert_eq!(view.write(key, Revision::new(revision)).unwrap().as_ref(), expected);
        }
        for size in sizes(view) {
            let before = model.writes(key, size);
            assert_eq!(view.newest_at(key, size).unwrap().as_ref(), before.last());
            let Some(last) = size.last_index() else { continue };
            let found = view.as_of(key, last).unwrap();
            assert_eq!((found.write.as_ref(), found.next.as_ref()), (before.last(), all.get(before.len())));
        }
    }
}

fn check_scans(view: &LedgerView, model: &Model, pool: &[Vec<u8>]) {
    for size in sizes(view).step_by(5) {
        let keys = model.keys(size);
        for (first, end) in pool.iter().zip(pool.iter().rev().map(Some).chain([None])) {
            let range = KeyRange { first: first.clone(), end: end.cloned() };
            let inside = keys.iter().filter(|key| range.contains(key));
            let expected: Vec<_> = inside.map(|key| model.writes(key, size).pop().unwrap()).collect();
            for direction in [Direction::Ascending, Direction::Descending] {
                let found = view.state_leaves(&range, direction, size).unwrap();
                let mut found: Vec<_> = found.map(Result::unwrap).collect();
                if direction == Direction::Descending {
                    found.reverse();
                }
                assert_eq!(found, expected);
            }
        }
    }
}

fn check_proofs(view: &LedgerView, model: &Model, pool: &[Vec<u8>]) {
    let now = view.size();
    let root = view.head().frontier.root();
    assert_eq!(view.root_at(now).unwrap(), Some(root));
    for size in sizes(view).filter(|size| *size > TreeSize::ZERO) {
        let old_root = view.root_at(size).unwrap().unwrap();
        let path = view.consistency_path(size, now).unwrap().unwrap();
        consistency::verify(size, &old_root, now, &root, &path).unwrap();
        let index = size.last_index().unwrap();
        let path = view.inclusion_path(index, now).unwrap().unwrap();
        assert_eq!(path, inclusion_path(&model.tree, index, now).unwrap());
        let leaf = leaf_hash(&model.records[at(index)].leaf);
        inclusion::verify(&leaf, index, now, &path, &root).unwrap();
    }
    let beyond = TreeSize::new(now.get() + 1);
    assert_eq!(view.root_at(beyond).unwrap(), None);
    assert_eq!(view.inclusion_path(now.next_index(), now).unwrap(), None);
    assert_eq!(view.consistency_path(TreeSize::ZERO, now).unwrap(), None);
    let queries = pool.iter().map(|key| Query::Key(key.clone()));
    for query in queries.chain([Query::everything(), Query::Prefix(b"a".to_vec())]) {
        let proof = view.state_proof(&query).unwrap();
        let answer = verify(&view.head().state_root, &query, &proof).unwrap();
        let keys = model.keys(now).into_iter().filter(|key| query.contains(key));
        let expected: Vec<_> = keys.map(|key| model.writes(&key, now).pop().unwrap().index()).collect();
        assert_eq!(answer.leaves().iter().map(|leaf| leaf.index()).collect::<Vec<_>>(), expected);
    }
}

fn check_tiles(view: &LedgerView, model: &Model) {
    for size in sizes(view).filter(|size| *size > TreeSize::ZERO) {
        for level in 0..2 {
            let kind = TileKind::Hashes { level };
            for index in 0..=kind.count_at(size) / 256 {
                let Some(path) = TilePath::at_size(kind, index, size) else {
                    continue;
                };
                let hashes = (0..u64::from(path.width()))
                    .flat_map(|n| *model.tree.read(8 * level, index * 256 + n).unwrap().as_bytes());
                assert_eq!(view.tile(&path).unwrap(), Some(hashes.collect::<Vec<u8>>()));
            }
        }
        let Some(path) = TilePath::at_size(TileKind::Entries, 0, size) else {
            continue;
        };
        let entries = model.records.iter().take(usize::from(path.width()));
        let entries = entries.flat_map(|entry| {
            let len = u16::try_from(entry.leaf.len()).unwrap();
            [&len.to_be_bytes()[..], &entry.leaf].concat()
        });
        assert_eq!(view.tile(&path).unwrap(), Some(entries.collect::<Vec<u8>>()));
    }
    let beyond = TilePath::new(TileKind::Hashes { level: 0 }, view.size().get() / 256 + 1, 1).unwrap();
    assert_eq!(view.tile(&beyond).unwrap(), None);
}

fn check(view: &ReadView, model: &Model, pool: &[Vec<u8>]) {
    let view = view.ledger(&default()).unwrap();
    check_log(view, model);
    check_keys(view, model, pool);
    check_scans(view, model, pool);
    check_proofs(view, model, pool);
    check_tiles(view, model);
}

/// Keys that are prefixes of each other, and those that collide if a row key is not put together with care.
fn pool() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = ["a", "aa", "ab", "b", "a\0\0\0\0\0\0\0\x01", "zz"].map(Vec::from).to_vec();
    keys.extend([vec![0], vec![0, 0], vec![0xff], vec![0xff; 1024]]);
    keys.sort();
    keys
}

/// What a write does, by a number; erases of what is not there are rejected with the whole request, which is fine.
fn write(key: Vec<u8>, kind: u8, len: usize) -> Write {
    match kind {
        0..=5 => put(&key, &vec![kind; len]),
        6..=7 => delete(&key),
        _ => erase(&key, u64::from(kind - 7)),
    }
}

/// Key, kind and length of each write of a request.
type Writes = Vec<(Vec<u8>, u8, usize)>;
type Blocks = Vec<Vec<Writes>>;

fn requests(number: usize, block: &[Writes]) -> Vec<Request> {
    let request_of = |(position, writes): (usize, &Writes)| {
        let mut keys = BTreeSet::new();
        let writes = writes.iter().filter(|(key, _, _)| keys.insert(key.clone()));
        let writes = writes.map(|(key, kind, len)| write(key.clone(), *kind, *len)).collect::<Vec<_>>();
        request("default", &format!("{number}.{position}"), writes)
    };
    block.iter().enumerate().map(request_of).collect()
}

fn blocks() -> impl Strategy<Value = Blocks> {
    let len = prop_oneof![9 => 0..40_usize, 1 => 9_000..20_000_usize];
    let write = (select(pool()), 0..10_u8, len);
    vec(vec(vec(write, 1..5), 0..6), 1..14)
}

fn run(blocks: &Blocks) {
    let mut rig = Rig::founded();
    let mut model = Model::default();
    let born = rig.ledger();
    for record in born.records(LogIndex::new(0)).unwrap().map(Result::unwrap) {
        model.tree.append(&record.leaf);
        model.records.push(Entry { leaf: record.leaf, operations: Vec::new(), contents: Vec::new() });
    }
    let mut views = vec![rig.view()];
    for (number, requests_of_block) in blocks.iter().enumerate() {
        let effects = rig.apply(&block(START + number as u64, requests(number, requests_of_block)));
        model.take(&effects);
        views.push(rig.view());
        if number % 3 == 1 {
            rig.store().flush().unwrap();
        }
    }
    for view in views.iter().step_by(3).chain(views.last()) {
        check(view, &model, &pool());
    }
    scrub(&rig.view()).unwrap();
    drop((views, born));
    rig.close();
    rig.open();
    check(&rig.view(), &model, &pool());
    scrub(&rig.view()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_view_reads_what_the_model_says(blocks in blocks()) {
        run(&blocks);
    }
}

#[test]
fn a_long_log_is_read_through_full_tiles_and_many_runs() {
    let block = |from: u8| {
        let txs = (from..from + 100).map(|n| vec![(vec![b'k', n % 40], 0, 700), (vec![b'l', n], 1, 30)]);
        txs.collect::<Vec<_>>()
    };
    run(&(0..9).map(|n| block(n * 7)).collect());
}

#[test]
fn a_request_is_known_in_the_views_after_it_and_in_no_view_before() {
    let rig = Rig::founded();
    let before = rig.ledger();
    let effects = rig.apply(&block(START, [request("default", "once", [put(b"k", b"v")])]));
    let NewRequest { id, known: KnownRequest { index, not_after }, again } = effects.ledgers[0].requests[0];
    assert!(!again);
    let known = rig.ledger().request(&id).unwrap().unwrap();
    assert_eq!((known.index, known.not_after), (index, not_after));
    assert_eq!(before.request(&id).unwrap(), None);
    // The same id again after its time: older views keep the older answer.
    let first = rig.ledger();
    let mut again = request("default", "once", [put(b"k", b"w")]);
    again.not_after = START + 120_000_000;
    let effects = rig.apply(&block(START + 61_000_000, [again]));
    let NewRequest { known: KnownRequest { index: second, .. }, again, .. } = effects.ledgers[0].requests[0];
    assert!(again);
    assert_eq!(rig.ledger().request(&id).unwrap().unwrap().index, second);
    assert_eq!(first.request(&id).unwrap().unwrap().index, index);
    scrub(&rig.view()).unwrap();
}
