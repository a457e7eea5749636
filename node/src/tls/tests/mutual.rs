//! Who gets through a handshake between nodes, and who does not.

use super::{
    super::{Limits, Security, listen},
    *,
};

/// Node 1 of the cluster, listening; the address.
async fn node_one(tls: PeerTls) -> String {
    let listener = listen("peer", "127.0.0.1:0", Security::Peer(tls), Limits::default()).await.unwrap();
    let address = listener.local_addr().to_string();
    echo(listener.incoming());
    address
}

/// Whether node 1 lets in a client with this certificate (or none).
async fn let_in(address: &str, authority: &Authority, own: Option<&Issued>) -> bool {
    // The name is not checked between nodes, so the test's client must not check it either: it dials as a peer.
    let mut config = (*client_config(authority, own)).clone();
    config.dangerous().set_certificate_verifier(Arc::new(super::super::verify::DialledPeer::new(
        node(CLUSTER, 9),
        NodeId::new(1),
        Arc::clone(&roots(authority).0),
    )));
    match connect(address, Arc::new(config)).await {
        Ok(mut connection) => alive(&mut connection).await,
        Err(_) => false,
    }
}

#[tokio::test]
async fn two_nodes_of_a_cluster_know_each_other() {
    let authority = authority();
    let listener =
        listen("peer", "127.0.0.1:0", Security::Peer(peer(&authority, node(CLUSTER, 1))), Limits::default());
    let listener = listener.await.unwrap();
    let address = listener.local_addr().to_string();
    let mut incoming = listener.incoming();
    let two = peer(&authority, node(CLUSTER, 2));
    let dialled = two.dial(&address, NodeId::new(1), PATIENCE).await.unwrap();
    let accepted = incoming.accept().await.unwrap();
    assert_eq!(dialled.info().peer, Some(NodeId::new(1)));
    assert_eq!(accepted.info().peer, Some(NodeId::new(2)));
    assert!(accepted.info().encrypted && dialled.info().encrypted);
    assert_eq!(accepted.info().remote, dialled.info().local);
}

#[tokio::test]
async fn only_nodes_of_this_cluster_are_let_in() {
    let authority = authority();
    let stranger = super::authority();
    let address = node_one(peer(&authority, node(CLUSTER, 1))).await;
    let issue = |identity| authority.issue_peer(identity, now()).unwrap();
    assert!(let_in(&address, &authority, Some(&issue(node(CLUSTER, 2)))).await, "a peer");

    assert!(!let_in(&address, &authority, None).await, "no certificate");
    assert!(!let_in(&address, &authority, Some(&issue(node(OTHER_CLUSTER, 2)))).await, "another cluster");
    assert!(!let_in(&address, &authority, Some(&issue(node(CLUSTER, 1)))).await, "this node itself");
    let foreign = stranger.issue_peer(node(CLUSTER, 2), now()).unwrap();
    assert!(!let_in(&address, &authority, Some(&foreign)).await, "another authority");
    let served = authority.issue_server(&["localhost".to_owned()], now()).unwrap();
    assert!(!let_in(&address, &authority, Some(&served)).await, "a certificate made for clients");
    let old = authority.issue_peer(node(CLUSTER, 2), Micros::from_secs(1_000_000_000).unwrap()).unwrap();
    assert!(!let_in(&address, &authority, Some(&old)).await, "expired");
    let future = Micros::from_secs(now().as_secs() + 90_000).unwrap();
    let early = authority.issue_peer(node(CLUSTER, 2), future).unwrap();
    assert!(!let_in(&address, &authority, Some(&early)).await, "not valid yet");
    assert!(!let_in(&address, &authority, Some(&self_signed())).await, "self-signed");
}

/// A certificate for node 2 that nobody but itself vouches for.
fn self_signed() -> Issued {
    let mut params = rcgen::CertificateParams::default();
    let name = node(CLUSTER, 2).to_string();
    params.subject_alt_names = vec![rcgen::SanType::URI(name.try_into().unwrap())];
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    Issued { certificate, key: zeroize::Zeroizing::new(key.serialize_pem()) }
}

