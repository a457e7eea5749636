//! Every bad field is refused by its name.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use quorate_proto::{
    convert::detail,
    v1::{self, precondition::Condition, scan_request::Keys, write::Write as Kind},
};
use tonic::{Code, Status};

use super::{
    CheckedCommit, CheckedCreate, Options, WriteLimits, get, get_many, history, list_range, scan, wait, which,
};

const LIMITS: WriteLimits = WriteLimits { value_len: 100 };

fn put(key: &[u8]) -> v1::Put {
    v1::Put { key: Bytes::copy_from_slice(key), ..v1::Put::default() }
}

fn write(put: v1::Put) -> v1::Write {
    v1::Write { write: Some(Kind::Put(put)) }
}

fn delete(key: &[u8]) -> v1::Write {
    v1::Write { write: Some(Kind::Delete(v1::Delete { key: Bytes::copy_from_slice(key) })) }
}

fn commit() -> v1::CommitRequest {
    v1::CommitRequest {
        ledger: "default".to_owned(),
        idempotency_key: "once".into(),
        not_after: 1,
        writes: vec![write(put(b"a")), delete(b"b")],
        ..v1::CommitRequest::default()
    }
}

fn precondition(key: &[u8], condition: Option<Condition>) -> v1::Precondition {
    v1::Precondition { key: Bytes::copy_from_slice(key), condition }
}

/// That this is refused as an invalid argument, for this reason, about this field.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Status>, reason: &str, field: &str) {
    let refusal = result.unwrap_err();
    let detail = detail(&refusal).unwrap();
    assert_eq!(
        (refusal.code(), detail.reason.as_str(), detail.field.as_str()),
        (Code::InvalidArgument, reason, field)
    );
    assert!(detail.no_effect && refusal.message().starts_with(field), "{refusal:?}");
}

#[test]
fn a_good_commit_passes() {
    let checked = CheckedCommit::new(commit(), LIMITS).unwrap();
    assert!(checked.certified && checked.writes.len() == 2);
    let most = v1::Put {
        key: vec![0; 1_024].into(),
        value: vec![0; 100].into(),
        attributes: vec![0; 64 << 10].into(),
        salt: vec![0; 16].into(),
        expires_at: u64::MAX,
    };
    let request =
        v1::CommitRequest { idempotency_key: vec![0; 64].into(), writes: vec![write(most)], ..commit() };
    CheckedCommit::new(request, LIMITS).unwrap();
}

#[track_caller]
fn refused_commit(request: v1::CommitRequest, reason: &str, field: &str) {
    refused(CheckedCommit::new(request, LIMITS), reason, field);
}

#[test]
fn a_bad_commit_names_its_field() {
    for name in ["", "A", "node", "a/b"] {
        let request = v1::CommitRequest { ledger: name.to_owned(), ..commit() };
        refused_commit(request, "ledger_invalid", "ledger");
    }
    let key = |len| v1::CommitRequest { idempotency_key: vec![0; len].into(), ..commit() };
    refused_commit(key(0), "idempotency_key_empty", "idempotency_key");
    refused_commit(key(65), "idempotency_key_too_long", "idempotency_key");
    refused_commit(v1::CommitRequest { not_after: 0, ..commit() }, "not_after_missing", "not_after");
    refused_commit(v1::CommitRequest { wait: 9, ..commit() }, "wait_unknown", "wait");
}

#[test]
fn too_few_and_too_many_are_refused() {
    let writes = |writes| v1::CommitRequest { writes, ..commit() };
    refused_commit(writes(Vec::new()), "writes_empty", "writes");
    refused_commit(writes(vec![delete(b"x"); 4_097]), "too_many_writes", "writes");
    let exists = precondition(b"a", Some(Condition::MustExist(true)));
    let request = v1::CommitRequest { preconditions: vec![exists; 4_097], ..commit() };
    refused_commit(request, "too_many_preconditions", "preconditions");
}

#[test]
fn a_bad_write_names_its_place() {
    let with = |last: v1::Write| {
        let request = v1::CommitRequest { writes: vec![write(put(b"a")), delete(b"b"), last], ..commit() };
        CheckedCommit::new(request, LIMITS)
    };
    refused(with(v1::Write { write: None }), "write_missing", "writes[2]");
    refused(with(write(put(b""))), "key_empty", "writes[2].put.key");
    refused(with(write(put(&[0; 1_025]))), "key_too_long", "writes[2].put.key");
    refused(with(write(put(b"a"))), "key_duplicate", "writes[2].put.key");
    refused(with(delete(b"")), "key_empty", "writes[2].delete.key");
    refused(with(delete(&[0; 1_025])), "key_too_long", "writes[2].delete.key");
    refused(with(delete(b"a")), "key_duplicate", "writes[2].delete.key");
    let value = v1::Put { value: vec![0; 101].into(), ..put(b"c") };
    refused(with(write(value)), "value_too_long", "writes[2].put.value");
    let attributes = v1::Put { attributes: vec![0; (64 << 10) + 1].into(), ..put(b"c") };
    refused(with(write(attributes)), "attributes_too_long", "writes[2].put.attributes");
    let salt = v1::Put { salt: vec![0; 15].into(), ..put(b"c") };
    refused(with(write(salt)), "salt_length", "writes[2].put.salt");
}

