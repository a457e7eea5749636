//! The golden vectors through the store: every leaf, root, tile, proof and content that is read back.

use bytes::Bytes;
use quorate_core::{
    entry::value_digest,
    hash::{Hash, leaf_hash},
    name::ClusterOrigin,
    position::{Epoch, LogIndex, TreeSize},
    proof::{consistency, inclusion},
    state_tree::Query,
};
use quorate_ledger::block::{Put, Request, Write};
use serde_json::Value;

use super::super::{StoredContent, scrub::scrub};
use super::support::{Rig, apply_to, birth, block, default, genesis};
use crate::store::log::Identity;

const VECTORS: [&str; 3] = [
    include_str!("../../../../../core/tests/vectors/ledger-1.json"),
    include_str!("../../../../../core/tests/vectors/ledger-2.json"),
    include_str!("../../../../../core/tests/vectors/ledger-3.json"),
];

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

fn hash(value: &Value) -> Hash {
    Hash::from_hex(text(value)).unwrap()
}

fn hashes(value: &Value) -> Vec<Hash> {
    list(value).iter().map(hash).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn write(op: &Value) -> Write {
    let field = |name: &str| Bytes::from(bytes(&op[name]));
    let put = || Put {
        salt: field("salt"),
        attributes: field("attributes"),
        value: field("value"),
        expires_at: number(&op["expires_at"]),
    };
    let kind = text(&op["kind"]);
    Write {
        key: field("key"),
        put: (kind == "put").then(put),
        erase: (kind == "erase").then(|| number(&op["revision"])),
    }
}

fn request(tx: &Value) -> Request {
    Request {
        ledger: "default".to_owned(),
        author: text(&tx["author"]).to_owned(),
        idempotency_key: bytes(&tx["idempotency_key"]).into(),
        not_after: number(&tx["not_after"]),
        meta: bytes(&tx["meta"]).into(),
        meta_salt: bytes(&tx["meta_salt"]).into(),
        preconditions: Vec::new(),
        writes: list(&tx["ops"]).iter().map(write).collect(),
    }
}

/// All blocks of a vector applied; with `crashes`, the store comes back from disk after each second block, and
/// what was lost is applied again.
fn replay(vector: &Value, crashes: bool) -> Rig {
    let origin: ClusterOrigin = text(&vector["origin"]).strip_suffix("/default").unwrap().parse().unwrap();
    let (name, _) = origin.as_str().rsplit_once('/').unwrap();
    let cluster_id = bytes(&vector["cluster_id"]).try_into().unwrap();
    let mut rig = Rig::of(Identity { cluster_id, node_id: 1 });
    let genesis = genesis(name, cluster_id, number(&vector["blocks"][0]["time"]));
    rig.apply(&genesis);
    let blocks = list(&vector["blocks"]).iter().enumerate().map(|(position, input)| {
        let mut requests: Vec<_> = list(&input["txs"]).iter().map(request).collect();
        if position == 0 {
            requests.push(birth(&origin, "default"));
        }
        (block(number(&input["time"]), requests), Epoch::new(number(&input["epoch"])))
    });
    let blocks: Vec<_> = blocks.collect();
    for (position, (block, epoch)) in blocks.iter().enumerate() {
        apply_to(rig.store(), block, Some(*epoch)).unwrap();
        if crashes && position % 2 == 1 {
            let roots = (rig.ledger().head().frontier.root(), rig.ledger().head().state_root);
            rig.crash();
            if rig.view().applied().last.is_none() {
                rig.apply(&genesis);
            }
            let durable = usize::try_from(rig.view().applied().last.unwrap().index).unwrap();
            for (block, epoch) in &blocks[durable..=position] {
                apply_to(rig.store(), block, Some(*epoch)).unwrap();
            }
            assert_eq!((rig.ledger().head().frontier.root(), rig.ledger().head().state_root), roots);
        }
        if position % 4 == 1 {
            rig.store().flush().unwrap();
        }
    }
    rig
}

fn check_blocks(rig: &Rig, vector: &Value) {
    let view = rig.ledger();
    for (input, expect) in list(&vector["blocks"]).iter().zip(list(&vector["expect"])) {
        let size = TreeSize::new(number(&expect["size"]));
        assert_eq!(view.root_at(size).unwrap(), Some(hash(&expect["log_root"])));
        let commit = view.commit_leaf(size).unwrap().unwrap();
        assert_eq!(commit.encode().to_vec(), bytes(&expect["commit"]["leaf"]));
        assert_eq!(view.checkpoint_up_to(size).unwrap(), Some(size));
        for (tx, expect) in list(&input["txs"]).iter().zip(list(&expect["transactions"])) {
            let index = LogIndex::new(number(&expect["index"]));
            let record = view.record(index).unwrap().unwrap();
            assert_eq!(record.leaf, bytes(&expect["leaf"]));
            assert_eq!(leaf_hash(&record.leaf), hash(&expect["leaf_hash"]));
            assert_eq!(record.operations, list(&expect["ops"]).iter().map(bytes).collect::<Vec<_>>());
            assert_eq!(view.checkpoint_with(index).unwrap(), Some(size));
            let contents = view.contents(index).unwrap().unwrap();
            for ((op, encoded), content) in
                list(&tx["ops"]).iter().zip(&record.operations).zip(&contents.operations)
            {
                check_content(op, encoded, content);
            }
        }
    }
}

fn check_content(op: &Value, encoded: &[u8], content: &StoredContent) {
    match content {
        StoredContent::Present(content) => {
            assert_eq!(content.value, bytes(&op["value"]));
            let salt = content.salt.as_ref().try_into().unwrap();
            let digest = value_digest(salt, &content.attributes, &content.value);
            assert_eq!(&encoded[29..61], digest.as_bytes());
        }
        StoredContent::Erased { .. } => assert_eq!(op["kind"], "put"),
        StoredContent::Nothing => assert_ne!(op["kind"], "put"),
    }
}

fn check_proofs(rig: &Rig, vector: &Value) {
    let view = rig.ledger();
    for item in list(&vector["state_proofs"]) {
        let first = bytes(&item["first"]);
        let query = match text(&item["kind"]) {
            "key" => Query::Key(first),
            "prefix" => Query::Prefix(first),
            _ => Query::Range { first, end: item["end"].as_str().map(|end| hex::decode(end).unwrap()) },
        };
        assert_eq!(view.state_proof(&query).unwrap(), bytes(&item["proof"]), "{query:?}");
    }
    let log = &vector["log_tree"];
    let size = TreeSize::new(number(&log["size"]));
    let root = hash(&log["root"]);
    for item in list(&log["inclusion"]) {
        let index = LogIndex::new(number(&item["index"]));
        let path = view.inclusion_path(index, size).unwrap().unwrap();
        assert_eq!(path, hashes(&item["path"]));
        let leaf = leaf_hash(&view.leaf(index).unwrap().unwrap());
        inclusion::verify(&leaf, index, size, &path, &root).unwrap();
    }
    for item in list(&log["consistency"]) {
        let old = TreeSize::new(number(&item["old_size"]));
        let path = view.consistency_path(old, size).unwrap().unwrap();
        assert_eq!(path, hashes(&item["path"]));
        consistency::verify(old, &hash(&item["old_root"]), size, &root, &path).unwrap();
    }
}

#[test]
fn the_golden_vectors_are_reproduced_from_disk_with_and_without_crashes() {
    for vector in VECTORS {
        let vector: Value = serde_json::from_str(vector).unwrap();
        for crashes in [false, true] {
            let mut rig = replay(&vector, crashes);
            for reopened in [false, true] {
                if reopened {
                    rig.close();
                    rig.open();
                }
                assert!(rig.view().ledger(&default()).is_some());
                assert_eq!(rig.ledger().head().state_root, hash(&vector["final_state_root"]));
                check_blocks(&rig, &vector);
                check_proofs(&rig, &vector);
                scrub(&rig.view()).unwrap();
            }
        }
    }
}
