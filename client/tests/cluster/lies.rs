//! Every lie is an error that says what is wrong; where it is signed, with evidence.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt as _;
use prost::Message as _;
use quorate_client::{
    CheckpointOptions, Distrust, Error, KeyState, LogIndex, MemoryTrust, Query, Read, ReadOptions,
    Transaction, Value,
};
use quorate_core::agreement::AgreementError;
use quorate_core::answer::AnswerError;
use quorate_core::evidence::{EvidenceKind, Keys, Verdict};
use quorate_core::hash::Hash;
use quorate_core::note::NoteError;
use quorate_core::policy::PolicyError;
use quorate_proto::v1;

use crate::support::model::{policy, sign};
use crate::support::{Cluster, Mode, Model, Node, client, client_with};

/// What is wrong with an answer that must not be believed.
fn distrust<T: std::fmt::Debug>(result: Result<T, Error>) -> Distrust {
    match result.unwrap_err() {
        Error::Untrusted { what, .. } => *what,
        error => panic!("not doubt: {error}"),
    }
}

async fn get(node: &Node, key: &str) -> Result<Read<Option<Value>>, Error> {
    client(&[node]).ledger("default").get(key, ReadOptions::new()).await
}

#[tokio::test]
async fn an_answer_about_another_key_or_value_is_not_believed() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    cluster.put("b", "2");
    let node = &cluster.nodes[0];
    let (proof, item) =
        cluster.with(|ledger| (ledger.prove(&Query::Key(b"b".to_vec())), ledger.item(b"b", None)));
    node.alter(|alter| {
        alter.get = Some(Arc::new(move |response: &mut v1::GetResponse| {
            response.state_proof = proof.clone().into();
            response.item = item.clone();
        }));
    });
    let ledger = client(&[node]).ledger("default");
    ledger.policy().await.unwrap_err();
    let other = |response: &mut v1::GetResponse| {
        response.item.as_mut().unwrap().content.as_mut().unwrap().value = "other".into();
    };
    node.alter(|alter| alter.get = Some(Arc::new(other)));
    let what = distrust(ledger.get("a", ReadOptions::new()).await);
    assert!(matches!(what, Distrust::Answer(AnswerError::MissingContents { .. })), "{what}");
}

#[tokio::test]
async fn absence_expiry_and_erasure_are_proven_or_not_believed() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    let hidden = |response: &mut v1::GetResponse| {
        response.state_proof = [&[1_u8][..], &[7; 32]].concat().into();
        response.item = None;
    };
    node.alter(|alter| alter.get = Some(Arc::new(hidden)));
    let what = distrust(ledger.get("a", ReadOptions::new()).await);
    assert!(matches!(what, Distrust::Answer(AnswerError::StateProof(_))), "{what}");
    let erased = |response: &mut v1::GetResponse| response.item.as_mut().unwrap().content = None;
    node.alter(|alter| alter.get = Some(Arc::new(erased)));
    let what = distrust(ledger.get("a", ReadOptions::new()).await);
    assert!(matches!(what, Distrust::Answer(AnswerError::MissingContents { .. })), "{what}");
}

#[tokio::test]
async fn an_older_state_than_was_seen_is_not_believed() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    let before = Arc::new(Mutex::new(cluster.model.lock().unwrap().clone()));
    cluster.put("a", "2");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    let now = std::mem::replace(&mut node.state().model, Arc::clone(&before));
    let (size, new) = cluster.with(|ledger| (ledger.size() - 2, ledger.clone()));
    node.alter(|alter| {
        alter.get = Some(Arc::new(move |response: &mut v1::GetResponse| {
            // It proves well that the old tree is a prefix of what the client has seen.
            let path = new.consistency(size, new.size());
            response.checkpoint.as_mut().unwrap().consistency = quorate_proto::convert::path_to_wire(&path);
        }));
    });
    let what = distrust(ledger.get("a", ReadOptions::new()).await);
    assert!(matches!(what, Distrust::OlderThanTrusted { .. }), "{what}");
    let stale = ReadOptions::new().max_staleness(Duration::from_secs(1 << 40));
    assert_eq!(ledger.get("a", stale).await.unwrap().value.unwrap().value, "1");
    node.state().model = now;
}

#[tokio::test]
async fn old_cosignatures_are_not_fresh() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    cluster.nodes[0].state().cosign_time = 1_700_000_000;
    let ledger = client(&[&cluster.nodes[0]]).ledger("default");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    let fresh = ReadOptions::new().max_staleness(Duration::from_secs(60));
    let what = distrust(ledger.get("a", fresh).await);
    assert!(matches!(what, Distrust::NotFresh { allowed_secs: 61, .. }), "{what}");
}

