//! Planted damage: each kind is found when the store is opened, or does not matter. Never silently wrong.

use std::{fs, os::unix::fs::FileExt, path::Path};

use bytes::Bytes;
use futures::executor::block_on;
use rocksdb::DB;

use super::{append, copy_as_after_a_crash, create, entries, id, open, put, small, wal};
use crate::store::log::{LogFault, LogStore, Vote, options, rows};

const VOTE: Vote = Vote { term: 3, node_id: 2, committed: false };

/// A store with 60 entries, a vote and records, all acknowledged; and a copy of its files.
fn store_and_copy() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    for group in 0..6 {
        append(&store, entries(1, group * 10..group * 10 + 10));
        put(&store, "signed", &group.to_string());
    }
    block_on(store.save_vote(VOTE)).unwrap();
    let copy = dir.path().join("copy");
    copy_as_after_a_crash(&dir.path().join("log"), &copy);
    (dir, copy)
}

fn everything_promised_is_there(store: &LogStore) {
    assert_eq!(store.read(0, u64::MAX, usize::MAX).unwrap(), entries(1, 0..60));
    assert_eq!(store.bounds().vote, Some(VOTE));
    assert_eq!(store.record(b"signed"), Some(Bytes::from_static(b"5")));
}

/// Opens a damaged store: either refused, or nothing that was promised is missing. True when refused.
fn refused_or_whole(path: &Path, what: &str) -> bool {
    match open(path) {
        Ok(store) => {
            everything_promised_is_there(&store);
            false
        }
        Err(fault) => {
            let lost = matches!(
                fault,
                LogFault::ShorterThanPromised { .. }
                    | LogFault::VoteForgotten { .. }
                    | LogFault::RecordsForgotten { .. }
                    | LogFault::Database(_)
            );
            assert!(lost, "{what}: {fault}");
            true
        }
    }
}

#[test]
fn a_write_ahead_log_that_was_cut_off_is_refused() {
    let (dir, copy) = store_and_copy();
    let length = fs::metadata(wal(&copy)).unwrap().len();
    for twentieth in 0..20 {
        let cut = length * twentieth / 20;
        let damaged = dir.path().join(format!("cut-{twentieth}"));
        copy_as_after_a_crash(&copy, &damaged);
        fs::OpenOptions::new().write(true).open(wal(&damaged)).unwrap().set_len(cut).unwrap();
        assert!(refused_or_whole(&damaged, &format!("cut at {cut} of {length}")));
    }
}

#[test]
fn a_flipped_bit_in_the_write_ahead_log_is_refused() {
    let (dir, copy) = store_and_copy();
    let length = fs::metadata(wal(&copy)).unwrap().len();
    for step in 0..40_u64 {
        let at = (length - 1) * step / 39;
        let damaged = dir.path().join(format!("flip-{step}"));
        copy_as_after_a_crash(&copy, &damaged);
        flip(&wal(&damaged), at);
        assert!(refused_or_whole(&damaged, &format!("bit flipped at {at} of {length}")), "bit at {at}");
    }
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn an_older_copy_of_the_database_under_the_present_floor_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    append(&store, entries(1, 0..10));
    let copy = dir.path().join("copy");
    copy_as_after_a_crash(&dir.path().join("log"), &copy);
    append(&store, entries(1, 10..11));
    fs::copy(dir.path().join("log/FLOOR"), copy.join("FLOOR")).unwrap();
    let fault = open(&copy).unwrap_err();
    let expected = (id(1, 10), Some(id(1, 9)));
    assert!(
        matches!(fault, LogFault::ShorterThanPromised { promised, found } if (promised, found) == expected),
        "{fault}"
    );
}

#[test]
fn a_forgotten_vote_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    block_on(store.save_vote(Vote { term: 1, node_id: 1, committed: false })).unwrap();
    let copy = dir.path().join("copy");
    copy_as_after_a_crash(&dir.path().join("log"), &copy);
    block_on(store.save_vote(VOTE)).unwrap();
    fs::copy(dir.path().join("log/FLOOR"), copy.join("FLOOR")).unwrap();
    assert!(matches!(open(&copy).unwrap_err(), LogFault::VoteForgotten { promised: VOTE, .. }));
}

