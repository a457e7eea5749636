//! The document under `cosigners`, as it is stored.

use std::collections::BTreeSet;

use prost::{Message, bytes::Bytes};

use super::{EpochError, Member};
use crate::key::{SignatureType, VerifierKey};
use crate::name::ClusterOrigin;
use crate::position::{Epoch, NodeId};

/// The key of the document.
pub const COSIGNERS_KEY: &[u8] = b"cosigners";

/// The replicas whose cosignatures count.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CosignerSet {
    /// The number of this set: one more than that of the set before, 1 for the first.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// By ascending node id, at least one; all keys are pairwise distinct.
    #[prost(message, repeated, tag = "2")]
    pub cosigners: Vec<Cosigner>,
}

/// A replica of the set.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Cosigner {
    /// Its node id, from 1.
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// The vkey of its cosigner key (type 0x04), named `<cluster origin>/node/<node id>`.
    #[prost(string, tag = "2")]
    pub vkey: String,
    /// The public key with which it signs the blocks it proposes, 32 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub block_public_key: Bytes,
    /// Where clients reach it, `host:port`.
    #[prost(string, tag = "4")]
    pub client_address: String,
    /// Where its peers reach it, `host:port`.
    #[prost(string, tag = "5")]
    pub peer_address: String,
}

impl CosignerSet {
    /// Whether it is a set of this cluster, and not of one that this cluster continues: by the names of its keys.
    #[must_use]
    pub fn is_of(&self, cluster: &ClusterOrigin) -> bool {
        self.cosigners.iter().all(|cosigner| cosigner.is_of(cluster))
    }

    /// Reads a document: one encoding per value, no unknown fields; then what it says, checked by itself.
    pub(super) fn read(bytes: &[u8], cluster: &ClusterOrigin) -> Result<(Epoch, Vec<Member>), EpochError> {
        let malformed = |problem: String| EpochError::Document { problem };
        let set = Self::decode(bytes).map_err(|error| malformed(error.to_string()))?;
        if set.encode_to_vec() != bytes {
            return Err(malformed("it is not the one encoding of the fields that this version knows".into()));
        }
        if set.cosigners.is_empty() {
            return Err(malformed("it names nobody".to_owned()));
        }
        let members: Vec<Member> = set
            .cosigners
            .iter()
            .map(|cosigner| cosigner.member(cluster).map_err(malformed))
            .collect::<Result<_, _>>()?;
        if !members.is_sorted_by(|a, b| a.node < b.node) {
            return Err(malformed("its nodes are not in ascending order of distinct ids".to_owned()));
        }
        let keys: BTreeSet<&[u8; 32]> = members.iter().flat_map(Member::public_keys).collect();
        if keys.len() != members.len().saturating_mul(2) {
            return Err(malformed("one of its keys occurs twice".to_owned()));
        }
        Ok((Epoch::new(set.epoch), members))
    }
}

impl Cosigner {
    /// Whether its key is named for a node of this cluster.
    #[must_use]
    pub fn is_of(&self, cluster: &ClusterOrigin) -> bool {
        VerifierKey::parse(&self.vkey).is_ok_and(|key| key.name() == cluster.node(NodeId::new(self.node_id)))
    }

    fn member(&self, cluster: &ClusterOrigin) -> Result<Member, String> {
        let node = NodeId::new(self.node_id);
        let key = VerifierKey::parse(&self.vkey).map_err(|error| format!("node {node}: vkey: {error}"))?;
        let name = cluster.node(node);
        if key.kind() != SignatureType::Cosignature || key.name() != name {
            return Err(format!("node {node}: its vkey is not a cosigner's named {name}"));
        }
        let block_key = <[u8; 32]>::try_from(&*self.block_public_key);
        let block_key = block_key.map_err(|_| format!("node {node}: a block key has 32 bytes"))?;
        Ok(Member { node, key, block_key, client_address: self.client_address.clone() })
    }
}
