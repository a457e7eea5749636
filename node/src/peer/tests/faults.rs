//! Lost connections, wrong peers, plaintext, and stopping.

use std::time::Duration;

use futures::stream;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tonic::Code;

use super::*;
use crate::consensus::{PeerError, PeerTransport};

fn vote() -> pb::VoteRequest {
    pb::VoteRequest { envelope: Some(envelope(node(2), id(1))), ..pb::VoteRequest::default() }
}

#[tokio::test]
async fn a_lost_peer_is_an_error_and_is_reached_again_when_it_is_back() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    two.vote(1, vote()).await.unwrap();
    let address = one.stop().await;
    let lost = two.vote(1, vote()).await.unwrap_err();
    assert!(matches!(lost, PeerError::Unreachable { node: 1, .. }), "{lost}");
    let again = Answering::at(&address, cluster.security(node(1))).await;
    let reached = async {
        while two.vote(1, vote()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
    assert_eq!(again.recorder.saw(|seen| seen.raft.len()), 1);
}

#[tokio::test]
async fn another_node_or_cluster_behind_the_address_is_never_talked_to() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = Peers::new(node(2), cluster.security(node(2)), MESSAGE_BYTES);
    two.learn_address(id(3), &one.address);
    let wrong = two.vote(3, vote()).await.unwrap_err();
    assert!(matches!(wrong, PeerError::Unreachable { node: 3, .. }), "{wrong}");
    assert!(wrong.to_string().contains("node 3 was expected"), "{wrong}");

    let elsewhere = PeerIdentity { cluster: ClusterId::new([8; 16]), node: id(2) };
    let stranger = Peers::new(elsewhere, cluster.security(elsewhere), MESSAGE_BYTES);
    stranger.learn_address(id(1), &one.address);
    assert!(stranger.vote(1, vote()).await.is_err());
    let outsider = Peers::new(node(2), Cluster::new().security(node(2)), MESSAGE_BYTES);
    outsider.learn_address(id(1), &one.address);
    assert!(outsider.vote(1, vote()).await.is_err());
    assert!(one.recorder.saw(|seen| seen.raft.is_empty()));
}

#[tokio::test]
async fn in_plaintext_a_node_is_who_it_says_and_must_say_it() {
    let one = Answering::start(PeerSecurity::Plaintext).await;
    let two = Peers::new(node(2), PeerSecurity::Plaintext, MESSAGE_BYTES);
    two.learn_address(id(1), &one.address);
    two.vote(1, vote()).await.unwrap();
    assert_eq!(one.recorder.saw(|seen| seen.raft.clone()), [(2, 2)]);
    let nameless = two.reach(id(1)).unwrap().vote(vote()).await.unwrap_err();
    assert_eq!(nameless.code(), Code::Unauthenticated);
    assert!(nameless.message().contains("quorate-node"), "{nameless}");
}

#[tokio::test]
async fn plaintext_and_tls_do_not_mix() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let plain = Peers::new(node(2), PeerSecurity::Plaintext, MESSAGE_BYTES);
    plain.learn_address(id(1), &one.address);
    assert!(plain.vote(1, vote()).await.is_err());
    let open = Answering::start(PeerSecurity::Plaintext).await;
    assert!(cluster.dialler(2, &open.address).vote(1, vote()).await.is_err());
}

#[tokio::test]
async fn stopping_ends_long_calls_and_does_not_wait_for_them() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let two = cluster.dialler(2, &one.address);
    let mut answers = two.append(1, stream::pending().boxed()).await.unwrap();
    let sending = tokio::spawn(two.install_snapshot(1, stream::pending().boxed()));
    two.vote(1, vote()).await.unwrap();
    let recorder = one.recorder.clone();
    tokio::time::timeout(Duration::from_secs(2), one.stop()).await.unwrap();
    assert!(answers.next().await.is_none_or(|answer| answer.is_err()));
    assert!(sending.await.unwrap().is_err());
    recorder.until(|seen| seen.ended_streams == 1).await;
}

/// Forwards bytes between a dialler and `target` until it is told to swallow them.
async fn tunnel(target: String) -> (String, watch::Sender<bool>) {
    let (swallow, swallowing) = watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (target, mut swallowing) = (target.clone(), swallowing.clone());
            tokio::spawn(async move {
                let mut far = TcpStream::connect(&target).await.unwrap();
                let told = tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => false,
                    on = swallowing.wait_for(|on| *on) => on.is_ok(),
                };
                if told {
                    std::future::pending().await
                }
            });
        }
    });
    (address, swallow)
}

#[tokio::test]
async fn a_silent_connection_is_given_up_and_replaced() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let (address, swallow) = tunnel(one.address.clone()).await;
    let two = cluster.dialler(2, &address);
    let mut answers = two.append(1, stream::pending().boxed()).await.unwrap();
    swallow.send_replace(true);
    // Nothing is closed and nothing arrives: only the pings can tell.
    let told = tokio::time::timeout(Duration::from_secs(8), answers.next()).await.unwrap();
    assert!(told.is_none_or(|answer| answer.is_err()));
    swallow.send_replace(false);
    tokio::time::timeout(PATIENCE, two.vote(1, vote())).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_removed_node_is_turned_away_from_everything_and_hears_why() {
    let cluster = Cluster::new();
    let one = Answering::start(cluster.security(node(1))).await;
    let peers = cluster.dialler(7, &one.address);
    let life = Life::from_bytes(&[1; 16]).unwrap();
    assert!(peers.farewells().borrow().is_empty());
    let refused = peers.enroll(id(1), life).await.unwrap_err().to_string();
    assert!(refused.contains("planted"), "{refused}");
    assert_eq!(peers.farewells().borrow().get(&id(1)), Some(&4));
    assert!(peers.epoch(id(1), 2).await.is_err());
    assert!(one.recorder.saw(|seen| seen.enrolled.is_empty()));
    // To be registered is what who was never a node asks for: its answer comes from the registry.
    assert!(
        matches!(peers.join(id(1), vec![1, 2].into()).await, Ok(Joined::Refused(why)) if why.contains("2 bytes"))
    );
    let other = cluster.dialler(3, &one.address);
    assert_eq!(other.epoch(id(1), 2).await.unwrap().state_proof, vec![2]);
    assert!(other.farewells().borrow().is_empty());
    one.stop().await;
}
