//! The accept loop: limits, reload, and its errors.

use futures::StreamExt;

use super::{
    super::{Limits, ListenError, Security, ServerTls, listen},
    *,
};

const SHORT: Duration = Duration::from_millis(300);

async fn serve(security: Security, limits: Limits) -> String {
    let listener = listen("client", "127.0.0.1:0", security, limits).await.unwrap();
    let address = listener.local_addr().to_string();
    echo(listener.incoming());
    address
}

/// Whether the other side closes a connection on which nothing was sent, within `patience`.
async fn closed(mut stream: TcpStream, patience: Duration) -> bool {
    matches!(tokio::time::timeout(patience, stream.read_u8()).await, Ok(Err(_)))
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let first = listen("client", "127.0.0.1:0", Security::Plaintext, Limits::default()).await.unwrap();
    let address = first.local_addr().to_string();
    let error = listen("peer", &address, Security::Plaintext, Limits::default()).await.unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }));
    let text = error.to_string();
    assert!(text.contains(&address) && text.contains("(peer)") && text.contains("in use"), "{text}");
    assert!(text.contains("configure another peer address"), "{text}");
}

#[tokio::test]
async fn an_address_that_is_none_or_not_ours_is_an_error_that_names_it() {
    for (address, hint) in
        [("127.0.0.1", "host:port"), ("nowhere.invalid:1", "host:port"), ("192.0.2.1:0", "0.0.0.0")]
    {
        let error = listen("http", address, Security::Plaintext, Limits::default()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(address) && text.contains("http") && text.contains(hint), "{text}");
    }
}

#[tokio::test]
async fn a_dropped_listener_frees_its_port() {
    let listener = listen("client", "127.0.0.1:0", Security::Plaintext, Limits::default()).await.unwrap();
    let address = listener.local_addr().to_string();
    let mut incoming = listener.incoming();
    let mut kept = TcpStream::connect(&address).await.unwrap();
    let mut accepted = incoming.next().await.unwrap().unwrap();
    drop(incoming);
    let again = async {
        while listen("client", &address, Security::Plaintext, Limits::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    // A connection that was handed out lives on.
    accepted.write_all(b"y").await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'y');
}

#[tokio::test]
async fn plaintext_is_served_only_where_it_was_asked_for() {
    let plain = serve(Security::Plaintext, Limits::default()).await;
    assert!(alive(&mut TcpStream::connect(&plain).await.unwrap()).await);

    let tls = ServerTls::new(&server(&authority())).unwrap();
    let encrypted = serve(Security::Server(tls), Limits::default()).await;
    let mut stream = TcpStream::connect(&encrypted).await.unwrap();
    assert!(!alive(&mut stream).await, "plaintext on a TLS port");
}

#[tokio::test]
async fn clients_verify_the_server_by_name_and_authority() {
    let authority = authority();
    let address =
        serve(Security::Server(ServerTls::new(&server(&authority)).unwrap()), Limits::default()).await;
    let mut good = connect(&address, client_config(&authority, None)).await.unwrap();
    assert!(alive(&mut good).await);
    assert_eq!(good.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert!(connect(&address, client_config(&super::authority(), None)).await.is_err());

    let other_name = authority.issue_server(&["elsewhere.example".to_owned()], now()).unwrap();
    let tls = ServerTls::new(&credentials(&other_name)).unwrap();
    let misnamed = serve(Security::Server(tls), Limits::default()).await;
    assert!(connect(&misnamed, client_config(&authority, None)).await.is_err());
}

#[tokio::test]
async fn a_new_certificate_serves_new_handshakes_and_leaves_connections_alone() {
    let (old, new) = (authority(), authority());
    let tls = ServerTls::new(&server(&old)).unwrap();
    let address = serve(Security::Server(tls.clone()), Limits::default()).await;
    let mut before = connect(&address, client_config(&old, None)).await.unwrap();
    assert!(alive(&mut before).await);
    tls.replace(&server(&new), &roots(&new)).unwrap();
    assert!(alive(&mut before).await, "an existing connection goes on");
    assert!(connect(&address, client_config(&old, None)).await.is_err(), "the old certificate is gone");
    let mut after = connect(&address, client_config(&new, None)).await.unwrap();
    assert!(alive(&mut after).await);
}

#[tokio::test]
async fn a_client_that_dribbles_its_hello_costs_one_slot_for_a_moment() {
    let authority = authority();
    let tls = ServerTls::new(&server(&authority)).unwrap();
    let limits = Limits { handshakes: 2, handshake_timeout: SHORT, ..Limits::default() };
    let address = serve(Security::Server(tls), limits).await;
    // Both places are taken: by one client that says nothing, and one that sends a byte now and then.
    let silent = TcpStream::connect(&address).await.unwrap();
    let mut dribbling = TcpStream::connect(&address).await.unwrap();
    let dribble = tokio::spawn(async move {
        for byte in [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03].iter().cycle() {
            if dribbling.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let honest = connect(&address, client_config(&authority, None));
    let mut honest = tokio::time::timeout(SHORT * 10, honest).await.unwrap().unwrap();
    assert!(alive(&mut honest).await);
    assert!(closed(silent, PATIENCE).await);
    tokio::time::timeout(PATIENCE, dribble).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once_and_a_closed_one_makes_room() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let address = serve(Security::Plaintext, limits).await;
    let mut one = TcpStream::connect(&address).await.unwrap();
    let mut two = TcpStream::connect(&address).await.unwrap();
    assert!(alive(&mut one).await && alive(&mut two).await);
    assert!(closed(TcpStream::connect(&address).await.unwrap(), PATIENCE).await);
    assert!(alive(&mut one).await && alive(&mut two).await);
    drop(two);
    let room = async {
        loop {
            let mut next = TcpStream::connect(&address).await.unwrap();
            if alive(&mut next).await {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, room).await.unwrap();
}

/// What a listener that recognises operators of `CLUSTER` knows of a client that shows this certificate.
async fn operator(authority: &Authority, own: Option<&Issued>) -> std::io::Result<bool> {
    let tls = ServerTls::with_operators(&server(authority), &roots(authority), CLUSTER).unwrap();
    let listener = listen("client", "127.0.0.1:0", Security::Server(tls), Limits::default()).await.unwrap();
    let address = listener.local_addr().to_string();
    let mut incoming = listener.incoming();
    let mut client = connect(&address, client_config(authority, own)).await?;
    // The verdict on the client's certificate comes with the first read.
    let verdict = tokio::time::timeout(SHORT * 5, client.read_u8()).await;
    match verdict {
        Ok(Err(error)) => Err(error),
        _ => Ok(tokio::time::timeout(PATIENCE, incoming.accept()).await.unwrap().unwrap().info().operator),
    }
}

#[tokio::test]
async fn an_operator_is_who_shows_a_certificate_of_one_of_this_cluster() {
    let authority = authority();
    let ours = authority.issue_operator(CLUSTER, now()).unwrap();
    assert!(operator(&authority, Some(&ours)).await.unwrap());
    assert!(!operator(&authority, None).await.unwrap(), "a client without a certificate is let in");
    let others = authority.issue_operator(OTHER_CLUSTER, now()).unwrap();
    assert!(!operator(&authority, Some(&others)).await.unwrap());
    let peer = authority.issue_peer(node(CLUSTER, 1), now()).unwrap();
    assert!(!operator(&authority, Some(&peer)).await.unwrap(), "a node is no operator");
    let forged = super::authority().issue_operator(CLUSTER, now()).unwrap();
    assert!(operator(&authority, Some(&forged)).await.is_err(), "another authority's certificate");
}
