//! The state tree against the golden vectors, against an independent model, and against forged proofs.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "state_tree/buckets.rs"]
mod buckets;
#[path = "state_tree/naive.rs"]
mod naive;
#[path = "state_tree/properties.rs"]
mod properties;

use naive::{Leaf, Naive, Shown, leaf_of, op_for};
use quorate_core::entry::{EntryError, OpKind, Operation, value_digest};
use quorate_core::hash::{Hash, sha256};
use quorate_core::position::LogIndex;
use quorate_core::state_tree::{
    CritTree, MemoryStateTree, OutsideQuery, Query, StateLeaf, StateProofError, StateTip, StateTreeError,
    VerifiedAnswer, branch_hash, first_difference, leaf_hash, root_of_sorted, verify,
};
use serde_json::Value;

const VECTORS: [&str; 3] = [
    include_str!("vectors/ledger-1.json"),
    include_str!("vectors/ledger-2.json"),
    include_str!("vectors/ledger-3.json"),
];

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn hash(value: &Value) -> Hash {
    Hash::from_hex(value.as_str().unwrap()).unwrap()
}

fn query(item: &Value) -> Query {
    let first = bytes(&item["first"]);
    match item["kind"].as_str().unwrap() {
        "key" => Query::Key(first),
        "prefix" => Query::Prefix(first),
        "range" => Query::Range { first, end: item["end"].is_string().then(|| bytes(&item["end"])) },
        other => panic!("unknown kind of query: {other}"),
    }
}

/// The ledger's state after its last block; checks the state root of every block on the way.
fn replay(ledger: &Value) -> MemoryStateTree {
    let mut tree = MemoryStateTree::new();
    for block in ledger["expect"].as_array().unwrap() {
        for tx in block["transactions"].as_array().unwrap() {
            let index = LogIndex::new(tx["index"].as_u64().unwrap());
            for op in tx["ops"].as_array().unwrap().iter().map(bytes) {
                if Operation::decode(&op).unwrap().kind.is_write() {
                    tree.insert(index, op).unwrap();
                }
            }
        }
        assert_eq!(tree.root(), hash(&block["commit"]["state_root"]));
    }
    tree
}

fn shown(answer: &VerifiedAnswer) -> Vec<(u64, Vec<u8>)> {
    answer.leaves().iter().map(|leaf| (leaf.index().get(), leaf.op().encode())).collect()
}

