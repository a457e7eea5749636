//! The audit finds what it is for: one flipped byte in a tile of any level, in an entry, in a checkpoint, in a state root
//! or in an operation, planted into what a real node serves, and one planted into a log large enough for three levels.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use futures::TryStreamExt;
use quorate_client::{LogRecord, Transaction};
use quorate_core::{entry::Leaf, hash::Hash, position::LogIndex};
use quorate_tests::{
    audit::{self, Fetch, TILE},
    cluster::Cluster,
    oracle,
};

/// Answers that were read once; one of them can be changed.
#[derive(Clone, Default)]
struct Recorded(BTreeMap<String, Vec<u8>>);

impl Fetch for Recorded {
    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).cloned().ok_or_else(|| format!("{path}: not served"))
    }
}

/// Reads from a node, and keeps what it answers.
struct Recording<'a, F> {
    from: &'a F,
    kept: std::cell::RefCell<Recorded>,
}

impl<F: Fetch> Fetch for Recording<'_, F> {
    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let body = self.from.get(path)?;
        self.kept.borrow_mut().0.insert(path.to_owned(), body.clone());
        Ok(body)
    }
}

fn record(from: &impl Fetch, ledger: &str) -> (Recorded, audit::Log) {
    let recording = Recording { from, kept: std::cell::RefCell::default() };
    let log = audit::log(&recording, ledger).unwrap();
    (recording.kept.into_inner(), log)
}

/// Flips one bit in each of the answers in turn, at its begin, middle and end: each must be found.
fn flip_everywhere(good: &Recorded, ledger: &str) -> usize {
    let mut planted = 0;
    for (path, body) in &good.0 {
        for at in [0, body.len() / 2, body.len() - 1] {
            // Of a note, only the root counts here: who signed it is the client's business.
            let at = if path.ends_with("/checkpoint") { root_of_note(body) } else { at };
            let mut bad = good.clone();
            bad.0.get_mut(path).unwrap()[at] ^= 1;
            let found = audit::log(&bad, ledger).err();
            assert!(found.is_some(), "a flipped bit at byte {at} of {path} was not found");
            planted += 1;
        }
        let mut short = good.clone();
        short.0.get_mut(path).unwrap().pop();
        assert!(path.ends_with("/checkpoint") || audit::log(&short, ledger).is_err(), "{path} cut off");
    }
    planted
}

/// The first byte of the root in a note: the third line.
fn root_of_note(note: &[u8]) -> usize {
    let mut lines = note.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    lines.nth(1).unwrap().0 + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flipped_bit_in_what_a_node_serves_is_found() {
    let cluster = Cluster::start(1);
    let client = cluster.client("trust");
    let ledger = client.ledger("default");
    for round in 0..20 {
        let crowd =
            (0..16).map(|n| ledger.commit(Transaction::new().put(format!("{n}"), format!("{round}"))));
        futures::future::try_join_all(crowd).await.unwrap();
    }
    let (served, log) = record(&cluster.nodes[&1].http, "default");
    for path in ["tile/0/000", "tile/1/000.p/1", "tile/entries/000", "checkpoint"] {
        assert!(served.0.contains_key(&format!("default/{path}")), "{path} was not read");
    }
    let planted = flip_everywhere(&served, "default");
    assert!(planted >= 18, "only {planted} faults were planted");
    let records: Vec<LogRecord> =
        ledger.transactions(LogIndex::new(0), None, false).try_collect().await.unwrap();
    flip_states(&log.leaves, &records);
}

/// Faults that leave the log tree right: a wrong state root, a wrong `ops_root`, a wrong operation.
fn flip_states(leaves: &[Vec<u8>], records: &[LogRecord]) {
    audit::states(leaves, records).unwrap();
    let commit = leaves.len() - 1;
    assert!(matches!(Leaf::decode(&leaves[commit]), Ok(Leaf::Commit(_))));
    let transaction = (0..commit).rev().find(|at| matches!(records[*at], LogRecord::Transaction(_))).unwrap();
    // Both roots begin at byte 22 of their leaf.
    for (index, byte, says) in [(commit, 22, "another state root"), (transaction, 53, "ops_root")] {
        let mut bad = leaves.to_vec();
        bad[index][byte] ^= 1;
        let problem = audit::states(&bad, records).unwrap_err();
        assert!(problem.contains(&format!("leaf {index}")) && problem.contains(says), "{problem}");
    }
    let mut bad = records.to_vec();
    let LogRecord::Transaction(record) = &mut bad[transaction] else { unreachable!() };
    record.operations[0].value_len ^= 1;
    let problem = audit::states(leaves, &bad).unwrap_err();
    assert!(problem.contains("ops_root"), "{problem}");
    bad.truncate(transaction);
    assert!(audit::states(leaves, &bad).is_err(), "operations that are missing were not found");
}

/// What a right node would serve of a log of these leaves: no commit leaves, so no sizes in between.
fn serve(leaves: &[Vec<u8>]) -> Recorded {
    let mut served = BTreeMap::new();
    for (number, bundle) in leaves.chunks(TILE).enumerate() {
        let bytes = bundle.iter().flat_map(|leaf| [vec![0, u8::try_from(leaf.len()).unwrap()], leaf.clone()]);
        served.insert(path("entries", number, bundle.len()), bytes.flatten().collect());
    }
    let mut hashes: Vec<Hash> = oracle::leaf_hashes(leaves);
    let note = format!("o/00000000/x\n{}\n{}\n\n", leaves.len(), oracle::log_root(&hashes).to_base64());
    served.insert("x/checkpoint".to_owned(), note.into_bytes());
    for level in 0..3 {
        for (number, tile) in hashes.chunks(TILE).enumerate() {
            let bytes = tile.iter().flat_map(|hash| *hash.as_bytes()).collect();
            served.insert(path(&level.to_string(), number, tile.len()), bytes);
        }
        hashes = hashes.chunks_exact(TILE).map(oracle::log_root).collect();
    }
    Recorded(served)
}

fn path(level: &str, number: usize, width: usize) -> String {
    assert!(number < 1_000, "one group of digits");
    let partial = if width == TILE { String::new() } else { format!(".p/{width}") };
    format!("x/tile/{level}/{number:03}{partial}")
}

#[test]
fn a_fault_on_the_third_level_is_found() {
    let leaves: Vec<Vec<u8>> = (0..65_536_u32 + 700).map(|n| n.to_be_bytes().to_vec()).collect();
    let good = serve(&leaves);
    let passed = audit::log(&good, "x").unwrap();
    assert_eq!(passed.leaves, leaves);
    for path in ["x/tile/2/000.p/1", "x/tile/1/000", "x/tile/1/001.p/2", "x/tile/0/255", "x/tile/0/258.p/188"]
    {
        let mut bad = good.clone();
        bad.0.get_mut(path).unwrap()[17] ^= 0x10;
        let problem = audit::log(&bad, "x").unwrap_err();
        assert!(problem.starts_with(path), "{path}: {problem}");
    }
}
