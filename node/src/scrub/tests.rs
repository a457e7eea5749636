//! The scrubber on real stores: a clean one passes and is noted, a damaged one stops the node for good.
use std::{fs, path::Path};

use bytes::Bytes;

use super::*;
use crate::store::{
    log::{Identity, LogConfig, LogEntry, LogId, Payload},
    state::{
        StateOptions,
        tests::support::{Rig, START, block, identity, options, put, request},
    },
};

/// Hours between passes that never matter here.
const SETTINGS: config::Scrub =
    config::Scrub { interval_hours: 24, bytes_per_second: 0, busy_bytes_per_second: 0 };

struct Node {
    rig: Rig,
    log: LogStore,
    _home: tempfile::TempDir,
    log_dir: std::path::PathBuf,
}

/// A node with flushed state and log, of both of which there is more than a memtable.
async fn node() -> Node {
    let rig = Rig::founded();
    for number in 0..4_u8 {
        let requests = (0..50_u8).map(|n| {
            request("default", &format!("{number}.{n}"), [put(&[n], &[number; 200]), put(&[number, n], b"x")])
        });
        rig.apply(&block(START + u64::from(number), requests));
    }
    rig.store().flush().unwrap();
    let home = tempfile::tempdir().unwrap();
    let log_dir = home.path().join("log");
    let owner = Identity { cluster_id: [7; 16], node_id: 1 };
    LogStore::create(&log_dir, owner).unwrap();
    let small = LogConfig { tail_bytes: 0, tail_entries: 0, write_buffer_bytes: 64 << 10 };
    let log = LogStore::open(&log_dir, owner, small).unwrap();
    for index in 0..200 {
        let payload = Payload::Block(Bytes::from(vec![u8::try_from(index % 251).unwrap(); 1_000]));
        let (done, synced) = tokio::sync::oneshot::channel();
        let id = LogId { term: 1, index };
        log.append(
            vec![LogEntry { id, payload }],
            Box::new(move || {
                done.send(()).ok();
            }),
        )
        .unwrap();
        synced.await.unwrap();
    }
    log.put_records(vec![(b"signed/x".to_vec(), Bytes::from_static(b"y"))]).unwrap().await;
    log.save_vote(crate::store::log::Vote { term: 1, node_id: 1, committed: true }).await.unwrap();
    Node { rig, log, _home: home, log_dir }
}

fn worker(node: &Node, state: Arc<StateStore>) -> Worker {
    let parts = ScrubParts {
        settings: SETTINGS,
        state,
        log: node.log.clone(),
        clock: Clock::system(),
        health: Health::new(),
        shown: Scrubbing::default(),
    };
    Worker { parts, stop: Arc::default() }
}

/// Opens the state of a node again, with nothing in its caches.
fn reopened(node: &mut Node) -> Result<Arc<StateStore>, crate::store::faults::OpenError> {
    node.rig.close();
    StateStore::open(&node.rig.path(), identity(1), StateOptions { ..options() }).map(Arc::new)
}

fn files_in(dir: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

#[tokio::test]
async fn a_clean_node_passes_and_that_is_remembered() {
    let mut node = node().await;
    let state = reopened(&mut node).unwrap();
    assert_eq!(state.scrubbed_at(), None);
    let worker = worker(&node, Arc::clone(&state));
    assert!(worker.is_due());
    assert!(worker.pass());
    let shown = worker.parts.shown.now();
    assert!(!shown.running && shown.read > 200_000, "{shown:?}");
    assert!(worker.parts.health.is_good() && !worker.is_due());
    drop((worker, state));
    let state = reopened(&mut node).unwrap();
    assert!(state.scrubbed_at().is_some());
    let left = fs::read_dir(node.rig.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("snapshot-")));
}

#[tokio::test]
async fn a_new_node_has_nothing_to_read_again_and_one_with_a_state_has() {
    let mut node = node().await;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    StateStore::create(&path, identity(1), &options()).unwrap();
    let new = Arc::new(StateStore::open(&path, identity(1), options()).unwrap());
    let of_new = worker(&node, Arc::clone(&new));
    assert!(of_new.is_due());
    of_new.begin();
    assert!(!of_new.is_due() && new.scrubbed_at().is_some());
    let old = reopened(&mut node).unwrap();
    let of_old = worker(&node, Arc::clone(&old));
    of_old.begin();
    assert!(of_old.is_due() && old.scrubbed_at().is_none());
}

