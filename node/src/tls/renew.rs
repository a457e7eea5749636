//! New certificates for the folder of a node, from the cluster's authority.
//!
//! Contract: the names in a certificate stay as they are; key and validity are new. Each file is replaced as a whole, the
//! key first. **If we crash** between key and certificate, they do not fit each other: a running node goes on with what
//! it has and says so, one that starts refuses, and doing it again repairs it. A node folder of another authority, or of
//! another cluster, is left as it is.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_core::position::{Micros, NodeId};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::extensions::GeneralName;

use super::{
    Authority, AuthorityError, Credentials, Issued, PeerIdentity,
    files::{self, FileError},
};
use crate::{
    cluster::{Cluster, ClusterError},
    config::{ConfigError, NodeConfig, Tls},
};

/// What became of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// The node.
    pub node: NodeId,
    /// `server` or `peer`.
    pub certificate: &'static str,
    /// Its file.
    pub file: PathBuf,
    /// Whether it is a new one.
    pub renewed: bool,
    /// When it ends.
    pub ends: Option<Micros>,
}

/// Why a folder's certificates were not renewed. What was renewed before is complete.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The node's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node's cluster file.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// It has no certificates.
    #[error("{}: this node has no [tls]: there is nothing to renew", .0.display())]
    NoTls(PathBuf),
    /// The node does not believe this authority.
    #[error(
        "{} does not hold the certificate of this authority: its nodes would refuse what it issues; to change the \
         authority, put both certificates into that file on every node first",
        .0.display()
    )]
    OtherAuthority(PathBuf),
    /// The node is not one of the cluster's.
    #[error("node {0} is not in its cluster file")]
    UnknownNode(u64),
    /// A certificate cannot be issued.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file could not be replaced.
    #[error("cannot replace {}: {source}", path.display())]
    Replace {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Renews the certificates of the node with this configuration that end within `within`, or cannot be used.
///
/// # Errors
/// [`RenewError`].
pub fn renew(
    config: &Path,
    authority: &Authority,
    within: Duration,
    now: Micros,
) -> Result<Vec<Renewed>, RenewError> {
    let loaded = NodeConfig::load(config)?;
    let tls = loaded.tls.as_ref().ok_or_else(|| RenewError::NoTls(config.to_owned()))?;
    let cluster = Cluster::load(&loaded.node.cluster_file)?;
    let node = NodeId::new(loaded.node.id);
    let member = cluster.members.get(&node).ok_or(RenewError::UnknownNode(loaded.node.id))?;
    if !believes(tls, authority)? {
        return Err(RenewError::OtherAuthority(tls.authority.clone()));
    }
    let server = Files { node, certificate: "server", at: &tls.server_certificate, key: &tls.server_key };
    let hosts = || hosts(&tls.server_certificate).unwrap_or_else(|| vec![host(&member.client).to_owned()]);
    let server = server.renew(within, now, || authority.issue_server(&hosts(), now))?;
    let peer = Files { node, certificate: "peer", at: &tls.peer_certificate, key: &tls.peer_key };
    let own = PeerIdentity { cluster: cluster.id, node };
    let peer = peer.renew(within, now, || authority.issue_peer(own, now))?;
    Ok(vec![server, peer])
}

/// A certificate and its key.
struct Files<'f> {
    node: NodeId,
    certificate: &'static str,
    at: &'f Path,
    key: &'f Path,
}

impl Files<'_> {
    fn renew(
        &self,
        within: Duration,
        now: Micros,
        issue: impl FnOnce() -> Result<Issued, AuthorityError>,
    ) -> Result<Renewed, RenewError> {
        let mut renewed = Renewed {
            node: self.node,
            certificate: self.certificate,
            file: self.at.to_owned(),
            renewed: false,
            ends: self.usable_until(),
        };
        let wanted = now.as_secs().saturating_add(within.as_secs());
        if renewed.ends.is_some_and(|ends| ends.as_secs() >= wanted) {
            return Ok(renewed);
        }
        let issued = issue()?;
        replace(self.key, |path| files::write_secret(path, issued.key.as_bytes()))?;
        replace(self.at, |path| files::write_public(path, issued.certificate.as_bytes()))?;
        (renewed.renewed, renewed.ends) = (true, self.usable_until());
        Ok(renewed)
    }

    /// When the certificate in the files ends; `None` when it cannot be used as it is.
    fn usable_until(&self) -> Option<Micros> {
        let credentials = Credentials::load(self.at, self.key).ok()?;
        super::ServerTls::new(&credentials).ok()?;
        credentials.expires_at()
    }
}

/// Puts a new file in the place of one: the old or the new one is there at any moment.
fn replace(path: &Path, write: impl FnOnce(&Path) -> Result<(), FileError>) -> Result<(), RenewError> {
    let failed = |source| RenewError::Replace { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    write(&new)?;
    fs::rename(&new, path).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Whether the node's authorities include this one.
fn believes(tls: &Tls, authority: &Authority) -> Result<bool, RenewError> {
    let pem = files::read_public(&tls.authority)?;
    let own = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes());
    Ok(own.is_ok_and(|own| CertificateDer::pem_slice_iter(&pem).flatten().any(|known| known == own)))
}

/// The DNS names and addresses in a certificate; `None` if there are none to be read.
fn hosts(path: &Path) -> Option<Vec<String>> {
    let pem = files::read_public(path).ok()?;
    let der = CertificateDer::from_pem_slice(&pem).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    let hosts: Vec<String> = names.value.general_names.iter().filter_map(host).collect();
    (!hosts.is_empty()).then_some(hosts)
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| std::net::Ipv6Addr::from(sixteen).to_string())
}

/// The host of `host:port`.
pub(crate) fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
