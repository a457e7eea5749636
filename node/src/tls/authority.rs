//! The cluster's own certificate authority.

use std::{fmt, path::Path, time::Duration};

use quorate_core::{name::ClusterId, position::Micros};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use zeroize::Zeroizing;

use super::{
    PeerIdentity,
    files::{self, FileError},
    operator_name,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the authority itself is valid.
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
/// How long a certificate made by it is valid: the longest that common client platforms accept.
const CERTIFICATE_LIFETIME: Duration = DAY.saturating_mul(825);
/// Certificates are valid from this long ago, for machines whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// Dates beyond this (the year 9000, in seconds) cannot be written in a certificate.
const LATEST: Duration = Duration::from_secs(221_845_392_000);

/// Issues the certificates of one cluster: one for each node towards its peers, one towards its clients.
///
/// On disk: `authority.crt` (public; every node and every client has a copy) and `authority.key` (0600; needed
/// only to issue). Keys are ECDSA P-256.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, both PEM.
pub struct Issued {
    /// The certificate, to be shown to anyone.
    pub certificate: String,
    /// The private key (PKCS #8); wiped from memory when dropped.
    pub key: Zeroizing<String>,
}

impl Authority {
    /// Name of the certificate's file in its directory.
    pub const CERTIFICATE_FILE: &str = "authority.crt";
    /// Name of the key's file in its directory.
    pub const KEY_FILE: &str = "authority.key";

    /// Makes a new authority, valid for ten years from `now`. `name` is for people to tell authorities apart.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`] if the operating system gives no randomness.
    pub fn create(name: &str, now: Micros) -> Result<Self, AuthorityError> {
        let mut params = params(&format!("Quorate authority {name}"), now, AUTHORITY_LIFETIME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = false;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Reads an authority from the directory it was saved to.
    ///
    /// # Errors
    /// [`AuthorityError::File`] if a file is missing or the key is open to others; [`AuthorityError::Malformed`].
    pub fn load(directory: &Path) -> Result<Self, AuthorityError> {
        let (certificate_path, key_path) = paths(directory);
        let malformed = |path: &Path, reason: String| AuthorityError::Malformed {
            path: path.display().to_string(),
            reason,
        };
        let key = files::read_secret(&key_path)?;
        let key = std::str::from_utf8(&key).map_err(|error| malformed(&key_path, error.to_string()))?;
        let key = KeyPair::from_pem(key).map_err(|error| malformed(&key_path, error.to_string()))?;
        let certificate = files::read_public(&certificate_path)?;
        let certificate = String::from_utf8(certificate)
            .map_err(|error| malformed(&certificate_path, error.to_string()))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| malformed(&certificate_path, error.to_string()))?;
        check_pair(&der, &key).map_err(|reason| malformed(&certificate_path, reason))?;
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|error| malformed(&certificate_path, error.to_string()))?;
        Ok(Self { certificate, issuer })
    }

    /// Writes certificate and key to a private directory, which is made if need be. Never overwrites.
    ///
    /// # Errors
    /// [`AuthorityError::File`].
    pub fn save(&self, directory: &Path) -> Result<(), AuthorityError> {
        files::create_private_dir(directory)?;
        let (certificate_path, key_path) = paths(directory);
        let key = Zeroizing::new(self.issuer.key().serialize_pem());
        files::write_secret(&key_path, key.as_bytes())?;
        files::write_public(&certificate_path, self.certificate.as_bytes())?;
        Ok(())
    }

    /// The authority's certificate (PEM): what nodes and clients are given to trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// A certificate that a node shows to clients, valid for 825 days from `now`.
    ///
    /// `hosts`: every DNS name or IP address under which clients reach the node, without ports; at least one.
    ///
    /// # Errors
    /// [`AuthorityError::NoHost`], [`AuthorityError::Host`], [`AuthorityError::Certificate`].
    pub fn issue_server(&self, hosts: &[String], now: Micros) -> Result<Issued, AuthorityError> {
        if hosts.is_empty() {
            return Err(AuthorityError::NoHost);
        }
        if let Some(host) = hosts.iter().find(|host| ServerName::try_from(host.as_str()).is_err()) {
            return Err(AuthorityError::Host { host: host.clone() });
        }
        let mut params = params("Quorate server", now, CERTIFICATE_LIFETIME);
        params.subject_alt_names = CertificateParams::new(hosts)?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A certificate that binds a node's identity, shown to its peers in both directions; valid for 825 days
    /// from `now`.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`].
    pub fn issue_peer(&self, identity: PeerIdentity, now: Micros) -> Result<Issued, AuthorityError> {
        let mut params = params(&format!("Quorate node {}", identity.node), now, CERTIFICATE_LIFETIME);
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// A certificate that makes its holder an operator of the cluster; valid for 825 days from `now`.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`].
    pub fn issue_operator(&self, cluster: ClusterId, now: Micros) -> Result<Issued, AuthorityError> {
        let mut params = params("Quorate operator", now, CERTIFICATE_LIFETIME);
        params.subject_alt_names = vec![SanType::URI(operator_name(cluster).try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }
}

fn paths(directory: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    (directory.join(Authority::CERTIFICATE_FILE), directory.join(Authority::KEY_FILE))
}

/// An authority whose key is not that of its certificate would issue certificates that nobody accepts.
fn check_pair(certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<(), String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| error.to_string())?;
    if !parsed.is_ca() {
        return Err("it is not the certificate of an authority".to_owned());
    }
    if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(format!("it does not belong to the key in {}", Authority::KEY_FILE));
    }
    Ok(())
}

/// What all certificates have in common.
fn params(common_name: &str, now: Micros, lifetime: Duration) -> CertificateParams {
    let epoch = date_time_ymd(1970, 1, 1);
    let now = Duration::from_micros(now.get()).min(LATEST);
    let mut params = CertificateParams::default();
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now.saturating_add(lifetime).min(LATEST);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Why an authority could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file or directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in a file is not what it should be.
    #[error("{path} is not usable: {reason}; restore it from a copy, or make a new authority")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A certificate that clients could never verify.
    #[error(
        "a server certificate needs at least one host name or IP address that clients use to reach the node"
    )]
    NoHost,
    /// Not a host.
    #[error("\"{host}\" is neither a DNS name nor an IP address (give it without a port)")]
    Host {
        /// What was given.
        host: String,
    },
    /// The certificate could not be made.
    #[error("cannot make the certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

impl From<rcgen::InvalidAsn1String> for AuthorityError {
    fn from(error: rcgen::InvalidAsn1String) -> Self {
        Self::Certificate(rcgen::Error::InvalidAsn1String(error))
    }
}
