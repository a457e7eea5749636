//! Nodes of different releases: those that speak a version in common work together, the others refuse each other.

use std::time::Duration;

use tonic::Code;

use super::*;
use crate::consensus::{PeerError, PeerTransport};

const OLD: Versions = Versions { oldest: 1, newest: 1 };
const BETWEEN: Versions = Versions { oldest: 1, newest: 2 };
const NEW: Versions = Versions { oldest: 2, newest: 3 };

fn vote() -> pb::VoteRequest {
    pb::VoteRequest { envelope: Some(envelope(node(2), id(1))), ..pb::VoteRequest::default() }
}

/// Node 2, which speaks these versions and knows node 1 at `address`.
fn dialler(cluster: &Cluster, address: &str, spoken: Versions) -> (Peers, Refused) {
    let refused = Refused::default();
    let wire = Wire::new(id(2), spoken, refused.clone());
    let peers = Peers::speaking(node(2), cluster.security(node(2)), MESSAGE_BYTES, wire);
    peers.learn_address(id(1), address);
    (peers, refused)
}

#[tokio::test]
async fn nodes_with_a_version_in_common_work_together() {
    let cluster = Cluster::new();
    for (theirs, ours) in [(OLD, OLD), (OLD, BETWEEN), (BETWEEN, OLD), (BETWEEN, NEW), (NEW, BETWEEN)] {
        let one = Answering::speaking("127.0.0.1:0", cluster.security(node(1)), theirs).await;
        let (two, refused) = dialler(&cluster, &one.address, ours);
        two.vote(1, vote()).await.unwrap();
        assert!(refused.now().is_empty() && one.refused.now().is_empty());
        one.stop().await;
    }
}

#[tokio::test]
async fn nodes_without_one_refuse_each_other_and_both_say_why() {
    let cluster = Cluster::new();
    for (theirs, ours, says) in [
        (OLD, NEW, ["version 1 of the wire", "speaks 2-3:"]),
        (NEW, OLD, ["version 2-3 of the wire", "speaks 1:"]),
    ] {
        let one = Answering::speaking("127.0.0.1:0", cluster.security(node(1)), theirs).await;
        let (two, refused) = dialler(&cluster, &one.address, ours);
        let error = two.vote(1, vote()).await.unwrap_err();
        assert!(matches!(error, PeerError::Failed { node: 1, .. }), "{error}");
        for words in says.into_iter().chain(["none in common", "docs/operations/upgrade.md"]) {
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(one.recorder.saw(|seen| seen.raft.is_empty()), "the call reached the node");
        let shown = |refused: &Refused| refused.now().into_iter().map(|(node, _)| node).collect::<Vec<_>>();
        assert_eq!((shown(&refused), shown(&one.refused)), (vec![id(1)], vec![id(2)]));
        // To be registered, too, which the gate lets everybody ask for.
        assert!(two.join(id(1), vec![1].into()).await.is_err());
        one.stop().await;
    }
}

#[tokio::test]
async fn a_refused_peer_is_left_alone_for_a_while() {
    let cluster = Cluster::new();
    let one = Answering::speaking("127.0.0.1:0", cluster.security(node(1)), NEW).await;
    let (two, _) = dialler(&cluster, &one.address, OLD);
    let first = two.vote(1, vote()).await.unwrap_err().to_string();
    let address = one.stop().await;
    // Nobody listens any more: an answer that says the same was not asked of the network.
    for _ in 0..100 {
        assert_eq!(two.vote(1, vote()).await.unwrap_err().to_string(), first);
    }
    // It is back with another version: its own call is what ends the rest.
    let _one = Answering::at(&address, cluster.security(node(1))).await;
    assert!(two.wire().hear(id(1), &tonic::metadata::MetadataMap::new()).is_ok());
    let reached = async {
        while two.vote(1, vote()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

#[tokio::test]
async fn a_node_of_before_the_versions_speaks_version_1() {
    let one = Answering::speaking("127.0.0.1:0", PeerSecurity::Plaintext, NEW).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", one.address)).unwrap();
    let mut silent = pb::peer_client::PeerClient::new(channel.connect().await.unwrap());
    let mut request = tonic::Request::new(vote());
    request.metadata_mut().insert("quorate-node", tonic::metadata::MetadataValue::from_static("2"));
    let refused = silent.vote(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("speaks version 1 of the wire"), "{refused}");
    assert_eq!(refused.metadata().get("quorate-wire").unwrap(), "2-3");
}
