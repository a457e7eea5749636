//! TLS between nodes: both sides show a certificate, both sides check it.

use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use quorate_core::position::{Micros, NodeId};
use rustls::{
    ClientConfig, ServerConfig,
    client::{Resumption, danger::ServerCertVerifier},
    server::NoServerSessionStorage,
    version::TLS13,
};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    Connection, Credentials, IdentityError, PeerIdentity, Roots, Security, TlsError,
    config::{ALPN_HTTP2, provider},
    connection,
    verify::{self, DialledPeer, IncomingPeer},
};

/// This node's side of every connection to and from its peers. Clones share the certificates.
#[derive(Clone)]
pub struct PeerTls {
    own: PeerIdentity,
    current: Arc<RwLock<Arc<Material>>>,
}

/// What one moment's handshakes use. Replaced as a whole, so that no handshake sees half of a change.
struct Material {
    credentials: Credentials,
    roots: Roots,
    server: Arc<ServerConfig>,
}

impl PeerTls {
    /// Speaks for `own` with these credentials, and believes peers whose certificates chain to `roots`.
    ///
    /// Its own certificate is judged at `now` as a peer would: a node that all would refuse says so at once.
    ///
    /// # Errors
    /// [`TlsError::OwnIdentity`], [`TlsError::OwnCertificate`], [`TlsError::Credentials`], [`TlsError::Verifier`].
    pub fn new(
        own: PeerIdentity,
        credentials: Credentials,
        roots: Roots,
        now: Micros,
    ) -> Result<Self, TlsError> {
        let material = Material::new(own, credentials, roots, now)?;
        Ok(Self { own, current: Arc::new(RwLock::new(Arc::new(material))) })
    }

    /// Uses these from the next handshake on, in both directions. Connections that exist go on. On an error
    /// nothing changes.
    ///
    /// # Errors
    /// As [`PeerTls::new`].
    pub fn replace(&self, credentials: Credentials, roots: Roots, now: Micros) -> Result<(), TlsError> {
        let material = Arc::new(Material::new(self.own, credentials, roots, now)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = material;
        Ok(())
    }

    /// Who this node is.
    #[must_use]
    pub const fn own(&self) -> PeerIdentity {
        self.own
    }

    /// Connects to the node `expected` at `address` ("host:port") within `timeout`, and makes sure it is that
    /// node. With TLS 1.3 the other side's verdict on *our* certificate arrives with the first read.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(
        &self,
        address: &str,
        expected: NodeId,
        timeout: Duration,
    ) -> Result<Connection, DialError> {
        let connector = TlsConnector::from(Arc::new(self.client_config(expected, address)?));
        let name =
            ServerName::try_from("peer").map_err(|_| DialError::refused(address, expected, "bad name"))?;
        let connect = async {
            let tcp = TcpStream::connect(address)
                .await
                .map_err(|source| DialError::io(address, expected, source))?;
            let (local, remote) =
                connection::prepare(&tcp).map_err(|s| DialError::io(address, expected, s))?;
            let tls = connector.connect(name, tcp).await;
            let tls = tls.map_err(|source| DialError::io(address, expected, verify::reason(source)))?;
            Ok(Connection::tls(tls.into(), local, remote, Some(expected)))
        };
        match tokio::time::timeout(timeout, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(DialError::Timeout { address: address.to_owned(), node: expected, timeout }),
        }
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.material().server)
    }

    fn material(&self) -> Arc<Material> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A configuration of its own for each connection: it knows which node it must reach, and resumes nothing.
    fn client_config(&self, expected: NodeId, address: &str) -> Result<ClientConfig, DialError> {
        let material = self.material();
        let verifier = DialledPeer::new(self.own, expected, Arc::clone(&material.roots.0));
        let build = || {
            ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&TLS13])?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_client_auth_cert(material.credentials.chain().to_vec(), material.credentials.key())
        };
        let mut config = build()
            .map_err(|error: rustls::Error| DialError::refused(address, expected, error.to_string()))?;
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

