//! What goes out comes back, and nothing else comes in.

use bytes::Bytes;
use quorate_core::answer::{Contents, KeyRange, LeafProof, Meta, RevealedOperation, TransactionProof};
use quorate_core::hash::Hash;
use quorate_core::position::{LogIndex, TreeSize};
use tonic::Code;

use super::*;
use crate::v1;

fn contents() -> Contents {
    Contents { salt: [7; 16], attributes: b"a".to_vec(), value: b"v".to_vec() }
}

fn transaction() -> TransactionProof {
    TransactionProof {
        index: LogIndex::new(4),
        leaf: vec![1; 118],
        path: vec![Hash::new([1; 32]), Hash::new([2; 32])],
        operations: vec![
            RevealedOperation {
                operation: vec![9; 70],
                position: 3,
                path: vec![Hash::new([3; 32])],
                contents: Some(contents()),
            },
            RevealedOperation { operation: vec![8; 70], position: 5, path: Vec::new(), contents: None },
        ],
        meta: Some(Meta { salt: [5; 16], bytes: Vec::new() }),
    }
}

fn refused<C: std::fmt::Debug>(result: Result<C, WireError>, field: &str, problem: &WireProblem) {
    let error = result.unwrap_err();
    assert_eq!((error.field(), error.problem()), (field, problem));
}

#[test]
fn every_part_survives_the_wire() {
    let transaction = transaction();
    assert_eq!(v1::Transaction::from(transaction.clone()).try_into(), Ok(transaction.clone()));
    let item = ItemParts {
        key: b"k".to_vec(),
        index: Some(LogIndex::new(0)),
        operation: vec![9; 64],
        contents: Some(contents()),
        erased_by: None,
        written: Some(transaction.clone()),
        superseded_by: Some(TransactionProof { meta: None, ..transaction }),
    };
    assert_eq!(v1::Item::from(item.clone()).try_into(), Ok(item));
    let leaf = LeafProof { leaf: vec![3; 62], path: vec![Hash::ZERO] };
    let checkpoint =
        CheckpointParts { note: "note".to_owned(), commit: leaf.clone(), consistency: vec![Hash::ZERO; 2] };
    assert_eq!(v1::CheckpointProof::from(checkpoint.clone()).try_into(), Ok(checkpoint));
    let at = LeafAt { index: LogIndex::new(1), size: TreeSize::new(9), proof: leaf };
    assert_eq!(v1::InclusionProofResponse::from(at.clone()).try_into(), Ok(at));
    let entry = EntryParts {
        index: LogIndex::new(2),
        leaf: vec![1],
        operations: vec![vec![1], vec![2]],
        contents: vec![Some(contents()), None],
        meta: Some(Meta { salt: [1; 16], bytes: b"m".to_vec() }),
    };
    assert_eq!(v1::LogEntry::from(entry.clone()).try_into(), Ok(entry));
    for range in [KeyRange::all(), KeyRange::prefix(b"ab")] {
        assert_eq!(v1::KeyRange::from(range.clone()).try_into(), Ok(range));
    }
}

#[test]
fn wrong_lengths_are_refused_with_the_path_of_the_field() {
    let short = Bytes::from_static(&[0; 31]);
    let mut wire = v1::Transaction::from(transaction());
    wire.operations[0].path[0] = short.clone();
    refused(TransactionProof::try_from(wire), "operations[0].path[0]", &WireProblem::HashLength { got: 31 });
    let mut wire = v1::Transaction::from(transaction());
    wire.operations[0].content.as_mut().unwrap().salt = short.clone();
    let item = v1::Item { superseded_by: Some(wire), ..v1::Item::default() };
    refused(
        ItemParts::try_from(item),
        "superseded_by.operations[0].content.salt",
        &WireProblem::SaltLength { got: 31 },
    );
    let mut wire = v1::Transaction::from(transaction());
    wire.path = vec![Bytes::from_static(&[0; 32]); 65];
    refused(TransactionProof::try_from(wire), "path", &WireProblem::PathLength { got: 65 });
    let wire = v1::CheckpointProof {
        note: "note".to_owned(),
        commit_leaf: Bytes::from_static(b"leaf"),
        consistency: vec![short],
        ..v1::CheckpointProof::default()
    };
    refused(CheckpointParts::try_from(wire), "consistency[0]", &WireProblem::HashLength { got: 31 });
}

