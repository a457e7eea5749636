//! The first transaction of a cluster that continues another: only it, and all of it.

use prost::{Message, bytes::Bytes};
use quorate_core::{
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{Epoch, Micros},
};
use quorate_ledger::{
    block::{Request, Write},
    outcome::{Rejection, RequestOutcome},
    registry::{NodeRecord, Registry},
    system::{COSIGNERS_KEY, CosignerSet, Lineage, ledger_key},
};

use super::support::{
    nodes::{put_node, record_in, record_of},
    replica::{Replica, START, block, record},
    requests::{put, request},
};

const NAMES: [&str; 2] = ["a", "b"];

const NEW: ClusterId = ClusterId::new([0x55; 16]);

fn new_origin() -> ClusterOrigin {
    ClusterOrigin::new("ledger.example/test", &NEW).unwrap()
}

/// The records of the new cluster's nodes: ids of the old one, other keys.
fn nodes() -> Vec<NodeRecord> {
    (1..=3).map(|id| record_in(NEW, &new_origin(), id, u8::try_from(id).unwrap() + 20)).collect()
}

fn lineage() -> Lineage {
    Lineage {
        number: 1,
        kind: "restored".to_owned(),
        previous: "old/0a1b2c3d".to_owned(),
        ..Lineage::default()
    }
}

/// A cluster with a history and a new origin, whose first block is still to come.
fn continuing() -> Replica {
    let mut replica = Replica::with_ledgers(0, &NAMES);
    let write = put(b"k", b"old");
    replica.apply(&block(START, [request("a", "old", Micros::new(START + 60_000_000), [write])]));
    let old = (1..=2).map(record_of);
    let set = CosignerSet { epoch: 4, cosigners: old.clone().map(|record| record.cosigner()).collect() };
    let cluster = &mut replica.store.cluster;
    (cluster.origin, cluster.last_block, cluster.epoch) = (Some(new_origin()), None, Epoch::new(4));
    cluster.id = Some(NEW);
    cluster.registry = Registry::from_documents(&new_origin(), old, [], Some(set)).into();
    cluster.continues = Some(lineage().encode_to_vec().into());
    replica
}

fn writes() -> Vec<Write> {
    let cosigners = nodes().iter().map(NodeRecord::cosigner).collect();
    let mut writes = vec![
        put(&lineage().key(), &lineage().encode_to_vec()),
        put(COSIGNERS_KEY, &CosignerSet { epoch: 5, cosigners }.encode_to_vec()),
    ];
    for name in NAMES {
        let name = LedgerName::new(name).unwrap();
        writes.push(put(&ledger_key(&name), &record(&new_origin(), &name).encode_to_vec()));
    }
    writes.extend(nodes().iter().map(put_node));
    writes
}

fn ask(writes: Vec<Write>) -> Request {
    request("_system", "lineage/1", Micros::new(START + 60_000_000), writes)
}

fn to_a(key: &str) -> Request {
    request("a", key, Micros::new(START + 60_000_000), [put(b"k", b"new")])
}

#[test]
fn nothing_comes_before_the_lineage_and_everything_after_it() {
    let mut replica = continuing();
    assert_eq!(replica.ask(START, to_a("new")), RequestOutcome::Rejected(Rejection::NotContinued));
    // What the old cluster did is still known.
    assert!(matches!(replica.ask(START, to_a("old")), RequestOutcome::Known { .. }));
    let effects = replica.apply(&block(START, [ask(writes()), to_a("new")]));
    let outcomes = &effects.outcome.requests;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, RequestOutcome::Committed(_))), "{outcomes:?}");
    assert_eq!((effects.cluster.continues, effects.cluster.epoch), (None, Epoch::new(5)));
    assert!(effects.ledgers.iter().all(|ledger| !ledger.born));
    // The nodes of the old cluster are none of this one, and its set certifies nothing here.
    assert!(nodes().iter().eq(effects.cluster.registry.nodes().values()));
    let sets: Vec<u64> = effects.outcome.checkpoints[0].sets.iter().map(|set| set.epoch).collect();
    assert_eq!(sets, [5]);
}

#[test]
fn the_first_transaction_is_complete_or_refused() {
    let lies: [fn(&mut Vec<Write>); 9] = [
        |writes| drop(writes.remove(1)),
        |writes| drop(writes.remove(2)),
        |writes| drop(writes.remove(3)),
        |writes| drop(writes.pop()),
        |writes| writes[4] = put_node(&record_of(1)),
        |writes| {
            let other = Lineage { loss: "none at all".to_owned(), ..lineage() };
            writes[0] = put(&lineage().key(), &other.encode_to_vec());
        },
        |writes| {
            let name = LedgerName::new("a").unwrap();
            let old = record(&super::support::replica::origin(), &name);
            writes[2] = put(&ledger_key(&name), &old.encode_to_vec());
        },
        |writes| {
            let name = LedgerName::new("new").unwrap();
            writes[2] = put(&ledger_key(&name), &record(&new_origin(), &name).encode_to_vec());
        },
        |writes| writes.push(put(b"lineage/2", &lineage().encode_to_vec())),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut writes = writes();
        lie(&mut writes);
        let mut replica = continuing();
        let outcome = replica.ask(START, ask(writes));
        let refused = matches!(outcome, RequestOutcome::Rejected(Rejection::Malformed { .. }));
        assert!(refused, "lie {number}: {outcome:?}");
        assert!(replica.store.cluster.continues.is_some());
    }
    let mut without = writes();
    without.remove(0);
    let outcome = continuing().ask(START, ask(without));
    assert_eq!(outcome, RequestOutcome::Rejected(Rejection::NotContinued));
}

#[test]
fn nobody_else_writes_a_lineage() {
    let mut replica = Replica::with_ledgers(0, &NAMES);
    let outcome = replica.ask(START, ask(vec![put(b"lineage/1", &lineage().encode_to_vec())]));
    assert!(matches!(outcome, RequestOutcome::Rejected(Rejection::Malformed { .. })), "{outcome:?}");
    let mut replica = continuing();
    replica.apply(&block(START, [ask(writes())]));
    let again = Request { idempotency_key: Bytes::from_static(b"again"), ..ask(writes()) };
    let outcome = replica.ask(START, again);
    assert!(matches!(outcome, RequestOutcome::Rejected(Rejection::Malformed { .. })), "{outcome:?}");
}

#[test]
fn settings_of_the_old_cluster_do_not_stand_in_the_way() {
    let mut replica = continuing();
    replica.store.cluster.settings.max_value_len = 1;
    replica.store.cluster.settings.max_not_after_us = 1;
    assert!(matches!(replica.ask(START, ask(writes())), RequestOutcome::Committed(_)));
}