#[tokio::test]
async fn withheld_cosignatures_are_named() {
    let cluster = Cluster::start().await;
    let node = &cluster.nodes[0];
    node.state().cosigners = vec![2];
    let what = distrust(get(node, "a").await);
    let Distrust::Policy(PolicyError::NotMet { have: 1, need: 2, missing }) = what else { panic!("{what}") };
    assert_eq!(missing, ["node-1", "node-3"]);
    node.state().cosigners = vec![1, 2];
    let ledger = client(&[node]).ledger("default");
    let all = CheckpointOptions::latest().min_cosigners(3);
    let what = distrust(ledger.checkpoint(all).await);
    assert!(matches!(what, Distrust::TooFewCosigners { wanted: 3, got: 2 }), "{what}");
}

#[tokio::test]
async fn a_bad_signature_of_a_known_key_spoils_a_note() {
    let cluster = Cluster::start().await;
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    // The cosignatures of another checkpoint.
    let swapped = cluster.with(|ledger| ledger.note(1, &[1, 2, 3], 5).to_string());
    cluster.put("a", "1");
    let replayed = move |response: &mut v1::GetResponse| {
        let note = &mut response.checkpoint.as_mut().unwrap().note;
        let (body, _) = note.split_once("\n\n").unwrap();
        let (_, signatures) = swapped.split_once("\n\n").unwrap();
        *note = format!("{body}\n\n{signatures}");
    };
    node.alter(|alter| alter.get = Some(Arc::new(replayed)));
    let what = distrust(ledger.get("a", ReadOptions::new()).await);
    assert!(matches!(what, Distrust::Policy(PolicyError::Note(NoteError::Signature(_)))), "{what}");
}

#[tokio::test]
async fn a_checkpoint_of_another_ledger_is_not_believed() {
    let cluster = Cluster::start().await;
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    let system = cluster.model.lock().unwrap().ledgers["_system"].clone();
    node.alter(|alter| {
        alter.get = Some(Arc::new(move |response: &mut v1::GetResponse| {
            response.checkpoint = Some(system.checkpoint_proof(system.size(), 0, &[1, 2, 3], 5));
        }));
    });
    let what = distrust(ledger.get("a", ReadOptions::new()).await);
    assert!(matches!(what, Distrust::Policy(PolicyError::UnknownOrigin { .. })), "{what}");
}

#[tokio::test]
async fn a_forged_root_convicts_those_who_signed_it() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let node = &cluster.nodes[0];
    let client = client(&[node]);
    let ledger = client.ledger("default");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    let forged = cluster.with(|ledger| {
        let mut checkpoint = ledger.checkpoint(ledger.size());
        checkpoint.root = Hash::new([9; 32]);
        sign("default", &checkpoint, &[2, 3], 2_000_000_000).to_string()
    });
    node.alter(|alter| {
        alter.get = Some(Arc::new(move |response: &mut v1::GetResponse| {
            response.checkpoint.as_mut().unwrap().note.clone_from(&forged);
        }));
    });
    let error = ledger.get("a", ReadOptions::new()).await.unwrap_err();
    let evidence = error.evidence().unwrap();
    assert_eq!(evidence.kind(), EvidenceKind::Fork);
    let verdict = evidence.verify(&Keys::from(&policy(2))).unwrap();
    let Verdict::Guilty { culprits, .. } = verdict else { panic!("guilty") };
    assert_eq!(culprits.len(), 2);
}

#[tokio::test]
async fn a_forked_history_convicts_those_who_signed_both() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let fork = Model::clone(&cluster.model.lock().unwrap());
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    cluster.put("a", "2");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    let honest = std::mem::replace(&mut node.state().model, Arc::new(Mutex::new(fork)));
    let fork = Cluster { model: Arc::clone(&node.state().model), nodes: Vec::new() };
    fork.put("a", "another 2");
    fork.put("a", "another 3");
    let error = ledger.get("a", ReadOptions::new()).await.unwrap_err();
    let evidence = error.evidence().unwrap();
    assert_eq!(evidence.kind(), EvidenceKind::Rewrite);
    let verdict = evidence.verify(&Keys::from(&policy(2))).unwrap();
    assert!(matches!(verdict, Verdict::Guilty { .. }));
    // Others compare the replicas, and see it, too.
    let all = client(&cluster.all());
    assert!(!all.ledger("default").compare_replicas().await.unwrap().agree);
    node.state().model = honest;
    assert_eq!(ledger.get("a", ReadOptions::new()).await.unwrap().value.unwrap().value, "2");
}

