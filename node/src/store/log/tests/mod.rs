//! The log store: what it keeps through crashes, what it refuses, and that it behaves like a plain list.

mod damage;
mod model;
mod rules;

use std::{fs, path::Path, sync::mpsc, time::Duration};

use bytes::Bytes;
use futures::executor::block_on;
use tempfile::TempDir;

use super::{Identity, LogConfig, LogEntry, LogFault, LogId, LogStore, Payload};

const IDENTITY: Identity = Identity { cluster_id: *b"cluster of tests", node_id: 3 };

fn small() -> LogConfig {
    LogConfig { tail_bytes: 1 << 20, tail_entries: 8, write_buffer_bytes: 1 << 20 }
}

fn id(term: u64, index: u64) -> LogId {
    LogId { term, index }
}

/// An entry whose content follows from its id.
fn entry(term: u64, index: u64) -> LogEntry {
    let payload = match index % 5 {
        0 => Payload::Blank,
        _ => Payload::Block(Bytes::from(
            format!("{term}/{index};").repeat(usize::try_from(index % 50).unwrap()),
        )),
    };
    LogEntry { id: id(term, index), payload }
}

fn entries(term: u64, range: std::ops::Range<u64>) -> Vec<LogEntry> {
    range.map(|index| entry(term, index)).collect()
}

fn create(dir: &TempDir) -> LogStore {
    let path = dir.path().join("log");
    LogStore::create(&path, IDENTITY).unwrap();
    open(&path).unwrap()
}

fn open(path: &Path) -> Result<LogStore, LogFault> {
    LogStore::open(path, IDENTITY, small())
}

/// Appends and waits until it is durable.
fn append(store: &LogStore, entries: Vec<LogEntry>) {
    let (done, waiting) = mpsc::channel();
    store.append(entries, Box::new(move || done.send(()).unwrap())).unwrap();
    waiting.recv_timeout(Duration::from_secs(10)).unwrap();
}

fn put(store: &LogStore, key: &str, value: &str) {
    let change = (key.as_bytes().to_vec(), Bytes::from(value.to_owned()));
    block_on(store.put_records(vec![change]).unwrap());
}

/// The files as a crash at this moment would leave them, unsynced writes included. The floor is copied
/// first: what it promises was written to the log before.
fn copy_as_after_a_crash(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("db")).unwrap();
    for name in ["FLOOR", "IDENTITY"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    for file in fs::read_dir(from.join("db")).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "LOCK" {
            fs::copy(file.path(), to.join("db").join(file.file_name())).unwrap();
        }
    }
}

/// The newest write-ahead log of a store.
fn wal(path: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(path.join("db")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|e| e == "log")).max().unwrap()
}
