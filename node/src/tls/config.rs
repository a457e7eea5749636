//! Certificates and trust anchors as loaded, and the client-facing TLS configuration.

use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use quorate_core::{name::ClusterId, position::Micros};
use rustls::{RootCertStore, ServerConfig, crypto::CryptoProvider, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    IdentityError,
    files::{self, FileError},
    identity::names_operator,
};

/// The one protocol spoken behind TLS here (RFC 9113): gRPC over HTTP/2.
pub(super) const ALPN_HTTP2: &[u8] = b"h2";

/// The cryptography in use: ring.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate chain and its private key.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Reads a chain (leaf first) and its key, both PEM. The key's file must be closed to others.
    ///
    /// # Errors
    /// [`TlsError::File`], [`TlsError::Pem`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = certificates(&files::read_public(certificate)?)
            .map_err(|reason| TlsError::pem(certificate, "a certificate", reason))?;
        let key_bytes = files::read_secret(key)?;
        let key = PrivateKeyDer::from_pem_slice(&key_bytes)
            .map_err(|error| TlsError::pem(key, "a private key", error.to_string()))?;
        Ok(Self { chain, key })
    }

    /// The same from text in memory.
    ///
    /// # Errors
    /// [`TlsError::Pem`].
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, TlsError> {
        let chain = certificates(certificate.as_bytes())
            .map_err(|reason| TlsError::pem(Path::new("(memory)"), "a certificate", reason))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| TlsError::pem(Path::new("(memory)"), "a private key", error.to_string()))?;
        Ok(Self { chain, key })
    }

    /// When the leaf certificate ends; `None` if it cannot be read.
    #[must_use]
    pub fn expires_at(&self) -> Option<Micros> {
        let (_, leaf) = x509_parser::parse_x509_certificate(self.chain.first()?).ok()?;
        let seconds = u64::try_from(leaf.validity().not_after.timestamp()).ok()?;
        Micros::from_secs(seconds)
    }

    /// Refuses a leaf certificate that is not valid at `now`: whoever checks it would refuse it too.
    ///
    /// # Errors
    /// [`TlsError::NotValid`], and [`TlsError::OwnIdentity`] for one that cannot be read.
    pub fn check_valid(&self, now: Micros) -> Result<(), TlsError> {
        let leaf = self.chain.first().ok_or(IdentityError::Absent)?;
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf).map_err(|_| IdentityError::Unreadable)?;
        let (from, until) = (leaf.validity().not_before, leaf.validity().not_after);
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match (from.timestamp()..=until.timestamp()).contains(&now) {
            true => Ok(()),
            false => Err(TlsError::NotValid { from: from.to_string(), until: until.to_string() }),
        }
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// The authorities whose certificates are believed.
#[derive(Clone, Debug)]
pub struct Roots(pub(super) Arc<RootCertStore>);

impl Roots {
    /// Reads one or more authority certificates from a PEM file. Several let a cluster change authority: old
    /// and new are both believed while certificates are replaced.
    ///
    /// # Errors
    /// [`TlsError::File`], [`TlsError::Pem`].
    pub fn load(path: &Path) -> Result<Self, TlsError> {
        Self::parse(&files::read_public(path)?)
            .map_err(|reason| TlsError::pem(path, "an authority's certificate", reason))
    }

    /// The same from text in memory.
    ///
    /// # Errors
    /// [`TlsError::Pem`].
    pub fn from_pem(pem: &str) -> Result<Self, TlsError> {
        Self::parse(pem.as_bytes())
            .map_err(|reason| TlsError::pem(Path::new("(memory)"), "an authority's certificate", reason))
    }

    fn parse(pem: &[u8]) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(pem)? {
            store.add(certificate).map_err(|error| error.to_string())?;
        }
        Ok(Self(Arc::new(store)))
    }
}

/// All certificates of a PEM text; at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    match chain.is_empty() {
        true => Err("it contains no certificate".to_owned()),
        false => Ok(chain),
    }
}

/// TLS towards clients, with a certificate that can be replaced while serving. Clones share the certificate.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<RwLock<Arc<ServerConfig>>>,
    /// The cluster whose operators are recognised by their certificates.
    operators: Option<ClusterId>,
}