#[tokio::test]
async fn two_clients_that_share_what_they_believe_see_a_fork_between_them() {
    let cluster = Cluster::start().await;
    let fork = Arc::new(Mutex::new(Model::clone(&cluster.model.lock().unwrap())));
    let liar = Node::start(4, Arc::clone(&fork), Mode::Leader).await;
    let trust = Arc::new(MemoryTrust::new());
    let (left, right) = (client_with(&cluster.all(), trust.clone()), client_with(&[&liar], trust));
    let (left, right) = (left.ledger("default"), right.ledger("default"));
    left.get("a", ReadOptions::new()).await.unwrap();
    right.get("a", ReadOptions::new()).await.unwrap();
    left.commit(Transaction::new().put("a", "1")).await.unwrap();
    let error = right.commit(Transaction::new().put("a", "2")).await.unwrap_err();
    assert!(error.evidence().is_some(), "{error}");
}

#[tokio::test]
async fn somebody_elses_index_or_leaf_is_no_answer_to_a_commit() {
    let cluster = Cluster::start().await;
    let other = cluster.put("x", "1");
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    ledger.get("x", ReadOptions::new()).await.unwrap();
    let model = Arc::clone(&cluster.model);
    let somebody_else = move |response: &mut v1::CommitResponse| {
        let model = model.lock().unwrap();
        let ledger = &model.ledgers["default"];
        response.transaction = Some(ledger.transaction(other, ledger.size(), None).into());
    };
    node.state().alter.commit = Some(deferred(somebody_else));
    let what = distrust(ledger.commit(Transaction::new().put("a", "1")).await);
    assert!(matches!(what, Distrust::Answer(AnswerError::AnotherRequest { .. })), "{what}");
    let wrong_leaf = |response: &mut v1::CommitResponse| {
        let transaction = response.transaction.as_mut().unwrap();
        transaction.index += 1;
    };
    node.alter(|alter| alter.commit = Some(Arc::new(wrong_leaf)));
    let what = distrust(ledger.commit(Transaction::new().put("a", "1")).await);
    assert!(matches!(what, Distrust::Answer(AnswerError::NotIncluded { .. })), "{what}");
    let no_checkpoint = |response: &mut v1::CommitResponse| response.checkpoint = None;
    node.alter(|alter| alter.commit = Some(Arc::new(no_checkpoint)));
    let what = distrust(ledger.commit(Transaction::new().put("a", "1")).await);
    assert!(matches!(what, Distrust::Missing { .. }), "{what}");
}

/// An alteration that takes the model's lock, which the server has let go of by then.
fn deferred<M: 'static>(alter: impl Fn(&mut M) + Send + Sync + 'static) -> Arc<dyn Fn(&mut M) + Send + Sync> {
    Arc::new(alter)
}

#[tokio::test]
async fn a_key_left_out_of_a_scan_is_noticed() {
    let cluster = Cluster::start().await;
    for key in ["a", "b", "c"] {
        cluster.put(key, "1");
    }
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    let proof = cluster.with(|ledger| ledger.prove(&Query::Key(b"b".to_vec())));
    let narrower = move |response: &mut v1::ScanResponse| {
        response.state_proof = proof.clone().into();
        response.items.retain(|item| item.key == "b");
    };
    ledger.policy().await.unwrap();
    node.alter(|alter| alter.scan = Some(Arc::new(narrower)));
    let what = distrust(ledger.scan(Query::everything(), ReadOptions::new()).all().await);
    assert!(matches!(what, Distrust::Answer(AnswerError::StateProof(_))), "{what}");
    let ends_early = |response: &mut v1::ScanResponse| response.next_page_token.clear();
    node.alter(|alter| alter.scan = Some(Arc::new(ends_early)));
    let what = distrust(ledger.scan(Query::everything(), ReadOptions::new()).page_size(1).all().await);
    assert!(matches!(what, Distrust::Missing { .. }), "{what}");
    let another_time = |response: &mut v1::ScanResponse| response.at -= 2;
    node.alter(|alter| alter.scan = Some(Arc::new(another_time)));
    let what = distrust(ledger.scan(Query::everything(), ReadOptions::new()).all().await);
    assert!(matches!(what, Distrust::NotAsked { .. }), "{what}");
}

#[tokio::test]
async fn a_write_left_out_of_a_history_is_noticed() {
    let cluster = Cluster::start().await;
    for value in ["1", "2", "3"] {
        cluster.put("a", value);
    }
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    for place in 0..3 {
        let without = move |response: &mut v1::HistoryResponse| {
            response.writes.remove(place);
        };
        node.alter(|alter| alter.history = Some(Arc::new(without)));
        distrust(ledger.history("a").all().await);
        distrust(ledger.history("a").oldest_first().all().await);
    }
}

