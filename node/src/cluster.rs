//! The cluster file: who the founding members of a cluster are. The same on every node.
//!
//! It founds the cluster and nothing more: the first leader writes its members (as the first cosigner set, with the
//! records of its nodes) and settings into the ledger `_system`. From then on the applied state says who the nodes are,
//! whose keys count and where they are reached ([`crate::membership`]). The file is what blocks and cosignatures are checked
//! with before that is applied: a node whose file names other keys refuses the first blocks of the others.
//!
//! A node that joined later has the founders' file with `[joined]`: its own id, and whom it may ask first.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use quorate_core::{
    block::BlockPublicKey,
    key::{SignatureType, VerifierKey},
    name::{ClusterId, ClusterOrigin, LedgerName},
    policy::Policy,
    position::NodeId,
    possession::{NodeStatement, Possession},
};
use quorate_ledger::{
    registry::{CosignerSet, NodeRecord, NodeState},
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
    /// On a node that joined later: which one it is, and whom it may ask first.
    pub joined: Option<Joined>,
}

/// What a node that joined later knows before it has any state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its id.
    pub id: NodeId,
    /// Where nodes of the cluster were reached when it was invited, by id.
    pub peers: BTreeMap<NodeId, String>,
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
    /// That it has both keys.
    pub possession: Possession,
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
    /// Only on a node that joined later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<JoinedFile>,
}

/// The node that joined later, in its file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinedFile {
    /// Its id.
    pub id: u64,
    /// Whom it may ask first.
    #[serde(rename = "peer")]
    pub peers: Vec<PeerFile>,
}

/// A node that may be asked, in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerFile {
    /// Its id.
    pub id: u64,
    /// Where nodes reach it, `host:port`.
    pub address: String,
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
    /// That it has the cosigner key: the statement of docs/formats.md, section 3.4, signed with it, 128 hex digits.
    pub cosigner_proof: String,
    /// The same, signed with the block key.
    pub block_proof: String,
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
            let member =
                member(node, &id, &origin).map_err(|problem| format!("node {}: {problem}", node.id))?;
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
        let joined = file.joined.as_ref().map(|file| joined(file, &members)).transpose()?;
        Ok(Self { id, origin, members, settings, continues, joined })
    }

    /// The file of the founders: what every node has the same.
    pub fn founders_file(&self) -> ClusterFile {
        let node = |member: &Member| MemberFile {
            id: member.id.get(),
            client: member.client.clone(),
            peer: member.peer.clone(),
            cosigner: member.cosigner.to_string(),
            block_key: hex::encode(member.block_key.as_bytes()),
            cosigner_proof: hex::encode(member.possession.cosigner),
            block_proof: hex::encode(member.possession.block),
        };
        let settings = SettingsFile {
            max_not_after_s: self.settings.max_not_after_us / 1_000_000,
            max_value_bytes: self.settings.max_value_len,
        };
        ClusterFile {
            name: self.origin.name().to_owned(),
            id: self.id.to_string(),
            settings,
            continues: self.continues.as_ref().map(Continued::to_file),
            nodes: self.members.values().map(node).collect(),
            joined: None,
        }
    }

    /// Where the other nodes are reached that this file names.
    pub fn peers(&self) -> BTreeMap<NodeId, String> {
        match &self.joined {
            Some(joined) => joined.peers.clone(),
            None => self.members.values().map(|member| (member.id, member.peer.clone())).collect(),
        }
    }

    /// The records of the founders.
    pub fn node_records(&self) -> Vec<NodeRecord> {
        let record = |member: &Member| NodeRecord {
            node_id: member.id.get(),
            vkey: member.cosigner.to_string(),
            block_public_key: member.block_key.as_bytes().to_vec().into(),
            client_address: member.client.clone(),
            peer_address: member.peer.clone(),
            state: NodeState::Member.into(),
            cosigner_proof: member.possession.cosigner.to_vec().into(),
            block_proof: member.possession.block.to_vec().into(),
            ..NodeRecord::default()
        };
        self.members.values().map(record).collect()
    }

    /// The first cosigner set, epoch 1.
    pub fn cosigner_set(&self) -> CosignerSet {
        let cosigners = self.node_records().iter().map(NodeRecord::cosigner).collect();
        CosignerSet { epoch: 1, cosigners }
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

fn member(file: &MemberFile, cluster: &ClusterId, origin: &ClusterOrigin) -> Result<Member, String> {
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
        check_address(address).map_err(|problem| format!("{name}: {problem}"))?;
    }
    let possession = Possession {
        cosigner: signature("cosigner_proof", &file.cosigner_proof)?,
        block: signature("block_proof", &file.block_proof)?,
    };
    let statement = NodeStatement {
        cluster: *cluster,
        node: id,
        cosigner: *cosigner.public_key(),
        block: *block_key.as_bytes(),
    };
    statement.verify(&possession).map_err(|error| error.to_string())?;
    let (client, peer) = (file.client.clone(), file.peer.clone());
    Ok(Member { id, client, peer, cosigner, block_key, possession })
}

/// Checks that this is `host:port`.
///
/// # Errors
/// That it is not.
pub fn check_address(address: &str) -> Result<(), String> {
    let port =
        address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(()),
        _ => Err(format!("{address:?} is not host:port")),
    }
}

fn signature(field: &str, text: &str) -> Result<[u8; 64], String> {
    let mut signature = [0; 64];
    match hex::decode_to_slice(text, &mut signature) {
        Ok(()) => Ok(signature),
        Err(_) => Err(format!("{field}: expected 128 hex digits")),
    }
}

fn joined(file: &JoinedFile, founders: &BTreeMap<NodeId, Member>) -> Result<Joined, String> {
    let id = NodeId::new(file.id);
    if file.id == 0 || founders.contains_key(&id) {
        return Err(format!("joined.id: {} is not the id of a node that joined later", file.id));
    }
    let mut peers = BTreeMap::new();
    for peer in &file.peers {
        check_address(&peer.address).map_err(|problem| format!("joined.peer {}: {problem}", peer.id))?;
        if peer.id == 0
            || peer.id == file.id
            || peers.insert(NodeId::new(peer.id), peer.address.clone()).is_some()
        {
            return Err(format!("joined.peer {}: expected each other node once", peer.id));
        }
    }
    match peers.is_empty() {
        true => Err("joined.peer: at least one node of the cluster".to_owned()),
        false => Ok(Joined { id, peers }),
    }
}

fn shares_key(a: &Member, b: &Member) -> bool {
    let keys = |m: &Member| [*m.cosigner.public_key(), *m.block_key.as_bytes()];
    keys(a).iter().any(|key| keys(b).contains(key))
}