impl ServerTls {
    /// Serves with these credentials; clients are not asked for a certificate.
    ///
    /// # Errors
    /// [`TlsError::Credentials`] if key and certificate do not belong together.
    pub fn new(credentials: &Credentials) -> Result<Self, TlsError> {
        let config = server_config(credentials, None)?;
        Ok(Self { config: Arc::new(RwLock::new(Arc::new(config))), operators: None })
    }

    /// Serves with these credentials; a client may show a certificate of `roots`, and is an operator if it names one of
    /// this cluster. One that shows a certificate of somebody else is refused.
    ///
    /// # Errors
    /// [`TlsError::Credentials`], [`TlsError::Verifier`].
    pub fn with_operators(
        credentials: &Credentials,
        roots: &Roots,
        cluster: ClusterId,
    ) -> Result<Self, TlsError> {
        let config = server_config(credentials, Some(roots))?;
        Ok(Self { config: Arc::new(RwLock::new(Arc::new(config))), operators: Some(cluster) })
    }

    /// Uses these from the next handshake on. Connections that exist go on as they are. On an error nothing changes.
    ///
    /// # Errors
    /// As when it was made.
    pub fn replace(&self, credentials: &Credentials, roots: &Roots) -> Result<(), TlsError> {
        let config = Arc::new(server_config(credentials, self.operators.map(|_| roots))?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a client that showed these certificates is an operator. They were verified in the handshake.
    pub(super) fn is_operator(&self, shown: Option<&[CertificateDer<'_>]>) -> bool {
        let leaf = shown.and_then(<[_]>::first);
        leaf.zip(self.operators).is_some_and(|(leaf, cluster)| names_operator(leaf, cluster))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

fn server_config(credentials: &Credentials, roots: Option<&Roots>) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Credentials)?;
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.0), provider())
                .allow_unauthenticated()
                .build()
                .map_err(|error| TlsError::Verifier { reason: error.to_string() })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(credentials.chain().to_vec(), credentials.key())
        .map_err(TlsError::Credentials)?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    Ok(config)
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that does not hold what it should.
    #[error("{path} does not hold {expected} in PEM: {reason}")]
    Pem {
        /// The file.
        path: String,
        /// What was expected.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Key and certificate do not fit.
    #[error("certificate and private key cannot be used together: {0}; issue both anew")]
    Credentials(#[source] rustls::Error),
    /// No verifier can be made of the trust anchors.
    #[error("the authority's certificates cannot be used to verify peers: {reason}")]
    Verifier {
        /// What is wrong.
        reason: String,
    },
    /// A client would not take it.
    #[error(
        "a client that calls {host:?} would refuse it: {reason}; issue a new one, or correct the cluster file"
    )]
    Refused {
        /// What the client calls.
        host: String,
        /// Why.
        reason: String,
    },
    /// Out of its time.
    #[error(
        "the certificate is valid from {from} until {until}, which is not now: issue a new one, or correct the clock"
    )]
    NotValid {
        /// The first moment.
        from: String,
        /// The last.
        until: String,
    },
    /// This node's certificate is for another node or cluster.
    #[error("this node's own peer certificate (tls.peer_certificate) is wrong: {}", own_problem(.0))]
    OwnIdentity(#[from] IdentityError),
    /// This node's certificate would be refused by every peer.
    #[error("this node's own peer certificate would be refused by its peers: {0}; issue a new one")]
    OwnCertificate(#[source] rustls::Error),
}

impl TlsError {
    fn pem(path: &Path, expected: &'static str, reason: String) -> Self {
        Self::Pem { path: path.display().to_string(), expected, reason }
    }
}

/// What [`IdentityError`] means of a certificate of this node itself: nobody was dialled.
fn own_problem(error: &IdentityError) -> String {
    match error {
        IdentityError::OtherCluster { got, own } => format!(
            "it was issued to a node of cluster {got}, and the cluster file names cluster {own}: correct \
             node.cluster_file or tls.peer_certificate"
        ),
        IdentityError::OtherNode { got, expected } => format!(
            "it was issued to node {got}, and node.id is {expected}: correct node.id or tls.peer_certificate"
        ),
        other => other.to_string(),
    }
}
