//! Random histories: replicas that differ in cache and restarts do exactly the same, and that is what the naive
//! model says.

use proptest::{prelude::*, sample::select};
use prost::{Message, bytes::Bytes};
use quorate_core::{
    name::LedgerName,
    position::{Epoch, Micros},
};
use quorate_ledger::{
    block::{Block, Condition, Precondition, Put, Request, Write},
    outcome::{Rejection, RequestOutcome},
    system::{FreezeRecord, FreezeState, frozen_key},
};

use super::{
    replay::{Replays, without_state},
    support::{
        model::{Fate, Ledger, Model},
        replica::{Replica, START, block},
        requests::{put, request},
    },
};

/// Few keys, so that they meet again.
fn any_key() -> impl Strategy<Value = Bytes> {
    let near = (0..12_u8).prop_map(|number| vec![b'k', number]);
    let nested = (1..40_usize).prop_map(|length| vec![b'n'; length]);
    let many = (0..400_u32).prop_map(|number| format!("path/{number:04}").into_bytes());
    prop_oneof![near, nested, many].prop_map(Bytes::from)
}

fn any_write() -> impl Strategy<Value = Write> {
    let put = (any::<[u8; 16]>(), 0..40_usize, 0..3_usize, prop::option::of(0..20_u64));
    let put = put.prop_map(|(salt, value_len, attr_len, expiry)| Put {
        salt: Bytes::copy_from_slice(&salt),
        attributes: Bytes::from(vec![7; attr_len]),
        value: Bytes::from(vec![salt[0]; value_len]),
        expires_at: expiry.map_or(0, |seconds| START + seconds * 1_000_000),
    });
    let put = (any_key(), put).prop_map(|(key, put)| Write { key, put: Some(put), erase: None });
    let delete = any_key().prop_map(|key| Write { key, put: None, erase: None });
    let erase =
        (any_key(), 0..4_u64).prop_map(|(key, revision)| Write { key, put: None, erase: Some(revision) });
    prop_oneof![6 => put, 2 => delete, 2 => erase]
}

fn any_precondition() -> impl Strategy<Value = Precondition> {
    let condition = prop_oneof![
        Just(Condition::MustExist(true)),
        Just(Condition::MustNotExist(true)),
        (0..4_u64).prop_map(Condition::RevisionEquals),
        (0..60_u64).prop_map(Condition::NotModifiedAfter),
    ];
    (any_key(), condition).prop_map(|(key, condition)| Precondition { key, condition: Some(condition) })
}

fn any_request() -> impl Strategy<Value = Request> {
    (
        select(vec!["a", "a", "a", "b", "missing", "Not a name"]),
        select(vec!["anonymous", "zoë"]),
        prop_oneof![4 => any::<u32>(), 1 => 0..30_u32],
        0..25_i64,
        prop::collection::vec(any_precondition(), 0..2),
        prop::collection::vec(any_write(), 1..8),
    )
        .prop_map(|(ledger, author, key, not_after_s, preconditions, mut writes)| {
            // Each key once; most requests without a delete or erase that would have them rejected.
            writes.sort_by(|a, b| a.key.cmp(&b.key));
            writes.dedup_by(|a, b| a.key == b.key);
            Request {
                ledger: ledger.to_owned(),
                author: author.to_owned(),
                idempotency_key: Bytes::copy_from_slice(&key.to_be_bytes()),
                not_after: START + u64::try_from(not_after_s).unwrap() * 1_000_000,
                meta: Bytes::from_static(b"meta"),
                meta_salt: Bytes::from_static(&[3; 16]),
                preconditions,
                writes,
            }
        })
}

/// Blocks whose times mostly rise, in a window of twenty seconds.
fn any_blocks() -> impl Strategy<Value = Vec<Block>> {
    let one = (0..3_u64, prop::collection::vec(any_request(), 0..12));
    prop::collection::vec(one, 1..14).prop_map(|blocks| {
        let time = |number: usize, jitter: u64| START + (number as u64 + jitter * 2) * 1_000_000;
        blocks
            .into_iter()
            .enumerate()
            .map(|(number, (jitter, requests))| block(time(number, jitter), requests))
            .collect()
    })
}

fn fate(outcome: &RequestOutcome) -> Fate {
    match outcome {
        RequestOutcome::Committed(committed) => Fate::Committed(committed.index.get()),
        RequestOutcome::Known { index } => Fate::Known(index.get()),
        RequestOutcome::Rejected(rejection) => match rejection {
            Rejection::UnknownLedger { .. } => Fate::Rejected("ledger", 0),
            Rejection::TooLate { .. } => Fate::Rejected("late", 0),
            Rejection::TooFarAhead { .. } => Fate::Rejected("ahead", 0),
            Rejection::Precondition { position, .. } => Fate::Rejected("precondition", *position as usize),
            Rejection::Frozen { .. } => Fate::Rejected("frozen", 0),
            Rejection::DeleteOfAbsent { position, .. } => Fate::Rejected("delete", *position as usize),
            Rejection::EraseOfUnknown { position, .. } => Fate::Rejected("erase", *position as usize),
            other => panic!("not expected here: {other}"),
        },
    }
}

