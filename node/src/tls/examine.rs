//! Looks at a server certificate as a client would, without a connection.

use std::{sync::Arc, time::Duration};

use quorate_core::position::Micros;
use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls_pki_types::{ServerName, UnixTime};

use super::config::{Credentials, Roots, TlsError, provider};

/// Whether a client that calls `host` and believes `roots` takes this certificate at `now`: chain, names and validity.
///
/// # Errors
/// [`TlsError::Refused`] says why not.
pub fn check_server(
    credentials: &Credentials,
    roots: &Roots,
    host: &str,
    now: Micros,
) -> Result<(), TlsError> {
    let refused = |reason: String| TlsError::Refused { host: host.to_owned(), reason };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots.0), provider()).build();
    let verifier = verifier.map_err(|error| TlsError::Verifier { reason: error.to_string() })?;
    let name = ServerName::try_from(host).map_err(|error| refused(error.to_string()))?;
    let (leaf, between) =
        credentials.chain().split_first().ok_or_else(|| refused("it is empty".to_owned()))?;
    let at = UnixTime::since_unix_epoch(Duration::from_micros(now.get()));
    verifier.verify_server_cert(leaf, between, &name, &[], at).map_err(|error| refused(error.to_string()))?;
    Ok(())
}
