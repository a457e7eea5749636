//! The worked example of `docs/formats.md`, recomputed: the document cannot say anything the code does not do.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use quorate_core::block::block_hash;
use quorate_core::entry::{
    CommitLeaf, OpKind, Operation, TransactionLeaf, meta_digest, ops_root, request_id, value_digest,
};
use quorate_core::hash::{Hash, leaf_hash, node_hash};
use quorate_core::key::{CosignerKey, LogKey, VerifierKey};
use quorate_core::name::{ClusterId, Origin};
use quorate_core::note::SignedNote;
use quorate_core::policy::Policy;
use quorate_core::position::{BlockHeight, Epoch, LogIndex, Micros, Revision, Term, TreeSize};
use quorate_core::proof::{consistency, inclusion};
use quorate_core::state_tree::{self, MemoryStateTree, Query};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../docs/formats.md");
const VECTOR: &str = include_str!("vectors/ledger-1.json");

/// Blocks between fences with this word after them.
fn fenced(word: &str) -> Vec<&'static str> {
    let fence = format!("```text {word}\n");
    let blocks = DOCUMENT.split(fence.as_str()).skip(1);
    blocks.map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// The lines `name = value` of the example.
fn stated() -> BTreeMap<&'static str, &'static str> {
    let mut lines = BTreeMap::new();
    for line in fenced("example").into_iter().flat_map(str::lines) {
        let (name, value) = line.split_once('=').unwrap();
        assert_eq!(lines.insert(name.trim(), value.trim()), None, "{name} is stated twice");
    }
    lines
}

