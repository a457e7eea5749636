//! Invitations: one file that lets one node in, once, for a time.
//!
//! It is made where the authority's key is, which is on no node, and holds all that the new machine needs before it has
//! state: the cluster, whom to ask, certificates that the authority issued for it, and the secret that proves to the
//! cluster that it was invited. It holds neither signing keys (they are made on the new machine and never leave it) nor the
//! cluster's log secret (the cluster hands it over when the node is registered). Whoever has the file can join in its place,
//! until it is used or ends: keep it like a key.

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use quorate_core::{
    name::ClusterId,
    position::{Micros, NodeId},
};
use quorate_ledger::registry::SECRET_LEN;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    cluster::{Cluster, ClusterFile, JoinedFile, PeerFile},
    provision::NodePlan,
    tls::{Authority, AuthorityError, Issued, PeerIdentity},
};

/// The format of the file.
const FORMAT: u32 = 1;

/// What the new node is to be, and what the cluster said.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Where it will be reached, and listen. Its id is the one that was taken for it.
    pub node: NodePlan,
    /// The cluster file of the founders.
    pub cluster_file: String,
    /// Whom it may ask: id and `host:port`.
    pub peers: Vec<(u64, String)>,
    /// Until when it is valid.
    pub expires_at: Micros,
}

/// An invitation.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    format: u32,
    /// The id that is taken for the node.
    pub node_id: u64,
    /// Until when it is valid, microseconds since the Unix epoch.
    pub expires_at: u64,
    host: String,
    listen: IpAddr,
    client_port: u16,
    peer_port: u16,
    http_port: u16,
    secret: String,
    cluster_file: String,
    #[serde(rename = "peer")]
    peers: Vec<PeerFile>,
    /// None in a cluster without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<Certificates>,
}

/// The certificates of the new node and their keys, PEM.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificates {
    pub(crate) authority: String,
    pub(crate) server_certificate: String,
    pub(crate) server_key: String,
    pub(crate) peer_certificate: String,
    pub(crate) peer_key: String,
}

/// Without its secrets.
impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

/// An invitation that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    /// The text is not one.
    #[error("this is no invitation: {0}; `quorate member invite` makes one")]
    Malformed(String),
    /// A certificate could not be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Invitation {
    /// An invitation on these terms, with certificates of this authority; without one, for a cluster without TLS.
    ///
    /// # Errors
    /// [`InvitationError`].
    pub fn new(
        terms: Terms,
        secret: &[u8; SECRET_LEN],
        authority: Option<&Authority>,
        now: Micros,
    ) -> Result<Self, InvitationError> {
        let NodePlan { id, host, listen, client_port, peer_port, http_port } = terms.node;
        let mut invitation = Self {
            format: FORMAT,
            node_id: id,
            expires_at: terms.expires_at.get(),
            host,
            listen,
            client_port,
            peer_port,
            http_port,
            secret: hex::encode(secret),
            cluster_file: terms.cluster_file,
            peers: terms.peers.into_iter().map(|(id, address)| PeerFile { id, address }).collect(),
            tls: None,
        };
        let cluster = invitation.cluster()?.id;
        invitation.tls = authority
            .map(|authority| Certificates::issue(authority, cluster, &invitation.plan(), now))
            .transpose()?;
        Ok(invitation)
    }

    /// Reads one: as it is in the file, or in base64.
    ///
    /// # Errors
    /// [`InvitationError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        let malformed = |problem: &dyn std::fmt::Display| InvitationError::Malformed(problem.to_string());
        let text = text.trim();
        let decoded = BASE64_STANDARD.decode(text.split_whitespace().collect::<String>()).ok();
        let text = match decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(decoded) => Zeroizing::new(decoded),
            None => Zeroizing::new(text.to_owned()),
        };
        let invitation: Self = toml::from_str(&text).map_err(|error| malformed(&error.message()))?;
        if invitation.format != FORMAT {
            let words = format!("its format is {}, and this program knows {FORMAT}", invitation.format);
            return Err(malformed(&words));
        }
        invitation.cluster()?;
        invitation.secret()?;
        Ok(invitation)
    }

    /// As it is in a file.
    ///
    /// # Errors
    /// It cannot be written as TOML.
    pub fn to_text(&self) -> Result<Zeroizing<String>, InvitationError> {
        let text = toml::to_string(self).map_err(|error| InvitationError::Malformed(error.to_string()))?;
        Ok(Zeroizing::new(text))
    }

    /// The same on one line.
    ///
    /// # Errors
    /// As [`Invitation::to_text`].
    pub fn to_base64(&self) -> Result<Zeroizing<String>, InvitationError> {
        Ok(Zeroizing::new(BASE64_STANDARD.encode(self.to_text()?.as_bytes())))
    }

    /// The cluster file of the new node.
    pub(crate) fn file(&self) -> Result<ClusterFile, InvitationError> {
        let file: ClusterFile = toml::from_str(&self.cluster_file)
            .map_err(|error| InvitationError::Malformed(format!("cluster_file: {}", error.message())))?;
        let joined = Some(JoinedFile { id: self.node_id, peers: self.peers.clone() });
        Ok(ClusterFile { joined, ..file })
    }

    /// The cluster, as the new node knows it.
    ///
    /// # Errors
    /// [`InvitationError::Malformed`].
    pub fn cluster(&self) -> Result<Cluster, InvitationError> {
        Cluster::from_file(&self.file()?).map_err(InvitationError::Malformed)
    }

    /// What the new node is to be.
    pub(crate) fn plan(&self) -> NodePlan {
        NodePlan {
            id: self.node_id,
            host: self.host.clone(),
            listen: self.listen,
            client_port: self.client_port,
            peer_port: self.peer_port,
            http_port: self.http_port,
        }
    }

    pub(crate) fn secret(&self) -> Result<[u8; SECRET_LEN], InvitationError> {
        let mut secret = [0; SECRET_LEN];
        match hex::decode_to_slice(&self.secret, &mut secret) {
            Ok(()) => Ok(secret),
            Err(_) => Err(InvitationError::Malformed("secret: expected 64 hex digits".to_owned())),
        }
    }

    pub(crate) const fn certificates(&self) -> Option<&Certificates> {
        self.tls.as_ref()
    }
}

impl Certificates {
    fn issue(
        authority: &Authority,
        cluster: ClusterId,
        node: &NodePlan,
        now: Micros,
    ) -> Result<Self, InvitationError> {
        let server = authority.issue_server(&node.names(), now)?;
        let peer = authority.issue_peer(PeerIdentity { cluster, node: NodeId::new(node.id) }, now)?;
        let key = |issued: &Issued| issued.key.as_str().to_owned();
        Ok(Self {
            authority: authority.certificate_pem().to_owned(),
            server_key: key(&server),
            peer_key: key(&peer),
            server_certificate: server.certificate,
            peer_certificate: peer.certificate,
        })
    }
}
