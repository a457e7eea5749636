//! Ledgers that take no transactions: what their documents may say, from when on it holds, and what goes on.

use prost::Message;
use quorate_core::{name::LedgerName, position::Micros};
use quorate_ledger::{
    block::{Condition, Request, Write},
    outcome::{Rejection, RequestOutcome},
    system::{FreezeRecord, FreezeState, MAX_FREEZE_REASON, frozen_key},
};

use super::support::{
    replica::{Replica, START, birth, block, origin},
    requests::{delete, erase, provided, put, put_until, request},
};

fn name(name: &str) -> LedgerName {
    LedgerName::new(name).unwrap()
}

fn document(ledger: &str, state: FreezeState, reason: &str) -> Write {
    let ledger = name(ledger);
    put(&frozen_key(&ledger), &FreezeRecord::new(&ledger, state, reason).encode_to_vec())
}

fn ask(key: &str, writes: impl IntoIterator<Item = Write>) -> Request {
    request("_system", key, Micros::new(START + 60_000_000), writes)
}

fn to(ledger: &str, key: &str) -> Request {
    request(ledger, key, Micros::new(START + 60_000_000), [put(key.as_bytes(), b"v")])
}

fn frozen(ledger: &str, reason: &str) -> RequestOutcome {
    RequestOutcome::Rejected(Rejection::Frozen { ledger: name(ledger), reason: reason.to_owned() })
}

fn committed(outcome: &RequestOutcome) -> bool {
    matches!(outcome, RequestOutcome::Committed(_))
}

#[test]
fn a_frozen_ledger_takes_nothing_from_the_next_block_on_and_answers_what_it_knows() {
    let mut replica = Replica::with_ledgers(0, &["a", "b"]);
    let freeze = ask("freeze", [document("a", FreezeState::Frozen, "the disk is full")]);
    // In the block itself the ledger still takes what is in it, before the document and behind it.
    let outcomes =
        replica.apply(&block(START, [to("a", "before"), freeze, to("a", "behind")])).outcome.requests;
    assert!(outcomes.iter().all(committed), "{outcomes:?}");
    let head = replica.head("a").clone();
    let refused = frozen("a", "the disk is full");
    let forms = [
        to("a", "new"),
        request("a", "delete", Micros::new(START + 60_000_000), [delete(b"before")]),
        request("a", "erase", Micros::new(START + 60_000_000), [erase(b"before", 1)]),
        // Late, empty and conditional ones too: what else is wrong does not matter.
        request("a", "late", Micros::new(START - 1), [put(b"k", b"v")]),
        request("a", "empty", Micros::new(START + 60_000_000), []),
        provided(to("a", "conditional"), b"before", Condition::MustNotExist(true)),
    ];
    for request in forms {
        assert_eq!(replica.ask(START, request), refused);
    }
    assert_eq!(*replica.head("a"), head);
    for key in ["before", "behind"] {
        let again = replica.ask(START, to("a", key));
        assert!(matches!(again, RequestOutcome::Known { .. }), "{key}: {again:?}");
    }
    // The others are not touched, and neither are births.
    assert!(committed(&replica.ask(START, to("b", "new"))));
    assert!(committed(&replica.ask(START, birth(&origin(), "c"))));
    // A restart changes nothing, and a thaw holds from the block after it.
    replica.restart();
    assert_eq!(replica.ask(START, to("a", "new")), refused);
    let thaw = ask("thaw", [document("a", FreezeState::Thawed, "")]);
    let outcomes = replica.apply(&block(START, [thaw, to("a", "new")])).outcome.requests;
    assert!(committed(&outcomes[0]) && outcomes[1] == refused, "{outcomes:?}");
    assert!(committed(&replica.ask(START, to("a", "new"))));
    assert!(replica.store.cluster.frozen.is_empty());
}

#[test]
fn of_two_who_decide_on_the_same_picture_one_is_refused() {
    let mut replica = Replica::with_ledgers(0, &["a"]);
    let key = frozen_key(&name("a"));
    let conditional = |word: &str, state, revision| {
        provided(ask(word, [document("a", state, word)]), &key, Condition::RevisionEquals(revision))
    };
    let two = [conditional("one", FreezeState::Frozen, 0), conditional("other", FreezeState::Thawed, 0)];
    let outcomes = replica.apply(&block(START, two)).outcome.requests;
    assert!(committed(&outcomes[0]), "{outcomes:?}");
    assert!(matches!(outcomes[1], RequestOutcome::Rejected(Rejection::Precondition { .. })), "{outcomes:?}");
    assert_eq!(replica.ask(START, to("a", "new")), frozen("a", "one"));
    // Without a condition the last one counts, in one block too.
    let both = [
        ask("thaw", [document("a", FreezeState::Thawed, "")]),
        ask("freeze", [document("a", FreezeState::Frozen, "again")]),
    ];
    assert!(replica.apply(&block(START, both)).outcome.requests.iter().all(committed));
    assert_eq!(replica.ask(START, to("a", "new")), frozen("a", "again"));
}

#[test]
fn what_a_document_may_not_say_is_refused() {
    let mut replica = Replica::with_ledgers(0, &["a", "_audit"]);
    let record = |change: fn(&mut FreezeRecord)| {
        let mut record = FreezeRecord::new(&name("a"), FreezeState::Frozen, "");
        change(&mut record);
        put(&frozen_key(&name("a")), &record.encode_to_vec())
    };
    let long = "x".repeat(MAX_FREEZE_REASON + 1);
    let wrong = [
        (document("missing", FreezeState::Frozen, ""), "key"),
        (document("_system", FreezeState::Frozen, ""), "key"),
        (document("_audit", FreezeState::Frozen, ""), "key"),
        (put(b"frozen/Not A Name", b""), "key"),
        (put(b"frozen/\xff", b""), "key"),
        (put(b"frozen/", b""), "key"),
        (delete(&frozen_key(&name("a"))), "key"),
        (put_until(&frozen_key(&name("a")), b"", START + 1), "put.expires_at"),
        (record(|record| record.ledger = "b".to_owned()), "put.value"),
        (record(|record| record.state = 0), "put.value"),
        (record(|record| record.state = 3), "put.value"),
        (document("a", FreezeState::Frozen, &long), "put.value"),
        (put(&frozen_key(&name("a")), b"\x08"), "put.value"),
    ];
    replica.ask(START, ask("there is something to delete", [document("a", FreezeState::Thawed, "")]));
    for (number, (write, field)) in wrong.into_iter().enumerate() {
        match replica.ask(START, ask("wrong", [write])) {
            RequestOutcome::Rejected(Rejection::Malformed { field: found, problem }) => {
                assert_eq!(found, format!("writes[0].{field}"), "{number}: {problem}");
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(replica.store.cluster.frozen.is_empty());
    // One that is born in the block, or was frozen with the longest reason, is as good as any.
    let longest = "x".repeat(MAX_FREEZE_REASON);
    let born = [birth(&origin(), "b"), ask("born", [document("b", FreezeState::Frozen, &longest)])];
    assert!(replica.apply(&block(START, born)).outcome.requests.iter().all(committed));
    assert_eq!(replica.ask(START, to("b", "new")), frozen("b", &longest));
}
