//! What a record or a set of the registry says by itself, and how one record may follow another.

use std::collections::BTreeSet;

use quorate_core::{
    block::BlockPublicKey,
    key::{SignatureType, VerifierKey},
    name::ClusterOrigin,
    position::NodeId,
};

use super::{Cosigner, CosignerSet, MAX_ADDRESS, MAX_COSIGNERS, NodeRecord, NodeState};

/// Whether a record may follow another: the same node, in the next state.
pub(super) fn check_step(before: &NodeRecord, after: &NodeRecord) -> Result<(), String> {
    let (from, to) = (before.standing(), after.standing());
    let id = before.node_id;
    let unchanged = NodeRecord { removed_in_epoch: before.removed_in_epoch, ..after.in_state(from) };
    if unchanged != *before {
        return Err(format!("node {id} exists: nothing but its state may change"));
    }
    let follows = match from {
        NodeState::Joining => matches!(to, NodeState::Member | NodeState::Removed),
        NodeState::Member => to == NodeState::Leaving,
        NodeState::Leaving => to == NodeState::Removed,
        NodeState::Removed | NodeState::Unspecified => false,
    };
    if !follows {
        let last = if from == NodeState::Removed { ": a removed node never comes back" } else { "" };
        return Err(format!("node {id} is {}, and cannot be {} next{last}", from.name(), to.name()));
    }
    if to != NodeState::Removed && after.removed_in_epoch != 0 {
        return Err("removed_in_epoch must be 0 for a node that is not removed".to_owned());
    }
    Ok(())
}

pub(super) fn check_set(set: &CosignerSet, origin: &ClusterOrigin) -> Result<(), String> {
    if !(1..=MAX_COSIGNERS).contains(&set.cosigners.len()) {
        return Err(format!("1 to {MAX_COSIGNERS} cosigners, not {}", set.cosigners.len()));
    }
    if !set.cosigners.is_sorted_by(|a, b| a.node_id < b.node_id) {
        return Err("cosigners must be in ascending order of distinct node ids".to_owned());
    }
    let mut keys = BTreeSet::new();
    for (number, cosigner) in set.cosigners.iter().enumerate() {
        let public = check_cosigner(cosigner, origin);
        for key in public.map_err(|problem| format!("cosigners[{number}].{problem}"))? {
            if !keys.insert(key) {
                return Err(format!("cosigners[{number}]: one of its keys occurs twice in the set"));
            }
        }
    }
    Ok(())
}

/// The two public keys of a cosigner.
pub(super) fn check_cosigner(cosigner: &Cosigner, origin: &ClusterOrigin) -> Result<[[u8; 32]; 2], String> {
    if cosigner.node_id == 0 {
        return Err("node_id must be at least 1".to_owned());
    }
    let vkey = VerifierKey::parse(&cosigner.vkey).map_err(|error| format!("vkey: {error}"))?;
    let name = origin.node(NodeId::new(cosigner.node_id));
    if vkey.kind() != SignatureType::Cosignature || vkey.name() != name {
        return Err(format!("vkey: it must be a cosigner's (type 0x04), named {name}"));
    }
    let block_key = BlockPublicKey::try_from(&*cosigner.block_public_key);
    let block_key = block_key.map_err(|error| format!("block_public_key: {error}"))?;
    let addresses = [("client_address", &cosigner.client_address), ("peer_address", &cosigner.peer_address)];
    for (field, address) in addresses {
        if !(1..=MAX_ADDRESS).contains(&address.len()) {
            return Err(format!("{field}: 1 to {MAX_ADDRESS} bytes, not {}", address.len()));
        }
    }
    Ok([*vkey.public_key(), *block_key.as_bytes()])
}

/// The public keys of a record that was checked before.
pub(super) fn public_keys(node: &NodeRecord) -> [Vec<u8>; 2] {
    let cosigner = VerifierKey::parse(&node.vkey).map(|key| key.public_key().to_vec());
    [cosigner.unwrap_or_default(), node.block_public_key.to_vec()]
}
