//! Commits: what comes back is what was sent, proven; asked again, it is the same; what is rejected says why.

use std::time::Duration;

use quorate_core::{
    answer::{AddedToOperation, CommitAnswer, IncludedTransaction, SentOperation, SentRequest},
    entry::Operation,
    position::{LogIndex, Micros},
};
use quorate_proto::{
    convert::{CheckpointParts, detail},
    v1::{self, ledger_server::Ledger},
};
use tonic::Code;

use super::{
    verify::continues,
    world::{World, delete, proven, put},
};
use crate::sequencer::SubmitError;

/// Verifies the answer to a commit as a client does.
pub(super) fn verified(
    world: &World,
    request: &v1::CommitRequest,
    answer: v1::CommitResponse,
) -> IncludedTransaction {
    let transaction: quorate_core::answer::TransactionProof = answer.transaction.unwrap().try_into().unwrap();
    let added = transaction.operations.iter().map(|shown| {
        let operation = Operation::decode(&shown.operation).unwrap();
        AddedToOperation {
            revision: operation.revision,
            prev_index: operation.prev_index,
            salt: shown.contents.as_ref().map(|contents| contents.salt),
        }
    });
    let answer_parts = CommitAnswer {
        index: transaction.index,
        leaf: transaction.leaf,
        author: "anonymous".to_owned(),
        operations: added.collect(),
        meta: transaction.meta.unwrap(),
    };
    let operations = request.writes.iter().map(|write| match write.write.as_ref().unwrap() {
        v1::write::Write::Delete(delete) => SentOperation::Delete { key: &delete.key },
        v1::write::Write::Put(put) => SentOperation::Put {
            key: &put.key,
            value: &put.value,
            attributes: &put.attributes,
            salt: <[u8; 16]>::try_from(&*put.salt).ok(),
            expires_at: None,
        },
    });
    let sent = SentRequest {
        author: Some("anonymous"),
        idempotency_key: &request.idempotency_key,
        not_after: Some(Micros::new(request.not_after)),
        operations: operations.collect(),
    };
    let rebuilt = sent.rebuild(answer_parts).unwrap();
    let checkpoint = CheckpointParts::try_from(answer.checkpoint.unwrap()).unwrap();
    let certified = world.policy().open(&checkpoint.note).unwrap();
    rebuilt.included(&certified, transaction.path).unwrap()
}

#[tokio::test]
async fn a_commit_is_certified_and_asked_again_it_is_the_same() {
    let world = World::new().await;
    world.write(vec![put("b", "to be deleted")]).await;
    let mut request = world.request(vec![put("a", "1"), delete("b"), put("c", "3")]);
    if let Some(v1::write::Write::Put(put)) = &mut request.writes[0].write {
        put.salt = vec![9; 16].into();
        put.attributes = b"attributes".to_vec().into();
    }
    let answer = world.commit(request.clone()).await.unwrap();
    assert!(!answer.known);
    let first = verified(&world, &request, answer);
    world.write(vec![put("later", "x")]).await;
    let again = world.commit(request.clone()).await.unwrap();
    assert!(again.known);
    let second = verified(&world, &request, again);
    assert_eq!((first.index(), first.leaf()), (second.index(), second.leaf()));
}

#[tokio::test]
async fn committed_alone_waits_for_no_signature() {
    let world = World::new().await;
    world.fake.signing.store(0, std::sync::atomic::Ordering::Relaxed);
    let mut request = world.request(vec![put("a", "1")]);
    request.wait = v1::Wait::Committed.into();
    let answer = world.commit(request.clone()).await.unwrap();
    assert!(answer.checkpoint.is_none() && answer.transaction.unwrap().path.is_empty());
    assert_eq!(
        world.fake.hurried.load(std::sync::atomic::Ordering::Relaxed),
        0,
        "nobody waits for a signature"
    );
    request.wait = v1::Wait::Certified.into();
    let refusal = world.commit(request.clone()).await.unwrap_err();
    assert_eq!(
        (refusal.code(), detail(&refusal).unwrap().reason.as_str()),
        (Code::DeadlineExceeded, "not_certified")
    );
    assert!(!detail(&refusal).unwrap().no_effect && refusal.message().contains("committed at log index"));
    assert_eq!(world.fake.hurried.load(std::sync::atomic::Ordering::Relaxed), 1, "now somebody does");
    world.fake.signing.store(2, std::sync::atomic::Ordering::Relaxed);
    let answer = world.commit(request.clone()).await.unwrap();
    assert!(answer.known);
    verified(&world, &request, answer);
}

#[tokio::test]
async fn a_commit_continues_what_the_client_believed() {
    let world = World::new().await;
    world.write(vec![put("a", "1")]).await;
    for trusted in [1, 3] {
        let request = v1::CommitRequest { trusted_size: trusted, ..world.request(vec![put("a", "2")]) };
        let answer = world.commit(request).await.unwrap();
        continues(&world, answer.checkpoint.unwrap(), trusted).await;
    }
    let size = world.size();
    let request = v1::CommitRequest { trusted_size: size + 1, ..world.request(vec![put("a", "3")]) };
    let refusal = world.commit(request).await.unwrap_err();
    assert_eq!(
        (refusal.code(), detail(&refusal).unwrap().field.as_str()),
        (Code::OutOfRange, "trusted_size")
    );
    assert_eq!(world.size(), size, "nothing was written");
}

