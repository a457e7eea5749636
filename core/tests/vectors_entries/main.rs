//! The golden ledgers, replayed: from nothing but `blocks` and the keys, every leaf, operation, root, block hash,
//! signature, checkpoint and note of `expect`, bit for bit.
#![expect(clippy::unwrap_used, reason = "tests")]

mod model;
mod replay;
mod vectors;

use quorate_core::block::{BlockKey, BlockPublicKey, VerifiedBlock, block_hash};
use quorate_core::checkpoint::Checkpoint;
use quorate_core::entry::{Leaf, Operation};
use quorate_core::hash::Hash;
use quorate_core::key::{CosignerKey, LogKey, VerifierKey};
use quorate_core::name::{ClusterId, ClusterOrigin, LedgerName, Origin};
use quorate_core::note::SignedNote;
use quorate_core::policy::Policy;
use quorate_core::position::{BlockHeight, NodeId, Term, TreeSize};
use replay::{Done, Ledger};
use serde_json::Value;
use vectors::{Block, Tx, all, blocks, bytes, seed, text};

/// A ledger after each of its blocks.
fn replay(vector: &Value) -> Vec<Done> {
    let mut ledger = Ledger::default();
    blocks(vector).iter().map(|block| ledger.apply(block)).collect()
}

#[test]
fn every_leaf_operation_and_root_is_reproduced() {
    for vector in all() {
        let expect = vector["expect"].as_array().unwrap();
        let done = replay(&vector);
        assert_eq!(done.len(), expect.len());
        for (done, expect) in done.iter().zip(expect) {
            assert_eq!(done.size, expect["size"]);
            assert_eq!(done.log_root.to_string(), expect["log_root"]);
            let commit = done.commit.as_ref().unwrap();
            check_leaf(commit, &expect["commit"]);
            assert_eq!(done.state_root.to_string(), expect["commit"]["state_root"]);
            let transactions = expect["transactions"].as_array().unwrap();
            assert_eq!(done.transactions.len(), transactions.len());
            for (transaction, expect) in done.transactions.iter().zip(transactions) {
                check_leaf(&transaction.leaf, expect);
                assert_eq!(transaction.ops_root.to_string(), expect["ops_root"]);
                let ops: Vec<String> = transaction.ops.iter().map(hex::encode).collect();
                assert_eq!(Value::from(ops), expect["ops"]);
            }
        }
        assert_eq!(done.last().unwrap().state_root.to_string(), vector["final_state_root"]);
    }
}

fn check_leaf(leaf: &replay::PlacedLeaf, expect: &Value) {
    assert_eq!(leaf.index, expect["index"]);
    assert_eq!(hex::encode(&leaf.bytes), expect["leaf"]);
    assert_eq!(leaf.hash.to_string(), expect["leaf_hash"]);
}

#[test]
fn what_is_in_the_vectors_decodes_and_encodes_to_itself() {
    for done in all().iter().flat_map(replay) {
        for transaction in &done.transactions {
            assert!(matches!(Leaf::decode(&transaction.leaf.bytes), Ok(Leaf::Transaction(_))));
            for op in &transaction.ops {
                assert_eq!(Operation::decode(op).unwrap().encode(), *op);
            }
        }
        let commit = done.commit.unwrap();
        let Ok(Leaf::Commit(leaf)) = Leaf::decode(&commit.bytes) else { panic!("a commit leaf") };
        assert_eq!(leaf.index().unwrap().get(), commit.index);
    }
}

#[test]
fn requests_that_are_refused_leave_nothing() {
    for vector in all() {
        let mut ledger = Ledger::default();
        let expect = vector["expect"].as_array().unwrap();
        for (number, (block, expect)) in blocks(&vector).iter().zip(expect).enumerate() {
            let mut block = block.clone();
            let refused = refused_requests(&vector, number, block.time);
            block.txs.extend(refused.iter().cloned());
            let done = ledger.apply(&block);
            assert_eq!(done.log_root.to_string(), expect["log_root"], "block {number}");
            assert_eq!(done.refused, refused.len(), "block {number}");
        }
        // A block of nothing but these adds no leaf at all: the ledger is idle.
        let mut idle = blocks(&vector).last().unwrap().clone();
        idle.txs = refused_requests(&vector, expect.len(), idle.time);
        let done = ledger.apply(&idle);
        let last = expect.last().unwrap();
        assert_eq!((done.commit, done.size), (None, last["size"].as_u64().unwrap()));
        assert_eq!(done.log_root.to_string(), last["log_root"]);
    }
}

/// Requests for which a ledger has nothing to do in this block: the first one repeated, a delete of a key never
/// written, a key twice, an erase of a revision that is none, and one that comes too late.
fn refused_requests(vector: &Value, block: usize, time: u64) -> Vec<Tx> {
    let model = blocks(vector)[1].txs[0].clone();
    let op = |kind: &str, revision| vectors::Op {
        kind: kind.to_owned(),
        key: b"never written".to_vec(),
        revision,
        ..model.ops[0].clone()
    };
    let tx = |name: &str, ops: Vec<vectors::Op>| Tx {
        idempotency_key: format!("{name} {block}").into_bytes(),
        not_after: time + 60_000_000,
        ops,
        ..model.clone()
    };
    let too_late = Tx { not_after: time.saturating_sub(1_000_000), ..tx("late", vec![op("put", 0)]) };
    let mut refused = vec![
        tx("delete", vec![op("delete", 0)]),
        tx("twice", vec![op("put", 0), op("put", 0)]),
        tx("erase", vec![op("erase", 1)]),
        tx("nothing", vec![]),
        too_late,
    ];
    if block > 0 {
        refused.push(model);
    }
    refused
}

