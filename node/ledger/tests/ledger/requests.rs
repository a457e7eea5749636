//! What becomes of requests, one rule at a time.

use prost::bytes::Bytes;
use quorate_core::{
    entry::{Leaf, MAX_LEDGERS_PER_BLOCK, Operation},
    position::{LogIndex, Micros, Revision},
};
use quorate_ledger::{
    block::{Condition, Request, Write},
    outcome::{KeyState, Rejection, RequestOutcome},
};

use super::support::{
    replica::{Replica, START, birth, block, origin},
    requests::{delete, erase, provided, put, put_until, request},
};

const SECOND: u64 = 1_000_000;

/// A request to ledger `a` that stays valid for a minute.
fn ask(key: &str, writes: impl IntoIterator<Item = Write>) -> Request {
    request("a", key, Micros::new(START + 60 * SECOND), writes)
}

fn replica() -> Replica {
    Replica::with_ledgers(1 << 20, &["a", "b"])
}

#[track_caller]
fn committed_at(outcome: RequestOutcome) -> u64 {
    match outcome {
        RequestOutcome::Committed(committed) => committed.index.get(),
        other => panic!("not committed: {other:?}"),
    }
}

#[track_caller]
fn rejection(outcome: RequestOutcome) -> Rejection {
    match outcome {
        RequestOutcome::Rejected(rejection) => rejection,
        other => panic!("not rejected: {other:?}"),
    }
}

/// Asks, expects a rejection, and checks that it left nothing.
#[track_caller]
fn refused(replica: &mut Replica, time: u64, request: Request) -> Rejection {
    let before = replica.store.clone();
    let found = rejection(replica.ask(time, request));
    assert_eq!(replica.store.heads, before.heads);
    assert_eq!(replica.store.leaves, before.leaves);
    assert_eq!(replica.store.contents, before.contents);
    found
}

#[track_caller]
fn assert_malformed(replica: &mut Replica, request: Request, expected: &str) {
    match refused(replica, START, request) {
        Rejection::Malformed { field, problem } => assert_eq!(field, expected, "{problem}"),
        other => panic!("not malformed: {other}"),
    }
}

fn state(index: u64, revision: u64, exists: bool) -> KeyState {
    KeyState { newest: Some((LogIndex::new(index), Revision::new(revision))), exists }
}

const NEVER: KeyState = KeyState { newest: None, exists: false };

#[test]
fn a_ledger_is_born_with_one_commit_leaf_and_takes_requests_from_the_next_block() {
    let mut replica = Replica::with_ledgers(0, &[]);
    let not_yet = request("a", "1", Micros::new(START), [put(b"k", b"v")]);
    let effects = replica.apply(&block(START + 5, [birth(&origin(), "a"), not_yet.clone()]));
    assert_eq!(
        effects.outcome.requests[1],
        RequestOutcome::Rejected(Rejection::UnknownLedger { ledger: "a".to_owned() })
    );
    assert_eq!(effects.ledgers.len(), 2);
    assert!(effects.ledgers[1].born && effects.ledgers[1].leaf_hashes.len() == 1);
    let Leaf::Commit(commit) = Leaf::decode(&effects.ledgers[1].commit_leaf).unwrap() else { panic!() };
    assert_eq!((commit.first_index.get(), commit.tx_count, commit.time.get()), (0, 0, START + 5));
    assert_eq!(effects.outcome.checkpoints.len(), 2);
    let again = Request { not_after: START + 60, ..not_yet };
    assert_eq!(committed_at(replica.ask(START, again)), 1);
}

#[test]
fn a_block_that_commits_nothing_in_a_ledger_leaves_it_as_it_is() {
    let mut replica = replica();
    let effects = replica.apply(&block(START + 1, []));
    assert!(effects.ledgers.is_empty() && effects.outcome.checkpoints.is_empty());
    refused(&mut replica, START + 2, ask("1", [delete(b"k")]));
    assert_eq!(replica.head("a").time.get(), START);
}