#[tokio::test]
async fn a_precondition_that_fails_says_which_and_what_is_there() {
    use v1::precondition::Condition;
    let world = World::new().await;
    let index = world.write(vec![put("a", "1")]).await;
    let condition = |key: &str, condition| v1::Precondition {
        key: key.as_bytes().to_vec().into(),
        condition: Some(condition),
    };
    let holds = condition("a", Condition::MustExist(true));
    for (failing, exists) in [
        (condition("a", Condition::MustNotExist(true)), true),
        (condition("a", Condition::RevisionEquals(2)), true),
        (condition("a", Condition::NotModifiedAfter(index - 1)), true),
        (condition("b", Condition::MustExist(true)), false),
    ] {
        let preconditions = vec![holds.clone(), failing];
        let request = v1::CommitRequest { preconditions, ..world.request(vec![put("a", "2")]) };
        let refusal = world.commit(request).await.unwrap_err();
        let detail = detail(&refusal).unwrap();
        assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal:?}");
        assert_eq!((detail.reason.as_str(), detail.precondition), ("precondition_failed", Some(1)));
        assert_eq!(
            (detail.exists, detail.revision, detail.index),
            match exists {
                true => (true, 1, Some(index)),
                false => (false, 0, None),
            }
        );
        assert!(detail.no_effect && detail.field == "preconditions[1]");
    }
    let refusal = world.commit(world.request(vec![delete("nothing")])).await.unwrap_err();
    assert_eq!(detail(&refusal).unwrap().reason, "delete_of_absent");
    assert_eq!(detail(&refusal).unwrap().field, "writes[0].delete.key");
}

#[tokio::test]
async fn a_replica_that_does_not_lead_names_the_one_that_does() {
    let world = World::new().await;
    let leader = Some(quorate_core::position::NodeId::new(3));
    for (error, code, reason, certain) in [
        (SubmitError::NotLeader { leader }, Code::FailedPrecondition, "not_leader", true),
        (SubmitError::Full, Code::ResourceExhausted, "queue_full", true),
        (SubmitError::Late { expected: Duration::from_secs(1) }, Code::ResourceExhausted, "queue_full", true),
        (SubmitError::OutcomeUnknown, Code::Unavailable, "outcome_unknown", false),
        (SubmitError::NotFounded, Code::Unavailable, "not_founded", true),
        (SubmitError::Stopped("disk".to_owned()), Code::Unavailable, "outcome_unknown", false),
    ] {
        *world.fake.submit_error.lock().unwrap() = Some(error);
        let refusal = world.commit(world.request(vec![put("a", "1")])).await.unwrap_err();
        let detail = detail(&refusal).unwrap();
        assert_eq!((refusal.code(), detail.reason.as_str(), detail.no_effect), (code, reason, certain));
        assert_eq!(detail.leader, if reason == "not_leader" { 3 } else { 0 });
    }
}

#[tokio::test]
async fn ledgers_are_created_once_and_listed() {
    let world = World::new().await;
    let created = world.create("invoices").await.unwrap();
    let ledger = created.ledger.unwrap();
    assert_eq!((ledger.name.as_str(), ledger.size), ("invoices", 1));
    assert!(ledger.origin.ends_with("/invoices") && ledger.log_vkey.starts_with(&ledger.origin));
    assert_eq!(created.transaction.unwrap().operations.len(), 1);
    let refusal = world.create("invoices").await.unwrap_err();
    assert_eq!(
        (refusal.code(), detail(&refusal).unwrap().reason.as_str()),
        (Code::AlreadyExists, "ledger_exists")
    );
    let list =
        world.api.list_ledgers(tonic::Request::new(v1::ListLedgersRequest {})).await.unwrap().into_inner();
    let names: Vec<_> = list.ledgers.iter().map(|ledger| ledger.name.as_str()).collect();
    assert_eq!(names, ["_system", "default", "invoices"]);
    let request = v1::CommitRequest { ledger: "invoices".to_owned(), ..world.request(vec![put("a", "1")]) };
    assert_eq!(world.commit(request).await.unwrap().transaction.unwrap().index, 1);
}

#[tokio::test]
async fn the_same_idempotency_key_creates_the_same_ledger() {
    let world = World::new().await;
    let ask = async |name: &str| {
        let request = v1::CreateLedgerRequest {
            ledger: name.to_owned(),
            idempotency_key: "fixed".into(),
            not_after: world.clock.now().get() + 1_000,
        };
        world.api.create_ledger(tonic::Request::new(request)).await.map(tonic::Response::into_inner)
    };
    let first = ask("one").await.unwrap().transaction.unwrap().index;
    assert_eq!(ask("one").await.unwrap().transaction.unwrap().index, first);
    assert_eq!(detail(&ask("two").await.unwrap_err()).unwrap().reason, "idempotency_key_reused");
}

#[tokio::test]
async fn a_transaction_is_found_by_index_and_by_request() {
    use v1::get_transaction_request::Which;
    let world = World::new().await;
    let request = world.request(vec![put("a", "1"), put("b", "2")]);
    let index = world.commit(request.clone()).await.unwrap().transaction.unwrap().index;
    world.write(vec![put("c", "3")]).await;
    let name = v1::RequestName { author: String::new(), idempotency_key: request.idempotency_key.clone() };
    for which in [Which::Index(index), Which::Request(name)] {
        let ask = v1::GetTransactionRequest {
            ledger: "default".to_owned(),
            which: Some(which),
            options: proven(None),
            contents: true,
        };
        let answer = world.api.get_transaction(tonic::Request::new(ask)).await.unwrap().into_inner();
        let parts = super::verify::Parts::default().transaction(answer.transaction);
        let proven = parts.open(&world, answer.checkpoint, None).await;
        let transaction = proven.transaction(LogIndex::new(index)).unwrap();
        assert!(transaction.is_complete() && transaction.meta().is_some());
        let values: Vec<_> =
            transaction.operations().iter().map(|shown| shown.contents().unwrap().value.clone()).collect();
        assert_eq!(values, [b"1", b"2"]);
    }
}
