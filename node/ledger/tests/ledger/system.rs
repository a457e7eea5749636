//! The documents of `_system`: what they change, when, and what is refused.

use prost::{Message, bytes::Bytes};
use quorate_core::{
    entry::Leaf,
    name::LedgerName,
    position::{Epoch, Micros},
};
use quorate_ledger::{
    apply::ApplyError,
    block::{Condition, Request, Write},
    outcome::{Rejection, RequestOutcome},
    system::{
        COSIGNERS_KEY, Cosigner, CosignerSet, FreezeRecord, FreezeState, LedgerRecord, SETTINGS_KEY,
        SettingsRecord, Unreadable, check_known, frozen_key, ledger_key,
    },
    view::Settings,
};

use super::support::{
    nodes::{founders, record_of},
    replica::{Replica, START, birth, block, origin, record},
    requests::{delete, erase, provided, put, put_until, request},
};

fn cosigner(node: u8) -> Cosigner {
    record_of(node).cosigner()
}

fn set(epoch: u64) -> CosignerSet {
    CosignerSet { epoch, cosigners: (1..=3).map(cosigner).collect() }
}

/// The first set, and the records of its nodes.
fn founding() -> Vec<Write> {
    founders(&[1, 2, 3])
}

fn ask(key: &str, writes: impl IntoIterator<Item = Write>) -> Request {
    request("_system", key, Micros::new(START + 60_000_000), writes)
}