#[test]
fn a_bad_precondition_names_its_place() {
    let with = |last| {
        let preconditions = vec![precondition(b"a", Some(Condition::RevisionEquals(0))), last];
        CheckedCommit::new(v1::CommitRequest { preconditions, ..commit() }, LIMITS)
    };
    let exists = Some(Condition::MustExist(true));
    refused(with(precondition(b"", exists)), "key_empty", "preconditions[1].key");
    refused(with(precondition(&[0; 1_025], exists)), "key_too_long", "preconditions[1].key");
    refused(with(precondition(b"a", None)), "condition_missing", "preconditions[1]");
    let untrue = Some(Condition::MustExist(false));
    refused(with(precondition(b"a", untrue)), "condition_false", "preconditions[1].must_exist");
    let untrue = Some(Condition::MustNotExist(false));
    refused(with(precondition(b"a", untrue)), "condition_false", "preconditions[1].must_not_exist");
}

#[test]
fn a_bad_new_ledger_names_its_field() {
    let good =
        v1::CreateLedgerRequest { ledger: "new".to_owned(), idempotency_key: "once".into(), not_after: 1 };
    CheckedCreate::new(good.clone()).unwrap();
    let bad = v1::CreateLedgerRequest { ledger: "x".repeat(65), ..good.clone() };
    refused(CheckedCreate::new(bad), "ledger_invalid", "ledger");
    let bad = v1::CreateLedgerRequest { idempotency_key: Bytes::new(), ..good.clone() };
    refused(CheckedCreate::new(bad), "idempotency_key_empty", "idempotency_key");
    refused(
        CheckedCreate::new(v1::CreateLedgerRequest { not_after: 0, ..good }),
        "not_after_missing",
        "not_after",
    );
}

#[test]
fn a_bad_read_names_its_field() {
    let one = |key: &[u8]| v1::GetRequest {
        ledger: "default".to_owned(),
        key: Bytes::copy_from_slice(key),
        options: None,
    };
    get(&one(b"a")).unwrap();
    refused(get(&one(b"")), "key_empty", "key");
    refused(get(&one(&[0; 1_025])), "key_too_long", "key");
    refused(get(&v1::GetRequest { ledger: "_other".to_owned(), ..one(b"a") }), "ledger_invalid", "ledger");
    let many = |keys: Vec<Bytes>| v1::GetManyRequest { ledger: "default".to_owned(), keys, options: None };
    refused(get_many(&many(Vec::new())), "keys_empty", "keys");
    refused(get_many(&many(vec!["x".into(); 1_001])), "too_many_keys", "keys");
    refused(get_many(&many(vec!["x".into(), "".into()])), "key_empty", "keys[1]");
    refused(get_many(&many(vec!["x".into(), "y".into(), "x".into()])), "key_duplicate", "keys[2]");
    let options = v1::ReadOptions {
        consistency: Some(v1::read_options::Consistency::Linearizable(false)),
        ..v1::ReadOptions::default()
    };
    refused(Options::new(Some(&options)), "consistency_false", "options.linearizable");
    refused(wait(60_001), "wait_too_long", "wait_ms");
}

#[test]
fn a_bad_scan_names_its_field() {
    let of = |keys: Option<Keys>| v1::ScanRequest {
        ledger: "default".to_owned(),
        keys,
        ..v1::ScanRequest::default()
    };
    let range = |first: &[u8], end: &[u8]| {
        let (first, end) = (Bytes::copy_from_slice(first), Some(Bytes::copy_from_slice(end)));
        of(Some(Keys::Range(v1::KeyRange { first, end })))
    };
    scan(&of(Some(Keys::Prefix(Bytes::new())))).unwrap();
    assert_eq!(scan(&range(b"a", b"b")).unwrap().limit, 100);
    refused(scan(&of(None)), "keys_missing", "keys");
    refused(scan(&of(Some(Keys::Prefix(vec![0; 1_025].into())))), "key_too_long", "prefix");
    refused(scan(&range(&[0; 1_025], &[1])), "key_too_long", "range.first");
    refused(scan(&range(&[0], &[1; 1_025])), "key_too_long", "range.end");
    refused(scan(&range(b"b", b"b")), "range_empty", "range.end");
    refused(scan(&range(b"b", b"a")), "range_empty", "range.end");
    let request = v1::ScanRequest { limit: 1_001, ..range(b"a", b"b") };
    refused(scan(&request), "limit_too_large", "limit");
}

#[test]
fn a_bad_question_of_the_log_names_its_field() {
    use v1::get_transaction_request::Which;
    let past = |key: &[u8], limit| v1::HistoryRequest {
        ledger: "default".to_owned(),
        key: Bytes::copy_from_slice(key),
        limit,
        ..v1::HistoryRequest::default()
    };
    history(&past(b"a", 1_000)).unwrap();
    refused(history(&past(b"", 1)), "key_empty", "key");
    refused(history(&past(b"a", 1_001)), "limit_too_large", "limit");
    let of = |which| v1::GetTransactionRequest { which, ..v1::GetTransactionRequest::default() };
    let name = |author: &str, key: &[u8]| {
        let idempotency_key = Bytes::copy_from_slice(key);
        of(Some(Which::Request(v1::RequestName { author: author.to_owned(), idempotency_key })))
    };
    refused(which(&of(None), "me"), "which_missing", "which");
    refused(which(&name("", b""), "me"), "idempotency_key_empty", "request.idempotency_key");
    refused(which(&name("", &[0; 65]), "me"), "idempotency_key_too_long", "request.idempotency_key");
    refused(which(&name(&"x".repeat(256), b"k"), "me"), "author_too_long", "request.author");
    assert_eq!(which(&name("", b"k"), "me").unwrap(), which(&name("me", b"k"), "other").unwrap());
    let stretch = |from, to| v1::ListTransactionsRequest {
        ledger: "default".to_owned(),
        from,
        to,
        ..v1::ListTransactionsRequest::default()
    };
    list_range(&stretch(5, 0)).unwrap();
    refused(list_range(&stretch(5, 4)), "sizes_out_of_order", "to");
}
