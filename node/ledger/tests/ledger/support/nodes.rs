//! Nodes with their keys, and the documents about them.

use prost::{Message, bytes::Bytes};
use quorate_core::{
    block::BlockKey,
    key::CosignerKey,
    name::{ClusterId, ClusterOrigin},
    position::NodeId,
    possession::NodeStatement,
};
use quorate_ledger::{
    block::Write,
    registry::{
        COSIGNERS_KEY, CosignerSet, InvitationRecord, NodeRecord, NodeState, invitation_key, node_key,
        secret_hash,
    },
};

use super::{
    replica::{CLUSTER_ID, origin},
    requests::put,
};

/// The record of a founder.
pub(crate) fn record_of(node: u8) -> NodeRecord {
    record_with(node.into(), node)
}

/// The record of a founder with this id, and keys made of this number.
pub(crate) fn record_with(id: u64, key: u8) -> NodeRecord {
    record_in(CLUSTER_ID, &origin(), id, key)
}

/// The same in another cluster.
pub(crate) fn record_in(cluster: ClusterId, origin: &ClusterOrigin, id: u64, key: u8) -> NodeRecord {
    let node = NodeId::new(id);
    let cosigner = CosignerKey::from_seed(&origin.node(node), &[key; 32]).unwrap();
    let block = BlockKey::from_seed(&[100 + key; 32]);
    let statement = NodeStatement {
        cluster,
        node,
        cosigner: *cosigner.verifier().public_key(),
        block: *block.public().as_bytes(),
    };
    NodeRecord {
        node_id: id,
        vkey: cosigner.verifier().to_string(),
        block_public_key: Bytes::copy_from_slice(block.public().as_bytes()),
        client_address: format!("node{id}.example:7001"),
        peer_address: format!("node{id}.example:7002"),
        state: NodeState::Member.into(),
        cosigner_proof: Bytes::copy_from_slice(&cosigner.possess(&statement)),
        block_proof: Bytes::copy_from_slice(&block.possess(&statement)),
        ..NodeRecord::default()
    }
}

/// The record of a node that registers with the secret of [`invitation`].
pub(crate) fn joining(node: u8) -> NodeRecord {
    NodeRecord {
        state: NodeState::Joining.into(),
        invitation_secret: Bytes::from_static(&[9; 32]),
        life: Bytes::from_static(&[8; 16]),
        ..record_of(node)
    }
}

pub(crate) fn invitation(id: u64, expires_at: u64) -> InvitationRecord {
    let hash = secret_hash(&CLUSTER_ID, NodeId::new(id), &[9; 32]);
    InvitationRecord { node_id: id, secret_hash: Bytes::copy_from_slice(hash.as_bytes()), expires_at }
}

pub(crate) fn put_node(record: &NodeRecord) -> Write {
    put(&node_key(NodeId::new(record.node_id)), &record.encode_to_vec())
}

pub(crate) fn put_invitation(record: &InvitationRecord) -> Write {
    put(&invitation_key(NodeId::new(record.node_id)), &record.encode_to_vec())
}

pub(crate) fn put_set(set: &CosignerSet) -> Write {
    put(COSIGNERS_KEY, &set.encode_to_vec())
}

/// The first set, and the records of its nodes.
pub(crate) fn founders(nodes: &[u8]) -> Vec<Write> {
    let cosigners = nodes.iter().map(|node| record_of(*node).cosigner()).collect();
    let set = put_set(&CosignerSet { epoch: 1, cosigners });
    std::iter::once(set).chain(nodes.iter().map(|node| put_node(&record_of(*node)))).collect()
}