#[test]
fn keys_and_names_are_derived() {
    for vector in all() {
        let cluster = ClusterId::from_hex(text(&vector["cluster_id"])).unwrap();
        let origin = Origin::parse(text(&vector["origin"])).unwrap();
        let cluster_origin = ClusterOrigin::new(origin.cluster().name(), &cluster).unwrap();
        assert_eq!(cluster_origin.ledger(&LedgerName::new("default").unwrap()), origin);
        let log = LogKey::derive(&seed(&vector["log_secret"]), &origin);
        assert_eq!(log.verifier().to_string(), vector["log_key"]["vkey"]);
        for (id, cosigner) in (1..).zip(vector["cosigners"].as_array().unwrap()) {
            let name = cluster_origin.node(NodeId::new(id));
            assert_eq!(name, cosigner["name"]);
            let key = CosignerKey::from_seed(&name, &seed(&cosigner["seed"])).unwrap();
            assert_eq!(key.verifier().to_string(), cosigner["vkey"]);
            assert_eq!(VerifierKey::parse(text(&cosigner["vkey"])).unwrap(), *key.verifier());
        }
        let block_key = BlockKey::from_seed(&seed(&vector["block_key"]["seed"]));
        assert_eq!(block_key.public().to_string(), vector["block_key"]["public"]);
        let public = BlockPublicKey::try_from(&bytes(&vector["block_key"]["public"])[..]).unwrap();
        assert_eq!(public, block_key.public());
    }
}

#[test]
fn every_checkpoint_and_note_is_reproduced_and_believed() {
    for vector in all() {
        let origin = Origin::parse(text(&vector["origin"])).unwrap();
        let log = LogKey::derive(&seed(&vector["log_secret"]), &origin);
        let cosigners: Vec<CosignerKey> =
            vector["cosigners"].as_array().unwrap().iter().map(cosigner).collect();
        let vkeys: Vec<VerifierKey> = cosigners.iter().map(|key| key.verifier().clone()).collect();
        let policy = Policy::k_of_n(log.verifier(), &vkeys, vkeys.len()).unwrap();
        let expect = vector["expect"].as_array().unwrap();
        for ((done, block), expect) in replay(&vector).iter().zip(blocks(&vector)).zip(expect) {
            let checkpoint = Checkpoint {
                origin: origin.to_string(),
                size: TreeSize::new(done.size),
                root: done.log_root,
            };
            assert_eq!(checkpoint.body(), expect["checkpoint_body"]);
            let mut note = SignedNote::new(checkpoint.clone());
            // In any order: the note puts its lines where they belong.
            for key in cosigners.iter().rev() {
                note.add(key.cosign(&checkpoint, block.cosign_time).unwrap().to_line());
            }
            note.add(log.sign(&checkpoint));
            assert_eq!(note.to_string(), expect["checkpoint_note"]);
            let believed = policy.open(text(&expect["checkpoint_note"])).unwrap();
            assert_eq!(*believed.checkpoint(), checkpoint);
            assert_eq!(believed.kth_newest_time(), Some(block.cosign_time));
            assert_eq!(believed.signers().len(), cosigners.len() + 1);
        }
    }
}

fn cosigner(vector: &Value) -> CosignerKey {
    CosignerKey::from_seed(text(&vector["name"]), &seed(&vector["seed"])).unwrap()
}

#[test]
fn every_block_is_hashed_chained_and_signed_the_same() {
    for vector in all() {
        let cluster = ClusterId::from_hex(text(&vector["cluster_id"])).unwrap();
        let key = BlockKey::from_seed(&seed(&vector["block_key"]["seed"]));
        let mut before: Option<VerifiedBlock> = None;
        for (height, expect) in (0..).zip(vector["expect"].as_array().unwrap()) {
            let expect = &expect["signed_block"];
            let body = format!("body {height}").into_bytes();
            assert_eq!(hex::encode(&body), expect["body"]);
            let (term, height) = (Term::new(expect["term"].as_u64().unwrap()), BlockHeight::new(height));
            let previous = before.map_or(Hash::ZERO, |block| *block.hash());
            assert_eq!(previous.to_string(), expect["previous"]);
            let header = quorate_core::block::BlockHeader {
                cluster,
                term,
                height,
                previous,
                body_hash: quorate_core::hash::sha256(&[&body]),
            };
            let signed = key.sign(header);
            assert_eq!(hex::encode(signed.signature), expect["signature"]);
            let block = signed.verify(&key.public()).unwrap();
            assert_eq!(block.hash().to_string(), expect["block_hash"]);
            assert_eq!(*block.hash(), block_hash(&cluster, term, height, &previous, &body));
            assert_eq!(block.check_body(&body), Ok(()));
            let last = before.map(|block| (block.header().height, *block.hash()));
            assert_eq!(block.check_follows(last), Ok(()));
            before = Some(block);
        }
    }
}

#[test]
fn the_replay_notices_a_changed_block() {
    let vector = &all()[0];
    let expect = vector["expect"].as_array().unwrap().last().unwrap();
    let change: [fn(&mut Block); 5] = [
        |block| block.epoch += 1,
        |block| block.time += 1_000_000,
        |block| block.txs[0].meta_salt[0] ^= 1,
        |block| block.txs[0].idempotency_key[0] ^= 1,
        |block| block.txs[0].ops[0].key[0] ^= 1,
    ];
    for change in change {
        let mut ledger = Ledger::default();
        let mut blocks = blocks(vector);
        change(&mut blocks[1]);
        let last = blocks.iter().map(|block| ledger.apply(block)).last().unwrap();
        assert_ne!(last.log_root.to_string(), expect["log_root"]);
    }
}
