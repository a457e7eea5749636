//! Random trees and queries against the model.

use proptest::prelude::*;
use quorate_core::hash::Hash;
use quorate_core::position::LogIndex;
use quorate_core::state_tree::{
    BitPrefix, Bits, CritTree, Layered, MemoryStateTree, OutsideQuery, Query, StateLeaf, StateTip, Tip,
    first_difference, prove, root_of_sorted, verify,
};

use super::buckets::{Store, write_to_bucket};
use super::naive::{Naive, Shown, bit_string, leaf_of, op_for};
use super::shown;

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few bytes: keys that extend each other and part late are then common.
    prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0x61, 0x80, 0xff]), 1..6)
}

fn any_query() -> impl Strategy<Value = Query> {
    let part = || prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0x61, 0x80, 0xff]), 0..6);
    prop_oneof![
        part().prop_map(Query::Key),
        part().prop_map(Query::Prefix),
        (part(), prop::option::of(part())).prop_map(|(first, end)| Query::Range { first, end }),
    ]
}

fn writes() -> impl Strategy<Value = Vec<(Vec<u8>, u64)>> {
    prop::collection::vec((key(), 0..1000_u64), 0..60)
}

fn model_of(writes: &[(Vec<u8>, u64)]) -> Naive {
    Naive::new(writes.iter().map(|(key, index)| (key.clone(), leaf_of(*index, &op_for(key, index + 1)))))
}

