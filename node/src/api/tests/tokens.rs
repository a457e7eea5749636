//! Page tokens: good for the question they came from and for no other.

use quorate_core::position::{LogIndex, Revision};
use quorate_proto::{
    convert::detail,
    v1::{self, ledger_server::Ledger, scan_request::Keys},
};
use tonic::{Code, Status};

use super::world::{World, put};
use crate::api::page_token::{HistoryToken, ScanToken};

fn scan() -> v1::ScanRequest {
    v1::ScanRequest {
        ledger: "default".to_owned(),
        keys: Some(Keys::Prefix("key".into())),
        limit: 2,
        ..v1::ScanRequest::default()
    }
}

fn history() -> v1::HistoryRequest {
    v1::HistoryRequest { ledger: "default".to_owned(), key: "key".into(), ..v1::HistoryRequest::default() }
}

fn reason(refusal: &Status) -> String {
    let detail = detail(refusal).unwrap();
    assert_eq!((refusal.code(), detail.field.as_str()), (Code::InvalidArgument, "page_token"));
    detail.reason
}

#[test]
fn a_token_comes_back_as_it_went() {
    let token = ScanToken { at: LogIndex::new(7), next: b"key/4".to_vec() };
    let request = v1::ScanRequest { page_token: token.clone().write(&scan()), ..scan() };
    assert_eq!(ScanToken::read(&request).unwrap(), Some(token));
    assert_eq!(ScanToken::read(&scan()).unwrap(), None);
    let token = HistoryToken { next: Revision::new(3) };
    let request = v1::HistoryRequest { page_token: token.write(&history()), ..history() };
    assert_eq!(HistoryToken::read(&request).unwrap(), Some(token));
}

#[test]
fn how_an_answer_is_proven_or_cut_is_not_part_of_the_question() {
    let page_token = ScanToken { at: LogIndex::new(7), next: b"key/4".to_vec() }.write(&scan());
    let options =
        v1::ReadOptions { prove: true, trusted_size: 5, min_cosigners: 2, ..v1::ReadOptions::default() };
    let request = v1::ScanRequest { page_token, limit: 900, options: Some(options), ..scan() };
    assert!(ScanToken::read(&request).unwrap().is_some());
}

#[test]
fn a_token_of_another_question_is_refused() {
    let page_token = ScanToken { at: LogIndex::new(7), next: b"key/4".to_vec() }.write(&scan());
    let with = |request: v1::ScanRequest| v1::ScanRequest { page_token: page_token.clone(), ..request };
    let at = Some(v1::ReadOptions { at: Some(7), ..v1::ReadOptions::default() });
    for other in [
        v1::ScanRequest { ledger: "another".to_owned(), ..scan() },
        v1::ScanRequest { keys: Some(Keys::Prefix("ke".into())), ..scan() },
        v1::ScanRequest { reverse: true, ..scan() },
        v1::ScanRequest { keys_only: true, ..scan() },
        v1::ScanRequest { options: at, ..scan() },
    ] {
        assert_eq!(reason(&ScanToken::read(&with(other)).unwrap_err()), "page_token_mismatch");
    }
    let of_history = HistoryToken { next: Revision::new(3) }.write(&history());
    let request = v1::ScanRequest { page_token: of_history.clone(), ..scan() };
    assert_eq!(reason(&ScanToken::read(&request).unwrap_err()), "page_token_mismatch");
    let request = v1::HistoryRequest { oldest_first: true, page_token: of_history, ..history() };
    assert_eq!(reason(&HistoryToken::read(&request).unwrap_err()), "page_token_mismatch");
}

#[test]
fn bytes_that_are_no_token_are_refused() {
    let good = ScanToken { at: LogIndex::new(7), next: b"key/4".to_vec() }.write(&scan());
    let mut other_version = good.to_vec();
    other_version[1] = 2;
    for bytes in
        [b"x".to_vec(), vec![0xff; 40], vec![0; 5_000], good[..good.len() - 1].to_vec(), other_version]
    {
        let request = v1::ScanRequest { page_token: bytes.into(), ..scan() };
        assert_eq!(reason(&ScanToken::read(&request).unwrap_err()), "page_token_invalid");
    }
}

#[tokio::test]
async fn a_made_up_token_gets_no_further_than_its_question() {
    let world = World::new().await;
    world.write((0..5).map(|number| put(&format!("key/{number}"), "x")).collect()).await;
    let ask = async |at, next: &str| {
        let token = ScanToken { at: LogIndex::new(at), next: next.as_bytes().to_vec() };
        let request = v1::ScanRequest { page_token: token.write(&scan()), ..scan() };
        world.api.scan(tonic::Request::new(request)).await.map(tonic::Response::into_inner)
    };
    assert_eq!(ask(2, "key/2").await.unwrap().items.len(), 2);
    for outside in ["a", "z"] {
        assert_eq!(reason(&ask(2, outside).await.unwrap_err()), "page_token_invalid");
    }
    assert_eq!(ask(1_000, "key/2").await.unwrap_err().code(), Code::OutOfRange);
}
