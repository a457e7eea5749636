//! What a new machine does with an invitation.
//!
//! Contract: it makes its own signing keys, here and nowhere else, and its data directory; it registers with the cluster,
//! which uses up the invitation; and it keeps the log secret that it gets for that. Then it is a node like any other, to
//! be started with `quorate server`.
//!
//! *If we crash* before the folder has its final name, nothing happened; after that, the same command goes on with the same
//! keys and the same data directory, which the cluster recognises. What is refused leaves no folder behind, unless an
//! earlier run may have registered it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use prost::Message;
use quorate_core::{
    name::ClusterId,
    position::{Micros, NodeId},
};
use quorate_ledger::registry::{NodeRecord, NodeState};
use zeroize::Zeroizing;

use super::invitation::{Invitation, InvitationError};
use crate::{
    clock::Clock,
    cluster::Cluster,
    config::{ConfigError, NodeConfig},
    node::{RunError, first_life},
    peer::{Joined, Peers},
    provision::{
        CLUSTER_FILE, CONFIG_FILE, LOG_SECRET_FILE, NodeSecrets, ProvisionError, config_text, write_seed,
    },
    tls::{Credentials, PeerIdentity, PeerSecurity, PeerTls, Roots, TlsError, files},
};

/// A folder with this file is one that has not been registered for certain.
const MARKER: &str = "joining";

/// How long the cluster is asked.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rest after all were asked.
const PAUSE: Duration = Duration::from_millis(300);

/// Why a node has not joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The invitation.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// It has ended.
    #[error(
        "the invitation for node {node} has ended, by the clock of this machine: ask for a new one, or correct the clock"
    )]
    Ended {
        /// The node.
        node: u64,
    },
    /// Something else is there.
    #[error("{} exists and was not made with this invitation: nothing was written; choose another folder", .0.display())]
    Occupied(PathBuf),
    /// The cluster says no.
    #[error("the cluster does not take this node: {0}")]
    Refused(String),
    /// Nobody who could decide answered.
    #[error(
        "no leader answered within {PATIENCE:?}: {0}; the folder is kept, and the same command goes on from here"
    )]
    Silent(String),
    /// Files that could not be made.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// Files that could not be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The data directory.
    #[error(transparent)]
    Node(Box<RunError>),
    /// A file.
    #[error(transparent)]
    File(#[from] files::FileError),
}

/// A node that was registered.
#[derive(Debug, Clone)]
pub struct JoinedNode {
    /// Its id.
    pub id: NodeId,
    /// Its configuration.
    pub config: PathBuf,
}

/// Makes the node of an invitation in `dir`, and registers it. `says` is told what is waited for.
///
/// # Errors
/// [`JoinError`].
pub async fn join(
    invitation: &Invitation,
    dir: &Path,
    data_dir: &Path,
    clock: &Clock,
    says: impl Fn(&str),
) -> Result<JoinedNode, JoinError> {
    let cluster = invitation.cluster()?;
    let resumed = is_ours(dir, invitation, cluster.id)?;
    if !resumed {
        if clock.now() > Micros::new(invitation.expires_at) {
            return Err(JoinError::Ended { node: invitation.node_id });
        }
        make(invitation, &cluster, dir, data_dir)?;
    }
    let registered = register(invitation, &cluster, dir, clock, says).await;
    if let Err(JoinError::Refused(_)) = &registered
        && !resumed
        && let Err(error) = fs::remove_dir_all(dir)
    {
        tracing::warn!(dir = %dir.display(), %error, "a folder that is of no use could not be removed");
    }
    registered
}

/// Whether `dir` was made with this invitation; an error if something else is there.
fn is_ours(dir: &Path, invitation: &Invitation, cluster: ClusterId) -> Result<bool, JoinError> {
    let marker = dir.join(MARKER);
    if marker.exists() {
        let found = files::read_public(&marker)?;
        let ours = found == mark(invitation, cluster).as_bytes();
        return if ours { Ok(true) } else { Err(JoinError::Occupied(dir.to_owned())) };
    }
    let found = match dir.read_dir() {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(io("read", dir, error)),
    };
    if found { Err(JoinError::Occupied(dir.to_owned())) } else { Ok(false) }
}

fn mark(invitation: &Invitation, cluster: ClusterId) -> String {
    format!("node {} of cluster {cluster}\n", invitation.node_id)
}

