//! The cross-check: what each replica shows, beside the others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_client::{Agreement, Client, Comparison, Error, Evidence, ReadOptions, Standing};
use quorate_core::evidence::{EvidenceKind, Keys, Verdict};
use quorate_core::hash::Hash;
use quorate_proto::v1;

use crate::support::{Cluster, Mode, Node, client, model};

fn builder(cluster: &Cluster, agreement: Agreement) -> quorate_client::ClientBuilder {
    Client::builder()
        .endpoints(cluster.nodes.iter().map(Node::endpoint))
        .policy(model::policy(2))
        .timeout(Duration::from_secs(1))
        .agreement(agreement)
}

/// A copy of what the cluster has now, which goes on by itself.
fn copy(cluster: &Cluster) -> Arc<Mutex<model::Model>> {
    Arc::new(Mutex::new(cluster.model.lock().unwrap().clone()))
}

fn standings(cluster: &Cluster, compared: &Comparison) -> Vec<Standing> {
    let of = |node: &Node| {
        let shown = compared.replicas.iter().find(|shown| shown.endpoint == node.endpoint());
        shown.unwrap().standing
    };
    cluster.nodes.iter().map(of).collect()
}

#[tokio::test]
async fn agreeing_behind_silent_and_different_are_told_apart() {
    use Standing::{Agrees, Behind, Different, Silent};
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let ledger = client(&cluster.all()).ledger("default");
    let compared = ledger.compare_replicas().await.unwrap();
    assert_eq!(standings(&cluster, &compared), [Agrees, Agrees, Agrees]);
    assert!(compared.check().is_ok() && compared.needed == 2);

    let old = copy(&cluster);
    cluster.put("a", "2");
    cluster.nodes[1].state().model = Arc::clone(&old);
    let compared = ledger.compare_replicas().await.unwrap();
    assert_eq!(standings(&cluster, &compared), [Agrees, Behind, Agrees]);
    assert!(compared.agree && compared.check().is_ok());
    assert_eq!(compared.size.get(), cluster.with(|ledger| ledger.size()));

    cluster.nodes[2].set_mode(Mode::Unavailable { no_effect: true });
    let compared = ledger.compare_replicas().await.unwrap();
    assert_eq!(standings(&cluster, &compared), [Agrees, Agrees, Silent], "compared where two can be");
    assert_eq!(compared.size.get(), old.lock().unwrap().ledgers["default"].size());

    cluster.nodes[1].set_mode(Mode::Unavailable { no_effect: true });
    let compared = ledger.compare_replicas().await.unwrap();
    let error = compared.check().unwrap_err();
    assert!(matches!(error, Error::NotAgreed { agreeing: 1, needed: 2, silent: 2, .. }), "{error}");

    for node in &cluster.nodes[1..] {
        node.set_mode(Mode::Follower(1));
        node.state().model = Arc::clone(&cluster.model);
    }
    let fork = copy(&cluster);
    cluster.put("a", "3");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    cluster.nodes[2].state().model = Arc::clone(&fork);
    Cluster { model: fork, nodes: Vec::new() }.put("a", "another 3");
    let compared = ledger.compare_replicas().await.unwrap();
    assert_eq!(standings(&cluster, &compared), [Agrees, Agrees, Different]);
    assert!(!compared.agree);
    let evidence = compared.evidence.as_ref().unwrap();
    assert_eq!(evidence.kind(), EvidenceKind::Fork);
    assert!(matches!(evidence.verify(&Keys::from(&model::policy(2))).unwrap(), Verdict::Guilty { .. }));
    assert!(compared.check().unwrap_err().evidence().is_some());
    // One that shows another history does not keep the others from serving.
    ledger.get("a", ReadOptions::new()).await.unwrap();
}

#[tokio::test]
async fn one_key_that_signs_another_root_is_evidence_without_a_quorum() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let ledger = client(&cluster.all()).ledger("default");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    let mut other = cluster.with(|ledger| ledger.checkpoint(ledger.size()));
    other.root = Hash::new([9; 32]);
    let note = model::sign("default", &other, &[3], 2_000_000_000).to_string();
    let show = move |response: &mut v1::GetCheckpointResponse| {
        response.checkpoint.as_mut().unwrap().note.clone_from(&note);
    };
    cluster.nodes[2].alter(|alter| alter.checkpoint = Some(Arc::new(show)));
    let compared = ledger.compare_replicas().await.unwrap();
    assert_eq!(standings(&cluster, &compared)[2], Standing::Different);
    let evidence = compared.evidence.unwrap();
    let verdict = evidence.verify(&Keys::from(&model::policy(2))).unwrap();
    assert!(matches!(verdict, Verdict::Guilty { .. }), "{verdict:?}");
    assert_eq!(evidence.kind(), EvidenceKind::Fork);
}

#[tokio::test]
async fn a_fork_is_found_in_the_background_and_kept_in_a_file() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("evidence");
    let agreement = Agreement::majority().every(Duration::from_millis(50));
    let ledger = builder(&cluster, agreement).evidence_dir(&place).build().unwrap().ledger("default");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    let fork = copy(&cluster);
    cluster.put("a", "2");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    cluster.nodes[2].state().model = Arc::clone(&fork);
    Cluster { model: fork, nodes: Vec::new() }.put("a", "another 2");
    let found = async {
        loop {
            // The first replica answers; nothing about its answers is wrong.
            match ledger.get("a", ReadOptions::new()).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(10), found).await.expect("found in time");
    assert_eq!(error.evidence().unwrap().kind(), EvidenceKind::Fork, "{error}");
    let compared = ledger.last_comparison().await.unwrap().unwrap();
    assert_eq!(compared.count(Standing::Different), 1);
    let files: Vec<_> = std::fs::read_dir(place).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let kept = Evidence::parse(&std::fs::read_to_string(&files[0]).unwrap()).unwrap();
    assert_eq!(Some(&kept), error.evidence());
}

#[tokio::test]
async fn calls_wait_for_agreement_where_it_is_required() {
    let cluster = Cluster::start().await;
    cluster.put("a", "1");
    let agreement = Agreement::at_least(3).every(Duration::from_millis(100)).required();
    let ledger = builder(&cluster, agreement).build().unwrap().ledger("default");
    ledger.get("a", ReadOptions::new()).await.unwrap();
    cluster.nodes[2].set_mode(Mode::Unavailable { no_effect: true });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let error = ledger.get("a", ReadOptions::new()).await.unwrap_err();
    assert!(matches!(error, Error::NotAgreed { agreeing: 2, needed: 3, silent: 1, .. }), "{error}");
    cluster.nodes[2].set_mode(Mode::Follower(1));
    tokio::time::sleep(Duration::from_millis(200)).await;
    ledger.get("a", ReadOptions::new()).await.unwrap();
}