impl Material {
    fn new(own: PeerIdentity, credentials: Credentials, roots: Roots, now: Micros) -> Result<Self, TlsError> {
        check_own(own, &credentials, &roots, now)?;
        let verifier = IncomingPeer::new(own, Arc::clone(&roots.0))?;
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Credentials)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(credentials.chain().to_vec(), credentials.key())
            .map_err(TlsError::Credentials)?;
        server.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        // A resumed session would skip the verification of a certificate that is no longer accepted.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { credentials, roots, server: Arc::new(server) })
    }
}

/// Judges this node's certificate as a peer that dials it would.
fn check_own(
    own: PeerIdentity,
    credentials: &Credentials,
    roots: &Roots,
    now: Micros,
) -> Result<(), TlsError> {
    let Some((leaf, intermediates)) = credentials.chain().split_first() else {
        return Err(TlsError::OwnIdentity(IdentityError::Absent));
    };
    let named = PeerIdentity::of_certificate(leaf)?;
    if named.cluster != own.cluster {
        return Err(IdentityError::OtherCluster { got: named.cluster, own: own.cluster }.into());
    }
    if named.node != own.node {
        return Err(IdentityError::OtherNode { got: named.node, expected: own.node }.into());
    }
    let now = UnixTime::since_unix_epoch(Duration::from_micros(now.get()));
    let name = ServerName::try_from("peer").map_err(|_| IdentityError::Unreadable)?;
    DialledPeer::new(own, own.node, Arc::clone(&roots.0))
        .verify_server_cert(leaf, intermediates, &name, &[], now)
        .map_err(TlsError::OwnCertificate)?;
    Ok(())
}

/// How connections between nodes are protected, in both directions.
#[derive(Clone, Debug)]
pub enum PeerSecurity {
    /// Not at all: whoever reaches the port is believed to be the node it says it is. Only by an explicit flag.
    Plaintext,
    /// Mutual TLS.
    Tls(PeerTls),
}

impl PeerSecurity {
    /// Connects to the node `expected` at `address` ("host:port") within `timeout`. In plaintext nobody checks
    /// who answers.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(
        &self,
        address: &str,
        expected: NodeId,
        timeout: Duration,
    ) -> Result<Connection, DialError> {
        let connect = match self {
            Self::Tls(tls) => return tls.dial(address, expected, timeout).await,
            Self::Plaintext => TcpStream::connect(address),
        };
        let connected = tokio::time::timeout(timeout, connect).await;
        let prepared = match connected {
            Ok(tcp) => tcp.and_then(|tcp| connection::prepare(&tcp).map(|ends| (tcp, ends))),
            Err(_) => {
                return Err(DialError::Timeout { address: address.to_owned(), node: expected, timeout });
            }
        };
        let (tcp, (local, remote)) = prepared.map_err(|source| DialError::io(address, expected, source))?;
        Ok(Connection::plain(tcp, local, remote))
    }

    /// The same for a listener.
    #[must_use]
    pub fn listening(&self) -> Security {
        match self {
            Self::Plaintext => Security::Plaintext,
            Self::Tls(tls) => Security::Peer(tls.clone()),
        }
    }
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTls").field("own", &self.own).finish_non_exhaustive()
    }
}

/// Why a peer could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The network, or a refused certificate (the source says which).
    #[error("cannot reach node {node} at {address}: {source}")]
    Io {
        /// The node.
        node: NodeId,
        /// Where.
        address: String,
        /// The reason.
        source: io::Error,
    },
    /// No answer in time.
    #[error("cannot reach node {node} at {address}: no connection within {timeout:?}")]
    Timeout {
        /// The node.
        node: NodeId,
        /// Where.
        address: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// Our own side cannot even start.
    #[error("cannot dial node {node} at {address}: {reason}")]
    Refused {
        /// The node.
        node: NodeId,
        /// Where.
        address: String,
        /// The reason.
        reason: String,
    },
}

impl DialError {
    fn io(address: &str, node: NodeId, source: io::Error) -> Self {
        Self::Io { node, address: address.to_owned(), source }
    }

    fn refused(address: &str, node: NodeId, reason: impl Into<String>) -> Self {
        Self::Refused { node, address: address.to_owned(), reason: reason.into() }
    }
}
