//! Snapshots: equal roots on the other side, crashes between any two steps, and altered data refused.

use std::{fs, path::Path};

use quorate_core::position::{LogIndex, NodeId, Revision};
use quorate_ledger::view::LedgerId;

use super::super::{
    Applied, SnapshotError, StateCopy, StateStore, StoredCosignature,
    database::{Access, Batch, Database},
    options::Table,
    rows,
    scrub::scrub,
};
use super::support::{
    Rig, START, block, copy_directory, delete, erase, identity, names, options, put, request,
};
use crate::store::faults::StoreFault;
use quorate_ledger::block::Block;

const LEDGER: LedgerId = LedgerId(1);

fn more(from: u8) -> impl Iterator<Item = Block> {
    (from..from + 8).map(|n| {
        let requests = (0..40_u8).map(move |k| {
            let last = if n > 0 && k == 3 { erase(&[k, 1], 1) } else { put(&[k, 1], &[n; 50]) };
            request("default", &format!("{n}.{k}"), [put(&[k], &[n; 50]), last])
        });
        block(START + u64::from(n), requests)
    })
}

fn source() -> Rig {
    let rig = Rig::founded();
    more(0).for_each(|block| drop(rig.apply(&block)));
    rig.commit([put(b"key", b"value"), delete(&[7])]);
    rig
}

/// Copies the files of a snapshot, as the network does.
fn receive(from: &Path, store: &StateStore) -> std::path::PathBuf {
    let to = store.begin_install(0).unwrap();
    copy_directory(from, &to);
    to
}

/// Takes a snapshot and installs it.
fn transfer(from: &StateStore, to: &StateStore) -> Applied {
    install_copy(from.snapshot().unwrap(), to)
}

fn install_copy(copy: StateCopy, to: &StateStore) -> Applied {
    let StateCopy { applied: position, path: files, heads } = copy;
    let received = receive(&files, to);
    to.check_snapshot(&position, &received, |_| Ok(())).unwrap();
    let installed = to.install(&position, &received).unwrap();
    let found: Vec<_> = installed.ledgers().iter().map(|ledger| ledger.head().clone()).collect();
    assert_eq!(found, heads);
    fs::remove_dir_all(files).unwrap();
    position
}

#[test]
fn an_installed_snapshot_has_equal_roots_and_both_go_on_alike() {
    let from = source();
    let mut to = Rig::of(identity(2));
    let cosigned = StoredCosignature { node: NodeId::new(1), time_s: 5, signature: [3; 64] };
    let size = from.ledger().size();
    from.store().put_cosignatures(LEDGER, size, &[cosigned]).unwrap();
    let position = transfer(from.store(), to.store());
    assert_eq!(Some(&position), Some(from.view().applied()));
    assert_eq!(to.store().durable().unwrap(), position);
    assert_eq!(to.view().cosignatures(LEDGER, size).unwrap(), [cosigned]);
    for reopened in [false, true] {
        assert_eq!(to.ledger().head(), from.ledger().head());
        assert_eq!(to.view().cluster(), from.view().cluster());
        scrub(&to.view()).unwrap();
        if !reopened {
            to.crash();
        }
    }
    for block in more(20) {
        from.apply(&block);
        to.apply(&block);
        assert_eq!(to.ledger().head(), from.ledger().head());
    }
    scrub(&to.view()).unwrap();
}

#[test]
fn a_snapshot_is_whole_while_blocks_are_applied() {
    let from = source();
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| more(40).for_each(|block| drop(from.apply(&block))));
        for _ in 0..3 {
            let to = Rig::of(identity(3));
            transfer(from.store(), to.store());
            scrub(&to.view()).unwrap();
            let to = Rig::of(identity(4));
            install_copy(from.store().flushed_copy().unwrap(), to.store());
            scrub(&to.view()).unwrap();
        }
        writer.join().unwrap();
    });
}

