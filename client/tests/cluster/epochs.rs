//! Replicas come and go; a client that was away follows, and nobody leads it astray.

use std::sync::Arc;

use prost::Message as _;
use quorate_client::{Client, Distrust, Error, FileTrust, ReadOptions, TrustError};
use quorate_core::answer::Contents;
use quorate_core::epochs::{COSIGNERS_KEY, Cosigner, CosignerSet, EpochError};
use quorate_core::state_tree::Query;
use quorate_proto::v1;

use crate::support::model::{self, Ask, node_key};
use crate::support::{Cluster, Mode, Node};

/// A cluster with three more nodes that can join: places 3 to 5 are nodes 4 to 6.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::start().await;
    for id in 4..=6 {
        let node = Node::start(id, Arc::clone(&cluster.model), Mode::Follower(4)).await;
        cluster.nodes.push(node);
    }
    cluster
}

fn set(cluster: &Cluster, epoch: u64, nodes: &[u8]) -> CosignerSet {
    let cosigner = |node: &u8| {
        let at = cluster.nodes[usize::from(*node) - 1].endpoint();
        Cosigner {
            node_id: u64::from(*node),
            vkey: node_key(*node).verifier().to_string(),
            block_public_key: vec![node + 100; 32].into(),
            client_address: at.strip_prefix("http://").unwrap().to_owned(),
            peer_address: "unused:1".to_owned(),
        }
    };
    CosignerSet { epoch, cosigners: nodes.iter().map(cosigner).collect() }
}

/// Changes to a set, in a block that these nodes sign.
fn change(cluster: &Cluster, set: &CosignerSet, signers: &[u8]) -> v1::EpochProof {
    let mut model = cluster.model.lock().unwrap();
    let system = model.ledgers.get_mut("_system").unwrap();
    let contents = Contents { salt: [5; 16], attributes: Vec::new(), value: set.encode_to_vec() };
    let put = Ask::Put { key: COSIGNERS_KEY.to_vec(), contents, expires_at: None };
    system.commit(&crate::support::server::rand_name(), u64::MAX, &[put]);
    v1::EpochProof {
        epoch: set.epoch,
        checkpoint: Some(system.checkpoint_proof(system.size(), 0, signers, 2_000_000_000)),
        state_proof: system.prove(&Query::Key(COSIGNERS_KEY.to_vec())).into(),
        item: system.item(COSIGNERS_KEY, None),
    }
}

/// From nodes 1, 2, 3 in three steps to nodes 4, 5, 6.
fn moved(cluster: &Cluster) -> Vec<v1::EpochProof> {
    vec![
        change(cluster, &set(cluster, 1, &[1, 2, 3]), &[1, 2]),
        change(cluster, &set(cluster, 2, &[2, 3, 4]), &[2, 3, 4]),
        change(cluster, &set(cluster, 3, &[3, 4, 5]), &[2, 3, 4, 5]),
        change(cluster, &set(cluster, 4, &[4, 5, 6]), &[3, 4, 5, 6]),
    ]
}

/// All nodes tell of these changes, and show notes that these nodes sign.
fn show(cluster: &Cluster, epochs: &[v1::EpochProof], signers: &[u8]) {
    for node in &cluster.nodes {
        let mut state = node.state();
        state.epochs = epochs.to_vec();
        state.cosigners = signers.to_vec();
    }
}

fn client(nodes: &[Node], trust: &std::path::Path) -> Client {
    Client::builder()
        .endpoints(nodes.iter().map(Node::endpoint))
        .policy(model::policy(2))
        .trust(Arc::new(FileTrust::open(trust).unwrap()))
        .timeout(std::time::Duration::from_secs(3))
        .build()
        .unwrap()
}

async fn value(client: &Client) -> Result<String, Error> {
    let read = client.ledger("default").get("a", ReadOptions::new()).await?;
    Ok(String::from_utf8(read.value.unwrap().value.to_vec()).unwrap())
}

fn refused(error: Error) -> EpochError {
    let Error::Untrusted { what, .. } = error else { panic!("{error}") };
    let Distrust::Epoch(error) = *what else { panic!("{what}") };
    error
}

