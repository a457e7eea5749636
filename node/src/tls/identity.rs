//! Who a peer certificate speaks for.

use std::{fmt, str::FromStr};

use quorate_core::{name::ClusterId, position::NodeId};
use rustls_pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

/// What every such name starts with.
const SCHEME: &str = "quorate:";

/// One node of one cluster, as its certificate names it.
///
/// Written `quorate:node:<cluster id, 32 hex digits>:<node id, decimal>` and carried as a URI in the subject
/// alternative names (RFC 5280 §4.2.1.6). There is one way to write each identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node in it.
    pub node: NodeId,
}

impl PeerIdentity {
    /// Reads the identity out of a certificate. Says nothing about who issued it: the chain is checked apart.
    ///
    /// # Errors
    /// [`IdentityError`]: not a certificate, no such name in it, several of them, or one that is malformed.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| IdentityError::Unreadable)?;
        let mut names = uris(&parsed)?.into_iter().filter(|uri| uri.starts_with(SCHEME));
        match (names.next(), names.next()) {
            (Some(name), None) => name.parse(),
            (None, _) => Err(IdentityError::Absent),
            (Some(first), Some(second)) => {
                Err(IdentityError::Several { first: first.to_owned(), second: second.to_owned() })
            }
        }
    }
}

/// What the certificate of an operator names, as a URI in its alternative names.
#[must_use]
pub fn operator_name(cluster: ClusterId) -> String {
    format!("{SCHEME}operator:{cluster}")
}

/// Whether a certificate names an operator of this cluster, and nothing else of ours. Says nothing about who issued it.
#[must_use]
pub(crate) fn names_operator(certificate: &CertificateDer<'_>, cluster: ClusterId) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return false;
    };
    let names: Vec<&str> = uris(&parsed).unwrap_or_default();
    let ours: Vec<&str> = names.into_iter().filter(|uri| uri.starts_with(SCHEME)).collect();
    ours == [operator_name(cluster)]
}

/// Every URI among the certificate's alternative names.
fn uris<'a>(certificate: &'a X509Certificate<'_>) -> Result<Vec<&'a str>, IdentityError> {
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
    let names = names.map(|extension| &extension.value.general_names);
    Ok(names
        .into_iter()
        .flatten()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect())
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}node:{}:{}", self.cluster, self.node)
    }
}

impl FromStr for PeerIdentity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let malformed = || IdentityError::Malformed { text: text.to_owned() };
        let rest =
            text.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix("node:")).ok_or_else(malformed)?;
        let (cluster, node) = rest.split_once(':').ok_or_else(malformed)?;
        let cluster = ClusterId::from_hex(cluster).map_err(|_| malformed())?;
        let number: u64 = node.parse().map_err(|_| malformed())?;
        let identity = Self { cluster, node: NodeId::new(number) };
        // Re-writing it refuses "+1", "01" and the like; 0 is no node.
        if number == 0 || identity.to_string() != text {
            return Err(malformed());
        }
        Ok(identity)
    }
}

/// Why a certificate speaks for no node, or not for the right one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not an X.509 certificate, or a damaged one.
    #[error("the peer's certificate cannot be read as X.509; issue a new one")]
    Unreadable,
    /// No `quorate:` name in it: for example the certificate made for clients.
    #[error(
        "the peer's certificate names no node (a URI \"quorate:node:<cluster id>:<node id>\" is missing from its \
         alternative names); use the peer certificate, not the one for clients"
    )]
    Absent,
    /// More than one.
    #[error("the peer's certificate names several nodes (\"{first}\", \"{second}\"); issue one per node")]
    Several {
        /// The first name.
        first: String,
        /// The second name.
        second: String,
    },
    /// Not of the form above.
    #[error(
        "the peer's certificate has the malformed name \"{text}\"; expected \"quorate:node:<32 hex digits>:<node id>\""
    )]
    Malformed {
        /// What it says.
        text: String,
    },
    /// A node of another cluster.
    #[error("the peer belongs to cluster {got}, this node to cluster {own}; check the peer addresses")]
    OtherCluster {
        /// The peer's.
        got: ClusterId,
        /// This node's.
        own: ClusterId,
    },
    /// The right cluster, but not the node that was dialled.
    #[error(
        "node {expected} was expected at this address, but node {got} answered; check the peer addresses"
    )]
    OtherNode {
        /// Who answered.
        got: NodeId,
        /// Who was meant.
        expected: NodeId,
    },
    /// A certificate of this very node, shown by somebody else.
    #[error(
        "a peer presented a certificate for this node itself (id {node}); two nodes must not share an id"
    )]
    Own {
        /// The id.
        node: NodeId,
    },
}
