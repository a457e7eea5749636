//! Consensus on the RocksDB log store: openraft's own suite, and clusters of three nodes in one process.

mod cluster;
mod harness;
mod held_log;
mod hostile;
mod suite;
mod toy;

use std::{fs, path::PathBuf, sync::Arc};

use super::machine::{Machine, Position};

/// A snapshot of one machine, copied to where another one installs from: what the network does otherwise.
pub(crate) fn copy_snapshot(from: &Arc<dyn Machine>, to: &Arc<dyn Machine>) -> (PathBuf, Position) {
    let snapshot = from.snapshot().unwrap().files;
    let dir = to.begin_install(0).unwrap();
    for entry in fs::read_dir(snapshot.dir()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
    (dir, snapshot.position().clone())
}
