//! Evidence of every kind: made of what was signed, checked with public keys, refused when altered.

use quorate_core::block::{BlockHeader, BlockKey};
use quorate_core::checkpoint::Checkpoint;
use quorate_core::evidence::{Culprit, Evidence, EvidenceError, EvidenceKind, Keys, Verdict};
use quorate_core::hash::{Hash, sha256};
use quorate_core::key::CosignerKey;
use quorate_core::name::ClusterId;
use quorate_core::note::OpenedNote;
use quorate_core::position::{BlockHeight, Term, TreeSize};
use quorate_core::tree::{MemoryTree, consistency_path};

use crate::support::Ledger;

/// A tree of leaves 0, 1, 2 … of which one was replaced.
fn tree(size: u64, replaced: Option<u64>) -> MemoryTree {
    let mut tree = MemoryTree::new();
    for leaf in 0..size {
        let text = if replaced == Some(leaf) { "other".to_owned() } else { leaf.to_string() };
        tree.append(text.as_bytes());
    }
    tree
}

fn signed(ledger: &Ledger, tree: &MemoryTree, nodes: &[usize], time: u64) -> OpenedNote {
    let checkpoint = Checkpoint { origin: ledger.origin.clone(), size: tree.size(), root: tree.root() };
    ledger.sign(&checkpoint, nodes, time).open(ledger.policy().keys()).unwrap()
}

fn keys(ledger: &Ledger) -> Keys {
    Keys::from(&ledger.policy())
}

/// The nodes that the verdict names, and the kind.
fn guilty(ledger: &Ledger, verdict: &Verdict) -> (EvidenceKind, Vec<usize>) {
    let Verdict::Guilty { kind, culprits } = verdict else { panic!("{verdict:?}") };
    let nodes = ledger.node_keys();
    let number = |culprit: &Culprit| match culprit {
        Culprit::Cosigner(key) => nodes.iter().position(|node| node == key).unwrap(),
        Culprit::Proposer(key) => panic!("{key}"),
    };
    (*kind, culprits.iter().map(number).collect())
}

/// Read again from its file it says the same; then every altered file proves nothing.
fn check_file(evidence: &Evidence, keys: &Keys) -> Verdict {
    let file = evidence.to_json();
    assert_eq!(&Evidence::parse(&file).unwrap(), evidence);
    let verdict = evidence.verify(keys).unwrap();
    for place in 0..file.len() * 8 {
        let mut bytes = file.as_bytes().to_vec();
        bytes[place / 8] ^= 1 << (place % 8);
        let Ok(altered) = String::from_utf8(bytes) else {
            continue;
        };
        let checked = Evidence::parse(&altered).and_then(|evidence| evidence.verify(keys));
        assert!(checked.is_err(), "bit {place}: {altered}");
    }
    // Without the keys it proves nothing.
    assert!(evidence.verify(&Keys::default()).is_err());
    verdict
}

#[test]
fn a_fork_names_everyone_who_signed_both() {
    let ledger = Ledger::new(1);
    let a = signed(&ledger, &tree(5, None), &[0, 1], 10);
    let b = signed(&ledger, &tree(5, Some(4)), &[1, 2], 10);
    let evidence = Evidence::of_notes(&a, &b).unwrap();
    assert_eq!(guilty(&ledger, &check_file(&evidence, &keys(&ledger))), (EvidenceKind::Fork, vec![1]));
    let b = signed(&ledger, &tree(5, Some(4)), &[0, 1, 2], 10);
    let evidence = Evidence::of_notes(&a, &b).unwrap();
    assert_eq!(guilty(&ledger, &evidence.verify(&keys(&ledger)).unwrap()), (EvidenceKind::Fork, vec![0, 1]));
}

#[test]
fn a_rewrite_names_everyone_who_signed_both() {
    let ledger = Ledger::new(1);
    let other = tree(7, Some(2));
    let small = signed(&ledger, &tree(5, None), &[0, 1], 10);
    let large = signed(&ledger, &other, &[1, 2], 11);
    assert_eq!(Evidence::of_notes(&small, &large), None);
    let path = consistency_path(&other, TreeSize::new(5), TreeSize::new(7)).unwrap();
    let root = tree(5, Some(2)).root();
    let evidence = Evidence::of_rewrite(&small, &large, root, &path).unwrap();
    assert_eq!(guilty(&ledger, &check_file(&evidence, &keys(&ledger))), (EvidenceKind::Rewrite, vec![1]));
    // An honest continuation is none, and neither is a proof of nothing.
    let honest = signed(&ledger, &tree(7, None), &[1, 2], 11);
    let path = consistency_path(&tree(7, None), TreeSize::new(5), TreeSize::new(7)).unwrap();
    assert_eq!(Evidence::of_rewrite(&small, &honest, tree(5, None).root(), &path), None);
    assert_eq!(Evidence::of_rewrite(&small, &large, root, &path), None);
    assert_eq!(Evidence::of_rewrite(&large, &small, root, &path), None);
}

