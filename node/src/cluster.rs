//! The cluster file: who the founding members of a cluster are. The same on every node.
//!
//! It founds the cluster: the first leader writes its members (as the first cosigner set) and settings into the
//! ledger `_system`. The file stays what each node believes of its peers: their addresses, and the keys that blocks and
//! cosignatures are checked with. A node whose file names other keys refuses the blocks and cosignatures of the others.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use quorate_core::{
    block::BlockPublicKey,
    key::{SignatureType, VerifierKey},
    name::{ClusterId, ClusterOrigin, LedgerName},
    policy::Policy,
    position::{Epoch, NodeId},
};
use quorate_ledger::{
    system::{Cosigner, CosignerSet},
    view::Settings,
};
use serde::{Deserialize, Serialize};

use crate::continuation::{Continued, ContinuedFile};

/// Most nodes a cluster may be founded with.
pub const MAX_NODES: usize = 9;

/// A cluster as its file describes it, checked.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// The first part of every origin: name and id.
    pub origin: ClusterOrigin,
    /// Its founding members, by id.
    pub members: BTreeMap<NodeId, Member>,
    /// The replicated settings it is founded with.
    pub settings: Settings,
    /// What it continues, if it was restored or recovered.
    pub continues: Option<Continued>,
}

/// A member of a cluster.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Where clients reach it, `host:port`.
    pub client: String,
    /// Where nodes reach it, `host:port`.
    pub peer: String,
    /// The key it cosigns checkpoints with.
    pub cosigner: VerifierKey,
    /// The key it signs blocks with.
    pub block_key: BlockPublicKey,
}

/// The file itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// Name of the cluster, such as `ledger.example/prod`.
    pub name: String,
    /// Its id, 32 hex digits.
    pub id: String,
    /// Settings that are replicated.
    #[serde(default)]
    pub settings: SettingsFile,
    /// What it continues; absent in a cluster that begins with itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<ContinuedFile>,
    /// The members.
    #[serde(rename = "node")]
    pub nodes: Vec<MemberFile>,
}

/// Settings in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsFile {
    /// How far after a block's time a request's `not_after` may be, seconds.
    pub max_not_after_s: u64,
    /// Largest value, bytes; at most 32 MiB.
    pub max_value_bytes: u32,
}

impl Default for SettingsFile {
    fn default() -> Self {
        Self { max_not_after_s: 15 * 60, max_value_bytes: 4 << 20 }
    }
}

/// A member in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberFile {
    /// Its id, from 1.
    pub id: u64,
    /// Where clients reach it, `host:port`.
    pub client: String,
    /// Where nodes reach it, `host:port`.
    pub peer: String,
    /// Its cosigner key as a vkey.
    pub cosigner: String,
    /// Its block key, 64 hex digits.
    pub block_key: String,
}

/// A cluster file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Not readable.
    #[error("cannot read the cluster file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not what a cluster file says.
    #[error("cluster file {path}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key.
        problem: String,
    },
}

impl Cluster {
    /// Reads and checks a cluster file.
    pub fn load(path: &Path) -> Result<Self, ClusterError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ClusterError::Unreadable { path: path.to_owned(), source })?;
        let invalid = |problem| ClusterError::Invalid { path: path.to_owned(), problem };
        let file: ClusterFile = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        Self::from_file(&file).map_err(invalid)
    }

    /// Checks what a cluster file says; the error names the key.
    pub fn from_file(file: &ClusterFile) -> Result<Self, String> {
        let id = ClusterId::from_hex(&file.id).map_err(|error| format!("id: {error}"))?;
        let origin = ClusterOrigin::new(&file.name, &id).map_err(|error| format!("name: {error}"))?;
        if file.nodes.is_empty() || file.nodes.len() > MAX_NODES {
            return Err(format!("[[node]]: {} nodes; a cluster has 1 to {MAX_NODES}", file.nodes.len()));
        }
        if file.settings.max_value_bytes == 0 || file.settings.max_value_bytes > 32 << 20 {
            return Err("settings.max_value_bytes must be 1 to 33554432".to_owned());
        }
        let mut members: BTreeMap<NodeId, Member> = BTreeMap::new();
        for node in &file.nodes {
            let member = member(node, &origin).map_err(|problem| format!("node {}: {problem}", node.id))?;
            if let Some(other) = members.values().find(|other| shares_key(other, &member)) {
                return Err(format!(
                    "nodes {} and {} have a key in common: keys are pairwise distinct",
                    other.id, node.id
                ));
            }
            if members.insert(member.id, member).is_some() {
                return Err(format!("two nodes have the id {}", node.id));
            }
        }
        let settings = Settings {
            max_not_after_us: file.settings.max_not_after_s.saturating_mul(1_000_000),
            max_value_len: file.settings.max_value_bytes,
        };
        let continues = file.continues.as_ref().map(Continued::from_file).transpose();
        let continues = continues.map_err(|problem| format!("continues.{problem}"))?;
        Ok(Self { id, origin, members, settings, continues })
    }

    /// The first cosigner set, epoch 1.
    pub fn cosigner_set(&self) -> CosignerSet {
        let cosigners = self.members.values().map(|member| Cosigner {
            node_id: member.id.get(),
            vkey: member.cosigner.to_string(),
            block_public_key: member.block_key.as_bytes().to_vec().into(),
            client_address: member.client.clone(),
            peer_address: member.peer.clone(),
        });
        CosignerSet { epoch: Epoch::new(1).get(), cosigners: cosigners.collect() }
    }

    /// How many cosignatures are a majority of the members.
    pub fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// The policy file for a ledger: its log key, every member as a witness, a majority as the quorum.
    pub fn policy(&self, ledger: &LedgerName, log_key: &VerifierKey) -> Result<Policy, String> {
        if log_key.name() != self.origin.ledger(ledger).as_str() {
            return Err(format!(
                "the log key is named {}, not {}",
                log_key.name(),
                self.origin.ledger(ledger)
            ));
        }
        let cosigners: Vec<VerifierKey> =
            self.members.values().map(|member| member.cosigner.clone()).collect();
        Policy::majority(log_key, &cosigners).map_err(|error| error.to_string())
    }
}

fn member(file: &MemberFile, origin: &ClusterOrigin) -> Result<Member, String> {
    if file.id == 0 {
        return Err("ids start at 1".to_owned());
    }
    let id = NodeId::new(file.id);
    let cosigner = VerifierKey::parse(&file.cosigner).map_err(|error| format!("cosigner: {error}"))?;
    if cosigner.kind() != SignatureType::Cosignature {
        return Err("cosigner: not a cosigner key (type 0x04)".to_owned());
    }
    if cosigner.name() != origin.node(id) {
        return Err(format!(
            "cosigner: the key is named {:?}, expected {:?}",
            cosigner.name(),
            origin.node(id)
        ));
    }
    let block_key = hex::decode(&file.block_key)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or("block_key: expected 64 hex digits")?;
    let block_key = BlockPublicKey::from_bytes(&block_key).map_err(|error| format!("block_key: {error}"))?;
    for (name, address) in [("client", &file.client), ("peer", &file.peer)] {
        let port = address
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty())
            .map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Err(format!("{name}: {address:?} is not host:port"));
        }
    }
    Ok(Member { id, client: file.client.clone(), peer: file.peer.clone(), cosigner, block_key })
}

fn shares_key(a: &Member, b: &Member) -> bool {
    let keys = |m: &Member| [*m.cosigner.public_key(), *m.block_key.as_bytes()];
    keys(a).iter().any(|key| keys(b).contains(key))
}
