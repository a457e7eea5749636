//! Scenarios over real sockets on the loopback address.

mod authority;
mod files;
mod identity;
mod listener;
mod mutual;
mod reload;
mod renew;

use std::{sync::Arc, time::Duration};

use quorate_core::{
    name::ClusterId,
    position::{Micros, NodeId},
};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Authority, Credentials, Incoming, Issued, PeerIdentity, PeerTls, Roots};
use crate::clock::Clock;

const CLUSTER: ClusterId = ClusterId::new([7; 16]);
const OTHER_CLUSTER: ClusterId = ClusterId::new([8; 16]);
const PATIENCE: Duration = Duration::from_secs(10);

fn now() -> Micros {
    Clock::system().now()
}

fn authority() -> Authority {
    Authority::create("test", now()).unwrap()
}

fn node(cluster: ClusterId, id: u64) -> PeerIdentity {
    PeerIdentity { cluster, node: NodeId::new(id) }
}

fn credentials(issued: &Issued) -> Credentials {
    Credentials::from_pem(&issued.certificate, &issued.key).unwrap()
}

fn roots(authority: &Authority) -> Roots {
    Roots::from_pem(authority.certificate_pem()).unwrap()
}

/// A node with a certificate that `authority` issued, believing that same authority.
fn peer(authority: &Authority, identity: PeerIdentity) -> PeerTls {
    let issued = authority.issue_peer(identity, now()).unwrap();
    PeerTls::new(identity, credentials(&issued), roots(authority), now()).unwrap()
}

fn server(authority: &Authority) -> Credentials {
    credentials(&authority.issue_server(&["localhost".to_owned(), "127.0.0.1".to_owned()], now()).unwrap())
}

/// A client as an SDK would be: believes `authority`, shows `own` if given.
fn client_config(authority: &Authority, own: Option<&Issued>) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    let pem = authority.certificate_pem().as_bytes();
    store.add(rustls_pki_types::pem::PemObject::from_pem_slice(pem).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(super::config::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    let mut config = match own.map(credentials) {
        Some(own) => builder.with_client_auth_cert(own.chain().to_vec(), own.key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn connect(address: &str, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

/// Sends every byte back on every connection, for as long as the test lasts.
fn echo(mut incoming: Incoming) {
    tokio::spawn(async move {
        while let Some(connection) = incoming.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(connection);
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
}

/// Whether a byte makes the round trip.
async fn alive<C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(connection: &mut C) -> bool {
    let trip = async {
        connection.write_all(b"x").await?;
        connection.flush().await?;
        connection.read_u8().await
    };
    matches!(tokio::time::timeout(PATIENCE, trip).await.unwrap(), Ok(b'x'))
}

/// The text of an error and of everything that caused it.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