fn state_leaf(key: &[u8], index: u64) -> StateLeaf {
    StateLeaf::new(LogIndex::new(index), op_for(key, index + 1)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bit_strings_part_and_order_as_written_down(a in key(), b in key()) {
        let (long_a, long_b) = (bit_string(&a, true), bit_string(&b, true));
        let naive = long_a.chars().zip(long_b.chars()).position(|(x, y)| x != y);
        prop_assert_eq!(first_difference(&a, &b).map(usize::from), naive);
        prop_assert_eq!(long_a.cmp(&long_b), a.cmp(&b));
        let bits = Bits::of_key(&a);
        let read: String = (0..bits.len()).map(|at| if bits.bit(at).unwrap() { '1' } else { '0' }).collect();
        prop_assert_eq!(read, long_a);
        prop_assert_eq!(bits.bit(bits.len()), None);
    }

    #[test]
    fn first_difference_of_long_keys_is_right(
        common in prop::collection::vec(any::<u8>(), 0..40),
        a in prop::collection::vec(any::<u8>(), 0..20),
        b in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let (a, b) = ([common.clone(), a].concat(), [common, b].concat());
        let (long_a, long_b) = (bit_string(&a, true), bit_string(&b, true));
        let naive = long_a.chars().zip(long_b.chars()).position(|(x, y)| x != y);
        prop_assert_eq!(first_difference(&a, &b).map(usize::from), naive);
    }

    #[test]
    fn the_key_range_of_a_bit_prefix_holds_exactly_its_keys(
        key in key(), len in 0_usize..60, side in any::<bool>(), others in prop::collection::vec(key(), 1..50),
    ) {
        let shorter = len % Bits::of_key(&key).len();
        let side_of = BitPrefix::side_of(&key, u16::try_from(shorter).unwrap(), side);
        for prefix in [BitPrefix::of(&key, len), side_of] {
            let text: String = (0..prefix.len()).map(|at| if prefix.bit(at).unwrap() { '1' } else { '0' }).collect();
            let range = prefix.key_range();
            for other in &others {
                prop_assert_eq!(range.contains(other), bit_string(other, true).starts_with(&text), "{}", text);
            }
        }
    }

    #[test]
    fn roots_and_proofs_are_those_of_the_model(
        writes in writes(), queries in prop::collection::vec(any_query(), 1..8),
    ) {
        let model = model_of(&writes);
        let mut tree = MemoryStateTree::new();
        let leaves = writes.iter().map(|(key, index)| state_leaf(key, *index));
        tree.insert_all(leaves).unwrap();
        prop_assert_eq!(tree.root(), model.root());
        let sorted = model.leaves().map(|(_, leaf)| leaf.to_state_leaf());
        let at_once = MemoryStateTree::from_sorted(sorted).unwrap();
        prop_assert_eq!(at_once.root(), model.root());
        for query in queries {
            let proof = tree.prove(&query);
            prop_assert_eq!(hex::encode(&proof), hex::encode(model.prove(&query)));
            prop_assert_eq!(&at_once.prove(&query), &proof);
            let answer = verify(&model.root(), &query, &proof).unwrap();
            prop_assert_eq!(shown(&answer), model.answer(&query));
            for (key, leaf) in model.leaves() {
                let expected = query.contains(key).then_some(leaf.index);
                let found = answer.get(key).map(|found| found.map(|leaf| leaf.index().get()));
                prop_assert_eq!(found, expected.map(Some).ok_or(OutsideQuery));
                prop_assert_eq!(query.key_range().contains(key), query.contains(key));
            }
        }
    }

    #[test]
    fn buckets_of_any_size_leave_no_trace(
        writes in writes(), max in 1_usize..12, queries in prop::collection::vec(any_query(), 1..6),
    ) {
        let mut upper = CritTree::new();
        for (key, index) in &writes {
            write_to_bucket(&mut upper, state_leaf(key, *index), max);
        }
        let model = model_of(&writes);
        prop_assert_eq!(upper.root_hash(), model.root());
        prop_assert_eq!(upper.len(), upper.iter().count());
        prop_assert!(upper.iter().all(|bucket| bucket.leaves.len() <= max));
        let rebuilt = root_of_sorted(upper.iter().map(|bucket| (bucket.key(), bucket.hash()))).unwrap();
        prop_assert_eq!(rebuilt, model.root());
        let store = Store(&model);
        for query in queries {
            prop_assert_eq!(prove(&Layered::new(&upper, &store), &query).unwrap(), model.prove(&query));
        }
    }

    #[test]
    fn parts_are_the_largest_subtrees_that_fit(writes in writes(), max in 1_usize..12) {
        let model = model_of(&writes);
        let tips: Vec<_> = model.leaves().map(|(_, leaf)| StateTip::new(leaf.to_state_leaf())).collect();
        let parts = CritTree::from_sorted(tips.clone()).unwrap().into_parts(max);
        prop_assert_eq!(parts.concat(), tips);
        let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
        prop_assert_eq!(sizes, model.sizes_of_parts(max));
    }

    #[test]
    fn whatever_is_hidden_removed_or_altered_is_missed(writes in writes(), query in any_query()) {
        let model = model_of(&writes);
        let root = model.root();
        let Some(tree) = Shown::parse(&model.prove(&query)) else { return Ok(()) };
        for forged in tree.forgeries(&|leaf| query.contains(leaf.key())) {
            prop_assert!(verify(&root, &query, &forged.encode()).is_err(), "{:?}", forged);
        }
    }

    #[test]
    fn every_flipped_bit_is_refused(writes in prop::collection::vec((key(), 0..9_u64), 0..6), query in any_query()) {
        let model = model_of(&writes);
        let mut proof = model.prove(&query);
        for bit in 0..proof.len() * 8 {
            proof[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(verify(&model.root(), &query, &proof).is_err(), "bit {}", bit);
            proof[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assert!(verify(&model.root(), &query, &proof).is_ok());
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        noise in prop::collection::vec(any::<u8>(), 0..400), query in any_query(), writes in writes(),
        at in any::<prop::sample::Index>(), len in 0_usize..20,
    ) {
        prop_assert!(verify(&Hash::new([9; 32]), &query, &noise).is_err());
        let tags: Vec<u8> = noise.iter().map(|byte| byte % 4).collect();
        prop_assert!(verify(&Hash::new([9; 32]), &query, &tags).is_err());
        // Noise within a good proof gets further than noise alone.
        let model = model_of(&writes);
        let mut proof = model.prove(&query);
        let at = at.index(proof.len());
        let end = (at + len).min(proof.len());
        let good = proof.clone();
        proof.splice(at..end, noise.iter().copied().take(len));
        prop_assert!(proof == good || verify(&model.root(), &query, &proof).is_err());
    }

    #[test]
    fn one_tree_has_one_hash_however_it_was_edited(
        writes in writes(), batch in 1_usize..20, seed in any::<u64>(),
    ) {
        let mut tree: CritTree<StateTip> = CritTree::new();
        for chunk in writes.chunks(batch) {
            let mut edit = tree.edit();
            for (key, index) in chunk {
                edit.insert(StateTip::new(state_leaf(key, *index))).unwrap();
            }
            if seed.is_multiple_of(2) {
                drop(edit);
            } else {
                let root = edit.finish();
                prop_assert_eq!(root, tree.root_hash());
            }
        }
        prop_assert_eq!(tree.root_hash(), model_of(&writes).root());
        prop_assert!(tree.iter().map(Tip::key).is_sorted());
    }
}