#[tokio::test]
async fn a_client_that_was_away_follows_to_replicas_it_never_heard_of() {
    let cluster = cluster().await;
    cluster.put("a", "1");
    let trust = tempfile::tempdir().unwrap();
    // It believes something of the time of nodes 1, 2, 3, and goes away.
    assert_eq!(value(&client(&cluster.nodes[..3], trust.path())).await.unwrap(), "1");
    let epochs = moved(&cluster);
    cluster.put("a", "2");
    show(&cluster, &epochs, &[4, 5, 6]);
    let back = client(&cluster.nodes[..3], trust.path());
    assert_eq!(value(&back).await.unwrap(), "2");
    let names: Vec<String> =
        back.policy().witnesses().iter().map(|witness| witness.name().to_string()).collect();
    assert_eq!(names, ["node-4", "node-5", "node-6"]);
    // The ones it was given are gone; it knows where the others are.
    for node in &cluster.nodes[..3] {
        node.set_mode(Mode::Unavailable { no_effect: true });
    }
    cluster.put("a", "3");
    assert_eq!(value(&back).await.unwrap(), "3");
    // Another process knows what this one followed, though nobody tells it.
    show(&cluster, &[], &[4, 5, 6]);
    let again = client(&cluster.nodes[3..], trust.path());
    assert_eq!(value(&again).await.unwrap(), "3");
    // A damaged memory of it is an error, not a beginning.
    let file = std::fs::read_dir(trust.path()).unwrap().map(|file| file.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "epochs")).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = value(&client(&cluster.nodes[3..], trust.path())).await.unwrap_err();
    assert!(matches!(error, Error::TrustStore(TrustError::Damaged { .. })), "{error}");
}

#[tokio::test]
async fn a_client_that_runs_follows_when_the_notes_it_knew_come_to_an_end() {
    let cluster = cluster().await;
    cluster.put("a", "1");
    let trust = tempfile::tempdir().unwrap();
    let client = client(&cluster.nodes[..3], trust.path());
    assert_eq!(value(&client).await.unwrap(), "1");
    let epochs = moved(&cluster);
    show(&cluster, &epochs, &[4, 5, 6]);
    // It asks only now and then. An answer that is signed by replicas it does not know makes it ask, and is believed.
    assert_eq!(value(&client).await.unwrap(), "1");
}

#[tokio::test]
async fn changes_that_are_not_signed_by_both_sets_or_out_of_order_are_refused() {
    type Forge = fn(&Cluster) -> v1::EpochProof;
    type Expected = fn(&EpochError) -> bool;
    let cases: [(&str, Forge, Expected); 5] = [
        (
            "signed by those that come alone",
            |cluster| change(cluster, &set(cluster, 2, &[3, 4, 5]), &[4, 5]),
            |error| matches!(error, EpochError::NotByOld { .. }),
        ),
        (
            "signed by those that go alone",
            |cluster| change(cluster, &set(cluster, 2, &[3, 4, 5]), &[1, 2, 3]),
            |error| matches!(error, EpochError::NotByNew { .. }),
        ),
        (
            "an epoch is left out",
            |cluster| change(cluster, &set(cluster, 3, &[2, 3, 4]), &[1, 2, 3, 4]),
            |error| matches!(error, EpochError::NotNext { .. }),
        ),
        (
            "a key of a node that is somebody else's",
            |cluster| {
                let mut next = set(cluster, 2, &[2, 3, 4]);
                next.cosigners[2].block_public_key = vec![101; 32].into();
                change(cluster, &next, &[1, 2, 3, 4])
            },
            |error| matches!(error, EpochError::Reused { .. }),
        ),
        (
            "another document than the proven one",
            |cluster| {
                let mut proof = change(cluster, &set(cluster, 2, &[2, 3, 4]), &[1, 2, 3, 4]);
                let forged = set(cluster, 2, &[2, 3, 5]).encode_to_vec();
                proof.item.as_mut().unwrap().content.as_mut().unwrap().value = forged.into();
                proof
            },
            |error| matches!(error, EpochError::Proof(_)),
        ),
    ];
    for (name, forge, expected) in cases {
        let cluster = cluster().await;
        cluster.put("a", "1");
        let first = change(&cluster, &set(&cluster, 1, &[1, 2, 3]), &[1, 2]);
        let epochs = [first, forge(&cluster)];
        show(&cluster, &epochs, &[1, 2, 3]);
        let trust = tempfile::tempdir().unwrap();
        let error = refused(value(&client(&cluster.nodes[..3], trust.path())).await.unwrap_err());
        assert!(expected(&error), "{name}: {error}");
    }
}