#[test]
fn a_rollback_names_replicas_and_not_witnesses() {
    let ledger = Ledger::new(1);
    let large = signed(&ledger, &tree(7, None), &[0, 1], 10);
    let small = signed(&ledger, &tree(5, None), &[1, 2], 11);
    let evidence = Evidence::of_notes(&large, &small).unwrap();
    assert_eq!(guilty(&ledger, &check_file(&evidence, &keys(&ledger))), (EvidenceKind::Rollback, vec![1]));
    // At the same time or earlier it is none: clocks have seconds.
    let small = signed(&ledger, &tree(5, None), &[1, 2], 10);
    assert_eq!(Evidence::of_notes(&large, &small), None);
    // A witness outside may sign an old tree late.
    let witness = CosignerKey::from_seed("witness.example/w1", &[9; 32]).unwrap();
    let keys = [ledger.policy().keys(), &[witness.verifier().clone()]].concat();
    let witnessed = |tree: &MemoryTree, time| {
        let checkpoint = Checkpoint { origin: ledger.origin.clone(), size: tree.size(), root: tree.root() };
        let mut note = ledger.sign(&checkpoint, &[], 0);
        note.add(witness.cosign(&checkpoint, time).unwrap().to_line());
        note.open(&keys).unwrap()
    };
    let (large, small) = (witnessed(&tree(7, None), 10), witnessed(&tree(5, None), 11));
    assert_eq!(Evidence::of_notes(&large, &small), None);
    // But not a fork.
    let fork = witnessed(&tree(7, Some(0)), 12);
    let evidence = Evidence::of_notes(&large, &fork).unwrap();
    let verdict = evidence.verify(&Keys::new(&keys, &[])).unwrap();
    let culprits = vec![Culprit::Cosigner(witness.verifier().clone())];
    assert_eq!(verdict, Verdict::Guilty { kind: EvidenceKind::Fork, culprits });
}

#[test]
fn an_equivocation_names_the_proposer() {
    let header = |body: &[u8], term| BlockHeader {
        cluster: ClusterId::new([3; 16]),
        term: Term::new(term),
        height: BlockHeight::new(8),
        previous: sha256(&[b"previous"]),
        body_hash: sha256(&[body]),
    };
    let key = BlockKey::from_seed(&[5; 32]);
    let stranger = BlockKey::from_seed(&[6; 32]);
    let block =
        |key: &BlockKey, body: &[u8], term| key.sign(header(body, term)).verify(&key.public()).unwrap();
    let a = block(&key, b"one", 2);
    let evidence = Evidence::of_blocks(&a, &block(&key, b"two", 2)).unwrap();
    let keys = Keys::new(&[], &[key.public()]);
    let culprits = vec![Culprit::Proposer(key.public())];
    let verdict = Verdict::Guilty { kind: EvidenceKind::Equivocation, culprits };
    assert_eq!(check_file(&evidence, &keys), verdict);
    // Another term, the same block, or another proposer: none.
    assert_eq!(Evidence::of_blocks(&a, &block(&key, b"two", 3)), None);
    assert_eq!(Evidence::of_blocks(&a, &a), None);
    assert_eq!(Evidence::of_blocks(&a, &block(&stranger, b"two", 2)), None);
    let unknown = evidence.verify(&Keys::new(&[], &[stranger.public()]));
    assert_eq!(unknown, Err(EvidenceError::UnknownProposer));
}

#[test]
fn a_disagreement_names_two_suspects() {
    let ledger = Ledger::new(1);
    let a = signed(&ledger, &tree(5, None), &[0], 10);
    let b = signed(&ledger, &tree(5, Some(4)), &[2], 10);
    let nodes = ledger.node_keys();
    let suspects =
        Verdict::Suspects { kind: EvidenceKind::Disagreement, keys: [nodes[0].clone(), nodes[2].clone()] };
    let evidence = Evidence::of_notes(&a, &b).unwrap();
    assert_eq!(check_file(&evidence, &keys(&ledger)), suspects);
    // A rewrite across two keys.
    let other = tree(7, Some(2));
    let large = signed(&ledger, &other, &[2], 11);
    let path = consistency_path(&other, TreeSize::new(5), TreeSize::new(7)).unwrap();
    let evidence = Evidence::of_rewrite(&a, &large, tree(5, Some(2)).root(), &path).unwrap();
    assert_eq!(check_file(&evidence, &keys(&ledger)), suspects);
}

#[test]
fn the_log_key_is_never_evidence() {
    let ledger = Ledger::new(1);
    let (a, b) = (signed(&ledger, &tree(5, None), &[], 0), signed(&ledger, &tree(5, Some(1)), &[], 0));
    assert_eq!(Evidence::of_notes(&a, &b), None);
    let b = signed(&ledger, &tree(5, Some(1)), &[0, 1, 2], 9);
    assert_eq!(Evidence::of_notes(&a, &b), None);
    // Nor does a spoilt line of it spoil what the cosigners signed.
    let a = signed(&ledger, &tree(5, None), &[1], 9);
    let evidence = Evidence::of_notes(&a, &b).unwrap();
    assert!(
        evidence.notes().iter().all(|note| note.signatures().iter().all(|line| line.name() != ledger.origin))
    );
}

