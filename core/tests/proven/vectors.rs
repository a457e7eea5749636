//! The published vectors: receipts read, verify, print as the same bytes; notes of each size agree.

use quorate_core::agreement::{Advance, Comparison, advance, compare};
use quorate_core::answer::{Absent, Reading};
use quorate_core::hash::{Hash, sha256};
use quorate_core::key::VerifierKey;
use quorate_core::policy::Policy;
use quorate_core::position::TreeSize;
use quorate_core::receipt::{NamedBy, Receipt, VerifiedReceipt};
use quorate_core::tree::{MemoryTree, consistency_path};
use serde_json::Value;

const VECTORS: [&str; 3] = [
    include_str!("../vectors/ledger-1.json"),
    include_str!("../vectors/ledger-2.json"),
    include_str!("../vectors/ledger-3.json"),
];

fn vectors() -> impl Iterator<Item = Value> {
    VECTORS.iter().map(|text| serde_json::from_str(text).unwrap())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn policy(vector: &Value) -> Policy {
    let key = |value: &Value| VerifierKey::parse(text(&value["vkey"])).unwrap();
    let cosigners: Vec<VerifierKey> = vector["cosigners"].as_array().unwrap().iter().map(key).collect();
    Policy::k_of_n(&key(&vector["log_key"]), &cosigners, cosigners.len()).unwrap()
}

#[test]
fn receipts_of_transactions_verify_and_print_the_same() {
    for vector in vectors() {
        let file = text(&vector["receipt"]);
        let receipt = Receipt::parse(file).unwrap();
        assert_eq!(receipt.to_string(), file);
        let verified = receipt.verify(&policy(&vector)).unwrap();
        let VerifiedReceipt::Transaction(receipt) = &verified else { panic!("{verified:?}") };
        let transaction = receipt.transaction();
        assert!(transaction.is_complete());
        let author = receipt.author().unwrap();
        let blocks = vector["blocks"].as_array().unwrap();
        let expect = vector["expect"].as_array().unwrap();
        let places = blocks.iter().zip(expect).flat_map(|(block, expect)| {
            let sent = block["txs"].as_array().unwrap().iter();
            sent.zip(expect["transactions"].as_array().unwrap())
        });
        let (sent, _) = places.into_iter().find(|(_, at)| at["index"] == transaction.index().get()).unwrap();
        assert_eq!(author, text(&sent["author"]));
        for (shown, sent) in transaction.operations().iter().zip(sent["ops"].as_array().unwrap()) {
            assert_eq!(hex::encode(&shown.operation().key), text(&sent["key"]));
            let Some(contents) = shown.contents() else {
                assert!(!shown.operation().kind.is_write() || text(&sent["kind"]) == "delete");
                continue;
            };
            assert_eq!(hex::encode(&contents.value), text(&sent["value"]));
            let found = verified.artifact(&sha256(&[&contents.value])).unwrap();
            assert_eq!(found.named_by, NamedBy::Value);
        }
        assert_eq!(verified.artifact(&Hash::ZERO), None);
    }
}

#[test]
fn receipts_of_absence_verify_for_their_key_and_no_other() {
    for vector in vectors() {
        let file = text(&vector["absence_receipt"]["file"]);
        let key = hex::decode(text(&vector["absence_receipt"]["key"])).unwrap();
        let receipt = Receipt::parse(file).unwrap();
        assert_eq!(receipt.to_string(), file);
        let verified = receipt.verify(&policy(&vector)).unwrap();
        let VerifiedReceipt::State(receipt) = verified else { panic!("{verified:?}") };
        assert!(matches!(receipt.get(&key).unwrap(), Reading::Absent(Absent::NeverWritten { .. })));
        assert!(receipt.readings().is_empty());
        assert_eq!(receipt.state().commit().state_root.to_string(), text(&vector["final_state_root"]));
        let other = vector["state_proofs"].as_array().unwrap().iter().rfind(|proof| {
            let result = proof["result"].as_array().unwrap();
            proof["kind"] == "key"
                && result.len() == 1
                && receipt.get(&hex::decode(text(&proof["first"])).unwrap()).is_err()
        });
        assert!(other.is_some());
    }
}

#[test]
fn a_receipt_does_not_verify_with_the_policy_of_another_ledger() {
    let all: Vec<Value> = vectors().collect();
    for (number, vector) in all.iter().enumerate() {
        let other = policy(&all[(number + 1) % all.len()]);
        for file in [text(&vector["receipt"]), text(&vector["absence_receipt"]["file"])] {
            assert!(Receipt::parse(file).unwrap().verify(&other).is_err());
        }
    }
}

#[test]
fn every_flipped_bit_of_a_receipt_is_refused() {
    for vector in vectors() {
        let policy = policy(&vector);
        for file in [text(&vector["receipt"]), text(&vector["absence_receipt"]["file"])] {
            for place in 0..file.len() * 8 {
                let mut bytes = file.as_bytes().to_vec();
                bytes[place / 8] ^= 1 << (place % 8);
                let Ok(flipped) = String::from_utf8(bytes) else {
                    continue;
                };
                let verified = Receipt::parse(&flipped).and_then(|receipt| receipt.verify(&policy));
                assert!(verified.is_err(), "bit {place}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_the_extra_data_is_refused() {
    use base64::Engine as _;
    let standard = base64::engine::general_purpose::STANDARD;
    for vector in vectors() {
        let policy = policy(&vector);
        for file in [text(&vector["receipt"]), text(&vector["absence_receipt"]["file"])] {
            let extra = file.lines().nth(1).unwrap().strip_prefix("extra ").unwrap();
            let bytes = standard.decode(extra).unwrap();
            for place in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[place / 8] ^= 1 << (place % 8);
                let flipped = file.replacen(extra, &standard.encode(flipped), 1);
                let verified = Receipt::parse(&flipped).and_then(|receipt| receipt.verify(&policy));
                assert!(verified.is_err(), "bit {place}");
            }
        }
    }
}

#[test]
fn checkpoints_of_one_ledger_follow_each_other() {
    for vector in vectors() {
        let policy = policy(&vector);
        let mut tree = MemoryTree::new();
        let mut before = None;
        for block in vector["expect"].as_array().unwrap() {
            let leaves = block["transactions"].as_array().unwrap().iter().chain([&block["commit"]]);
            leaves.for_each(|leaf| {
                tree.append(&hex::decode(text(&leaf["leaf"])).unwrap());
            });
            let certified = policy.open(text(&block["checkpoint_note"])).unwrap();
            assert_eq!(compare(certified.opened(), certified.opened()), Ok(Comparison::Agreed));
            if let Some(trusted) = before.replace(certified.clone()) {
                let (old, new) = (trusted.checkpoint().size, certified.checkpoint().size);
                let path = consistency_path(&tree, old, new).unwrap();
                let keys = policy.keys();
                assert_eq!(advance(trusted.note(), &certified, &path, keys), Ok(Advance::Forward));
                assert_eq!(advance(certified.note(), &trusted, &path, keys), Ok(Advance::Stale));
                assert_eq!(advance(certified.note(), &certified, &[], keys), Ok(Advance::Same));
                assert!(advance(trusted.note(), &certified, &path[1..], keys).is_err());
            }
        }
        assert_eq!(tree.size(), TreeSize::new(vector["log_tree"]["size"].as_u64().unwrap()));
    }
}
