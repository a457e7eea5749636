//! A tree in two layers, kept the way a node keeps it: what the layers are must leave no trace.

use std::sync::Arc;

use quorate_core::hash::Hash;
use quorate_core::state_tree::{
    BitPrefix, Buckets, CritTree, Layered, MemoryStateTree, Query, StateLeaf, StateTip, Tip, prove, verify,
};

use super::naive::Naive;

/// A bucket as a store would keep it: any one of its keys, its hash, and its leaves.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    key: Vec<u8>,
    pub(crate) leaves: Arc<CritTree<StateTip>>,
}

impl Bucket {
    fn new(tips: Vec<StateTip>) -> Self {
        // Not the first key: any key of the bucket must do.
        let key = tips.last().unwrap().key().to_vec();
        Self { key, leaves: Arc::new(CritTree::from_sorted(tips).unwrap()) }
    }
}

impl Tip for Bucket {
    fn key(&self) -> &[u8] {
        &self.key
    }

    fn hash(&self) -> Hash {
        self.leaves.root_hash()
    }
}

/// A store with all leaves by key. Buckets are read from it by the range of their region.
pub(crate) struct Store<'a>(pub(crate) &'a Naive);

impl Buckets for Store<'_> {
    type Bucket = Bucket;
    type Error = String;

    fn load(&self, bucket: &Bucket, region: &BitPrefix<'_>) -> Result<Arc<CritTree<StateTip>>, String> {
        let range = region.key_range();
        assert!(range.contains(bucket.key()));
        let inside = self.0.leaves().filter(|(key, _)| range.contains(key));
        let tips = inside.map(|(_, leaf)| StateTip::new(leaf.to_state_leaf()));
        Ok(Arc::new(CritTree::from_sorted(tips).unwrap()))
    }

    fn damaged(&self, bucket: &Bucket, found: Hash) -> String {
        format!("bucket {} has root {found}", hex::encode(bucket.key()))
    }
}

/// Writes a leaf the way a node does: into the bucket whose region holds the key, split where it grows too large.
pub(crate) fn write_to_bucket(upper: &mut CritTree<Bucket>, leaf: StateLeaf, max: usize) {
    let tip = StateTip::new(leaf);
    let key = tip.key().to_vec();
    let mut edit = upper.edit();
    let inside = edit.locate(&key).filter(|place| place.is_inside()).map(|place| place.tip.clone());
    let Some(bucket) = inside else {
        edit.insert(Bucket::new(vec![tip])).unwrap();
        return;
    };
    let mut leaves = CritTree::clone(&bucket.leaves);
    leaves.edit().insert(tip).unwrap();
    let parts = leaves.into_parts(max).into_iter().map(Bucket::new).collect();
    edit.replace(&key, parts).unwrap();
}

#[test]
fn damaged_buckets_are_not_shown() {
    let tree = Naive::of_keys((0_u8..50).map(|n| vec![n]));
    let mut upper = CritTree::new();
    for (_, leaf) in tree.leaves() {
        write_to_bucket(&mut upper, leaf.to_state_leaf(), 8);
    }
    let other = Naive::of_keys((0_u8..50).filter(|n| *n != 20).map(|n| vec![n]));
    assert!(prove(&Layered::new(&upper, &Store(&other)), &Query::Key(vec![20])).is_err());
    let query = Query::Key(vec![40]);
    let proof = prove(&Layered::new(&upper, &Store(&other)), &query).unwrap();
    assert_eq!(verify(&tree.root(), &query, &proof).unwrap().leaves().len(), 1);
}

#[test]
fn a_deep_tree_in_buckets_gives_the_same_proofs() {
    let tree = Naive::of_keys((1..=1024).map(|len| vec![b'a'; len]));
    let mut upper = CritTree::new();
    for (_, leaf) in tree.leaves() {
        write_to_bucket(&mut upper, leaf.to_state_leaf(), 64);
    }
    let leaves = tree.leaves().map(|(_, leaf)| leaf.to_state_leaf());
    let flat = MemoryStateTree::from_sorted(leaves).unwrap();
    assert_eq!(upper.root_hash(), flat.root());
    for len in [1, 500, 1024, 1025] {
        let query = Query::Key(vec![b'a'; len]);
        let proof = prove(&Layered::new(&upper, &Store(&tree)), &query).unwrap();
        assert_eq!(proof, flat.prove(&query));
        let found = verify(&flat.root(), &query, &proof).unwrap().leaves().len();
        assert_eq!(found, usize::from(len <= 1024));
    }
}