#[test]
fn agreement_and_other_origins_are_no_evidence() {
    let (ledger, other) = (Ledger::new(1), Ledger::new(2));
    let a = signed(&ledger, &tree(5, None), &[0, 1], 10);
    assert_eq!(Evidence::of_notes(&a, &a), None);
    let b = signed(&other, &tree(5, Some(1)), &[0, 1], 10);
    assert_eq!(Evidence::of_notes(&a, &b), None);
}

#[test]
fn a_file_says_what_is_wrong_with_it() {
    let ledger = Ledger::new(1);
    let a = signed(&ledger, &tree(5, None), &[0, 1], 10);
    let b = signed(&ledger, &tree(5, Some(4)), &[1, 2], 10);
    let file = Evidence::of_notes(&a, &b).unwrap().to_json();
    let verify = |file: &str| Evidence::parse(file).and_then(|evidence| evidence.verify(&keys(&ledger)));
    verify(&file).unwrap();
    let version = file.replace("\"version\":1", "\"version\":2");
    assert_eq!(verify(&version), Err(EvidenceError::Version { got: 2 }));
    for (from, to) in [
        ("\"kind\":\"fork\"", "\"kind\":\"spoon\""),
        ("\"kind\":\"fork\"", "\"kind\":\"disagreement\""),
        ("\"kind\":\"fork\"", "\"kind\":\"rewrite\""),
        ("\"kind\":\"fork\"", "\"kind\":\"rollback\""),
        ("\"kind\":\"fork\"", "\"kind\":\"equivocation\""),
        ("\"root\":null", "\"root\":\"AAAA\""),
        ("\"consistency\":[]", "\"consistency\":[\"AAAA\"]"),
        ("\"blocks\":[]", "\"blocks\":[{}]"),
        ("{\"version\"", "{\"extra\":1,\"version\""),
    ] {
        let other = file.replacen(from, to, 1);
        assert_ne!(other, file);
        assert!(verify(&other).is_err(), "{from} as {to}");
    }
    let root = format!("\"root\":\"{}\"", Hash::ZERO.to_base64());
    assert!(verify(&file.replacen("\"root\":null", &root, 1)).is_err());
}

#[test]
fn parts_that_its_kind_has_no_use_for() {
    let ledger = Ledger::new(1);
    let a = signed(&ledger, &tree(5, None), &[1], 10);
    let b = signed(&ledger, &tree(5, Some(4)), &[1], 10);
    let fork = Evidence::of_notes(&a, &b).unwrap().to_json();
    let key = BlockKey::from_seed(&[5; 32]);
    let block = |body: &[u8]| {
        let header = BlockHeader {
            cluster: ClusterId::new([3; 16]),
            term: Term::new(1),
            height: BlockHeight::new(1),
            previous: Hash::ZERO,
            body_hash: sha256(&[body]),
        };
        key.sign(header).verify(&key.public()).unwrap()
    };
    let blocks = Evidence::of_blocks(&block(b"a"), &block(b"b")).unwrap().to_json();
    let list = |file: &str, name: &str| {
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        file[name].to_string()
    };
    let keys = Keys::new(ledger.policy().keys(), &[key.public()]);
    let hashes = format!("\"consistency\":[\"{}\"]", Hash::ZERO.to_base64());
    for (file, from, to) in [
        (&fork, "\"blocks\":[]", format!("\"blocks\":{}", list(&blocks, "blocks"))),
        (&fork, "\"consistency\":[]", hashes.clone()),
        (&blocks, "\"notes\":[]", format!("\"notes\":{}", list(&fork, "notes"))),
        (&blocks, "\"consistency\":[]", hashes),
    ] {
        Evidence::parse(file).unwrap().verify(&keys).unwrap();
        let other = file.replacen(from, &to, 1);
        let refused = Evidence::parse(&other).unwrap().verify(&keys);
        assert!(matches!(refused, Err(EvidenceError::Field { .. })), "{refused:?}");
    }
}

#[test]
fn two_logs_may_have_different_roots() {
    let ledger = Ledger::new(1);
    let note = |origin: &str, tree: &MemoryTree| {
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: tree.size(), root: tree.root() };
        ledger.sign(&checkpoint, &[1], 10)
    };
    let (a, b) = (note(&ledger.origin, &tree(5, None)), note("another.log", &tree(5, Some(4))));
    let file = serde_json::json!({
        "version": 1, "kind": "fork", "notes": [a.to_string(), b.to_string()],
        "blocks": [], "root": null, "consistency": [],
    });
    let refused = Evidence::parse(&file.to_string()).unwrap().verify(&keys(&ledger));
    assert!(matches!(refused, Err(EvidenceError::NoContradiction { .. })), "{refused:?}");
}
