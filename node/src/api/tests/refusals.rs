//! Bad input: each is refused before anything happens, and says what is wrong.

use std::sync::atomic::Ordering;

use quorate_proto::{
    convert::detail,
    v1::{self, ledger_server::Ledger},
};
use tonic::{Code, Status};

use super::world::{World, proven, put};
use crate::{
    api::errors::Reason,
    config::Limits,
    consensus::ReadError,
    http::{Health, HttpSource},
};

fn get(ledger: &str, options: v1::ReadOptions) -> tonic::Request<v1::GetRequest> {
    tonic::Request::new(v1::GetRequest { ledger: ledger.to_owned(), key: "a".into(), options: Some(options) })
}

fn told(refusal: &Status) -> (Code, String, String) {
    let detail = detail(refusal).unwrap();
    (refusal.code(), detail.reason, detail.field)
}

fn expected(reason: Reason, field: &str) -> (Code, String, String) {
    let (name, code, _) = reason.row();
    (code, name.to_owned(), field.to_owned())
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let world = World::new().await;
    let size = world.size();
    let none = v1::ReadOptions::default();
    for (ledger, options, wanted) in [
        ("unknown", none.clone(), expected(Reason::UnknownLedger, "ledger")),
        ("Not a name", none.clone(), expected(Reason::LedgerInvalid, "ledger")),
        (
            "default",
            v1::ReadOptions { at: Some(size), ..none.clone() },
            expected(Reason::IndexBeyondEnd, "options.at"),
        ),
        (
            "default",
            v1::ReadOptions { trusted_size: size + 1, ..none.clone() },
            expected(Reason::SizeBeyondEnd, "options.trusted_size"),
        ),
        (
            "default",
            v1::ReadOptions { min_cosigners: 4, ..none.clone() },
            expected(Reason::TooManyCosigners, "options.min_cosigners"),
        ),
    ] {
        assert_eq!(told(&world.api.get(get(ledger, options)).await.unwrap_err()), wanted);
    }
    let by_index = |index| v1::GetTransactionRequest {
        ledger: "default".to_owned(),
        which: Some(v1::get_transaction_request::Which::Index(index)),
        ..v1::GetTransactionRequest::default()
    };
    let ask = async |request| world.api.get_transaction(tonic::Request::new(request)).await.unwrap_err();
    assert_eq!(told(&ask(by_index(0)).await), expected(Reason::NotATransaction, "index"));
    assert_eq!(told(&ask(by_index(size)).await), expected(Reason::IndexBeyondEnd, "index"));
    let name = v1::RequestName { author: String::new(), idempotency_key: "never asked".into() };
    let which = Some(v1::get_transaction_request::Which::Request(name));
    let request = v1::GetTransactionRequest { which, ..by_index(0) };
    assert_eq!(told(&ask(request).await), expected(Reason::UnknownRequest, "request"));
}

#[tokio::test]
async fn the_ledgers_of_the_system_are_not_written() {
    let world = World::new().await;
    for ledger in ["_system", "_audit"] {
        let request = v1::CommitRequest { ledger: ledger.to_owned(), ..world.request(vec![put("a", "1")]) };
        let refusal = world.commit(request).await.unwrap_err();
        assert_eq!(told(&refusal), expected(Reason::SystemLedger, "ledger"));
        assert_eq!(refusal.code(), Code::PermissionDenied);
        assert_eq!(told(&world.create(ledger).await.unwrap_err()), expected(Reason::SystemLedger, "ledger"));
    }
}

#[tokio::test]
async fn what_the_log_refuses_names_its_field() {
    let world = World::new().await;
    let now = world.clock.now().get();
    for (not_after, wanted) in [
        (now - 1, expected(Reason::TooLate, "not_after")),
        (now + 3_600_000_000, expected(Reason::TooFarAhead, "not_after")),
    ] {
        let request = v1::CommitRequest { not_after, ..world.request(vec![put("a", "1")]) };
        assert_eq!(told(&world.commit(request).await.unwrap_err()), wanted);
    }
    let request = v1::CommitRequest { ledger: "unknown".to_owned(), ..world.request(vec![put("a", "1")]) };
    assert_eq!(told(&world.commit(request).await.unwrap_err()), expected(Reason::UnknownLedger, "ledger"));
    let request = v1::CommitRequest { min_cosigners: 4, ..world.request(vec![put("a", "1")]) };
    let size = world.size();
    assert_eq!(
        told(&world.commit(request).await.unwrap_err()),
        expected(Reason::TooManyCosigners, "min_cosigners")
    );
    assert_eq!(world.size(), size, "nothing was written");
}