#[test]
fn a_forgotten_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    put(&store, "signed", "old");
    let copy = dir.path().join("copy");
    copy_as_after_a_crash(&dir.path().join("log"), &copy);
    put(&store, "signed", "new");
    fs::copy(dir.path().join("log/FLOOR"), copy.join("FLOOR")).unwrap();
    assert!(matches!(open(&copy).unwrap_err(), LogFault::RecordsForgotten { promised: 2, found: 1 }));
}

#[test]
fn one_damaged_copy_of_the_floor_is_survived_and_two_are_refused() {
    let (_dir, copy) = store_and_copy();
    flip(&copy.join("FLOOR"), 20);
    everything_promised_is_there(&open(&copy).unwrap());
    flip(&copy.join("FLOOR"), 4096 + 20);
    let now = open(&copy);
    // The first opening may have rewritten nothing: then both copies are damaged now.
    assert!(matches!(now, Err(LogFault::FloorUnreadable { .. })), "{now:?}");
}

/// Changes rows behind the store's back.
fn tamper(path: &Path, change: impl Fn(&DB)) {
    let config = small();
    let database = options::database(&config, false);
    let db = DB::open_cf_descriptors(&database, path.join("db"), options::families(&config)).unwrap();
    change(&db);
    db.flush_wal(true).unwrap();
}

#[test]
fn changed_rows_are_found_when_the_store_is_opened() {
    let log = |db: &DB, index: u64, row: Option<&[u8]>| {
        let family = db.cf_handle(rows::LOG).unwrap();
        match row {
            Some(row) => db.put_cf(family, rows::entry_key(index), row).unwrap(),
            None => db.delete_cf(family, rows::entry_key(index)).unwrap(),
        }
    };
    let meta =
        |db: &DB, key: &[u8], row: &[u8]| db.put_cf(db.cf_handle(rows::META).unwrap(), key, row).unwrap();

    let (_dir, copy) = store_and_copy();
    tamper(&copy, |db| log(db, 30, None));
    assert!(matches!(open(&copy).unwrap_err(), LogFault::Gap { expected: 30, found: 31 }));

    let (_dir, copy) = store_and_copy();
    tamper(&copy, |db| log(db, 30, Some(b"rubbish of some length")));
    assert!(matches!(open(&copy).unwrap_err(), LogFault::Checksum { .. }));

    let (_dir, copy) = store_and_copy();
    tamper(&copy, |db| {
        let other = db.get_cf(db.cf_handle(rows::LOG).unwrap(), rows::entry_key(31)).unwrap().unwrap();
        log(db, 30, Some(&other));
    });
    assert!(matches!(open(&copy).unwrap_err(), LogFault::Checksum { .. }), "a row in another's place");

    let (_dir, copy) = store_and_copy();
    let forged = super::entry(0, 59);
    tamper(&copy, |db| log(db, 59, Some(&rows::encode_entry(&forged))));
    assert!(matches!(open(&copy).unwrap_err(), LogFault::TermFalls { .. }));

    let (_dir, copy) = store_and_copy();
    let forged = super::entry(2, 59);
    tamper(&copy, |db| log(db, 59, Some(&rows::encode_entry(&forged))));
    assert!(matches!(open(&copy).unwrap_err(), LogFault::OtherThanPromised { .. }));

    let (_dir, copy) = store_and_copy();
    tamper(&copy, |db| meta(db, &rows::record_key(b"signed"), b"rubbish"));
    assert!(matches!(open(&copy).unwrap_err(), LogFault::Checksum { .. }));

    let (_dir, copy) = store_and_copy();
    tamper(&copy, |db| {
        db.delete_cf(db.cf_handle(rows::META).unwrap(), rows::record_key(b"signed")).unwrap();
    });
    assert!(matches!(open(&copy).unwrap_err(), LogFault::RecordsDamaged { sequence: 6 }));

    let (_dir, copy) = store_and_copy();
    let beyond = id(1, 60);
    tamper(&copy, |db| meta(db, rows::COMMITTED, &rows::encode_log_id(rows::COMMITTED, beyond)));
    assert!(matches!(open(&copy).unwrap_err(), LogFault::CommittedBeyondLog { .. }));
}