#[test]
fn a_blocks_time_never_steps_back_in_a_ledger() {
    let mut replica = replica();
    committed_at(replica.ask(START + 10, ask("1", [put(b"k", b"1")])));
    committed_at(replica.ask(START + 3, ask("2", [put(b"k", b"2")])));
    assert_eq!(replica.head("a").time.get(), START + 10);
    // The other ledger has a time of its own.
    committed_at(replica.ask(START + 3, Request { ledger: "b".to_owned(), ..ask("3", [put(b"k", b"2")]) }));
    assert_eq!(replica.head("b").time.get(), START + 3);
}

#[test]
fn a_request_is_valid_up_to_its_time_and_not_too_far_ahead() {
    let mut replica = replica();
    let at = |not_after| Request { not_after, ..ask("1", [put(b"k", b"v")]) };
    let (time, not_after) = (Micros::new(START), Micros::new(START - 1));
    assert_eq!(refused(&mut replica, START, at(START - 1)), Rejection::TooLate { not_after, time });
    let limit_us = 15 * 60 * SECOND;
    let not_after = Micros::new(START + limit_us + 1);
    assert_eq!(
        refused(&mut replica, START, at(not_after.get())),
        Rejection::TooFarAhead { not_after, time, limit_us }
    );
    committed_at(replica.ask(START, at(START)));
    committed_at(
        replica.ask(START, Request { idempotency_key: Bytes::from_static(b"2"), ..at(START + limit_us) }),
    );
}

#[test]
fn a_known_request_is_answered_until_its_time_and_judged_anew_after_it() {
    let mut replica = replica();
    let first = Request { not_after: START + 10, ..ask("1", [put(b"k", b"v")]) };
    let outcomes = replica.apply(&block(START, [first.clone(), first.clone()])).outcome.requests;
    assert_eq!(committed_at(outcomes[0].clone()), 1);
    assert_eq!(outcomes[1], RequestOutcome::Known { index: LogIndex::new(1) });
    let other = Request { writes: vec![delete(b"nothing")], not_after: 0, ..first.clone() };
    assert_eq!(replica.ask(START + 10, other), RequestOutcome::Known { index: LogIndex::new(1) });
    // The block's clock stands at START + 3, but the ledger is at START + 11 already.
    committed_at(replica.ask(START + 11, ask("other", [put(b"k", b"w")])));
    assert!(matches!(refused(&mut replica, START + 3, first.clone()), Rejection::TooLate { .. }));
    let renewed = Request { not_after: START + 30, ..first.clone() };
    assert_eq!(committed_at(replica.ask(START + 11, renewed.clone())), 5);
    assert_eq!(replica.ask(START + 12, first), RequestOutcome::Known { index: LogIndex::new(5) });
    let of_another = Request { author: "zoë".to_owned(), ..renewed };
    assert_eq!(committed_at(replica.ask(START + 12, of_another)), 7);
}

#[test]
fn a_rejected_request_is_judged_again() {
    let mut replica = replica();
    let wish = provided(ask("1", [put(b"k", b"v")]), b"other", Condition::MustExist(true));
    refused(&mut replica, START, wish.clone());
    committed_at(replica.ask(START, ask("2", [put(b"other", b"v")])));
    committed_at(replica.ask(START, wish));
}