#[track_caller]
fn refused(replica: &mut Replica, write: Write, field: &str) {
    let before = replica.store.clone();
    match replica.ask(START, ask("refused", [put(SETTINGS_KEY, &good_settings()), write])) {
        RequestOutcome::Rejected(Rejection::Malformed { field: found, problem }) => {
            assert_eq!(found, format!("writes[1].{field}"), "{problem}");
        }
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(replica.store.heads, before.heads);
    assert_eq!(replica.store.cluster.settings, before.cluster.settings);
}

fn good_settings() -> Vec<u8> {
    SettingsRecord { max_not_after_us: 1_000_000, max_value_len: 10 }.encode_to_vec()
}

fn epoch_of(commit_leaf: &[u8]) -> u64 {
    match Leaf::decode(commit_leaf).unwrap() {
        Leaf::Commit(commit) => commit.epoch.get(),
        other => panic!("no commit leaf: {other:?}"),
    }
}

#[test]
fn a_cluster_begins_with_the_ledger_system_at_epoch_0() {
    let replica = Replica::with_ledgers(0, &[]);
    assert_eq!(replica.store.cluster.origin, Some(origin()));
    assert_eq!(replica.head("_system").frontier.size().get(), 1);
    assert_eq!(replica.id("_system").0, 0);
    assert_eq!(replica.store.cluster.epoch, Epoch::new(0));
    assert_eq!(replica.store.cluster.settings, Settings::default());
}

#[test]
fn one_request_sets_up_a_cluster() {
    let mut replica = Replica::with_ledgers(0, &[]);
    let name = LedgerName::new("default").unwrap();
    let setup = ask(
        "setup",
        [
            put(SETTINGS_KEY, &SettingsRecord::from(Settings::default()).encode_to_vec()),
            put(&ledger_key(&name), &record(&origin(), &name).encode_to_vec()),
        ]
        .into_iter()
        .chain(founding()),
    );
    let effects = replica.apply(&block(START, [setup]));
    assert!(matches!(effects.outcome.requests[0], RequestOutcome::Committed(_)));
    let ids: Vec<_> = effects.ledgers.iter().map(|ledger| (ledger.id().0, ledger.born)).collect();
    assert_eq!(ids, [(0, false), (1, true)]);
    assert!(effects.ledgers.iter().all(|ledger| epoch_of(&ledger.commit_leaf) == 0));
    assert_eq!(replica.store.cluster.epoch, Epoch::new(1));
    let next = request("default", "1", Micros::new(START), [put(b"k", b"v")]);
    let effects = replica.apply(&block(START, [next]));
    assert_eq!(epoch_of(&effects.ledgers[0].commit_leaf), 1);
}

#[test]
fn cosigners_and_settings_hold_from_the_next_block_on() {
    let mut replica = Replica::with_ledgers(0, &["a"]);
    let long = |key: &str| request("a", key, Micros::new(START), [put(b"k", b"longer than 10")]);
    let change = ask("1", [put(SETTINGS_KEY, &good_settings())].into_iter().chain(founding()));
    let effects = replica.apply(&block(START, [change, long("1")]));
    assert!(effects.outcome.requests.iter().all(|outcome| matches!(outcome, RequestOutcome::Committed(_))));
    assert!(effects.ledgers.iter().all(|ledger| epoch_of(&ledger.commit_leaf) == 0));
    assert_eq!(effects.cluster.settings, Settings { max_not_after_us: 1_000_000, max_value_len: 10 });
    let refusal = replica.ask(START, long("2"));
    assert!(matches!(refusal, RequestOutcome::Rejected(Rejection::Malformed { .. })), "{refusal:?}");
    // Two sets in one block: the second follows the first.
    let second = Request { not_after: START, ..ask("2", [put(COSIGNERS_KEY, &set(2).encode_to_vec())]) };
    let third = Request { not_after: START, ..ask("3", [put(COSIGNERS_KEY, &set(3).encode_to_vec())]) };
    for request in [second, third] {
        let limit = replica.ask(START, request);
        assert!(
            matches!(limit, RequestOutcome::Rejected(Rejection::Malformed { .. })),
            "longer than 10: {limit:?}"
        );
    }
}

#[test]
fn a_block_changes_the_set_at_most_once() {
    let mut replica = Replica::with_ledgers(0, &[]);
    let second = || ask("2", [put(COSIGNERS_KEY, &set(2).encode_to_vec())]);
    let effects = replica.apply(&block(START, [ask("1", founding()), second()]));
    let [RequestOutcome::Committed(_), RequestOutcome::Rejected(Rejection::Malformed { problem, .. })] =
        &effects.outcome.requests[..]
    else {
        panic!("{:?}", effects.outcome.requests)
    };
    assert!(problem.contains("send the request again"), "{problem}");
    assert_eq!(effects.cluster.epoch, Epoch::new(1));
    assert!(matches!(replica.ask(START, second()), RequestOutcome::Committed(_)));
    assert_eq!(replica.store.cluster.epoch, Epoch::new(2));
}

#[test]
fn a_name_is_never_used_twice() {
    let mut replica = Replica::with_ledgers(0, &["a"]);
    for name in ["a", "_system"] {
        let name = LedgerName::new(name).unwrap();
        let write = put(&ledger_key(&name), &record(&origin(), &name).encode_to_vec());
        refused(&mut replica, write, "key");
    }
    let twice = || birth(&origin(), "b");
    let again = Request { idempotency_key: Bytes::from_static(b"again"), ..twice() };
    let outcomes = replica.apply(&block(START, [twice(), again])).outcome.requests;
    assert!(matches!(outcomes[0], RequestOutcome::Committed(_)));
    assert!(matches!(outcomes[1], RequestOutcome::Rejected(Rejection::Malformed { .. })), "{outcomes:?}");
    assert!(matches!(replica.ask(START, birth(&origin(), "_audit")), RequestOutcome::Committed(_)));
}

#[test]
fn only_documents_are_written_and_they_stay() {
    let replica = &mut Replica::with_ledgers(0, &["a"]);
    let name = LedgerName::new("a").unwrap();
    refused(replica, delete(&ledger_key(&name)), "key");
    refused(replica, erase(&ledger_key(&name), 1), "key");
    refused(replica, put(b"ledgers/", b""), "key");
    refused(replica, put(b"ledgers/Not A Name", b""), "key");
    refused(replica, put(b"ledgers/\xff", b""), "key");
    refused(replica, put_until(COSIGNERS_KEY, &set(1).encode_to_vec(), START + 9), "put.expires_at");
}

#[test]
fn a_document_has_one_encoding() {
    let replica = &mut Replica::with_ledgers(0, &[]);
    let good = set(1).encode_to_vec();
    let unknown_field = [&good[..], b"\x18\x01"].concat();
    let not_canonical = [&[0x08, 0x81, 0x00], &good[2..]].concat();
    assert_eq!(CosignerSet::decode(&*not_canonical).unwrap(), set(1));
    refused(replica, put(COSIGNERS_KEY, &good[..good.len() - 1]), "put.value");
    for bytes in [&unknown_field, &not_canonical] {
        newer(replica, put(COSIGNERS_KEY, bytes), "cosigners");
    }
}

/// A document of a newer version is committed: it is no rejection, with which this replica would go on differently.
#[track_caller]
fn newer(replica: &mut Replica, write: Write, named: &str) {
    let heads = replica.store.heads.clone();
    let (key, value) = (write.key.clone(), write.put.as_ref().unwrap().value.clone());
    match replica.try_apply(&block(START, [ask("newer", [write])])) {
        Err(ApplyError::Newer(document)) => assert!(document.contains(named), "{document}"),
        other => panic!("it went on: {other:?}"),
    }
    assert_eq!(replica.store.heads, heads);
    replica.restart();
    let found = check_known(&key, &value);
    assert!(matches!(found, Err(Unreadable::Newer(_))), "{found:?}");
}

#[test]
fn what_a_newer_version_writes_stops_a_replica() {
    let replica = &mut Replica::with_ledgers(0, &["a"]);
    replica.apply(&block(START, [ask("found", founding())]));
    for key in [&b"something"[..], b"nodes", b"frozen", b"policies/a"] {
        newer(replica, put(key, b""), &key.escape_ascii().to_string());
    }
    let with_field = |bytes: Vec<u8>| [&bytes[..], b"\xf8\x01\x01"].concat();
    let name = LedgerName::new("a").unwrap();
    let documents = [
        (COSIGNERS_KEY.to_vec(), set(2).encode_to_vec()),
        (SETTINGS_KEY.to_vec(), good_settings()),
        (b"nodes/4".to_vec(), record_of(4).encode_to_vec()),
        (ledger_key(&LedgerName::new("b").unwrap()), record(&origin(), &name).encode_to_vec()),
        (frozen_key(&name), FreezeRecord::new(&name, FreezeState::Frozen, "").encode_to_vec()),
    ];
    for (key, document) in documents {
        assert_eq!(check_known(&key, &document.clone().into()), Ok(()));
        newer(replica, put(&key, &with_field(document)), &key.escape_ascii().to_string());
    }
    let unreadable = check_known(SETTINGS_KEY, &Bytes::from_static(b"\x08"));
    assert!(matches!(unreadable, Err(Unreadable::Malformed(_))), "{unreadable:?}");
    // One whose conditions do not hold is judged by them, on every version alike.
    let request = ask("newer", [put(b"something", b"")]);
    let request = provided(request, b"something", Condition::MustExist(true));
    let outcome = replica.ask(START, request);
    assert!(matches!(outcome, RequestOutcome::Rejected(Rejection::Precondition { .. })), "{outcome:?}");
}

#[test]
fn a_cosigner_set_that_contradicts_itself_or_the_cluster_is_refused() {
    let replica = &mut Replica::with_ledgers(0, &[]);
    let mut refuse = |change: fn(&mut CosignerSet)| {
        let mut set = set(1);
        change(&mut set);
        refused(replica, put(COSIGNERS_KEY, &set.encode_to_vec()), "put.value");
    };
    refuse(|set| set.epoch = 0);
    refuse(|set| set.epoch = 2);
    refuse(|set| set.cosigners.clear());
    refuse(|set| set.cosigners.swap(0, 1));
    refuse(|set| set.cosigners[1] = set.cosigners[0].clone());
    refuse(|set| set.cosigners[0].node_id = 0);
    refuse(|set| set.cosigners[0].vkey = set.cosigners[1].vkey.clone());
    refuse(|set| set.cosigners[0].vkey.push('x'));
    refuse(|set| set.cosigners[0].vkey = record(&origin(), &LedgerName::system()).log_vkey);
    refuse(|set| set.cosigners[0].block_public_key.truncate(31));
    refuse(|set| set.cosigners[0].block_public_key = set.cosigners[2].block_public_key.clone());
    refuse(|set| set.cosigners[0].peer_address.clear());
    refuse(|set| set.cosigners[0].client_address = "x".repeat(256));
}

#[test]
fn a_ledger_record_that_contradicts_its_key_is_refused() {
    let replica = &mut Replica::with_ledgers(0, &[]);
    let name = LedgerName::new("new").unwrap();
    let mut refuse = |change: fn(&mut LedgerRecord)| {
        let mut record = record(&origin(), &name);
        change(&mut record);
        refused(replica, put(&ledger_key(&name), &record.encode_to_vec()), "put.value");
    };
    let other = || record(&origin(), &LedgerName::new("other").unwrap());
    assert_ne!(other().log_vkey, record(&origin(), &name).log_vkey);
    refuse(|record| record.name.push('x'));
    refuse(|record| record.origin.push('x'));
    refuse(|record| record.log_vkey.clear());
    refuse(|record| record.log_vkey = self::record(&origin(), &LedgerName::system()).log_vkey);
    refuse(|record| record.log_vkey = cosigner(1).vkey);
}

#[test]
fn settings_stay_within_what_the_formats_allow() {
    let replica = &mut Replica::with_ledgers(0, &[]);
    for (max_not_after_us, max_value_len) in [(0, 1), (900_000_001, 1), (1, 0), (1, (32 << 20) + 1)] {
        let record = SettingsRecord { max_not_after_us, max_value_len };
        let write = Write { key: Bytes::from_static(SETTINGS_KEY), ..put(b"", &record.encode_to_vec()) };
        let outcome = replica.ask(START, ask("1", [write]));
        let RequestOutcome::Rejected(Rejection::Malformed { field, .. }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(field, "writes[0].put.value");
    }
}
