//! Opens what a node is made of: cluster file, keys, certificates, stores.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_core::{
    block::BlockKey,
    key::{CosignerKey, KeyError},
    position::NodeId,
};
use zeroize::Zeroizing;

use crate::{
    clock::Clock,
    cluster::{Cluster, ClusterError},
    config::NodeConfig,
    provision::{ProvisionError, read_seed},
    store::{
        self,
        log::{Identity, LogConfig, LogFault, LogStore},
        state::{StateOptions, StateStore},
    },
    tls::{PeerIdentity, PeerSecurity, Reloader, Security, TlsError, files},
};

/// Why a node does not start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The cluster file.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The node is not one of the cluster's.
    #[error("node.id is {id}, and the cluster file {} names the nodes {known}: correct node.id or node.cluster_file", .file.display())]
    UnknownNode {
        /// The id in the configuration.
        id: u64,
        /// The cluster file.
        file: PathBuf,
        /// The ids in it.
        known: String,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    Seed(#[from] ProvisionError),
    /// A key is not the one the cluster file names.
    #[error("{}: this is not the {what} key of node {id} in the cluster file: its public key is {found}, expected {expected}", .path.display())]
    WrongKey {
        /// The key file.
        path: PathBuf,
        /// Which key.
        what: &'static str,
        /// The node.
        id: NodeId,
        /// The public key of the file.
        found: String,
        /// The public key in the cluster file.
        expected: String,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file cannot be read, or others may read it.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The Raft log cannot be used: this node must not vote or sign.
    #[error(transparent)]
    Log(#[from] LogFault),
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] store::faults::OpenError),
    /// Neither store is there, and something else is.
    #[error("{} is not a data directory of Quorate: {found:?} is in it, and nothing was written there; correct node.data_dir, or give it an empty directory", .dir.display())]
    NotADataDir {
        /// The directory.
        dir: PathBuf,
        /// One of the names in it.
        found: String,
    },
    /// One of the two stores is missing.
    #[error("{} is missing, and {} is there: this node's data is incomplete; replace it by a new node under a new id", .missing.display(), .there.display())]
    Incomplete {
        /// The store that is not there.
        missing: PathBuf,
        /// The store that is.
        there: PathBuf,
    },
}

/// A node's keys.
pub(super) struct NodeKeys {
    pub(super) cosigner: CosignerKey,
    pub(super) block: BlockKey,
    pub(super) log_secret: Zeroizing<[u8; 32]>,
}

/// A node's stores.
pub(super) struct Stores {
    pub(super) log: LogStore,
    pub(super) state: Arc<StateStore>,
}

/// A node's side of its connections.
pub(super) struct Wires {
    pub(super) client: Security,
    pub(super) peer: PeerSecurity,
    /// Replaces their certificates; `None` without TLS.
    pub(super) reloader: Option<Reloader>,
}

/// Which node of the cluster this one is: one of the founders, or the one that the file says joined later.
pub(super) fn own_id(config: &NodeConfig, cluster: &Cluster) -> Result<NodeId, OpenError> {
    let id = NodeId::new(config.node.id);
    let joined = cluster.joined.as_ref().map(|joined| joined.id);
    let is_known = match joined {
        Some(joined) => joined == id,
        None => cluster.members.contains_key(&id),
    };
    if is_known {
        return Ok(id);
    }
    let known: Vec<String> = match joined {
        Some(joined) => vec![joined.to_string()],
        None => cluster.members.keys().map(ToString::to_string).collect(),
    };
    let file = config.node.cluster_file.clone();
    Err(OpenError::UnknownNode { id: config.node.id, file, known: known.join(", ") })
}

/// Whether this node is in the cluster file and its keys are those that the file names.
///
/// # Errors
/// [`OpenError`] says which is not.
pub fn check_keys(config: &NodeConfig, cluster: &Cluster) -> Result<(), OpenError> {
    keys(config, cluster, own_id(config, cluster)?).map(drop)
}

/// Reads the keys, and checks that a founder's are the ones that the cluster file knows it by. Those of a node that joined
/// are compared with its record as soon as that is applied here.
pub(super) fn keys(config: &NodeConfig, cluster: &Cluster, id: NodeId) -> Result<NodeKeys, OpenError> {
    let cosigner_seed = read_seed(&config.keys.cosigner)?;
    let cosigner = CosignerKey::from_seed(&cluster.origin.node(id), &cosigner_seed)?;
    let block = BlockKey::from_seed(&*read_seed(&config.keys.block)?);
    let wrong = |path: &PathBuf, what, found: String, expected: String| OpenError::WrongKey {
        path: path.clone(),
        what,
        id,
        found,
        expected,
    };
    if let Some(member) = cluster.members.get(&id) {
        if *cosigner.verifier() != member.cosigner {
            let (found, expected) = (cosigner.verifier().to_string(), member.cosigner.to_string());
            return Err(wrong(&config.keys.cosigner, "cosigner", found, expected));
        }
        if block.public() != member.block_key {
            let (found, expected) = (block.public().to_string(), member.block_key.to_string());
            return Err(wrong(&config.keys.block, "block", found, expected));
        }
    }
    Ok(NodeKeys { cosigner, block, log_secret: read_seed(&config.keys.log_secret)? })
}

/// Reads the certificates.
pub(super) fn wires(config: &NodeConfig, own: PeerIdentity, clock: &Clock) -> Result<Wires, OpenError> {
    let Some(tls) = config.tls.as_ref().filter(|_| !config.listen.insecure_plaintext) else {
        tracing::warn!(
            "no TLS, as configured: everything on the client and peer ports can be read and forged, and whoever reaches \
             them may act as a node, and as an operator who changes the members"
        );
        return Ok(Wires { client: Security::Plaintext, peer: PeerSecurity::Plaintext, reloader: None });
    };
    let reloader = Reloader::start(tls, own, clock)?;
    let (client, peer) = (Security::Server(reloader.server()), PeerSecurity::Tls(reloader.peer()));
    Ok(Wires { client, peer, reloader: Some(reloader) })
}

/// Opens both stores, or makes them for a new node. The log is made last: where it is, the state was made too.
pub(super) fn stores(config: &NodeConfig, cluster: &Cluster) -> Result<Stores, OpenError> {
    let dir = &config.node.data_dir;
    files::create_private_dir(dir)?;
    check_ours(dir)?;
    let (log_dir, state_dir) = (dir.join("log"), dir.join("state"));
    let identity = Identity { cluster_id: *cluster.id.as_bytes(), node_id: config.node.id };
    let options = StateOptions {
        block_cache_bytes: config.storage.block_cache_bytes,
        write_buffer_bytes: config.storage.write_buffer_bytes,
        trie_cache_bytes: config.storage.state_cache_bytes,
        flush_entries: config.storage.snapshot_entries,
        ..StateOptions::default()
    };
    let has_log = LogStore::exists(&log_dir);
    if has_log {
        // Before either is opened, which writes: somebody else's directory is left as it is.
        LogStore::check_owner(&log_dir, identity)?;
    }
    if !StateStore::exists(&state_dir) {
        if has_log {
            return Err(OpenError::Incomplete { missing: state_dir, there: log_dir });
        }
        StateStore::create(&state_dir, identity, &options)?;
    }
    let state = StateStore::open(&state_dir, identity, options)?;
    if let Some(continues) = cluster.continues.as_ref().filter(|_| state.view().applied().last.is_some()) {
        continues.check(&state.view()).map_err(store::faults::OpenError::from)?;
    }
    if !has_log {
        if state.view().applied().last.is_some() {
            return Err(OpenError::Incomplete { missing: log_dir, there: state_dir });
        }
        LogStore::create(&log_dir, identity)?;
    }
    let log = LogStore::open(&log_dir, identity, LogConfig::default())?;
    Ok(Stores { log, state: Arc::new(state) })
}

/// Refuses a directory that has no store and is not empty either: somebody else's. Only reads.
fn check_ours(dir: &Path) -> Result<(), OpenError> {
    let cannot = |source| files::FileError::Io { action: "read", path: dir.to_owned(), source };
    let mut foreign = None;
    for entry in dir.read_dir().map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name().to_string_lossy().into_owned();
        match name.as_str() {
            "log" | "state" => return Ok(()),
            // What is left of one that was being made, and what a file system puts into its root.
            "log.new" | "state.new" | "lost+found" => {}
            _ => foreign = Some(name),
        }
    }
    foreign.map_or(Ok(()), |found| Err(OpenError::NotADataDir { dir: dir.to_owned(), found }))
}
