//! Damaged files: each read gives the right answer or a fault, never another answer.

use std::{fs, path::Path};

use quorate_core::{
    position::{LogIndex, TreeSize},
    state_tree::{KeyRange, Query, StateLeaf},
};

use super::super::{Direction, LogRecord, StateStore, StoredContent, ledger::LedgerView, scrub::scrub};
use super::support::{Rig, START, block, copy_directory, default, identity, options, put, request};
use crate::store::faults::StoreFault;

/// Everything a ledger answers, one read at a time.
fn answers(view: &LedgerView) -> Vec<Result<Answer, StoreFault>> {
    let size = view.size();
    let mut all = Vec::new();
    for index in (0..size.get()).map(LogIndex::new) {
        all.push(view.record(index).map(Answer::Record));
        all.push(view.contents(index).map(|found| Answer::Contents(found.map(|found| found.operations))));
        all.push(view.checkpoint_with(index).map(Answer::Size));
        all.push(view.inclusion_path(index, size).map(|path| Answer::Bytes(format!("{path:?}"))));
    }
    for key in keys() {
        all.push(view.newest(&key).map(Answer::Leaf));
        all.push(view.newest_at(&key, TreeSize::new(size.get() / 2)).map(Answer::Leaf));
        all.push(view.state_proof(&Query::Key(key)).map(|proof| Answer::Bytes(hex::encode(proof))));
    }
    let everything = KeyRange { first: Vec::new(), end: None };
    let scan = view.state_leaves(&everything, Direction::Ascending, size);
    all.push(scan.and_then(|leaves| leaves.collect::<Result<Vec<_>, _>>()).map(Answer::Leaves));
    let log = view.records(LogIndex::new(0));
    all.push(log.and_then(|records| records.collect::<Result<Vec<_>, _>>()).map(Answer::Records));
    all
}

#[derive(Debug, PartialEq)]
enum Answer {
    Record(Option<LogRecord>),
    Records(Vec<LogRecord>),
    Contents(Option<Vec<StoredContent>>),
    Size(Option<TreeSize>),
    Leaf(Option<StateLeaf>),
    Leaves(Vec<StateLeaf>),
    Bytes(String),
}

fn keys() -> impl Iterator<Item = Vec<u8>> {
    (0..40_u8).map(|n| vec![b'k', n])
}

/// A store with full tiles, several runs per block, and files of every table; closed.
fn filled() -> Rig {
    let mut rig = Rig::founded();
    for number in 0..6_u8 {
        let requests = (0..60_u8).map(|n| {
            let writes = [put(&[b'k', n % 40], &[number; 300]), put(&[b'l', number, n], b"once")];
            request("default", &format!("{number}.{n}"), writes)
        });
        rig.apply(&block(START + u64::from(number), requests));
        if number == 2 {
            rig.store().flush().unwrap();
        }
    }
    rig.close();
    rig
}

/// The files of a directory and those below it that hold state, relative to it.
fn files(path: &Path, prefix: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(&entry.path(), &format!("{prefix}{name}/")));
        } else if !name.starts_with("LOG") && name != "LOCK" {
            all.push(format!("{prefix}{name}"));
        }
    }
    all.sort();
    all
}

/// What became of a damage.
#[derive(Debug, PartialEq)]
enum Found {
    AtOpen,
    WhenRead,
    /// The damage hit bytes that mean nothing (or said where an older state ends).
    Harmless,
}

fn look(path: &Path, expected: &[Result<Answer, StoreFault>]) -> Found {
    let Ok(store) = StateStore::open(path, identity(1), options()) else {
        return Found::AtOpen;
    };
    let view = store.view();
    let Some(ledger) = view.ledger(&default()) else {
        assert_eq!(view.applied().last, None, "a ledger is only absent in a whole older state");
        return Found::Harmless;
    };
    let found = answers(ledger);
    let faults = found.iter().filter(|answer| answer.is_err()).count();
    if found.len() == expected.len() {
        for (found, expected) in found.iter().zip(expected) {
            if let (Ok(found), Ok(expected)) = (found, expected) {
                assert_eq!(found, expected, "another answer");
            }
        }
    }
    let scrubbed = scrub(&view);
    assert!(faults == 0 || scrubbed.is_err(), "scrubbing finds what reading finds");
    if scrubbed.is_err() { Found::WhenRead } else { Found::Harmless }
}

#[test]
fn a_flipped_byte_in_any_file_gives_a_fault_or_the_right_answer() {
    let mut rig = filled();
    rig.open();
    let expected = answers(&rig.ledger());
    assert!(expected.iter().all(Result::is_ok));
    rig.close();
    let (mut at_open, mut when_read, mut cases) = (0, 0, 0);
    for file in files(&rig.path(), "") {
        let bytes = fs::read(rig.path().join(&file)).unwrap();
        for step in 0..6 {
            let position = bytes.len() * (2 * step + 1) / 12;
            if position >= bytes.len() {
                continue;
            }
            let home = tempfile::tempdir().unwrap();
            let copy = home.path().join("state");
            copy_directory(&rig.path(), &copy);
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x10;
            fs::write(copy.join(&file), damaged).unwrap();
            match look(&copy, &expected) {
                Found::AtOpen => at_open += 1,
                Found::WhenRead => when_read += 1,
                Found::Harmless => assert!(
                    !file.ends_with(".sst") || step > 0,
                    "the first data block of {file} is read by scrubbing"
                ),
            }
            cases += 1;
        }
    }
    assert!(at_open > 10 && when_read > 10, "{at_open} at open, {when_read} when read, of {cases}");
}

#[test]
fn a_missing_or_truncated_table_file_is_found() {
    let rig = filled();
    for file in files(&rig.path(), "").iter().filter(|file| file.ends_with(".sst")) {
        for truncated in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let copy = home.path().join("state");
            copy_directory(&rig.path(), &copy);
            let bytes = fs::read(copy.join(file)).unwrap();
            if truncated {
                fs::write(copy.join(file), &bytes[..bytes.len() / 2]).unwrap();
            } else {
                fs::remove_file(copy.join(file)).unwrap();
            }
            assert_ne!(look(&copy, &[]), Found::Harmless, "{file}, truncated: {truncated}");
        }
    }
}
