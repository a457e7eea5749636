//! TLS of a client: which certificates it believes, and its own.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::ConfigError;

/// Contents of the PEM files that a client is given.
#[derive(Clone, Default)]
pub(crate) struct TlsFiles {
    /// Certificates of the authorities that vouch for replicas.
    pub(crate) ca: Option<Vec<u8>>,
    /// The client's own certificate chain and private key.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// The TLS settings; `None` if no authority was named, so that only plaintext is possible.
pub(crate) fn client_tls(files: &TlsFiles) -> Result<Option<Arc<ClientConfig>>, ConfigError> {
    let Some(ca) = &files.ca else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("CA file", ca)? {
        roots.add(certificate).map_err(|error| problem("CA file", error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| problem("protocol versions", error))?
        .with_root_certificates(roots);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = certificates("client certificate", chain)?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| problem("client key", error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| problem("client certificate and key", error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(Arc::new(config)))
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| problem(what, error))?;
    match certificates.is_empty() {
        true => Err(problem(what, "there is no certificate in it")),
        false => Ok(certificates),
    }
}

fn problem(what: &'static str, problem: impl ToString) -> ConfigError {
    ConfigError::Tls { what, problem: problem.to_string() }
}