#[tokio::test]
async fn without_a_leader_there_is_no_linearizable_read_but_a_stale_one() {
    let world = World::new().await;
    *world.fake.read_error.lock().unwrap() = Some(ReadError::NoQuorum);
    let refusal = world.api.get(get("default", proven(None).unwrap())).await.unwrap_err();
    assert_eq!(told(&refusal), expected(Reason::NoLeader, ""));
    let consistency = Some(v1::read_options::Consistency::MaxStalenessMs(5_000));
    let options = v1::ReadOptions { consistency, ..proven(None).unwrap() };
    world.api.get(get("default", options.clone())).await.unwrap();
    // Nobody can sign any more, and time passes.
    world.fake.signing.store(1, Ordering::Relaxed);
    world.pass(60);
    let refusal = world.api.get(get("default", options)).await.unwrap_err();
    assert_eq!(told(&refusal), expected(Reason::NoLeader, ""));
}

#[tokio::test]
async fn more_calls_than_may_be_are_refused_at_once() {
    let world = World::with(Limits { calls: 1, ..Limits::default() }).await;
    let permit = world.api.0.calls.try_acquire().unwrap();
    let refusal = world.api.get(get("default", v1::ReadOptions::default())).await.unwrap_err();
    assert_eq!(told(&refusal), expected(Reason::TooManyCalls, ""));
    drop(permit);
    world.api.get(get("default", v1::ReadOptions::default())).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_would_be_too_large_is_refused() {
    let world = World::with(Limits { message_bytes: 100 << 10, ..Limits::default() }).await;
    let large = "x".repeat(60 << 10);
    world.write(vec![put("a", &large)]).await;
    world.write(vec![put("b", &large)]).await;
    let request = v1::GetManyRequest {
        ledger: "default".to_owned(),
        keys: vec!["a".into(), "b".into()],
        ..v1::GetManyRequest::default()
    };
    let refusal = world.api.get_many(tonic::Request::new(request)).await.unwrap_err();
    assert_eq!(told(&refusal), expected(Reason::AnswerTooLarge, "keys"));
}

#[tokio::test]
async fn the_callers_time_ends_the_call() {
    let world = World::new().await;
    let mut request = get("default", proven(None).unwrap());
    request.metadata_mut().insert("grpc-timeout", "0m".parse().unwrap());
    // An answer that is ready may still be given; a call that has to wait is ended.
    *world.fake.read_error.lock().unwrap() = None;
    let answer = world.api.get(request).await;
    assert!(answer.is_ok() || told(&answer.unwrap_err()).1 == "timeout");
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_writes_and_goes_on_reading() {
    let world = World::new().await;
    world.write(vec![put("a", "1")]).await;
    let size = world.size();
    world.disk.found(0);
    let commit = || world.commit(world.request(vec![put("a", "2")]));
    let refused = commit().await.unwrap_err();
    assert_eq!(told(&refused), expected(Reason::DiskNearlyFull, ""));
    assert!(refused.message().contains("this call wrote nothing: read-only: 0 MiB are free"), "{refused}");
    assert_eq!(told(&world.create("new").await.unwrap_err()), expected(Reason::DiskNearlyFull, ""));
    assert_eq!(world.size(), size);
    assert!(world.api.get(get("default", v1::ReadOptions::default())).await.is_ok());
    let Health::Limited(how) = HttpSource::ready(&world.api) else { panic!("it is ready for reads") };
    let status = world.api.status(tonic::Request::new(v1::StatusRequest {})).await.unwrap().into_inner();
    assert!(how.starts_with("read-only") && status.limitation == how, "{how}");
    world.disk.found(u64::MAX);
    commit().await.unwrap();
    assert_eq!(HttpSource::ready(&world.api), Health::Good);
}