#[test]
fn parts_do_not_come_alone() {
    let meta_alone = v1::Transaction { meta: Bytes::from_static(b"m"), ..v1::Transaction::default() };
    let without = WireProblem::Alone { without: "meta_salt" };
    refused(TransactionProof::try_from(meta_alone), "meta", &without);
    let no_salt = v1::Content { value: Bytes::from_static(b"v"), ..v1::Content::default() };
    let mut entry = v1::LogEntry {
        leaf: Bytes::from_static(b"l"),
        operations: vec![Bytes::new(); 2],
        contents: vec![v1::Content::default(), no_salt],
        ..v1::LogEntry::default()
    };
    let without = WireProblem::Alone { without: "salt" };
    refused(EntryParts::try_from(entry.clone()), "contents[1].value", &without);
    entry.operations.pop();
    refused(EntryParts::try_from(entry), "contents", &WireProblem::Count { wanted: 1, got: 2 });
    refused(CheckpointParts::try_from(v1::CheckpointProof::default()), "note", &WireProblem::Missing);
    let empty = v1::KeyRange { first: Bytes::from_static(b"b"), end: Some(Bytes::from_static(b"a")) };
    refused(KeyRange::try_from(empty), "end", &WireProblem::EmptyRange);
}

/// The numbers of fields are what two versions have in common: these bytes stay.
#[test]
fn messages_of_a_stream_of_commits_keep_their_bytes() {
    use prost::Message as _;
    let request = v1::CommitRequest { ledger: "l".to_owned(), ..v1::CommitRequest::default() };
    let commit = v1::StreamedCommit { number: 7, request: Some(request), timeout_ms: 9 };
    let sent = v1::CommitStreamRequest { commits: vec![commit] };
    assert_eq!(sent.encode_to_vec(), b"\x0a\x09\x08\x07\x12\x03\x0a\x01l\x18\x09");
    let response = v1::CommitResponse { known: true, ..v1::CommitResponse::default() };
    let detail = v1::ErrorDetail { reason: "r".to_owned(), ..v1::ErrorDetail::default() };
    let refusal = v1::CommitRefusal { code: 9, message: "m".to_owned(), detail: Some(detail) };
    let answered = v1::CommitStreamResponse {
        limits: Some(v1::CommitStreamLimits { requests: 1, message_bytes: 2 }),
        checkpoints: vec![v1::CheckpointProof { note: "n".to_owned(), ..v1::CheckpointProof::default() }],
        answers: vec![
            v1::StreamedAnswer {
                number: 7,
                outcome: Some(v1::streamed_answer::Outcome::Response(response)),
                checkpoint: 1,
            },
            v1::StreamedAnswer {
                number: 8,
                outcome: Some(v1::streamed_answer::Outcome::Refusal(refusal)),
                checkpoint: 0,
            },
        ],
    };
    let bytes = answered.encode_to_vec();
    let expected = b"\x0a\x04\x08\x01\x10\x02\x12\x03\x0a\x01n\x1a\x08\x08\x07\x12\x02\x18\x01\x20\x01\
        \x1a\x0e\x08\x08\x1a\x0a\x08\x09\x12\x01m\x1a\x03\x0a\x01r";
    assert_eq!(bytes, expected);
    assert_eq!(v1::CommitStreamResponse::decode(&*bytes), Ok(answered));
}

#[test]
fn a_status_carries_its_detail() {
    let sent = v1::ErrorDetail { reason: "not_leader".to_owned(), leader: 3, ..v1::ErrorDetail::default() };
    let status = status(Code::FailedPrecondition, "ask node 3", &sent);
    assert_eq!(detail(&status), Some(sent));
    assert_eq!(detail(&tonic::Status::unavailable("gone")), None);
}