#[test]
fn readers_of_the_replaced_state_go_on_and_its_files_go_with_the_last_of_them() {
    let from = source();
    let to = Rig::of(identity(2));
    for block in beginning() {
        to.apply(&block);
    }
    let old = to.ledger();
    let before = old.records(LogIndex::new(0)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    transfer(from.store(), to.store());
    assert!(to.ledger().size() > old.size());
    let after = old.records(LogIndex::new(0)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(before, after);
    assert!(names(&to.path()).contains(&"db-1".to_owned()));
    drop(old);
    assert_eq!(names(&to.path()), ["CURRENT", "IDENTITY", "db-2"]);
}

/// The first blocks of `source`.
fn beginning() -> Vec<Block> {
    use super::support::{CLUSTER, CLUSTER_NAME, birth, genesis, origin};
    let founding = [genesis(CLUSTER_NAME, CLUSTER, START), block(START, [birth(&origin(), "default")])];
    founding.into_iter().chain(more(0).take(1)).collect()
}

/// What one step of installing does to the directory, given the files of the snapshot.
type Step = fn(&Path, &Path);

#[test]
fn a_crash_between_any_two_steps_of_installing_leaves_one_whole_state() {
    let from = source();
    let StateCopy { applied: position, path: files, .. } = from.store().snapshot().unwrap();
    // What the directory holds after each step, in order.
    let steps: [(Step, bool); 5] = [
        (|state, _| fs::create_dir(state.join("incoming")).unwrap(), false),
        (|state, files| copy_directory(files, &state.join("incoming")), false),
        (|state, files| copy_directory(files, &state.join("db-2")), false),
        (|state, _| fs::write(state.join("CURRENT.tmp"), "db-").unwrap(), false),
        (
            |state, files| {
                copy_directory(files, &state.join("db-2"));
                fs::write(state.join("CURRENT"), "db-2\n").unwrap();
            },
            true,
        ),
    ];
    for (step, is_new) in steps {
        let mut to = Rig::of(identity(2));
        to.close();
        step(&to.path(), &files);
        to.open();
        let expected = if is_new { position.clone() } else { Applied::default() };
        assert_eq!(to.view().applied(), &expected);
        // What arrived so far is kept.
        to.store().discard_install().unwrap();
        assert_eq!(names(&to.path()), ["CURRENT", "IDENTITY", if is_new { "db-2" } else { "db-1" }]);
        scrub(&to.view()).unwrap();
    }
}

#[test]
fn a_snapshot_of_another_position_or_cluster_is_refused_and_nothing_changes() {
    let from = source();
    let to = Rig::of(identity(2));
    let StateCopy { applied: position, path: files, .. } = from.store().snapshot().unwrap();
    let received = receive(&files, to.store());
    let mut other = position.clone();
    other.last = None;
    assert!(matches!(
        to.store().check_snapshot(&other, &received, |_| Ok(())),
        Err(SnapshotError::Refused(_))
    ));
    let signed = to.store().check_snapshot(&position, &received, |_| Err("not what was signed".to_owned()));
    assert!(matches!(signed, Err(SnapshotError::Refused(problem)) if problem == "not what was signed"));
    let stranger = Rig::of(crate::store::log::Identity { cluster_id: [8; 16], node_id: 1 });
    let received = receive(&files, stranger.store());
    let refused = stranger.store().check_snapshot(&position, &received, |_| Ok(()));
    assert!(matches!(refused, Err(SnapshotError::Refused(_))));
    assert_eq!(to.view().applied(), &Applied::default());
}

#[test]
fn a_snapshot_that_does_not_continue_the_present_state_is_refused() {
    let from = source();
    let to = Rig::founded();
    // Another history under the same names, as long and consistent in itself.
    to.commit([put(b"other", b"history")]);
    let StateCopy { applied: position, path: files, .. } = from.store().snapshot().unwrap();
    let received = receive(&files, to.store());
    let refused = to.store().check_snapshot(&position, &received, |_| Ok(()));
    let Err(SnapshotError::Refused(problem)) = refused else { panic!("{refused:?}") };
    assert!(problem.contains("ledger default"), "{problem}");
}

/// One way to alter a snapshot.
type Alteration = fn(&Database, &mut Batch<'_>) -> Result<(), StoreFault>;

/// Changes the last byte of a row.
fn bend(database: &Database, batch: &mut Batch<'_>, table: Table, key: &[u8]) -> Result<(), StoreFault> {
    let mut row = database.get(table, key)?.expect("the row is there").to_vec();
    *row.last_mut().unwrap() ^= 1;
    batch.put(table, key, &row)
}

/// The first row of the ledger's in a table.
fn first(database: &Database, table: Table) -> Vec<u8> {
    let mut scan = database.scan_prefix(table, &rows::ledger(LEDGER)).unwrap();
    scan.next(|key, _| Ok(key.to_vec())).unwrap().expect("the table has a row")
}

const ALTERATIONS: [(&str, Alteration); 16] = [
    ("a value", |db, batch| bend(db, batch, Table::Contents, &first(db, Table::Contents))),
    ("contents gone", |db, batch| batch.delete(Table::Contents, &first(db, Table::Contents))),
    ("contents of nothing", |_, batch| {
        batch.put(Table::Contents, &rows::contents_part(LEDGER, LogIndex::new(1 << 40), 0), b"\x01\x02")
    }),
    ("a leaf or operation", |db, batch| bend(db, batch, Table::Blocks, &first(db, Table::Blocks))),
    ("a later leaf", |db, batch| {
        let row = db.get(Table::Blocks, &first(db, Table::Blocks))?.expect("a run").to_vec();
        batch.put(Table::Blocks, &rows::run(LEDGER, LogIndex::new(1 << 40)), &row)
    }),
    ("a newest write", |db, batch| bend(db, batch, Table::Leaves, &first(db, Table::Leaves))),
    ("a newest write too few", |db, batch| batch.delete(Table::Leaves, &first(db, Table::Leaves))),
    ("a newest write too many", |db, batch| {
        let row = db.get(Table::Leaves, &first(db, Table::Leaves))?.expect("a leaf").to_vec();
        batch.put(Table::Leaves, &rows::keyed(LEDGER, &[9]), &row)
    }),
    ("a revision", |db, batch| bend(db, batch, Table::Revisions, &first(db, Table::Revisions))),
    ("a revision too many", |_, batch| {
        batch.put(Table::Revisions, &rows::revision(LEDGER, b"key", Revision::new(9)), &7_u64.to_be_bytes())
    }),
    ("a bucket", |db, batch| bend(db, batch, Table::Buckets, &first(db, Table::Buckets))),
    ("a tile", |db, batch| bend(db, batch, Table::Tiles, &first(db, Table::Tiles))),
    ("a known request", |db, batch| bend(db, batch, Table::Requests, &first(db, Table::Requests))),
    ("a known request too few", |db, batch| batch.delete(Table::Requests, &first(db, Table::Requests))),
    ("a known request too many", |_, batch| {
        let request = quorate_core::hash::sha256(&[b"a request of the future"]);
        batch.put(Table::Requests, &rows::request(LEDGER, &request), &[0; 16])
    }),
    ("a row of a ledger that does not exist yet", |_, batch| {
        let request = quorate_core::hash::sha256(&[b"a request of the future"]);
        batch.put(Table::Requests, &rows::request(LedgerId(2), &request), &[0; 16])
    }),
];

#[test]
fn every_kind_of_altered_data_is_refused() {
    let from = source();
    let StateCopy { applied: position, path: files, .. } = from.store().snapshot().unwrap();
    let to = Rig::of(identity(2));
    for (name, alter) in ALTERATIONS {
        let received = receive(&files, to.store());
        let database = Database::open(&received, &options(), Access::Write).unwrap();
        let mut batch = database.batch(0);
        alter(&database, &mut batch).unwrap();
        database.write(batch).unwrap();
        database.flush(true).unwrap();
        drop(database);
        let result = to.store().check_snapshot(&position, &received, |_| Ok(()));
        assert!(matches!(result, Err(SnapshotError::Refused(_))), "{name}: {result:?}");
        fs::remove_dir_all(received).unwrap();
    }
    let received = receive(&files, to.store());
    to.store().check_snapshot(&position, &received, |_| Ok(())).unwrap();
}

#[test]
fn of_each_node_the_latest_cosignature_is_kept() {
    let mut rig = source();
    let signed = |node, time_s| StoredCosignature { node: NodeId::new(node), time_s, signature: [7; 64] };
    let size = rig.ledger().size();
    let store = rig.store();
    store.put_cosignatures(LEDGER, size, &[signed(3, 10), signed(1, 10)]).unwrap();
    let all = store.put_cosignatures(LEDGER, size, &[signed(1, 9), signed(2, 1), signed(3, 11)]).unwrap();
    assert_eq!(all, [signed(1, 10), signed(2, 1), signed(3, 11)]);
    let smaller = rig.ledger().checkpoint_with(LogIndex::new(0)).unwrap().unwrap();
    store.put_cosignatures(LEDGER, smaller, &[signed(2, 4)]).unwrap();
    rig.close();
    rig.open();
    let view = rig.view();
    assert_eq!(view.cosignatures(LEDGER, size).unwrap(), all);
    assert_eq!(view.cosignatures(LedgerId(0), size).unwrap(), []);
    let listed = view.cosignatures_from(LEDGER, quorate_core::position::TreeSize::ZERO, 9).unwrap();
    assert_eq!(listed, [(smaller, vec![signed(2, 4)]), (size, all.clone())]);
    assert_eq!(view.cosignatures_from(LEDGER, size, 9).unwrap(), [(size, all)]);
}
