//! A damaged or failing store is a fault: never another answer, never a rejection, and nothing half done.

use quorate_core::{
    hash::Hash,
    position::{BlockHeight, LogIndex, Micros},
    state_tree::{Query, StateLeaf, prove},
};
use quorate_ledger::{
    apply::{ApplyError, apply},
    effects::BucketSummary,
    trie::{LeafReader, MAX_BUCKET_KEYS, OpenError, TrieError, Tries},
    view::LedgerId,
};

use super::{
    support::{
        replica::{Replica, START, block, genesis, hash_of},
        requests::{put, request},
        store::ReadFailed,
    },
    trie::{LEDGER, Subject, op},
};

fn key(number: u32) -> Vec<u8> {
    format!("key/{number:05}").into_bytes()
}

fn subject() -> Subject {
    let mut subject = Subject::new(0);
    subject.write((0..500).map(key));
    subject
}

fn assert_damaged<T: std::fmt::Debug>(result: Result<T, TrieError<ReadFailed>>) {
    assert!(matches!(result, Err(TrieError::Damaged { .. })), "{result:?}");
}

/// Every way to use the bucket of key 123 finds the damage; other buckets stay usable.
fn damage_is_found(damage: impl FnOnce(&mut Subject)) {
    let mut subject = subject();
    let trie = subject.snapshot();
    damage(&mut subject);
    assert_damaged(trie.lookup(&LeafReader::new(&subject.store), &key(123)));
    assert_damaged(prove(&trie.walk(&subject.store), &Query::Key(key(123))));
    assert_damaged(prove(&trie.walk(&subject.store), &Query::everything()));
    let batch = [7, 123, 400].map(|number| (LogIndex::new(9), op(&key(number), 9)));
    assert_damaged(subject.tries.get_mut(LEDGER).unwrap().update(&LeafReader::new(&subject.store), &batch));
    assert_eq!(subject.snapshot().root(), trie.root(), "a failed update changes nothing");
    assert!(trie.lookup(&LeafReader::new(&subject.store), &key(400)).unwrap().is_some());
}

#[test]
fn a_changed_leaf_is_found() {
    damage_is_found(|subject| {
        let leaf = subject.store.leaves.get_mut(&(LEDGER, key(123))).unwrap();
        *leaf = StateLeaf::new(LogIndex::new(77), leaf.op().to_vec()).unwrap();
    });
    damage_is_found(|subject| {
        let leaf = subject.store.leaves.get_mut(&(LEDGER, key(123))).unwrap();
        *leaf = StateLeaf::new(leaf.index(), op(&key(123), 2)).unwrap();
    });
}

#[test]
fn a_lost_leaf_is_found() {
    damage_is_found(|subject| {
        subject.store.leaves.remove(&(LEDGER, key(123))).unwrap();
    });
}

#[test]
fn an_added_leaf_is_found() {
    damage_is_found(|subject| {
        let extra = [&key(123)[..], b"x"].concat();
        let leaf = StateLeaf::new(LogIndex::new(1), op(&extra, 1)).unwrap();
        subject.store.leaves.insert((LEDGER, extra), leaf);
    });
}

#[test]
fn an_operation_of_no_known_kind_is_damage_even_where_its_hash_is_right() {
    let mut subject = Subject::new(1 << 20);
    let mut reserved = op(b"k", 1);
    reserved[0] = 9;
    let batch = [(LogIndex::new(1), reserved)];
    subject.tries.get_mut(LEDGER).unwrap().update(&LeafReader::new(&subject.store), &batch).unwrap();
    assert_damaged(subject.snapshot().lookup(&LeafReader::new(&subject.store), b"k"));
}

#[test]
fn a_failed_read_is_passed_on_and_the_update_can_be_repeated() {
    let mut subject = subject();
    let root = subject.snapshot().root();
    let batch: Vec<_> = (0..500).step_by(9).map(|number| (LogIndex::new(9), op(&key(number), 9))).collect();
    for reads in 0..5 {
        subject.store.reads_left.set(Some(reads));
        let result = subject.tries.get_mut(LEDGER).unwrap().update(&LeafReader::new(&subject.store), &batch);
        assert_eq!(result, Err(TrieError::Source(ReadFailed)));
        assert_eq!(subject.snapshot().root(), root);
    }
    subject.store.reads_left.set(None);
    subject.tries.get_mut(LEDGER).unwrap().update(&LeafReader::new(&subject.store), &batch).unwrap();
    assert_ne!(subject.snapshot().root(), root);
}