#[tokio::test]
async fn a_flipped_byte_in_any_file_of_the_state_is_found_and_never_forgotten() {
    let mut node = node().await;
    node.rig.close();
    let current = fs::read_to_string(node.rig.path().join("CURRENT")).unwrap();
    let tables = files_in(&node.rig.path().join(current.trim_end()), ".sst");
    assert!(tables.len() >= 8, "a file of each table: {tables:?}");
    for path in tables {
        let good = fs::read(&path).unwrap();
        // In the data, which is at the beginning of the file.
        let mut bad = good.clone();
        bad[good.len() / 8] ^= 1;
        fs::write(&path, &bad).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match reopened(&mut node) {
            // What a start reads, it finds itself.
            Err(error) => assert!(error.is_damage(), "{name}: {error}"),
            Ok(state) => {
                let worker = worker(&node, Arc::clone(&state));
                assert!(!worker.pass(), "{name}: the pass went through");
                let fault = worker.parts.health.fault().unwrap();
                assert!(fault.contains("scrubbing found damage") && fault.contains("new id"), "{fault}");
                assert!(fault.contains(&name), "the file is named: {fault}");
                assert!(!fault.contains("snapshot-"), "the file is that of the node: {fault}");
                drop((worker, state));
                fs::write(&path, &good).unwrap();
                let again = reopened(&mut node).unwrap_err();
                assert!(again.is_damage() && again.to_string().contains("found here before"), "{again}");
                fs::remove_file(node.rig.path().join("DAMAGED")).unwrap();
            }
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(reopened(&mut node).is_ok());
}

#[tokio::test]
async fn a_flipped_byte_in_the_log_is_found() {
    let mut node = node().await;
    let state = reopened(&mut node).unwrap();
    let tables = files_in(&node.log_dir.join("db"), ".sst");
    assert!(!tables.is_empty(), "nothing of the log was flushed");
    let worker = worker(&node, state);
    assert!(worker.pass());
    for path in tables {
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 8] ^= 1;
        fs::write(&path, &bad).unwrap();
        let found = node.log.scrub(&mut |_| Ok(()));
        fs::write(&path, &good).unwrap();
        let fault = found.unwrap_err();
        assert!(fault.is_damage() && fault.to_string().contains("log/db"), "{fault}");
    }
}

#[tokio::test]
async fn no_more_bytes_are_read_than_the_budget_allows() {
    let mut node = node().await;
    let state = reopened(&mut node).unwrap();
    let mut steps = Vec::new();
    state
        .scrub(&mut |bytes| {
            steps.push(bytes);
            Ok(())
        })
        .unwrap();
    let total: u64 = steps.iter().sum();
    // Opening the copy reads the buckets at once; after that, a step is one record.
    let largest = steps.iter().skip(1).max().unwrap();
    assert!(steps.len() > 200 && *largest < total / 10, "{} steps, {largest} of {total}", steps.len());
    // Whoever is told may end the pass, and it ends there.
    let mut told = 0;
    let ended = state.scrub(&mut |_| {
        told += 1;
        if told == 7 { Err(StoreFault::io("the test", "enough")) } else { Ok(()) }
    });
    assert!(ended.unwrap_err().to_string().contains("enough") && told == 7);
}

#[test]
fn a_pass_is_due_when_none_is_known_or_the_last_is_old() {
    let hour = Duration::from_secs(3_600);
    let at = |seconds: u64| Micros::new(seconds * Micros::PER_SECOND);
    assert!(is_due(None, at(0), hour));
    assert!(!is_due(Some(at(100)), at(100 + 3_599), hour));
    assert!(is_due(Some(at(100)), at(100 + 3_600), hour));
    assert!(is_due(Some(at(999_999)), at(100), hour), "a time ahead of the clock says nothing");
}
