//! The golden vectors: blocks in; every leaf, operation, root, outcome and state proof out, bit for bit.

use prost::bytes::Bytes;
use quorate_core::{
    entry::value_digest,
    hash::{Hash, leaf_hash},
    name::{ClusterId, ClusterOrigin},
    position::{Epoch, LogIndex, TreeSize},
    state_tree::{Query, prove, verify},
};
use quorate_ledger::{
    block::{Put, Request, Write},
    effects::LedgerEffects,
    outcome::{Committed, RequestOutcome},
    view::LedgerId,
};
use serde_json::Value;

use super::support::replica::{Replica, birth, block, genesis};

const VECTORS: [&str; 3] = [
    include_str!("../../../../core/tests/vectors/ledger-1.json"),
    include_str!("../../../../core/tests/vectors/ledger-2.json"),
    include_str!("../../../../core/tests/vectors/ledger-3.json"),
];

/// `default`, the ledger of the vectors.
const LEDGER: LedgerId = LedgerId(1);

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

fn all_bytes(value: &Value) -> Vec<Vec<u8>> {
    value.as_array().unwrap().iter().map(bytes).collect()
}

fn hash(value: &Value) -> Hash {
    Hash::from_hex(text(value)).unwrap()
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
    match text(&op["kind"]) {
        "put" => Write { key: field("key"), put: Some(put()), erase: None },
        "delete" => Write { key: field("key"), put: None, erase: None },
        "erase" => Write { key: field("key"), put: None, erase: Some(number(&op["revision"])) },
        other => panic!("unknown kind of operation: {other}"),
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
        writes: tx["ops"].as_array().unwrap().iter().map(write).collect(),
    }
}

/// A cluster in which the next block gives birth to the ledger of the vectors.
fn founded(ledger: &Value, cache_bytes: usize) -> (Replica, ClusterOrigin) {
    let origin = text(&ledger["origin"]).strip_suffix("/default").unwrap();
    let origin: ClusterOrigin = origin.parse().unwrap();
    let (name, _) = origin.as_str().rsplit_once('/').unwrap();
    let id = ClusterId::from_hex(text(&ledger["cluster_id"])).unwrap();
    let mut replica = Replica::empty(cache_bytes);
    replica.apply(&genesis(name, &id, number(&ledger["blocks"][0]["time"])));
    (replica, origin)
}

fn check_block(effects: &LedgerEffects, outcomes: &[RequestOutcome], expect: &Value) {
    let transactions = expect["transactions"].as_array().unwrap();
    assert_eq!(effects.transactions.len(), transactions.len());
    assert_eq!(effects.transactions.len() + 1, effects.leaf_hashes.len());
    for (number_in_block, tx) in transactions.iter().enumerate() {
        let index = LogIndex::new(number(&tx["index"]));
        let record = &effects.transactions[number_in_block];
        assert_eq!(effects.first_index.checked_add(number_in_block as u64), Some(index));
        assert_eq!(record.leaf, bytes(&tx["leaf"]));
        assert_eq!(record.operations, all_bytes(&tx["ops"]));
        assert_eq!(effects.leaf_hashes[number_in_block], hash(&tx["leaf_hash"]));
        let committed = Committed {
            index,
            leaf: bytes(&tx["leaf"]),
            operations: all_bytes(&tx["ops"]).into_iter().map(Bytes::from).collect(),
            size: TreeSize::new(number(&expect["size"])),
        };
        assert_eq!(outcomes[number_in_block], RequestOutcome::Committed(committed));
    }
    assert_eq!(effects.commit_leaf, bytes(&expect["commit"]["leaf"]));
    assert_eq!(leaf_hash(&effects.commit_leaf), hash(&expect["commit"]["leaf_hash"]));
    assert_eq!(effects.head.state_root, hash(&expect["commit"]["state_root"]));
    assert_eq!(effects.head.frontier.size().get(), number(&expect["size"]));
    assert_eq!(effects.head.frontier.root(), hash(&expect["log_root"]));
}

