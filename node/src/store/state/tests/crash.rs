//! Crashes: what is on the disk is one whole state, it says which, and applying again leads to the same roots.

use std::{fs, thread, time::Duration};

use super::super::{StateOptions, StateStore, scrub::scrub};
use super::support::{
    Rig, START, apply_to, birth, block, copy_directory, genesis, identity, options, origin, put, request,
};
use crate::store::log::LogId;
use bytes::Bytes;
use quorate_ledger::block::Block;

fn blocks() -> Vec<Block> {
    let founding = [genesis(super::support::CLUSTER_NAME, super::support::CLUSTER, START)];
    let birth = [block(START, [birth(&origin(), "default")])];
    let rest = (0..20_u8).map(|n| {
        let writes = (0..=n).map(|key| put(&[key], &[n; 100]));
        block(START + u64::from(n), [request("default", &n.to_string(), writes)])
    });
    founding.into_iter().chain(birth).chain(rest).collect()
}

fn index(rig: &Rig) -> Option<u64> {
    rig.view().applied().last.map(|last| last.index)
}

#[test]
fn after_a_crash_the_state_is_that_of_the_last_flush_and_leads_to_the_same_roots() {
    let mut rig = Rig::new();
    for (number, block) in blocks().iter().enumerate() {
        rig.apply(block);
        if number == 9 {
            rig.store().flush().unwrap();
        }
    }
    let (applied, head) = (index(&rig), rig.ledger().head().clone());
    assert_eq!(rig.store().durable().unwrap().last, Some(LogId { term: 1, index: 9 }));
    rig.crash();
    assert_eq!(index(&rig), Some(9));
    assert_eq!(rig.store().durable().unwrap().last, Some(LogId { term: 1, index: 9 }));
    scrub(&rig.view()).unwrap();
    for block in &blocks()[10..] {
        rig.apply(block);
    }
    assert_eq!((index(&rig), rig.ledger().head()), (applied, &head));
    scrub(&rig.view()).unwrap();
}

#[test]
fn a_clean_end_keeps_everything() {
    let mut rig = Rig::new();
    for block in blocks() {
        rig.apply(&block);
    }
    let head = rig.ledger().head().clone();
    rig.close();
    rig.open();
    assert_eq!((index(&rig), rig.ledger().head()), (Some(21), &head));
    assert_eq!(rig.store().durable().unwrap().last.map(|last| last.index), Some(21));
}

#[test]
fn a_crash_before_the_first_flush_leaves_an_empty_store_not_a_damaged_one() {
    let mut rig = Rig::new();
    rig.apply(&blocks()[0]);
    rig.crash();
    assert_eq!(index(&rig), None);
    for block in blocks() {
        rig.apply(&block);
    }
}

#[test]
fn flushes_begin_by_themselves_after_so_many_entries() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    let options = StateOptions { flush_entries: 5, ..options() };
    StateStore::create(&path, identity(1), &options).unwrap();
    let store = StateStore::open(&path, identity(1), options).unwrap();
    for block in blocks() {
        apply_to(&store, &block, None).unwrap();
    }
    let flushed = (0..200).any(|_| {
        thread::sleep(Duration::from_millis(20));
        store.durable().unwrap().last.is_some_and(|last| last.index >= 5)
    });
    assert!(flushed, "nothing was flushed within 4 s");
}

#[test]
fn entries_without_a_block_move_the_position_and_keep_their_membership() {
    let mut rig = Rig::founded();
    let membership = Bytes::from_static(b"members");
    let id = rig.next_entry();
    rig.store().note(id, Some(membership.clone())).unwrap();
    rig.store().note(rig.next_entry(), None).unwrap();
    rig.close();
    rig.open();
    assert_eq!(index(&rig), Some(id.index + 1));
    assert_eq!(rig.view().applied().membership, Some((id, membership)));
}

#[test]
fn an_entry_that_is_not_the_next_one_is_a_fault_and_so_is_everything_after_it() {
    for wrong in [LogId { term: 1, index: 1 }, LogId { term: 1, index: 3 }, LogId { term: 0, index: 2 }] {
        let rig = Rig::founded();
        let before = index(&rig);
        assert!(rig.store().note(wrong, None).is_err(), "{wrong}");
        assert!(rig.store().note(rig.next_entry(), None).is_err());
        assert_eq!(index(&rig), before);
    }
}

#[test]
fn a_store_appears_complete_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    // A crash in the middle of making it leaves only this.
    fs::create_dir_all(home.path().join("state.new/db-1")).unwrap();
    fs::write(home.path().join("state.new/db-1/CURRENT"), "half").unwrap();
    assert!(!StateStore::exists(&path));
    StateStore::create(&path, identity(1), &options()).unwrap();
    assert!(StateStore::exists(&path));
    drop(StateStore::open(&path, identity(1), options()).unwrap());
    let copy = home.path().join("copy");
    copy_directory(&path, &copy);
    assert!(StateStore::open(&copy, identity(1), options()).is_ok());
}
