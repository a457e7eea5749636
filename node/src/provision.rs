//! Makes a new cluster's files: identity, keys, certificates, configurations, policies. Behind `quorate init` and
//! `quorate dev`.
//!
//! ```text
//! OUT/authority/      the authority's certificate and key: keep the key off the nodes
//! OUT/operator/       an operator's certificate and key: who has them may change the members of the cluster
//! OUT/client/         what clients need: authority.crt, default.policy, _system.policy
//! OUT/node-N/         everything node N needs: copy it there, then `quorate server --config node-N/quorate.toml`
//! ```
//!
//! Nothing is ever overwritten: a folder that holds a cluster is refused, so that no key is lost.

use std::path::{Path, PathBuf};

use quorate_core::{
    block::BlockKey,
    key::{CosignerKey, LogKey},
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{Micros, NodeId},
    possession::NodeStatement,
};
use zeroize::Zeroizing;

use crate::{
    cluster::{Cluster, ClusterFile, MemberFile, SettingsFile},
    config::{self, NodeConfig},
    continuation::ContinuedFile,
    tls::{Authority, AuthorityError, PeerIdentity, files},
};

/// Name of the cluster file in a node's folder.
pub const CLUSTER_FILE: &str = "cluster.toml";

/// Name of the configuration in a node's folder.
pub const CONFIG_FILE: &str = "quorate.toml";

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name, such as `ledger.example/prod`.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<NodePlan>,
    /// The data directory of each node; relative = below the node's folder.
    pub data_dir: PathBuf,
    /// Replicated settings.
    pub settings: SettingsFile,
}

/// What a node is to be.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// Its id, from 1.
    pub id: u64,
    /// The host name or address under which others reach it.
    pub host: String,
    /// Address it listens on: `0.0.0.0`, or one of its own.
    pub listen: std::net::IpAddr,
    /// Port for clients.
    pub client_port: u16,
    /// Port for nodes.
    pub peer_port: u16,
    /// Port for HTTP.
    pub http_port: u16,
}

/// Files that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The folder holds a cluster already.
    #[error("{0} already holds a cluster: choose another folder, or move this one away")]
    Occupied(PathBuf),
    /// The plan is no cluster.
    #[error("{0}")]
    Plan(String),
    /// A key file does not hold a key.
    #[error("{}: expected 64 hex digits", .0.display())]
    NotAKey(PathBuf),
    /// A key or certificate could not be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// No randomness from the operating system.
    #[error("no random bytes from the operating system: {0}")]
    Random(String),
}

/// Makes all files of a cluster below `out`.
pub fn provision(plan: &Plan, out: &Path, now: Micros) -> Result<Cluster, ProvisionError> {
    make(plan, out, now, None)
}

/// The same for a cluster that continues another; the data directories are for the caller to fill.
pub(crate) fn provision_continuing(
    plan: &Plan,
    out: &Path,
    now: Micros,
    continues: ContinuedFile,
) -> Result<Cluster, ProvisionError> {
    make(plan, out, now, Some(continues))
}

fn make(
    plan: &Plan,
    out: &Path,
    now: Micros,
    continues: Option<ContinuedFile>,
) -> Result<Cluster, ProvisionError> {
    if out.join("node-1").exists() || out.join("authority").exists() {
        return Err(ProvisionError::Occupied(out.to_owned()));
    }
    let id = ClusterId::new(random::<16>()?);
    let origin =
        ClusterOrigin::new(&plan.name, &id).map_err(|e| ProvisionError::Plan(format!("name: {e}")))?;
    let log_secret = Zeroizing::new(random::<32>()?);
    let mut secrets = Vec::new();
    let mut members = Vec::new();
    for node in &plan.nodes {
        let secret = NodeSecrets::random()?;
        members.push(secret.member(node, id, &origin)?);
        secrets.push(secret);
    }
    let file = ClusterFile {
        name: plan.name.clone(),
        id: id.to_string(),
        settings: plan.settings.clone(),
        continues,
        nodes: members,
        joined: None,
    };
    let cluster = Cluster::from_file(&file).map_err(ProvisionError::Plan)?;
    let cluster_toml = toml::to_string(&file).map_err(|e| ProvisionError::Plan(e.to_string()))?;

    files::create_private_dir(out)?;
    let authority = Authority::create(&plan.name, now)?;
    files::create_private_dir(&out.join("authority"))?;
    authority.save(&out.join("authority"))?;
    write_client_files(&cluster, &authority, &log_secret, &out.join("client"))?;
    write_operator(&authority, id, now, &out.join(OPERATOR))?;
    for (node, secret) in plan.nodes.iter().zip(&secrets) {
        let folder = out.join(format!("node-{}", node.id));
        files::create_private_dir(&folder)?;
        secret.write(&folder, Some(&log_secret))?;
        write_certificates(&folder, node, id, &authority, now)?;
        files::write_public(&folder.join(CLUSTER_FILE), cluster_toml.as_bytes())?;
        files::write_public(&folder.join(CONFIG_FILE), config_text(node, &plan.data_dir, false)?.as_bytes())?;
    }
    Ok(cluster)
}