/// The replica's ledger is the model's.
fn check(replica: &Replica, name: &str, model: &Ledger) {
    let head = replica.head(name);
    assert_eq!(head.frontier.size().get(), model.leaves.len() as u64);
    assert_eq!(head.frontier.root(), model.log_root());
    assert_eq!(head.state_root, model.state_root());
    let id = replica.id(name);
    let stored = replica.store.leaves.iter().filter(|((ledger, _), _)| *ledger == id);
    let stored: Vec<_> =
        stored.map(|((_, key), leaf)| (key.as_slice(), leaf.index().get(), leaf.op())).collect();
    assert_eq!(stored, model.state());
    let contents = replica.store.contents.iter().filter(|((ledger, ..), _)| *ledger == id);
    let contents: Vec<_> = contents
        .map(|((_, index, key), content)| ((index.get(), key.to_vec()), content.value.to_vec()))
        .collect();
    assert_eq!(contents, model.contents.clone().into_iter().collect::<Vec<_>>());
}

/// That a block freezes or thaws one of the ledgers, or neither.
fn any_freeze() -> impl Strategy<Value = Option<(&'static str, bool)>> {
    prop_oneof![
        3 => Just(None),
        2 => select(vec![Some(("a", true)), Some(("a", false)), Some(("b", true)), Some(("b", false))]),
    ]
}

/// The block with the document at its front: what it says holds from the next block on.
fn with_freeze(block: &Block, number: usize, freeze: Option<(&'static str, bool)>) -> Block {
    let Some((name, frozen)) = freeze else { return block.clone() };
    let name = LedgerName::new(name).unwrap();
    let state = if frozen { FreezeState::Frozen } else { FreezeState::Thawed };
    let record = FreezeRecord::new(&name, state, "");
    let write = put(&frozen_key(&name), &record.encode_to_vec());
    let key = format!("freeze {number}");
    let document = request("_system", &key, Micros::new(START + 60_000_000), [write]);
    let requests = std::iter::once(document).chain(block.requests.iter().cloned()).collect();
    Block { requests, ..block.clone() }
}

fn without_freeze(block: &Block) -> Block {
    let requests = block.requests.iter().filter(|request| request.ledger != "_system").cloned().collect();
    Block { requests, ..block.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replicas_agree_with_each_other_and_with_the_model(
        blocks in any_blocks(),
        restarts in prop::collection::vec(any::<bool>(), 14),
        freezes in prop::collection::vec(any_freeze(), 14),
    ) {
        let names = ["a", "b"];
        let [mut steady, mut forgetful, mut small] =
            [1 << 24, 0, 16 * 3_000].map(|cache_bytes| Replica::with_ledgers(cache_bytes, &names));
        let mut replayed = Replays::new(&names);
        let epoch = Epoch::new(5);
        let mut model = Model::new(&names, START, 0);
        model.set_epoch(epoch.get());
        for replica in [&mut steady, &mut forgetful, &mut small] {
            replica.store.cluster.epoch = epoch;
        }
        replayed.replica.store.cluster.epoch = epoch;
        for (number, ((block, restart), freeze)) in blocks.iter().zip(restarts).zip(freezes).enumerate() {
            let block = &with_freeze(block, number, freeze);
            let effects = steady.apply(block);
            let mut of_ledgers = effects.clone();
            of_ledgers.ledgers.retain(|ledger| !ledger.head.name.is_system());
            let expected: Vec<_> = of_ledgers.ledgers.iter().map(without_state).collect();
            prop_assert_eq!(expected, replayed.replay(&of_ledgers));
            prop_assert_eq!(&effects, &forgetful.apply(block));
            prop_assert_eq!(&effects, &small.apply(block));
            forgetful.restart();
            if restart {
                small.restart();
            }
            let mut fates: Vec<_> = effects.outcome.requests.iter().map(fate).collect();
            if freeze.is_some() {
                prop_assert!(matches!(fates.remove(0), Fate::Committed(_)), "the document is judged in _system");
            }
            prop_assert_eq!(fates, model.apply(&without_freeze(block)));
            if let Some((name, frozen)) = freeze {
                if frozen { model.frozen.insert(name.to_owned()) } else { model.frozen.remove(name) };
            }
            prop_assert_eq!(
                steady.store.cluster.frozen.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
                model.frozen.iter().map(String::as_str).collect::<Vec<_>>()
            );
            for ledger in effects.ledgers.iter().filter(|ledger| !ledger.head.name.is_system()) {
                let leaves = ledger.transactions.iter().map(|transaction| &transaction.leaf);
                let leaves: Vec<_> = leaves.chain([&ledger.commit_leaf]).collect();
                let all = &model.ledgers[ledger.head.name.as_str()].leaves;
                prop_assert_eq!(leaves, all[ledger.first_index.get() as usize..].iter().collect::<Vec<_>>());
            }
        }
        for name in names {
            check(&steady, name, &model.ledgers[name]);
        }
        prop_assert_eq!(&steady.store.buckets, &small.store.buckets);
        replayed.check_state(&steady.store);
    }
}
