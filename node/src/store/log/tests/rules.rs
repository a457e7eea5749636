//! Ordinary life: order of completion, bounds, limits, reopening, and whose directory it is.

use std::sync::mpsc;

use bytes::Bytes;
use futures::executor::block_on;

use super::{IDENTITY, append, copy_as_after_a_crash, create, entries, entry, id, open, put, small};
use crate::store::log::{Identity, LogFault, LogStore, Vote};

fn vote(term: u64, node_id: u64, committed: bool) -> Vote {
    Vote { term, node_id, committed }
}

#[test]
fn what_was_completed_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    append(&store, entries(1, 0..100));
    block_on(store.save_vote(vote(2, 7, true))).unwrap();
    put(&store, "signed/a", "one");
    put(&store, "signed/a", "two");
    put(&store, "other", "x");
    store.save_committed(id(1, 98)).unwrap();
    copy_as_after_a_crash(&dir.path().join("log"), &dir.path().join("copy"));
    let copy = open(&dir.path().join("copy")).unwrap();
    assert_eq!(copy.bounds(), store.bounds());
    assert_eq!(copy.bounds().last, Some(id(1, 99)));
    assert_eq!(copy.bounds().vote, Some(vote(2, 7, true)));
    assert_eq!(copy.read(0, u64::MAX, usize::MAX).unwrap(), entries(1, 0..100));
    assert_eq!(copy.record(b"signed/a"), Some(Bytes::from_static(b"two")));
    assert_eq!(copy.records_with_prefix(b"signed/"), [(b"signed/a".to_vec(), Bytes::from_static(b"two"))]);
    assert_eq!(copy.record(b"missing"), None);
}

#[test]
fn a_crash_at_any_moment_of_writing_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    let (done, completed) = mpsc::channel();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for index in 0..400 {
                let done = done.clone();
                store.append(vec![entry(1, index)], Box::new(move || done.send(index).unwrap())).unwrap();
                if index % 3 == 0 {
                    put(&store, "record", &index.to_string());
                }
            }
        });
        for round in 0..15 {
            let known = completed.try_iter().last();
            let copy = dir.path().join(format!("copy-{round}"));
            copy_as_after_a_crash(&dir.path().join("log"), &copy);
            let reopened = open(&copy).unwrap();
            assert!(reopened.bounds().last.map(|last| last.index) >= known);
        }
        writer.join().unwrap();
    });
}

#[test]
fn completions_come_in_the_order_of_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    let (done, completed) = mpsc::channel();
    for index in 0..500 {
        let done = done.clone();
        store.append(vec![entry(1, index)], Box::new(move || done.send(index).unwrap())).unwrap();
    }
    drop(done);
    assert!(completed.iter().eq(0..500));
}

#[test]
fn entries_are_readable_before_they_are_durable_and_reads_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    store.append(entries(1, 0..100), Box::new(|| ())).unwrap();
    assert_eq!(store.read(0, 100, usize::MAX).unwrap(), entries(1, 0..100));
    assert_eq!(store.read(95, 200, usize::MAX).unwrap(), entries(1, 95..100));
    assert_eq!(store.read(100, 200, usize::MAX).unwrap(), []);
    for start in [0, 97] {
        assert_eq!(store.read(start, 100, 0).unwrap(), [entry(1, start)], "one entry is always read");
        let weight = entry(1, start).weight() + entry(1, start + 1).weight();
        assert_eq!(store.read(start, 100, weight).unwrap(), entries(1, start..start + 2));
    }
    assert_eq!(store.id_at(3).unwrap(), Some(id(1, 3)));
    assert_eq!(store.id_at(99).unwrap(), Some(id(1, 99)));
    assert_eq!(store.id_at(100).unwrap(), None);
}

#[test]
fn a_truncated_tail_is_not_mistaken_for_a_lost_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    append(&store, entries(1, 0..20));
    block_on(store.truncate_after(Some(id(1, 4)))).unwrap();
    assert_eq!(store.bounds().last, Some(id(1, 4)));
    copy_as_after_a_crash(&dir.path().join("log"), &dir.path().join("short"));
    assert_eq!(open(&dir.path().join("short")).unwrap().bounds().last, Some(id(1, 4)));
    append(&store, entries(3, 5..7));
    drop(store);
    let store = open(&dir.path().join("log")).unwrap();
    let all = [entries(1, 0..5), entries(3, 5..7)].concat();
    assert_eq!(store.read(0, 100, usize::MAX).unwrap(), all);
    block_on(store.truncate_after(None)).unwrap();
    assert_eq!(store.bounds().last, None);
    drop(store);
    assert_eq!(open(&dir.path().join("log")).unwrap().bounds().last, None);
}