/// The seeds of a node's two keys.
pub(crate) struct NodeSecrets {
    cosigner: Zeroizing<[u8; 32]>,
    block: Zeroizing<[u8; 32]>,
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], ProvisionError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| ProvisionError::Random(error.to_string()))?;
    Ok(bytes)
}

impl NodeSecrets {
    /// New ones.
    pub(crate) fn random() -> Result<Self, ProvisionError> {
        Ok(Self { cosigner: Zeroizing::new(random()?), block: Zeroizing::new(random()?) })
    }

    /// What others are told of a node with these keys, with the proof that it has them.
    pub(crate) fn member(
        &self,
        node: &NodePlan,
        cluster: ClusterId,
        origin: &ClusterOrigin,
    ) -> Result<MemberFile, ProvisionError> {
        let id = NodeId::new(node.id);
        let cosigner = CosignerKey::from_seed(&origin.node(id), &self.cosigner)
            .map_err(|error| ProvisionError::Plan(error.to_string()))?;
        let block = BlockKey::from_seed(&self.block);
        let public = (*cosigner.verifier().public_key(), *block.public().as_bytes());
        let statement = NodeStatement { cluster, node: id, cosigner: public.0, block: public.1 };
        Ok(MemberFile {
            id: node.id,
            client: address(&node.host, node.client_port),
            peer: address(&node.host, node.peer_port),
            cosigner: cosigner.verifier().to_string(),
            block_key: hex::encode(public.1),
            cosigner_proof: hex::encode(cosigner.possess(&statement)),
            block_proof: hex::encode(block.possess(&statement)),
        })
    }

    /// Reads them from their files.
    pub(crate) fn read(cosigner: &Path, block: &Path) -> Result<Self, ProvisionError> {
        Ok(Self { cosigner: read_seed(cosigner)?, block: read_seed(block)? })
    }

    /// Writes the secrets of a node into its folder; the log secret where it is known.
    pub(crate) fn write(&self, folder: &Path, log_secret: Option<&[u8; 32]>) -> Result<(), ProvisionError> {
        let keys = folder.join("keys");
        files::create_private_dir(&keys)?;
        let own = [("cosigner.key", &*self.cosigner), ("block.key", &*self.block)];
        for (name, seed) in own.into_iter().chain(log_secret.map(|secret| (LOG_SECRET_FILE, secret))) {
            write_seed(&keys.join(name), seed)?;
        }
        Ok(())
    }
}

/// Name of the file with the log secret, beside the keys.
pub(crate) const LOG_SECRET_FILE: &str = "log.secret";

/// Reads 32 secret bytes from a file with 64 hex digits.
pub(crate) fn read_seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, ProvisionError> {
    let text = files::read_secret(path)?;
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_ascii(), seed.as_mut())
        .map_err(|_| ProvisionError::NotAKey(path.to_owned()))?;
    Ok(seed)
}

/// Writes 32 secret bytes as text.
pub(crate) fn write_seed(path: &Path, seed: &[u8; 32]) -> Result<(), ProvisionError> {
    let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(hex::encode(seed))));
    Ok(files::write_secret(path, text.as_bytes())?)
}

impl NodePlan {
    /// The names in its server certificate.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = vec![self.host.clone(), "localhost".to_owned(), "127.0.0.1".to_owned()];
        names.dedup();
        names
    }
}

fn write_certificates(
    folder: &Path,
    node: &NodePlan,
    cluster: ClusterId,
    authority: &Authority,
    now: Micros,
) -> Result<(), ProvisionError> {
    let tls = folder.join("tls");
    files::create_private_dir(&tls)?;
    files::write_public(&tls.join("authority.crt"), authority.certificate_pem().as_bytes())?;
    let server = authority.issue_server(&node.names(), now)?;
    let peer = authority.issue_peer(PeerIdentity { cluster, node: NodeId::new(node.id) }, now)?;
    for (name, issued) in [("server", server), ("peer", peer)] {
        files::write_public(&tls.join(format!("{name}.crt")), issued.certificate.as_bytes())?;
        files::write_secret(&tls.join(format!("{name}.key")), issued.key.as_bytes())?;
    }
    Ok(())
}

/// Name of the folder with an operator's certificate, and of the files in it without their endings.
pub const OPERATOR: &str = "operator";