#[tokio::test]
async fn an_altered_log_is_noticed_before_it_is_shown() {
    let cluster = Cluster::start().await;
    for value in ["1", "2", "3"] {
        cluster.put("a", value);
    }
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    let read = |from| ledger.transactions(LogIndex::new(from), None, true).try_collect::<Vec<_>>();
    read(0).await.unwrap();
    let flip = |response: &mut v1::ListTransactionsResponse| {
        if let Some(entry) = response.entries.last_mut() {
            let mut leaf = entry.leaf.to_vec();
            leaf[9] ^= 1;
            entry.leaf = leaf.into();
        }
    };
    node.alter(|alter| alter.entries = Some(Arc::new(flip)));
    for from in [0, 2, 5] {
        let what = distrust(read(from).await);
        assert!(matches!(what, Distrust::WrongLeaves { .. }), "{what}");
    }
    let value = |response: &mut v1::ListTransactionsResponse| {
        for content in response.entries.iter_mut().flat_map(|entry| &mut entry.contents) {
            content.value = "x".into();
        }
    };
    node.alter(|alter| alter.entries = Some(Arc::new(value)));
    let what = distrust(read(0).await);
    assert!(matches!(what, Distrust::Answer(AnswerError::WrongContents { .. })), "{what}");
}

#[tokio::test]
async fn an_answer_that_is_not_believed_is_not_asked_for_again() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let ledger = client(&cluster.all()).ledger("default");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    let liar = &cluster.nodes[0];
    let lie = |response: &mut v1::GetResponse| response.checkpoint = None;
    liar.alter(|alter| alter.get = Some(Arc::new(lie)));
    let before: usize = cluster.nodes.iter().map(Node::calls).sum();
    distrust(ledger.get("a", ReadOptions::new()).await);
    assert_eq!(cluster.nodes.iter().map(Node::calls).sum::<usize>(), before + 1);
    // The next call goes to another replica.
    assert_eq!(ledger.get("a", ReadOptions::new()).await.unwrap().state, KeyState::Present);
}

#[tokio::test]
async fn a_wrong_consistency_proof_is_an_error_and_no_evidence() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    cluster.put("a", "2");
    let wrong = |response: &mut v1::GetResponse| {
        let path = &mut response.checkpoint.as_mut().unwrap().consistency;
        let last = path.last_mut().unwrap();
        *last = vec![0; 32].into();
    };
    node.alter(|alter| alter.get = Some(Arc::new(wrong)));
    let error = ledger.get("a", ReadOptions::new()).await.unwrap_err();
    assert!(error.is_untrusted() && error.evidence().is_none());
    let what = distrust::<()>(Err(error));
    assert!(matches!(what, Distrust::Agreement(AgreementError::NotConsistent { .. })), "{what}");
}

/// Whatever bit of an answer is flipped: it is refused, or it still says the same.
#[tokio::test]
async fn no_flipped_bit_changes_what_is_believed() {
    let cluster = Cluster::start().await;
    for key in ["a", "b", "c", "d"] {
        cluster.put(key, "some value");
    }
    let node = &cluster.nodes[0];
    let ledger = client(&[node]).ledger("default");
    let honest = ledger.get("b", ReadOptions::new()).await.unwrap();
    let len = cluster.with(|ledger| {
        let checkpoint = Some(ledger.checkpoint_proof(ledger.size(), 0, &[1, 2, 3], 5));
        let proof = ledger.prove(&Query::Key(b"b".to_vec()));
        let item = ledger.item(b"b", None);
        v1::GetResponse { checkpoint, state_proof: proof.into(), item, size: 9 }.encoded_len()
    });
    let mut refused = 0;
    for position in 0..len {
        let flip = move |response: &mut v1::GetResponse| {
            let mut bytes = response.encode_to_vec();
            let place = position % bytes.len();
            bytes[place] ^= 1 << (position % 8);
            *response = v1::GetResponse::decode(bytes.as_slice()).unwrap_or_default();
        };
        node.alter(|alter| alter.get = Some(Arc::new(flip)));
        match ledger.get("b", ReadOptions::new()).await {
            Err(error) => {
                assert!(error.is_untrusted(), "{error}");
                refused += 1;
            }
            Ok(read) => assert_eq!((read.value, read.written), (honest.value.clone(), honest.written)),
        }
    }
    assert!(refused * 10 > len * 5, "{refused} of {len} refused");
}
