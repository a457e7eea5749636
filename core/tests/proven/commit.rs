//! The answer to a commit is believed only if it is about the request that was sent.

use quorate_core::answer::{AddedToOperation, AnswerError, CommitAnswer, SentOperation, SentRequest};
use quorate_core::position::{LogIndex, Micros, Revision};

use crate::support::{Ledger, Op, Shown};

/// The request of the transaction at this index of the story, as its client sent it; and the honest answer.
fn sent_and_answered(
    ledger: &Ledger,
    index: u64,
    request: u64,
) -> (Vec<u8>, Vec<SentOperation<'_>>, CommitAnswer) {
    let stored = &ledger.transactions[&index];
    let operations =
        stored.operations.iter().zip(&stored.contents).map(|(operation, contents)| match contents {
            Some(contents) => SentOperation::Put {
                key: &operation.key,
                value: &contents.value,
                attributes: &contents.attributes,
                // Every other salt is the server's.
                salt: (operation.key.len() % 2 == 0).then_some(contents.salt),
                expires_at: operation.expires_at,
            },
            None if operation.kind.is_write() => SentOperation::Delete { key: &operation.key },
            None => SentOperation::Erase { key: &operation.key, revision: operation.revision },
        });
    let added =
        stored.operations.iter().zip(&stored.contents).map(|(operation, contents)| AddedToOperation {
            revision: operation.revision,
            prev_index: operation.prev_index,
            salt: contents.as_ref().map(|contents| contents.salt),
        });
    let answer = CommitAnswer {
        index: LogIndex::new(index),
        leaf: stored.leaf.clone(),
        author: "alice".to_owned(),
        operations: added.collect(),
        meta: stored.meta.clone(),
    };
    (request.to_be_bytes().to_vec(), operations.collect(), answer)
}

/// Log index and request number of each transaction of the story.
fn requests(ledger: &Ledger) -> Vec<(u64, u64)> {
    ledger.transactions.keys().copied().zip(1..).collect()
}

#[test]
fn the_leaf_is_rebuilt_from_what_was_sent() {
    let mut ledger = Ledger::with_story();
    ledger.block(1_050_000_000, &[vec![Op::Erase(b"d".to_vec(), 1), Op::Delete(b"b".to_vec())]]);
    let mut checked = 0;
    for (index, request) in requests(&ledger) {
        let (idempotency_key, operations, answer) = sent_and_answered(&ledger, index, request);
        // Puts erased since cannot be sent again by this test.
        if operations.iter().any(|sent| matches!(sent, SentOperation::Delete { key } if ledger.as_of(key, index).unwrap().erased_at.is_some())) {
            continue;
        }
        let sent = SentRequest {
            author: Some("alice"),
            idempotency_key: &idempotency_key,
            not_after: None,
            operations,
        };
        let rebuilt = sent.rebuild(answer).unwrap();
        assert_eq!(rebuilt.index().get(), index);
        let proof = ledger.transaction_proof(index, Shown::All);
        let shown = rebuilt.clone().into_proof(proof.path.clone());
        assert_eq!(shown, proof);
        let included = rebuilt.clone().included(&ledger.certified(), proof.path).unwrap();
        assert!(included.is_complete());
        // Not under another position's path.
        assert!(rebuilt.included(&ledger.certified(), ledger.leaf_proof(0).path).is_err());
        checked += 1;
    }
    assert!(checked >= 5);
}

#[test]
fn the_answer_to_another_request() {
    let ledger = Ledger::with_story();
    let (idempotency_key, operations, answer) = sent_and_answered(&ledger, 2, 2);
    let sent = SentRequest { author: None, idempotency_key: &idempotency_key, not_after: None, operations };
    assert!(sent.rebuild(answer.clone()).is_ok());
    let (_, _, other) = sent_and_answered(&ledger, 4, 3);
    assert!(matches!(sent.rebuild(other), Err(AnswerError::AnotherRequest { .. })));
    let mut stranger = answer.clone();
    stranger.author = "bob".to_owned();
    assert!(matches!(sent.rebuild(stranger), Err(AnswerError::AnotherRequest { .. })));
    let as_bob = SentRequest { author: Some("bob"), ..sent.clone() };
    assert!(matches!(as_bob.rebuild(answer), Err(AnswerError::AnotherRequest { .. })));
}

#[test]
fn a_reused_key_and_values_that_were_not_sent() {
    let ledger = Ledger::with_story();
    let (idempotency_key, operations, answer) = sent_and_answered(&ledger, 1, 1);
    // a/1's first value was erased in the story, so its put looks like a delete: this test sends its own.
    let mut put = operations.clone();
    put[0] =
        SentOperation::Put { key: b"a/1", value: b"one", attributes: b"text", salt: None, expires_at: None };
    let mut salted = answer.clone();
    let mut salt = [0; 16];
    salt[..8].copy_from_slice(&1_u64.to_be_bytes());
    salted.operations[0].salt = Some(salt);
    let sent =
        SentRequest { author: None, idempotency_key: &idempotency_key, not_after: None, operations: put };
    assert!(sent.rebuild(salted.clone()).is_ok());
    let mut other = sent.clone();
    other.not_after = Some(Micros::new(1));
    assert!(matches!(other.rebuild(salted.clone()), Err(AnswerError::CommitShape { .. })));
    other.not_after = Some(Micros::new(1_061_000_000));
    assert!(other.rebuild(salted.clone()).is_ok());
    other.operations[0] =
        SentOperation::Put { key: b"a/1", value: b"two", attributes: b"text", salt: None, expires_at: None };
    assert!(matches!(other.rebuild(salted.clone()), Err(AnswerError::KeyReused { .. })));
    other.operations.pop();
    assert!(matches!(other.rebuild(salted.clone()), Err(AnswerError::KeyReused { .. })));
    for change in [
        |answer: &mut CommitAnswer| answer.operations[0].revision = Revision::new(2),
        |answer: &mut CommitAnswer| answer.operations[1].prev_index = Some(LogIndex::new(0)),
        |answer: &mut CommitAnswer| answer.operations[0].salt = None,
        |answer: &mut CommitAnswer| answer.operations[0].salt = Some([9; 16]),
        |answer: &mut CommitAnswer| answer.operations.truncate(1),
        |answer: &mut CommitAnswer| answer.meta.bytes.push(1),
        |answer: &mut CommitAnswer| answer.meta.salt = [0; 16],
        |answer: &mut CommitAnswer| answer.leaf.truncate(117),
    ] {
        let mut lie = salted.clone();
        change(&mut lie);
        assert!(sent.rebuild(lie).is_err());
    }
}

#[test]
fn an_erasure_of_another_revision_than_the_one_named() {
    let ledger = Ledger::with_story();
    let (idempotency_key, mut operations, answer) = sent_and_answered(&ledger, 12, 7);
    assert!(matches!(operations[..], [SentOperation::Erase { .. }]));
    let sent = |operations| SentRequest {
        author: None,
        idempotency_key: &idempotency_key,
        not_after: None,
        operations,
    };
    sent(operations.clone()).rebuild(answer.clone()).unwrap();
    operations[0] = SentOperation::Erase { key: b"a/1", revision: Revision::new(2) };
    assert!(matches!(sent(operations).rebuild(answer), Err(AnswerError::CommitShape { .. })));
}
