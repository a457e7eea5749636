//! Trees as deep as keys allow, on a small stack.

use quorate_core::{
    entry::{OpKind, Operation, value_digest},
    hash::{Hash, sha256},
    position::{LogIndex, Revision},
    state_tree::{Query, prove, verify},
};
use serde_json::Value;

use quorate_ledger::trie::LeafReader;

use super::{
    support::store::Store,
    trie::{LEDGER, Subject, op},
};

/// Runs on a stack that a recursion over thousands of levels would overflow.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(192 << 10).spawn(test).unwrap().join().unwrap();
}

#[test]
fn the_deep_tree_of_the_vectors_is_reproduced() {
    let vector = include_str!("../../../../core/tests/vectors/ledger-3.json");
    let vector: Value = serde_json::from_str(vector).unwrap();
    let deep = &vector["deep"];
    let leaf = |length: usize| {
        let operation = Operation {
            kind: OpKind::Put,
            revision: Revision::FIRST,
            prev_index: None,
            expires_at: None,
            value_len: 0,
            value_digest: value_digest(&[0; 16], b"", b""),
            key: vec![b'a'; length],
        };
        (LogIndex::new(length as u64 - 1), operation.encode())
    };
    for step in [1, 7, 1_024] {
        let mut subject = Subject::new(0);
        let mut store = Store::new();
        // Later keys first, so that new branches come in above old ones too.
        for start in (0..step).rev() {
            let batch: Vec<_> = (1..=1_024).skip(start).step_by(step).map(leaf).collect();
            let changes =
                subject.tries.get_mut(LEDGER).unwrap().update(&LeafReader::new(&store), &batch).unwrap();
            store.write_leaves(LEDGER, &batch);
            store.write_buckets(LEDGER, &changes);
        }
        let trie = subject.snapshot();
        assert_eq!(trie.root(), Hash::from_hex(deep["root"].as_str().unwrap()).unwrap());
        let proof = prove(&trie.walk(&store), &Query::Key(vec![b'a'; 1_024])).unwrap();
        assert_eq!(proof.len() as u64, deep["proof_of_longest_key_length"].as_u64().unwrap());
        let digest = deep["proof_of_longest_key_sha256"].as_str().unwrap();
        assert_eq!(sha256(&[&proof]), Hash::from_hex(digest).unwrap());
    }
}

/// One long key, and for each of its bits a key that parts from it there: a tree of depth 9,216.
fn deepest() -> Vec<Vec<u8>> {
    let trunk: Vec<u8> = (0..1_024_u32).map(|at| (at * 37 % 251) as u8).collect();
    let mut keys = vec![trunk.clone()];
    for length in 0..1_024 {
        if length > 0 {
            keys.push(trunk[..length].to_vec());
        }
        keys.extend((0..8).map(|bit| [&trunk[..length], &[trunk[length] ^ 1 << bit]].concat()));
    }
    keys.sort();
    keys
}

#[test]
fn the_deepest_tree_is_built_changed_proven_and_dropped_without_recursion() {
    on_a_small_stack(|| {
        let keys = deepest();
        assert_eq!(keys.len(), 9 * 1_024);
        let mut subject = Subject::new(1 << 20);
        for part in 0..3 {
            subject.write(keys.iter().skip(part).step_by(3).cloned());
        }
        let old = subject.snapshot();
        subject.write([keys[0].clone(), keys[5_000].clone(), keys[9_000].clone()]);
        let trie = subject.snapshot();
        assert_eq!(trie.keys(), 9 * 1_024);
        for key in [&keys[0], &keys[4_607], &keys[9_215]] {
            let query = Query::Key(key.clone());
            let proof = prove(&trie.walk(&subject.store), &query).unwrap();
            assert_eq!(verify(&trie.root(), &query, &proof).unwrap().leaves().len(), 1);
        }
        subject.restart();
        drop(old);
        drop(trie);
    });
}

#[test]
fn a_tree_of_nested_keys_grows_one_by_one_from_either_end() {
    on_a_small_stack(|| {
        let mut up = Subject::new(1 << 20);
        let mut down = Subject::new(1 << 20);
        for length in 1..=300_usize {
            up.write([vec![b'x'; length]]);
            down.write([vec![b'x'; 301 - length]]);
        }
        up.check();
        down.check();
        // The same keys with the same leaves: rewritten so that both have the same indexes.
        let all = || (1..=300).map(|length| vec![b'x'; length]);
        up.write(all());
        down.write(all());
        assert_eq!(up.snapshot().root(), down.snapshot().root());
        assert_eq!(op(b"x", 301), up.state[b"x".as_slice()].1);
    });
}