#[test]
fn damaged_buckets_are_refused_at_the_start() {
    let subject = subject();
    let root = subject.snapshot().root();
    let buckets: Vec<_> = subject.store.buckets_of(LEDGER).map(Result::unwrap).collect();
    let open = |buckets: Vec<(Vec<u8>, BucketSummary)>| {
        let mut tries = Tries::new(0);
        tries.open(LEDGER, &root, buckets.into_iter().map(Ok::<_, ReadFailed>))
    };
    assert_eq!(open(buckets.clone()), Ok(()));

    let mut other_hash = buckets.clone();
    other_hash[2].1.hash = Hash::ZERO;
    assert!(matches!(open(other_hash), Err(OpenError::Root { .. })));
    let mut missing = buckets.clone();
    missing.remove(3);
    assert!(matches!(open(missing), Err(OpenError::Root { .. })));
    let mut out_of_order = buckets.clone();
    out_of_order.swap(1, 2);
    assert!(matches!(open(out_of_order), Err(OpenError::Bucket { number: 2, .. })));
    for count in [0, MAX_BUCKET_KEYS as u32 + 1] {
        let mut wrong_count = buckets.clone();
        wrong_count[1].1.count = count;
        assert!(matches!(open(wrong_count), Err(OpenError::Bucket { number: 1, .. })));
    }
    let failing = Tries::new(0).open(LEDGER, &root, [Err(ReadFailed)]);
    assert_eq!(failing, Err(OpenError::Source(ReadFailed)));
}

#[test]
fn a_failed_read_at_any_point_of_apply_is_a_fault_and_never_an_outcome() {
    let mut replica = Replica::with_ledgers(0, &["a"]);
    let later = Micros::new(START + 1_000_000);
    replica.ask(START, request("a", "first", later, [put(b"k", b"1")]));
    let next = block(START, [request("a", "second", later, [put(b"k", b"2")])]);
    let mut faults = 0;
    for reads in 0.. {
        let mut attempt = Replica::empty(0);
        attempt.store = replica.store.clone();
        attempt.restart();
        attempt.store.reads_left.set(Some(reads));
        match attempt.try_apply(&next) {
            Err(error) => {
                assert_eq!(error, ApplyError::Store(ReadFailed));
                faults += 1;
            }
            Ok(effects) => {
                assert_eq!(effects, replica.apply(&next));
                break;
            }
        }
    }
    assert_eq!(faults, 5, "cluster, ledger, request, and the key's bucket to judge and to change it");
}

#[test]
fn a_damaged_leaf_stops_apply() {
    let mut replica = Replica::with_ledgers(0, &["a"]);
    let later = Micros::new(START + 1_000_000);
    replica.ask(START, request("a", "first", later, [put(b"k", b"1")]));
    let leaf = replica.store.leaves.get_mut(&(LedgerId(1), b"k".to_vec())).unwrap();
    *leaf = StateLeaf::new(LogIndex::new(0), leaf.op().to_vec()).unwrap();
    let next = block(START, [request("a", "second", later, [put(b"k", b"2")])]);
    assert!(matches!(replica.try_apply(&next), Err(ApplyError::Trie(TrieError::Damaged { .. }))));
}

#[test]
fn a_tree_that_is_not_the_heads_stops_apply() {
    let mut replica = Replica::with_ledgers(0, &["a"]);
    let next = block(START, [request("a", "one", Micros::new(START), [put(b"k", b"1")])]);
    replica.tries = Tries::new(0);
    assert!(matches!(replica.try_apply(&next), Err(ApplyError::WrongTrie { found: None, .. })));
    replica.restart();
    replica
        .tries
        .get_mut(LedgerId(1))
        .unwrap()
        .update(&LeafReader::new(&replica.store), &[(LogIndex::new(0), op(b"z", 1))])
        .unwrap();
    assert!(matches!(replica.try_apply(&next), Err(ApplyError::WrongTrie { found: Some(_), .. })));
}

#[test]
fn only_the_next_block_is_applied() {
    let replica = Replica::with_ledgers(0, &["a"]);
    let next = block(START, []);
    for height in [0, 1, 3] {
        let mut tries = replica.store.open_tries(0);
        let height = BlockHeight::new(height);
        let result = apply(&replica.store, &mut tries, &next, height, hash_of(&next));
        let last = Some(BlockHeight::new(1));
        assert_eq!(result.unwrap_err(), ApplyError::WrongHeight { height, last });
    }
}

#[test]
fn a_cluster_is_founded_once_by_a_block_of_its_own() {
    let is_refused = |replica: &mut Replica, block| {
        let result = replica.try_apply(&block);
        assert!(matches!(result, Err(ApplyError::Genesis { .. })), "{result:?}");
    };
    let id = super::support::replica::CLUSTER_ID;
    is_refused(&mut Replica::empty(0), block(START, []));
    is_refused(&mut Replica::empty(0), genesis("Not A Name", &id, START));
    let mut with_requests = genesis("name", &id, START);
    with_requests.requests.push(request("a", "one", Micros::new(START), [put(b"k", b"1")]));
    is_refused(&mut Replica::empty(0), with_requests);
    let mut short_id = genesis("name", &id, START);
    short_id.genesis.as_mut().unwrap().cluster_id.truncate(15);
    is_refused(&mut Replica::empty(0), short_id);
    is_refused(&mut Replica::with_ledgers(0, &[]), genesis("name", &id, START));
}