#[test]
fn committed_entries_are_never_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    append(&store, entries(1, 0..10));
    store.save_committed(id(1, 5)).unwrap();
    assert!(matches!(block_on(store.truncate_after(Some(id(1, 4)))), Err(LogFault::Refused(_))));
    assert!(matches!(block_on(store.truncate_after(None)), Err(LogFault::Refused(_))));
    block_on(store.truncate_after(Some(id(1, 5)))).unwrap();
    assert_eq!(store.bounds().last, Some(id(1, 5)));
}

#[test]
fn purging_stops_at_what_the_state_has_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    append(&store, entries(1, 0..50));
    store.limit_purge(0);
    assert!(matches!(store.purge(id(1, 0)), Err(LogFault::Refused(_))));
    store.raise_purge_limit(30);
    assert!(matches!(store.purge(id(1, 30)), Err(LogFault::Refused(_))));
    store.purge(id(1, 29)).unwrap();
    assert_eq!(store.bounds().purged, Some(id(1, 29)));
    assert_eq!(store.read(0, 100, usize::MAX).unwrap(), entries(1, 30..50));
    assert_eq!(store.id_at(29).unwrap(), Some(id(1, 29)));
    assert_eq!(store.id_at(28).unwrap(), None);
    drop(store);
    let store = open(&dir.path().join("log")).unwrap();
    assert_eq!(store.read(0, 100, usize::MAX).unwrap(), entries(1, 30..50));
}

#[test]
fn a_snapshot_may_move_the_log_past_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    append(&store, entries(1, 0..10));
    store.purge(id(4, 1000)).unwrap();
    assert_eq!(store.bounds().last, Some(id(4, 1000)));
    append(&store, entries(4, 1001..1003));
    drop(store);
    let store = open(&dir.path().join("log")).unwrap();
    assert_eq!(store.bounds().purged, Some(id(4, 1000)));
    assert_eq!(store.read(0, 2000, usize::MAX).unwrap(), entries(4, 1001..1003));
}

#[test]
fn entries_that_do_not_follow_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(&dir);
    append(&store, entries(2, 0..3));
    for wrong in [vec![entry(2, 4)], vec![entry(2, 2)], vec![entry(1, 3)], vec![entry(2, 3), entry(2, 5)]] {
        assert!(matches!(store.append(wrong, Box::new(|| ())), Err(LogFault::Refused(_))));
    }
    assert_eq!(store.bounds().last, Some(id(2, 2)));
}

#[test]
fn a_directory_is_opened_only_by_its_own_node() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(&dir));
    let path = dir.path().join("log");
    let as_other = |identity| LogStore::open(&path, identity, small()).unwrap_err();
    let node = as_other(Identity { node_id: 4, ..IDENTITY });
    assert!(matches!(node, LogFault::OtherNode { expected: 4, found: 3, .. }));
    let cluster = as_other(Identity { cluster_id: [0; 16], ..IDENTITY });
    assert!(matches!(cluster, LogFault::OtherCluster { .. }));
    assert!(matches!(LogStore::create(&path, IDENTITY), Err(LogFault::Exists { .. })));
    assert!(matches!(open(&dir.path().join("nothing")), Err(LogFault::Missing { .. })));
    std::fs::remove_file(path.join("IDENTITY")).unwrap();
    assert!(matches!(open(&path), Err(LogFault::IdentityUnreadable { .. })));
}

#[test]
fn a_newer_format_is_refused() {
    use prost::Message;
    use quorate_proto::peer::v1 as pb;
    use sha2::{Digest, Sha256};
    let dir = tempfile::tempdir().unwrap();
    drop(create(&dir));
    let cluster_id = Bytes::copy_from_slice(&IDENTITY.cluster_id);
    let mut bytes = pb::LogIdentity { format_version: 2, cluster_id, node_id: 3 }.encode_to_vec();
    let hash = Sha256::digest(&bytes);
    bytes.extend_from_slice(&hash);
    std::fs::write(dir.path().join("log/IDENTITY"), bytes).unwrap();
    assert!(matches!(open(&dir.path().join("log")), Err(LogFault::NewerFormat { known: 1, found: 2, .. })));
}

#[test]
fn a_vote_may_only_move_forward() {
    let cases = [
        (vote(1, 1, false), vote(2, 2, false), true),
        (vote(2, 1, false), vote(1, 1, true), false),
        (vote(2, 1, false), vote(2, 2, false), false),
        (vote(2, 1, false), vote(2, 1, true), true),
        (vote(2, 1, false), vote(2, 2, true), true),
        (vote(2, 1, true), vote(2, 1, false), false),
        (vote(2, 1, true), vote(2, 2, true), false),
        (vote(2, 1, true), vote(2, 1, true), true),
    ];
    for (promised, found, keeps) in cases {
        assert_eq!(found.keeps(&promised), keeps, "{promised} then {found}");
    }
}