fn write_operator(
    authority: &Authority,
    cluster: ClusterId,
    now: Micros,
    folder: &Path,
) -> Result<(), ProvisionError> {
    files::create_private_dir(folder)?;
    let issued = authority.issue_operator(cluster, now)?;
    files::write_public(&folder.join("operator.crt"), issued.certificate.as_bytes())?;
    files::write_secret(&folder.join("operator.key"), issued.key.as_bytes())?;
    Ok(())
}

fn write_client_files(
    cluster: &Cluster,
    authority: &Authority,
    log_secret: &[u8; 32],
    folder: &Path,
) -> Result<(), ProvisionError> {
    files::create_private_dir(folder)?;
    files::write_public(&folder.join("authority.crt"), authority.certificate_pem().as_bytes())?;
    for name in ["default", LedgerName::SYSTEM] {
        let ledger = LedgerName::new(name).map_err(|error| ProvisionError::Plan(error.to_string()))?;
        let log_key = LogKey::derive(log_secret, &cluster.origin.ledger(&ledger));
        let policy = cluster.policy(&ledger, log_key.verifier()).map_err(ProvisionError::Plan)?;
        files::write_public(&folder.join(format!("{name}.policy")), policy.to_string().as_bytes())?;
    }
    Ok(())
}

/// The configuration of a node, with paths relative to its folder.
pub(crate) fn config_text(
    node: &NodePlan,
    data_dir: &Path,
    plaintext: bool,
) -> Result<String, ProvisionError> {
    let socket = |port| std::net::SocketAddr::new(node.listen, port);
    let tls = |name: &str| PathBuf::from("tls").join(name);
    let config = NodeConfig {
        node: config::Identity {
            id: node.id,
            data_dir: data_dir.to_owned(),
            cluster_file: CLUSTER_FILE.into(),
        },
        listen: config::Listen {
            client: socket(node.client_port),
            peer: socket(node.peer_port),
            http: socket(node.http_port),
            insecure_plaintext: plaintext,
        },
        keys: config::Keys {
            cosigner: "keys/cosigner.key".into(),
            block: "keys/block.key".into(),
            log_secret: "keys/log.secret".into(),
        },
        tls: (!plaintext).then(|| config::Tls {
            authority: tls("authority.crt"),
            server_certificate: tls("server.crt"),
            server_key: tls("server.key"),
            peer_certificate: tls("peer.crt"),
            peer_key: tls("peer.key"),
        }),
        limits: config::Limits::default(),
        storage: config::Storage::default(),
        snapshot: config::Snapshot::default(),
        scrub: config::Scrub::default(),
        witness: Vec::new(),
        raft: config::Raft::default(),
        log: config::Log::default(),
    };
    toml::to_string(&config).map_err(|error| ProvisionError::Plan(error.to_string()))
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let node = |id: u64| NodePlan {
            id,
            host: "127.0.0.1".to_owned(),
            listen: "127.0.0.1".parse().unwrap(),
            client_port: 7_400,
            peer_port: 7_401,
            http_port: 7_402,
        };
        Plan {
            name: "ledger.example/test".to_owned(),
            nodes: vec![node(1), node(2), node(3)],
            data_dir: "data".into(),
            settings: SettingsFile::default(),
        }
    }

    #[test]
    fn what_is_made_is_what_a_node_loads() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("cluster");
        let made = provision(&plan(), &out, Micros::new(1_790_000_000_000_000)).unwrap();
        assert_eq!(made.members.len(), 3);
        for id in 1..=3 {
            let config = NodeConfig::load(&out.join(format!("node-{id}")).join(CONFIG_FILE)).unwrap();
            let cluster = Cluster::load(&config.node.cluster_file).unwrap();
            assert_eq!(cluster.id, made.id);
            assert!(files::read_secret(&config.keys.log_secret).is_ok());
        }
        let policy = std::fs::read_to_string(out.join("client/default.policy")).unwrap();
        assert!(policy.contains("/default+") && policy.contains("/node/3+"), "{policy}");
    }

    #[test]
    fn a_folder_with_a_cluster_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("cluster");
        provision(&plan(), &out, Micros::new(1)).unwrap();
        assert!(matches!(provision(&plan(), &out, Micros::new(1)), Err(ProvisionError::Occupied(_))));
    }

    #[test]
    fn a_bad_name_or_port_names_the_field() {
        let dir = tempfile::tempdir().unwrap();
        let mut bad = plan();
        bad.name = "Not A Name".to_owned();
        let error = provision(&bad, &dir.path().join("a"), Micros::new(1)).unwrap_err().to_string();
        assert!(error.contains("name"), "{error}");
        let mut bad = plan();
        bad.nodes[1].peer_port = 0;
        let error = provision(&bad, &dir.path().join("b"), Micros::new(1)).unwrap_err().to_string();
        assert!(error.contains("peer"), "{error}");
    }
}