/// Makes the folder under another name, and names it when it is complete.
fn make(invitation: &Invitation, cluster: &Cluster, dir: &Path, data_dir: &Path) -> Result<(), JoinError> {
    let making = beside(dir);
    if making.join(MARKER).exists() {
        // Of a run that was interrupted: nothing was registered with it.
        fs::remove_dir_all(&making).map_err(|source| io("remove", &making, source))?;
    }
    files::create_private_dir(&making)?;
    files::write_public(&making.join(MARKER), mark(invitation, cluster.id).as_bytes())?;
    let plan = invitation.plan();
    let secrets = NodeSecrets::random()?;
    secrets.write(&making, None)?;
    if let Some(certificates) = invitation.certificates() {
        let tls = making.join("tls");
        files::create_private_dir(&tls)?;
        for (name, text) in [
            ("authority.crt", &certificates.authority),
            ("server.crt", &certificates.server_certificate),
            ("peer.crt", &certificates.peer_certificate),
        ] {
            files::write_public(&tls.join(name), text.as_bytes())?;
        }
        for (name, text) in [("server.key", &certificates.server_key), ("peer.key", &certificates.peer_key)] {
            files::write_secret(&tls.join(name), text.as_bytes())?;
        }
    }
    let file =
        toml::to_string(&invitation.file()?).map_err(|error| ProvisionError::Plan(error.to_string()))?;
    files::write_public(&making.join(CLUSTER_FILE), file.as_bytes())?;
    let config = config_text(&plan, data_dir, invitation.certificates().is_none())?;
    files::write_public(&making.join(CONFIG_FILE), config.as_bytes())?;
    fs::rename(&making, dir).map_err(|source| io("name", dir, source))
}

/// Where the folder is made before it has its name.
fn beside(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".joining");
    dir.with_file_name(name)
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> JoinError {
    files::FileError::Io { action, path: path.to_owned(), source }.into()
}

async fn register(
    invitation: &Invitation,
    cluster: &Cluster,
    dir: &Path,
    clock: &Clock,
    says: impl Fn(&str),
) -> Result<JoinedNode, JoinError> {
    let path = dir.join(CONFIG_FILE);
    let config = NodeConfig::load(&path)?;
    let life = first_life(&config).await.map_err(|error| JoinError::Node(Box::new(error)))?;
    let secrets = NodeSecrets::read(&config.keys.cosigner, &config.keys.block)?;
    let member = secrets.member(&invitation.plan(), cluster.id, &cluster.origin)?;
    let bytes = |hex: &str| hex::decode(hex).unwrap_or_default().into();
    let record = NodeRecord {
        node_id: invitation.node_id,
        vkey: member.cosigner,
        block_public_key: bytes(&member.block_key),
        client_address: member.client,
        peer_address: member.peer,
        state: NodeState::Joining.into(),
        cosigner_proof: bytes(&member.cosigner_proof),
        block_proof: bytes(&member.block_proof),
        invitation_secret: invitation.secret()?.to_vec().into(),
        life: life.to_bytes(),
        removed_in_epoch: 0,
    };
    let own = PeerIdentity { cluster: cluster.id, node: NodeId::new(invitation.node_id) };
    let peers = Peers::new(own, security(&config, own, clock)?, config.limits.message_bytes);
    let secret = ask(&peers, cluster.peers(), record.encode_to_vec().into(), clock, says).await?;
    let file = config.keys.log_secret.parent().unwrap_or(dir).join(LOG_SECRET_FILE);
    keep(&file, &secret)?;
    fs::remove_file(dir.join(MARKER)).map_err(|source| io("remove", &dir.join(MARKER), source))?;
    Ok(JoinedNode { id: own.node, config: path })
}

/// Writes the log secret. If we crash here there is none under its name, and the same command asks for it again.
fn keep(file: &Path, secret: &[u8; 32]) -> Result<(), JoinError> {
    if file.exists() {
        return Ok(());
    }
    let writing = file.with_extension("joining");
    if writing.exists() {
        // Of a run that was interrupted, perhaps in the middle of it.
        fs::remove_file(&writing).map_err(|source| io("remove", &writing, source))?;
    }
    write_seed(&writing, secret)?;
    fs::rename(&writing, file).map_err(|source| io("name", file, source))
}

fn security(config: &NodeConfig, own: PeerIdentity, clock: &Clock) -> Result<PeerSecurity, JoinError> {
    let Some(tls) = &config.tls else {
        return Ok(PeerSecurity::Plaintext);
    };
    let credentials = Credentials::load(&tls.peer_certificate, &tls.peer_key)?;
    let roots = Roots::load(&tls.authority)?;
    Ok(PeerSecurity::Tls(PeerTls::new(own, credentials, roots, clock.now())?))
}

/// Asks one node after the other until the leader has decided.
async fn ask(
    peers: &Peers,
    addresses: BTreeMap<NodeId, String>,
    record: bytes::Bytes,
    clock: &Clock,
    says: impl Fn(&str),
) -> Result<Zeroizing<[u8; 32]>, JoinError> {
    for (node, address) in &addresses {
        peers.learn_address(*node, address);
    }
    let mut last = "no node was asked".to_owned();
    let end = clock.monotonic().saturating_add(PATIENCE);
    while clock.monotonic() < end {
        for (node, address) in &addresses {
            last = match peers.join(*node, record.clone()).await {
                Ok(Joined::Registered(secret)) => return Ok(secret),
                Ok(Joined::Refused(why)) => return Err(JoinError::Refused(why)),
                Ok(Joined::NotLeader(_)) => format!("node {node} at {address} does not lead"),
                Err(error) => format!("node {node} at {address}: {error}"),
            };
            says(&last);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(JoinError::Silent(last))
}
