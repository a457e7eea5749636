//! What is taken from a node's folder: its keys and its certificates.

use std::{error::Error, path::Path};

use quorate_core::{
    block::BlockKey,
    key::{CosignerKey, LogKey},
    name::Origin,
    position::{Micros, NodeId},
};
use quorate_node::{
    cluster::Cluster,
    config::NodeConfig,
    tls::{Credentials, PeerIdentity, PeerSecurity, PeerTls, Roots, Security, ServerTls, files},
};

/// Any error: a liar that cannot start says why and ends.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A node's keys and certificates.
pub struct Stolen {
    /// Which node.
    pub id: NodeId,
    /// The cluster it belongs to.
    pub cluster: Cluster,
    /// Its configuration.
    pub config: NodeConfig,
    /// What it cosigns with.
    pub cosigner: CosignerKey,
    /// What it signs its blocks with.
    pub block: BlockKey,
    log_secret: [u8; 32],
}

impl Stolen {
    /// Reads them from where a node's configuration says they are.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(config: &Path) -> Result<Self, Failure> {
        let config = NodeConfig::load(config)?;
        let cluster = Cluster::load(&config.node.cluster_file)?;
        let id = NodeId::new(config.node.id);
        let cosigner = CosignerKey::from_seed(&cluster.origin.node(id), &seed(&config.keys.cosigner)?)?;
        let block = BlockKey::from_seed(&seed(&config.keys.block)?);
        let log_secret = seed(&config.keys.log_secret)?;
        Ok(Self { id, cluster, config, cosigner, block, log_secret })
    }

    /// The key of a ledger's log, which every node holds.
    #[must_use]
    pub fn log_key(&self, origin: &Origin) -> LogKey {
        LogKey::derive(&self.log_secret, origin)
    }

    /// The node in the eyes of clients.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn towards_clients(&self) -> Result<Security, Failure> {
        let tls = self.config.tls.as_ref().ok_or("the node has no certificates")?;
        let credentials = Credentials::load(&tls.server_certificate, &tls.server_key)?;
        Ok(Security::Server(ServerTls::new(&credentials)?))
    }

    /// The node in the eyes of other nodes.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn towards_nodes(&self, now: Micros) -> Result<PeerSecurity, Failure> {
        let tls = self.config.tls.as_ref().ok_or("the node has no certificates")?;
        let credentials = Credentials::load(&tls.peer_certificate, &tls.peer_key)?;
        let roots = Roots::load(&tls.authority)?;
        Ok(PeerSecurity::Tls(PeerTls::new(self.identity(), credentials, roots, now)?))
    }

    /// Who it is between nodes.
    #[must_use]
    pub fn identity(&self) -> PeerIdentity {
        PeerIdentity { cluster: self.cluster.id, node: self.id }
    }
}

fn seed(path: &Path) -> Result<[u8; 32], Failure> {
    let text = files::read_secret(path)?;
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut seed)?;
    Ok(seed)
}