#[test]
fn preconditions_see_the_key_as_it_is_at_their_place_in_the_log() {
    let mut replica = replica();
    committed_at(replica.ask(START, ask("1", [put(b"k", b"1"), put_until(b"soon", b"1", START + 5)])));
    let cases = [
        (b"k".as_slice(), Condition::MustExist(true), None),
        (b"k", Condition::MustNotExist(true), Some(state(1, 1, true))),
        (b"k", Condition::RevisionEquals(1), None),
        (b"k", Condition::RevisionEquals(0), Some(state(1, 1, true))),
        (b"k", Condition::NotModifiedAfter(1), None),
        (b"k", Condition::NotModifiedAfter(0), Some(state(1, 1, true))),
        (b"no", Condition::MustExist(true), Some(NEVER)),
        (b"no", Condition::MustNotExist(true), None),
        (b"no", Condition::RevisionEquals(0), None),
        (b"no", Condition::RevisionEquals(1), Some(NEVER)),
        (b"no", Condition::NotModifiedAfter(0), None),
        (b"soon", Condition::MustExist(true), Some(state(1, 1, false))),
        (b"soon", Condition::MustNotExist(true), None),
        (b"soon", Condition::RevisionEquals(1), None),
    ];
    for (number, (key, condition, refusal)) in cases.into_iter().enumerate() {
        let mut asked = ask(&format!("case {number}"), [put(b"x", b"")]);
        asked = provided(asked, b"k", Condition::MustExist(true));
        asked = provided(asked, key, condition);
        match refusal {
            None => _ = committed_at(replica.ask(START + 5, asked)),
            Some(state) => {
                let expected = Rejection::Precondition { position: 1, state };
                assert_eq!(refused(&mut replica, START + 5, asked), expected, "{condition:?}");
            }
        }
    }
    // One microsecond before it expires it is there; and requests of one block see each other.
    let mut replica = self::replica();
    let first = ask("1", [put_until(b"k", b"1", START + 5)]);
    let second = provided(ask("2", [delete(b"k")]), b"k", Condition::MustExist(true));
    let third = provided(ask("3", [put(b"k", b"3")]), b"k", Condition::RevisionEquals(2));
    let outcomes = replica.apply(&block(START + 4, [first, second, third])).outcome.requests;
    assert_eq!(outcomes.into_iter().map(committed_at).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn only_what_is_put_is_deleted_expired_or_not() {
    let mut replica = replica();
    let never = Rejection::DeleteOfAbsent { position: 1, state: NEVER };
    assert_eq!(refused(&mut replica, START, ask("1", [put(b"a", b""), delete(b"k")])), never);
    committed_at(replica.ask(START, ask("2", [put_until(b"k", b"1", START + 1)])));
    committed_at(replica.ask(START + 2, ask("3", [delete(b"k")])));
    let state = state(3, 2, false);
    let deleted = Rejection::DeleteOfAbsent { position: 0, state };
    assert_eq!(refused(&mut replica, START + 2, ask("4", [delete(b"k")])), deleted);
    committed_at(replica.ask(START + 2, ask("5", [put(b"k", b"2")])));
    assert_eq!(replica.store.leaves.len(), 3, "the two records of _system, and the key");
}

#[test]
fn an_erase_destroys_what_was_written_and_changes_no_state() {
    let mut replica = replica();
    committed_at(replica.ask(START, ask("1", [put(b"k", b"1")])));
    committed_at(replica.ask(START, ask("2", [put(b"k", b"2")])));
    let root = replica.head("a").state_root;
    let outcome = replica.ask(START, ask("3", [erase(b"k", 1)]));
    let RequestOutcome::Committed(committed) = &outcome else { panic!("{outcome:?}") };
    let operation = Operation::decode(&committed.operations[0]).unwrap();
    assert_eq!((operation.revision.get(), operation.prev_index), (1, Some(LogIndex::new(1))));
    assert_eq!(replica.head("a").state_root, root);
    let values = |replica: &Replica| {
        let values = replica.store.contents.iter().filter(|((id, ..), _)| *id == replica.id("a"));
        values.map(|(_, content)| content.value.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(values(&replica), [b"2"]);
    for (key, revision) in [("4", 0), ("5", 3)] {
        let expected = Rejection::EraseOfUnknown {
            position: 0,
            revision: Revision::new(revision),
            state: state(3, 2, true),
        };
        assert_eq!(refused(&mut replica, START, ask(key, [erase(b"k", revision)])), expected);
    }
    // Written and erased in one block; and once more, which changes nothing.
    let both = [ask("6", [put(b"k", b"3")]), ask("7", [put(b"k", b"4")]), ask("8", [erase(b"k", 3)])];
    let effects = replica.apply(&block(START, both));
    assert_eq!(effects.ledgers[0].transactions[0].contents, [None]);
    assert!(effects.ledgers[0].erased.is_empty());
    committed_at(replica.ask(START, ask("9", [erase(b"k", 3), put(b"other", b"")])));
    assert_eq!(values(&replica), [b"2".to_vec(), b"4".to_vec(), b"".to_vec()]);
}

/// A well-formed request of two puts, changed.
fn flawed(change: impl FnOnce(&mut Request)) -> Request {
    let mut request = ask("1", [put(b"k", b"v"), put(b"l", b"v")]);
    change(&mut request);
    request
}

/// As many puts as this.
fn many(count: u32) -> Request {
    ask("1", (0..count).map(|number| put(&number.to_be_bytes(), b"")))
}

#[test]
fn a_malformed_request_names_its_field() {
    let replica = &mut replica();
    let mut check = |request, field| assert_malformed(replica, request, field);
    check(ask("", [put(b"k", b"v")]), "idempotency_key");
    check(ask(&"x".repeat(65), [put(b"k", b"v")]), "idempotency_key");
    check(flawed(|request| request.author = "x".repeat(256)), "author");
    check(flawed(|request| request.meta_salt.truncate(15)), "meta_salt");
    check(flawed(|request| request.writes.clear()), "writes");
    check(many(4_097), "writes");
}

#[test]
fn a_malformed_write_names_its_field() {
    let replica = &mut replica();
    let mut check = |change: fn(&mut Write), field: &str| {
        let request = flawed(|request| change(&mut request.writes[1]));
        assert_malformed(replica, request, &format!("writes[1].{field}"));
    };
    check(|write| write.key.clear(), "key");
    check(|write| write.key = vec![b'k'; 1_025].into(), "key");
    check(|write| *write = delete(b"k"), "key");
    check(|write| write.put.as_mut().unwrap().salt.truncate(15), "put.salt");
    check(|write| write.put.as_mut().unwrap().attributes = vec![0; 65_537].into(), "put.attributes");
    check(|write| write.put.as_mut().unwrap().value = vec![0; (4 << 20) + 1].into(), "put.value");
    check(|write| write.erase = Some(1), "erase");
}

#[test]
fn a_malformed_precondition_names_its_field() {
    let replica = &mut replica();
    let mut check = |key: &[u8], condition, field: &str| {
        let mut request = provided(flawed(|_| ()), b"k", Condition::MustNotExist(true));
        request = provided(request, key, Condition::RevisionEquals(0));
        request.preconditions[1].condition = condition;
        assert_malformed(replica, request, &format!("preconditions[1].{field}"));
    };
    check(b"", Some(Condition::MustExist(true)), "key");
    check(&[b'k'; 1_025], Some(Condition::MustExist(true)), "key");
    check(b"k", Some(Condition::MustExist(false)), "must_exist");
    check(b"k", Some(Condition::MustNotExist(false)), "must_not_exist");
    check(b"k", None, "condition");
    let mut too_many = provided(flawed(|_| ()), b"k", Condition::MustNotExist(true));
    too_many.preconditions = vec![too_many.preconditions[0].clone(); 4_097];
    assert_malformed(replica, too_many, "preconditions");
}

#[test]
fn requests_may_go_to_the_limits() {
    let replica = &mut replica();
    committed_at(replica.ask(START, many(4_096)));
    let mut largest = put(&[b'k'; 1_024], &vec![0; 4 << 20]);
    largest.put.as_mut().unwrap().attributes = vec![0; 65_536].into();
    let mut request = ask(&"x".repeat(64), [largest]);
    request.author = "x".repeat(255);
    committed_at(replica.ask(START, request));
}

#[test]
fn an_unknown_ledger_is_named() {
    let replica = &mut replica();
    for ledger in ["c", "", "_audit", "Not a name", "node"] {
        let asked = Request { ledger: ledger.to_owned(), ..ask("1", [put(b"k", b"v")]) };
        let expected = Rejection::UnknownLedger { ledger: ledger.to_owned() };
        assert_eq!(refused(replica, START, asked), expected);
    }
}

#[test]
fn a_block_touches_at_most_64_ledgers() {
    let names: Vec<_> = (0..=MAX_LEDGERS_PER_BLOCK).map(|number| format!("l{number}")).collect();
    let mut replica = Replica::with_ledgers(0, &[]);
    for half in names.chunks(33) {
        replica.apply(&block(START, half.iter().map(|name| birth(&origin(), name))));
    }
    let to = |name: &String, key: &str| request(name, key, Micros::new(START), [put(b"k", b"v")]);
    let mut requests: Vec<_> = names.iter().map(|name| to(name, "1")).collect();
    // A rejected request does not count, and a ledger touched already takes more.
    requests.insert(0, Request { writes: vec![delete(b"k")], ..to(&names[64], "0") });
    requests.push(to(&names[0], "2"));
    let outcomes = replica.apply(&block(START, requests)).outcome.requests;
    let rejected: Vec<_> = (0..)
        .zip(&outcomes)
        .filter(|(_, outcome)| matches!(outcome, RequestOutcome::Rejected(Rejection::TooManyLedgers)))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(rejected, [65]);
    assert!(matches!(outcomes[66], RequestOutcome::Committed(_)));
    // A birth counts like a transaction, and so does the registration in _system.
    let mut requests: Vec<_> = names[..62].iter().map(|name| to(name, "3")).collect();
    requests.extend([birth(&origin(), "new"), birth(&origin(), "newer")]);
    let effects = replica.apply(&block(START, requests));
    assert_eq!(effects.ledgers.len(), 64);
    assert_eq!(effects.outcome.requests[63], RequestOutcome::Rejected(Rejection::TooManyLedgers));
}

#[test]
fn what_a_block_asks_for_is_read_once_and_in_the_order_of_the_store() {
    let key = |number: u32| format!("key/{:05}", number * 7_919 % 50_021).into_bytes();
    let filling = |part: u32| {
        let writes = (part * 1_000..part * 1_000 + 1_000).map(|number| put(&key(number), b"old"));
        ask(&format!("fill {part}"), writes)
    };
    let mut replica = Replica::with_ledgers(16 << 20, &["a", "b"]);
    replica.apply(&block(START, (0..5).map(filling)));
    let mut cold = Replica::with_ledgers(16 << 20, &["a", "b"]);
    cold.apply(&block(START, (0..5).map(filling)));
    cold.restart();
    cold.store.buckets_read.borrow_mut().clear();

    let malformed = ask("malformed", [put(b"", b"x"), put(&[b'k'; 5_000], b"x")]);
    let conditional =
        provided(ask("conditional", [put(&key(1), b"new")]), &key(4_999), Condition::MustNotExist(true));
    let one = ask("one", (0..300).map(|number| put(&key(number * 3), b"new")));
    let two = ask("two", (0..300).map(|number| delete(&key(4_000 - number))));
    let asked = block(START + SECOND, [malformed, conditional, one, two]);
    let (warm, read) = (replica.apply(&asked), cold.apply(&asked));
    assert_eq!(read.outcome, warm.outcome);
    assert_eq!(read.ledgers[0].head, warm.ledgers[0].head);
    assert!(matches!(
        read.outcome.requests[..],
        [
            RequestOutcome::Rejected(Rejection::Malformed { .. }),
            RequestOutcome::Rejected(Rejection::Precondition { .. }),
            RequestOutcome::Committed(_),
            RequestOutcome::Committed(_)
        ]
    ));
    let order = cold.store.buckets_read.borrow();
    assert!(order.len() > 300 && order.is_sorted_by(|a, b| a < b), "{} reads", order.len());
}