#[test]
fn roots_and_proofs_of_the_vectors_are_reproduced_and_verify() {
    for text in VECTORS {
        let ledger: Value = serde_json::from_str(text).unwrap();
        let tree = replay(&ledger);
        let root = hash(&ledger["final_state_root"]);
        assert_eq!(tree.root(), root);
        let streamed = root_of_sorted(tree.leaves().map(|leaf| (leaf.key(), leaf.hash()))).unwrap();
        assert_eq!(streamed, root);
        for item in ledger["state_proofs"].as_array().unwrap() {
            let (query, proof) = (query(item), bytes(&item["proof"]));
            assert_eq!(hex::encode(tree.prove(&query)), hex::encode(&proof), "{query:?}");
            let answer = verify(&root, &query, &proof).unwrap();
            let result = item["result"].as_array().unwrap().iter();
            let expected: Vec<_> =
                result.map(|leaf| (leaf["index"].as_u64().unwrap(), bytes(&leaf["op"]))).collect();
            assert_eq!(shown(&answer), expected);
            assert_eq!(answer.root(), &root);
            assert_eq!(answer.query(), &query);
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_the_vectors_proofs_is_refused() {
    let ledger: Value = serde_json::from_str(VECTORS[0]).unwrap();
    let root = hash(&ledger["final_state_root"]);
    for item in ledger["state_proofs"].as_array().unwrap() {
        let (query, proof) = (query(item), bytes(&item["proof"]));
        let mut forged = proof.clone();
        for bit in 0..proof.len() * 8 {
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&root, &query, &forged).is_err(), "bit {bit} of {query:?}");
            forged[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..proof.len() {
            assert!(verify(&root, &query, &proof[..len]).is_err());
        }
        forged.push(1);
        let refused = verify(&root, &query, &forged).unwrap_err();
        assert_eq!(refused, StateProofError::TrailingBytes { at: proof.len(), extra: 1 });
        assert!(verify(&Hash::ZERO, &query, &proof).is_err());
    }
}

/// The 1,024 nested keys of the vectors: 'a', 'aa', 'aaa' and so on.
fn nested() -> Vec<StateLeaf> {
    let leaf = |n: usize| {
        let mut op = Operation::decode(&op_for(&vec![b'a'; n + 1], 1)).unwrap();
        op.value_len = 0;
        op.value_digest = value_digest(&[0; 16], b"", b"");
        StateLeaf::new(LogIndex::new(n as u64), op.encode()).unwrap()
    };
    (0..1024).map(leaf).collect()
}

#[test]
fn the_deep_tree_of_the_vectors_is_reproduced_and_verifies() {
    let ledger: Value = serde_json::from_str(VECTORS[2]).unwrap();
    let deep = &ledger["deep"];
    let tree = MemoryStateTree::from_sorted(nested()).unwrap();
    assert_eq!(tree.root(), hash(&deep["root"]));
    let mut grown = MemoryStateTree::new();
    for leaf in nested().into_iter().rev() {
        grown.insert(leaf.index(), leaf.into_op()).unwrap();
    }
    assert_eq!(grown.root(), tree.root());
    let query = Query::Key(vec![b'a'; 1024]);
    let proof = tree.prove(&query);
    assert_eq!(proof.len() as u64, deep["proof_of_longest_key_length"].as_u64().unwrap());
    assert_eq!(sha256(&[&proof]), hash(&deep["proof_of_longest_key_sha256"]));
    assert_eq!(grown.prove(&query), proof);
    assert_eq!(verify(&tree.root(), &query, &proof).unwrap().leaves().len(), 1);
    let everything = tree.prove(&Query::everything());
    let answer = verify(&tree.root(), &Query::everything(), &everything).unwrap();
    assert_eq!(answer.leaves().len(), 1024);
    let other_way = Query::Range { first: vec![b'a'; 500], end: Some(vec![b'a'; 510]) };
    let answer = verify(&tree.root(), &other_way, &tree.prove(&other_way)).unwrap();
    assert_eq!(answer.leaves().len(), 10);
}

#[test]
fn nesting_beyond_any_key_is_refused_without_recursion() {
    let mut proof = Vec::new();
    for d in 0..=u16::MAX {
        proof.extend([3, d.to_be_bytes()[0], d.to_be_bytes()[1]]);
    }
    let refused = verify(&Hash::ZERO, &Query::everything(), &proof).unwrap_err();
    assert!(matches!(refused, StateProofError::Depth { depth: 9217, .. }), "{refused}");
    let same: Vec<u8> = [3, 0, 5].repeat(100_000);
    let refused = verify(&Hash::ZERO, &Query::everything(), &same).unwrap_err();
    assert!(matches!(refused, StateProofError::Depth { depth: 5, least: 6, .. }), "{refused}");
}

#[test]
fn an_empty_tree_proves_that_nothing_is_there() {
    let tree = MemoryStateTree::new();
    assert_eq!(tree.root(), Hash::ZERO);
    for query in [Query::everything(), Query::Key(b"k".to_vec())] {
        assert_eq!(tree.prove(&query), [0]);
        assert!(verify(&Hash::ZERO, &query, &[0]).unwrap().leaves().is_empty());
        assert!(verify(&Hash::ZERO, &query, &[0, 0]).is_err());
        assert!(verify(&Hash::ZERO, &query, &[]).is_err());
        assert!(verify(&Hash::new([1; 32]), &query, &[0]).is_err());
        assert!(verify(&Hash::ZERO, &query, &[[1].as_slice(), &[0; 32]].concat()).is_err());
    }
}

/// A proof of one leaf, and its root.
fn single(op: &[u8]) -> (Hash, Vec<u8>) {
    let tree = Naive::new([(op[63..].to_vec(), leaf_of(7, op))]);
    (tree.root(), tree.prove(&Query::everything()))
}

#[test]
fn leaves_that_are_no_writes_are_refused_where_they_would_answer() {
    let outside = Query::Key(b"another".to_vec());
    let mut op = op_for(b"key", 1);
    let (root, proof) = single(&op);
    assert_eq!(verify(&root, &Query::everything(), &proof).unwrap().leaves().len(), 1);
    op[0] = 9;
    let (root, proof) = single(&op);
    let refused = verify(&root, &Query::everything(), &proof).unwrap_err();
    let source = EntryError::ReservedKind { kind: 9 };
    assert_eq!(refused, StateProofError::Operation { index: 7, source });
    assert!(verify(&root, &outside, &proof).unwrap().leaves().is_empty());
    let mut erase = Operation::decode(&op_for(b"key", 1)).unwrap();
    erase.kind = OpKind::Erase;
    (erase.value_len, erase.value_digest) = (0, Hash::ZERO);
    let (root, proof) = single(&erase.encode());
    let refused = verify(&root, &Query::everything(), &proof).unwrap_err();
    assert_eq!(refused, StateProofError::NotAWrite { index: 7 });
}

#[test]
fn operations_that_are_not_63_bytes_and_their_key_are_refused_everywhere() {
    let longer = [op_for(b"key", 1), vec![0]].concat();
    let mut keyless = op_for(b"k", 1);
    keyless.pop();
    keyless[62] = 0;
    let mut oversized = op_for(&[1; 1025], 1);
    oversized[61..63].copy_from_slice(&1025_u16.to_be_bytes());
    for op in [longer, keyless, oversized, vec![0; 62]] {
        assert!(StateLeaf::new(LogIndex::new(0), op.clone()).is_err());
        let tree = Naive::new([(b"key".to_vec(), leaf_of(0, &op))]);
        let refused = verify(&tree.root(), &Query::Key(b"q".to_vec()), &tree.prove(&Query::everything()));
        assert!(matches!(refused, Err(StateProofError::Leaf { .. })));
    }
}

#[test]
fn a_key_that_was_not_asked_for_is_neither_present_nor_absent() {
    let tree = Naive::of_keys([b"a".to_vec(), b"b".to_vec()]);
    let query = Query::Key(b"a".to_vec());
    let answer = verify(&tree.root(), &query, &tree.prove(&query)).unwrap();
    assert_eq!(answer.get(b"a").unwrap().unwrap().op().key, b"a");
    assert_eq!(answer.get(b"b"), Err(OutsideQuery));
    let range = Query::Range { first: b"a".to_vec(), end: Some(b"b".to_vec()) };
    let answer = verify(&tree.root(), &range, &tree.prove(&range)).unwrap();
    assert_eq!(answer.get(b"aa"), Ok(None));
}

/// Branches over leaves that do not part there, with the root they hash to: a lying replica whose root is signed
/// all the same still cannot show a tree that is none.
#[test]
fn trees_that_are_not_crit_bit_trees_are_refused_though_their_root_matches() {
    let leaf = |key: &[u8]| Shown::Leaf(leaf_of(1, &op_for(key, 1)));
    let hidden = || Box::new(Shown::Pruned(Hash::new([5; 32])));
    let check = |tree: Shown, query: Query| verify(&tree.hash(), &query, &tree.encode()).unwrap_err();
    let key = |key: &[u8]| Query::Key(key.to_vec());
    let branch = |d, left, right| Shown::Branch(d, Box::new(left), Box::new(right));
    // 'a' is 0x61, 'b' 0x62, 'c' 0x63: 'a' parts from the others at bit 7, 'b' from 'c' at bit 8.
    assert_eq!((first_difference(b"a", b"b"), first_difference(b"b", b"c")), (Some(7), Some(8)));
    let swapped = branch(7, leaf(b"b"), leaf(b"a"));
    assert_eq!(check(swapped, key(b"a")), StateProofError::WrongSide { depth: 7 });
    let too_deep = branch(8, leaf(b"b"), leaf(b"a"));
    assert_eq!(check(too_deep, key(b"a")), StateProofError::WrongBranch { depth: 8, difference: 7 });
    let beyond = branch(99, leaf(b"a"), *hidden());
    assert_eq!(check(beyond, key(b"a")), StateProofError::WrongSide { depth: 99 });
    let nothing = Shown::Branch(7, hidden(), hidden());
    assert_eq!(check(nothing, key(b"a")), StateProofError::NothingRevealed { depth: 7 });
    assert_eq!(check(*hidden(), key(b"a")), StateProofError::NothingShown);
    let hiding = Shown::Branch(8, Box::new(leaf(b"b")), hidden());
    assert_eq!(check(hiding, key(b"c")), StateProofError::Incomplete { depth: 8 });
    let rising = branch(8, branch(7, leaf(b"a"), leaf(b"b")), leaf(b"c"));
    assert!(matches!(check(rising, key(b"a")), StateProofError::Depth { depth: 7, least: 9, .. }));
    let empty_inside = [[3, 0, 7, 0].as_slice(), &leaf(b"b").encode()].concat();
    let refused = verify(&Hash::ZERO, &key(b"a"), &empty_inside).unwrap_err();
    assert_eq!(refused, StateProofError::Tag { tag: 0, at: 3 });
}

#[test]
fn unsorted_keys_are_refused_when_building() {
    let tip = |key: &[u8]| StateTip::new(StateLeaf::new(LogIndex::new(1), op_for(key, 1)).unwrap());
    for keys in [["b", "a"], ["a", "a"], ["ab", "a"]] {
        let tips = keys.map(|key| tip(key.as_bytes()));
        let refused = CritTree::from_sorted(tips).unwrap_err();
        assert_eq!(refused, StateTreeError::OutOfOrder { number: 1 });
    }
    let mut tree = CritTree::from_sorted([tip(b"a"), tip(b"b"), tip(b"c")]).unwrap();
    let before = tree.root_hash();
    let refused = tree.edit().replace(b"b", vec![tip(b"bb"), tip(b"ba")]);
    assert_eq!(refused, Err(StateTreeError::OutOfOrder { number: 1 }));
    let refused = tree.edit().replace(b"b", vec![tip(b"a1")]);
    assert_eq!(refused, Err(StateTreeError::OutsideRegion { bits: 9 }));
    assert_eq!(tree.edit().replace(b"b", vec![]), Err(StateTreeError::NothingToReplace));
    assert_eq!(tree.root_hash(), before);
}

#[test]
fn a_branch_hash_has_its_frozen_layout() {
    let (left, right) = (Hash::new([1; 32]), Hash::new([2; 32]));
    let expected = sha256(&[&[3, 0x12, 0x34], left.as_bytes(), right.as_bytes()]);
    assert_eq!(branch_hash(0x1234, &left, &right), expected);
    let Leaf { index, op } = leaf_of(5, b"op");
    let inner = sha256(&[&[0], b"op"]);
    let expected = sha256(&[&[2], &5_u64.to_be_bytes(), inner.as_bytes()]);
    assert_eq!(leaf_hash(LogIndex::new(index), &op), expected);
}
