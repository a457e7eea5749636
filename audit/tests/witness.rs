//! Submissions to a witness: each status of c2sp.org/tlog-witness, and what a crash or two at once leave behind.
#![allow(clippy::unwrap_used, reason = "tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_audit::{Answer, LogWitness, Refusal, StoreError};
use quorate_core::checkpoint::Checkpoint;
use quorate_core::key::{CosignerKey, LogKey};
use quorate_core::name::{ClusterId, ClusterOrigin, LedgerName, Origin};
use quorate_core::note::SignedNote;
use quorate_core::policy::Policy;
use quorate_core::position::TreeSize;
use quorate_core::tree::{MemoryTree, consistency_path, root_at};

fn origin(name: &str) -> Origin {
    let cluster = ClusterOrigin::new("other.example/log", &ClusterId::new([3; 16])).unwrap();
    cluster.ledger(&LedgerName::new(name).unwrap())
}

fn log_key() -> LogKey {
    LogKey::derive(&[4; 32], &origin("default"))
}

fn witness_key() -> CosignerKey {
    CosignerKey::from_seed("witness.example/w", &[5; 32]).unwrap()
}

fn open(directory: &std::path::Path) -> Result<LogWitness, StoreError> {
    let logs = Policy::parse(format!("log {}\nquorum none\n", log_key().verifier())).unwrap();
    LogWitness::open(directory, witness_key(), logs)
}

/// A log of numbers, with another story from leaf `fork` on.
fn tree(size: u64, fork: u64) -> MemoryTree {
    let mut tree = MemoryTree::new();
    for leaf in 0..size {
        tree.append(&[leaf.to_be_bytes().as_slice(), &[u8::from(leaf >= fork)]].concat());
    }
    tree
}

fn checkpoint(tree: &MemoryTree, size: u64) -> Checkpoint {
    let root = root_at(tree, TreeSize::new(size)).unwrap();
    Checkpoint { origin: origin("default").to_string(), size: TreeSize::new(size), root }
}

/// A body that asks to cosign `size` after `old`.
fn body(tree: &MemoryTree, old: u64, size: u64) -> String {
    let checkpoint = checkpoint(tree, size);
    let mut note = SignedNote::new(checkpoint.clone());
    note.add(log_key().sign(&checkpoint));
    let path = match old {
        0 => Vec::new(),
        old => consistency_path(tree, TreeSize::new(old), TreeSize::new(size.max(old))).unwrap(),
    };
    let lines: String = path.iter().map(|hash| format!("{}\n", STANDARD.encode(hash.as_bytes()))).collect();
    format!("old {old}\n{lines}\n{note}")
}

fn cosigned(witness: &LogWitness, body: &str) -> String {
    match witness.add_checkpoint(body.as_bytes()).unwrap() {
        Answer::Cosigned(line) => line,
        Answer::Refused(refusal) => panic!("{refusal}"),
    }
}

fn refused(witness: &LogWitness, body: &str) -> Refusal {
    match witness.add_checkpoint(body.as_bytes()).unwrap() {
        Answer::Refused(refusal) => refusal,
        Answer::Cosigned(line) => panic!("{line}"),
    }
}

#[test]
fn a_log_that_grows_is_cosigned_and_the_line_verifies() {
    let (dir, log) = (tempfile::tempdir().unwrap(), tree(20, 20));
    let witness = open(dir.path()).unwrap();
    for (old, size) in [(0, 5), (5, 5), (5, 12), (12, 20)] {
        let request = body(&log, old, size);
        let line = cosigned(&witness, &request);
        assert!(line.starts_with("— witness.example/w ") && line.ends_with('\n'), "{line}");
        // As the specification says: the response after the checkpoint is a note.
        let (_, note) = request.split_once("\n\n").unwrap();
        let note = SignedNote::parse(&format!("{note}{line}")).unwrap();
        let opened = note.open(&[witness_key().verifier().clone()]).unwrap();
        assert_eq!(opened.cosigners().count(), 1);
    }
}

#[test]
fn each_check_of_the_specification_has_its_status() {
    let (dir, log) = (tempfile::tempdir().unwrap(), tree(20, 20));
    let witness = open(dir.path()).unwrap();
    cosigned(&witness, &body(&log, 0, 8));
    let fork = tree(20, 6);
    let good = body(&log, 8, 12);
    let status = |body: &str| {
        let refusal = refused(&witness, body);
        (refusal.status(), refusal.content_type().split(';').next().unwrap().to_owned(), refusal.to_string())
    };
    let size = (409, "text/x.tlog.size".to_owned(), "8\n".to_owned());
    assert_eq!(status(&body(&log, 0, 12)), size);
    assert_eq!(status(&body(&log, 5, 12)), size);
    assert_eq!(
        status(&body(&log, 8, 8).replacen("old 8", "old 9", 1)).0,
        400,
        "beyond the checkpoint's size"
    );
    assert_eq!(status(&body(&fork, 8, 8)).0, 409, "another root for the same size");
    assert_eq!(status(&body(&fork, 8, 12)).0, 422, "another history");
    let mut lines: Vec<&str> = good.split('\n').collect();
    lines.remove(1);
    assert_eq!(status(&lines.join("\n")).0, 422, "a line of the proof is missing");
    let unknown = good.replace(origin("default").as_str(), origin("elsewhere").as_str());
    assert_eq!(status(&unknown).0, 404);
    let unsigned = good.replace("— other.example", "— nobody.example");
    assert_eq!(status(&unsigned).0, 403, "{unsigned}");
    for malformed in [
        "",
        "old 8\n",
        "old 08\n\nnote",
        "old x\n\nnote",
        "8\n\nnote",
        &good.replacen("old 8", "old  8", 1),
        &good.replacen("old 8\n", "old 8\nno base64!\n", 1),
        &good.replacen(
            "old 8\n",
            &format!("old 8\n{}", format!("{}\n", STANDARD.encode([1; 32])).repeat(64)),
            1,
        ),
    ] {
        assert_eq!(status(malformed).0, 400, "{malformed}");
    }
    // Nothing of all this was recorded.
    cosigned(&witness, &good);
}

#[test]
fn what_was_cosigned_is_remembered_over_a_restart() {
    let (dir, log) = (tempfile::tempdir().unwrap(), tree(20, 20));
    let witness = open(dir.path()).unwrap();
    cosigned(&witness, &body(&log, 0, 8));
    drop(witness);
    let witness = open(dir.path()).unwrap();
    assert_eq!(refused(&witness, &body(&tree(20, 3), 0, 12)), Refusal::OtherSize(TreeSize::new(8)));
    cosigned(&witness, &body(&log, 8, 20));
}

#[test]
fn of_two_that_ask_at_once_one_is_told_of_the_other() {
    let (dir, log) = (tempfile::tempdir().unwrap(), tree(20, 20));
    let witness = open(dir.path()).unwrap();
    cosigned(&witness, &body(&log, 0, 4));
    let bodies: Vec<String> = (5..=20).map(|size| body(&log, 4, size)).collect();
    let signed: usize = std::thread::scope(|scope| {
        let ask = |body: &String| {
            let answer = witness.add_checkpoint(body.as_bytes()).unwrap();
            usize::from(matches!(answer, Answer::Cosigned(_)))
        };
        let asked: Vec<_> = bodies.iter().map(|body| scope.spawn(move || ask(body))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).sum()
    });
    assert_eq!(signed, 1, "all of them continue size 4");
}