#[tokio::test]
async fn a_node_talks_only_to_the_node_it_dialled() {
    let authority = authority();
    let address = node_one(peer(&authority, node(CLUSTER, 1))).await;
    let two = peer(&authority, node(CLUSTER, 2));
    let error = two.dial(&address, NodeId::new(3), PATIENCE).await.unwrap_err();
    let text = explain(&error);
    assert!(text.contains("node 3 was expected") && text.contains("node 1 answered"), "{text}");

    let elsewhere = peer(&authority, node(OTHER_CLUSTER, 2));
    let error = elsewhere.dial(&address, NodeId::new(1), PATIENCE).await.unwrap_err();
    assert!(explain(&error).contains("belongs to cluster"), "{}", explain(&error));

    let strangers = peer(&super::authority(), node(CLUSTER, 2));
    assert!(strangers.dial(&address, NodeId::new(1), PATIENCE).await.is_err());
}

#[tokio::test]
async fn a_server_meant_for_clients_is_no_peer() {
    let authority = authority();
    let tls = super::super::ServerTls::new(&server(&authority)).unwrap();
    let listener = listen("client", "127.0.0.1:0", Security::Server(tls), Limits::default()).await.unwrap();
    let address = listener.local_addr().to_string();
    echo(listener.incoming());
    let two = peer(&authority, node(CLUSTER, 2));
    let error = two.dial(&address, NodeId::new(1), PATIENCE).await.unwrap_err();
    assert!(explain(&error).contains("names no node"), "{}", explain(&error));
}

#[tokio::test]
async fn a_silent_peer_is_given_up_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let two = peer(&authority(), node(CLUSTER, 2));
    let dialled = two.dial(&address, NodeId::new(1), Duration::from_millis(100)).await;
    assert!(matches!(dialled, Err(super::super::DialError::Timeout { .. })));
}

#[tokio::test]
async fn a_cluster_moves_to_a_new_authority_without_dropping_a_connection() {
    let (old, new) = (authority(), authority());
    let both = Roots::from_pem(&format!("{}{}", old.certificate_pem(), new.certificate_pem())).unwrap();
    let one = peer(&old, node(CLUSTER, 1));
    let address = node_one(one.clone()).await;
    let two = peer(&old, node(CLUSTER, 2));
    let mut first = two.dial(&address, NodeId::new(1), PATIENCE).await.unwrap();
    assert!(alive(&mut first).await);

    // Node 2 already has the new authority's certificate; node 1 does not believe it yet.
    let issued = new.issue_peer(node(CLUSTER, 2), now()).unwrap();
    two.replace(credentials(&issued), both.clone(), now()).unwrap();
    let mut refused = two.dial(&address, NodeId::new(1), PATIENCE).await.unwrap();
    assert!(!alive(&mut refused).await, "the verdict arrives with the first read");

    let issued = new.issue_peer(node(CLUSTER, 1), now()).unwrap();
    one.replace(credentials(&issued), both, now()).unwrap();
    let mut second = two.dial(&address, NodeId::new(1), PATIENCE).await.unwrap();
    assert!(alive(&mut second).await && alive(&mut first).await);
}

#[tokio::test]
async fn a_bad_replacement_changes_nothing() {
    let authority = authority();
    let one = peer(&authority, node(CLUSTER, 1));
    let address = node_one(one.clone()).await;
    let wrong = authority.issue_peer(node(CLUSTER, 5), now()).unwrap();
    assert!(one.replace(credentials(&wrong), roots(&authority), now()).is_err());
    let two = peer(&authority, node(CLUSTER, 2));
    let mut connection = two.dial(&address, NodeId::new(1), PATIENCE).await.unwrap();
    assert!(alive(&mut connection).await);
}