fn vector() -> Value {
    serde_json::from_str(VECTOR).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

/// What the example says, computed by this crate from the blocks of the vector. Names as in the document.
struct Computed(BTreeMap<&'static str, String>);

impl Computed {
    fn put(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        assert_eq!(self.0.insert(name, hex::encode(value)), None);
    }
}

/// A put without previous write, expiry and attributes.
fn first_put(key: &[u8], value: &[u8], salt: [u8; 16]) -> Operation {
    Operation {
        kind: OpKind::Put,
        revision: Revision::FIRST,
        prev_index: None,
        expires_at: None,
        value_len: u32::try_from(value.len()).unwrap(),
        value_digest: value_digest(&salt, &[], value),
        key: key.to_vec(),
    }
}

fn request(out: &mut Computed, request: &Value) -> (Hash, Hash, Operation) {
    let op = &request["ops"][0];
    let (key, value) = (bytes(&op["key"]), bytes(&op["value"]));
    let salt: [u8; 16] = bytes(&op["salt"]).try_into().unwrap();
    let meta_salt: [u8; 16] = bytes(&request["meta_salt"]).try_into().unwrap();
    let (meta, idempotency_key) = (bytes(&request["meta"]), bytes(&request["idempotency_key"]));
    let author = text(&request["author"]);
    out.0.insert("author", format!("{author:?}"));
    let operation = first_put(&key, &value, salt);
    let id = request_id(author, &idempotency_key).unwrap();
    let meta_digest = meta_digest(&meta_salt, &meta);
    out.put("idempotency_key", idempotency_key);
    out.put("key", key);
    out.put("value", value);
    out.put("salt", salt);
    out.put("meta", meta);
    out.put("meta_salt", meta_salt);
    out.put("value_digest", operation.value_digest);
    out.put("operation", operation.encode());
    out.put("ops_root", ops_root([operation.encode()]));
    out.put("request_id", id);
    out.put("meta_digest", meta_digest);
    (id, meta_digest, operation)
}

/// The two blocks: the leaf that the ledger is born with, then one transaction.
fn log(out: &mut Computed, vector: &Value) {
    let (born, block) = (&vector["blocks"][0], &vector["blocks"][1]);
    let sent = &block["txs"][0];
    let (request_id, meta_digest, operation) = request(out, sent);
    let ledger_time = born["time"].as_u64().unwrap();
    let block_time = block["time"].as_u64().unwrap();
    assert!(DOCUMENT.contains(&block_time.to_string()) && DOCUMENT.contains(&ledger_time.to_string()));
    let time = Micros::new(block_time.max(ledger_time));
    let epoch = Epoch::new(1);

    let leaf = TransactionLeaf {
        time,
        not_after: Micros::new(sent["not_after"].as_u64().unwrap()),
        op_count: 1,
        ops_root: ops_root([operation.encode()]),
        request_id,
        meta_digest,
    };
    let state_root = state_tree::leaf_hash(LogIndex::new(1), &operation.encode());
    let commit = CommitLeaf { time, first_index: LogIndex::new(1), tx_count: 1, state_root, epoch };
    let birth = CommitLeaf {
        time: Micros::new(ledger_time),
        first_index: LogIndex::new(0),
        tx_count: 0,
        state_root: Hash::ZERO,
        epoch,
    };
    let below = node_hash(&birth.hash(), &leaf.hash());
    let root = node_hash(&below, &commit.hash());
    out.put("transaction_leaf", leaf.encode());
    out.put("transaction_hash", leaf.hash());
    out.put("state_root", state_root);
    out.put("commit_leaf", commit.encode());
    out.put("commit_hash", commit.hash());
    out.put("leaf_0_hash", birth.hash());
    out.put("node_0_1", below);
    out.put("log_root", root);

    // The paths that the document names.
    let size = TreeSize::new(3);
    let path = [birth.hash(), commit.hash()];
    inclusion::verify(&leaf.hash(), LogIndex::new(1), size, &path, &root).unwrap();
    let path = [leaf.hash(), commit.hash()];
    consistency::verify(TreeSize::new(1), &birth.hash(), size, &root, &path).unwrap();
}

fn block(out: &mut Computed, vector: &Value) {
    let signed = &vector["expect"][1]["signed_block"];
    let cluster = ClusterId::from_hex(text(&vector["cluster_id"])).unwrap();
    let previous = Hash::from_hex(text(&signed["previous"])).unwrap();
    let body = bytes(&signed["body"]);
    let hash = block_hash(&cluster, Term::new(3), BlockHeight::new(1), &previous, &body);
    out.put("cluster_id", cluster.as_bytes());
    out.put("previous_block", previous);
    out.put("block_body", body);
    out.put("block_hash", hash);
}

fn three_keys(out: &mut Computed) {
    let keys: [&[u8]; 3] = [b"a", b"aa", b"b"];
    let mut tree = MemoryStateTree::new();
    let mut hashes = Vec::new();
    for (index, key) in (0..).map(LogIndex::new).zip(keys) {
        let operation = first_put(key, &[], [0; 16]).encode();
        hashes.push(state_tree::leaf_hash(index, &operation));
        tree.insert(index, operation).unwrap();
    }
    let branch = state_tree::branch_hash(9, &hashes[0], &hashes[1]);
    assert_eq!(tree.root(), state_tree::branch_hash(7, &branch, &hashes[2]));
    out.put("op_a", first_put(b"a", &[], [0; 16]).encode());
    out.put("state_leaf_a", hashes[0]);
    out.put("state_leaf_aa", hashes[1]);
    out.put("state_leaf_b", hashes[2]);
    out.put("branch_9", branch);
    out.put("three_keys_root", tree.root());
    for (name, key, found) in [("proof_a", "a", 1), ("proof_ab", "ab", 0), ("proof_z", "z", 0)] {
        let query = Query::Key(key.into());
        let proof = tree.prove(&query);
        let answer = state_tree::verify(&tree.root(), &query, &proof).unwrap();
        assert_eq!(answer.leaves().len(), found, "{name}");
        out.put(name, proof);
    }
}

#[test]
fn every_line_of_the_example_is_what_the_code_computes() {
    let vector = vector();
    let mut computed = Computed(BTreeMap::new());
    log(&mut computed, &vector);
    block(&mut computed, &vector);
    three_keys(&mut computed);

    let stated = stated();
    let names = |lines: &mut dyn Iterator<Item = &'static str>| lines.collect::<Vec<_>>();
    assert_eq!(
        names(&mut stated.keys().copied()),
        names(&mut computed.0.keys().copied()),
        "the document and this test name different lines"
    );
    for (name, value) in &computed.0 {
        assert_eq!(stated[name], value, "docs/formats.md, {name}");
    }
}

#[test]
fn the_example_is_the_one_of_the_golden_vectors() {
    let (stated, vector) = (stated(), vector());
    let expect = &vector["expect"][1];
    let transaction = &expect["transactions"][0];
    for (name, golden) in [
        ("operation", &transaction["ops"][0]),
        ("ops_root", &transaction["ops_root"]),
        ("transaction_leaf", &transaction["leaf"]),
        ("transaction_hash", &transaction["leaf_hash"]),
        ("commit_leaf", &expect["commit"]["leaf"]),
        ("commit_hash", &expect["commit"]["leaf_hash"]),
        ("state_root", &expect["commit"]["state_root"]),
        ("log_root", &expect["log_root"]),
        ("block_hash", &expect["signed_block"]["block_hash"]),
    ] {
        assert_eq!(stated[name], text(golden), "{name}");
    }
    assert_eq!(hex::encode(leaf_hash(&bytes(&transaction["leaf"]))), stated["transaction_hash"]);
}

#[test]
fn the_note_of_the_example_is_signed_by_the_keys_of_the_vectors() {
    let vector = vector();
    let [stated] = fenced("note").try_into().unwrap();
    assert_eq!(stated, text(&vector["expect"][1]["checkpoint_note"]));

    // Made again from the seeds: signatures are deterministic.
    let read = SignedNote::parse(stated).unwrap();
    let checkpoint = read.checkpoint();
    let origin = Origin::parse(text(&vector["origin"])).unwrap();
    let seed = |value: &Value| <[u8; 32]>::try_from(bytes(value)).unwrap();
    let log = LogKey::derive(&seed(&vector["log_secret"]), &origin);
    let mut made = SignedNote::new(checkpoint.clone());
    made.add(log.sign(checkpoint));
    let mut cosigners: Vec<VerifierKey> = Vec::new();
    let time = vector["blocks"][1]["cosign_time"].as_u64().unwrap();
    for cosigner in vector["cosigners"].as_array().unwrap() {
        let key = CosignerKey::from_seed(text(&cosigner["name"]), &seed(&cosigner["seed"])).unwrap();
        made.add(key.cosign(checkpoint, time).unwrap().to_line());
        cosigners.push(key.verifier().clone());
    }
    assert_eq!(made.to_string(), stated);

    let policy = Policy::majority(log.verifier(), &cosigners).unwrap();
    let certified = policy.open(stated).unwrap();
    assert_eq!(certified.checkpoint().size, TreeSize::new(3));
}