/// Applies all blocks of a vector and checks all that they do.
fn replay(ledger: &Value, cache_bytes: usize, restart: bool) -> Replica {
    let (mut replica, origin) = founded(ledger, cache_bytes);
    let blocks = ledger["blocks"].as_array().unwrap().iter().zip(ledger["expect"].as_array().unwrap());
    for (number_of_block, (input, expect)) in blocks.enumerate() {
        let mut requests: Vec<_> = input["txs"].as_array().unwrap().iter().map(request).collect();
        if number_of_block == 0 {
            requests.push(birth(&origin, "default"));
        }
        replica.store.cluster.epoch = Epoch::new(number(&input["epoch"]));
        let effects = replica.apply(&block(number(&input["time"]), requests));
        let default = effects.ledgers.iter().find(|ledger| ledger.id() == LEDGER).unwrap();
        assert_eq!(default.born, number_of_block == 0);
        check_block(default, &effects.outcome.requests, expect);
        let made = effects.outcome.checkpoints.iter().find(|made| made.ledger.as_str() == "default").unwrap();
        assert_eq!((made.size, made.root), (default.head.frontier.size(), default.head.frontier.root()));
        if restart {
            replica.restart();
        }
    }
    replica
}

fn ledgers() -> impl Iterator<Item = Value> {
    VECTORS.into_iter().map(|vector| serde_json::from_str(vector).unwrap())
}

#[test]
fn every_leaf_operation_root_and_outcome_is_reproduced() {
    for ledger in ledgers() {
        for (cache_bytes, restart) in [(1 << 20, false), (0, false), (1 << 20, true), (0, true)] {
            let replica = replay(&ledger, cache_bytes, restart);
            assert_eq!(replica.snapshot("default").root(), hash(&ledger["final_state_root"]));
        }
    }
}

#[test]
fn every_state_proof_is_reproduced_and_verifies() {
    for ledger in ledgers() {
        let replica = replay(&ledger, 0, true);
        let trie = replica.snapshot("default");
        for item in ledger["state_proofs"].as_array().unwrap() {
            let first = bytes(&item["first"]);
            let query = match text(&item["kind"]) {
                "key" => Query::Key(first),
                "prefix" => Query::Prefix(first),
                _ => Query::Range { first, end: item["end"].as_str().map(|end| hex::decode(end).unwrap()) },
            };
            let proof = prove(&trie.walk(&replica.store), &query).unwrap();
            assert_eq!(proof, bytes(&item["proof"]), "{query:?}");
            let answer = verify(&trie.root(), &query, &proof).unwrap();
            assert_eq!(answer.leaves().len(), item["result"].as_array().unwrap().len());
        }
    }
}

#[test]
fn a_request_asked_again_is_answered_with_its_first_index_and_adds_nothing() {
    for ledger in ledgers() {
        let mut replica = replay(&ledger, 1 << 20, false);
        let size = replica.head("default").frontier.size();
        let txs =
            ledger["blocks"].as_array().unwrap().iter().flat_map(|block| block["txs"].as_array().unwrap());
        let requests: Vec<_> = txs.map(request).collect();
        let time = replica.head("default").time.get();
        let effects = replica.apply(&block(time, requests));
        let indexes = ledger["expect"].as_array().unwrap().iter();
        let indexes = indexes.flat_map(|block| block["transactions"].as_array().unwrap());
        let indexes = indexes.map(|tx| LogIndex::new(number(&tx["index"])));
        let known: Vec<_> = indexes.map(|index| RequestOutcome::Known { index }).collect();
        assert_eq!(effects.outcome.requests, known);
        assert!(effects.ledgers.is_empty());
        assert_eq!(replica.head("default").frontier.size(), size);
    }
}

#[test]
fn what_is_stored_apart_has_the_digests_of_the_leaves_until_it_is_erased() {
    for ledger in ledgers() {
        let replica = replay(&ledger, 1 << 20, false);
        let mut erased = 0;
        for (input, expect) in
            ledger["blocks"].as_array().unwrap().iter().zip(ledger["expect"].as_array().unwrap())
        {
            for (tx, expect) in
                input["txs"].as_array().unwrap().iter().zip(expect["transactions"].as_array().unwrap())
            {
                let index = LogIndex::new(number(&expect["index"]));
                for (op, encoded) in tx["ops"].as_array().unwrap().iter().zip(all_bytes(&expect["ops"])) {
                    let key = Bytes::from(bytes(&op["key"]));
                    let Some(content) = replica.store.contents.get(&(LEDGER, index, key)) else {
                        erased += u32::from(op["kind"] == "put");
                        continue;
                    };
                    let salt = (&*content.salt).try_into().unwrap();
                    let digest = value_digest(salt, &content.attributes, &content.value);
                    assert_eq!(&encoded[29..61], digest.as_bytes());
                }
            }
        }
        assert!(erased > 0, "the vectors erase something");
    }
}
