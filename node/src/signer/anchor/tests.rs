//! A snapshot whose chain of cosigner sets was made up by a leader is refused, by a new node and by one that was away.

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    block::BlockKey, hash::Hash, key::CosignerKey, name::ClusterId, possession::NodeStatement,
};
use quorate_ledger::registry::{COSIGNERS_KEY, NodeRecord, NodeState, node_key};

use super::*;
use crate::store::state::{
    StoredCosignature,
    tests::support::{CLUSTER, CLUSTER_NAME, Rig, START, block, genesis, origin, put, request},
};

const NODES: std::ops::RangeInclusive<u8> = 1..=3;

fn key(node: u8) -> CosignerKey {
    CosignerKey::from_seed(&origin().node(NodeId::new(node.into())), &[node; 32]).unwrap()
}

fn founder(node: u8) -> NodeRecord {
    let (key, block) = (key(node), BlockKey::from_seed(&[node | 0x80; 32]));
    let statement = NodeStatement {
        cluster: ClusterId::new(CLUSTER),
        node: NodeId::new(node.into()),
        cosigner: *key.verifier().public_key(),
        block: *block.public().as_bytes(),
    };
    NodeRecord {
        node_id: node.into(),
        vkey: key.verifier().to_string(),
        block_public_key: Bytes::copy_from_slice(block.public().as_bytes()),
        client_address: format!("{node}.example:1"),
        peer_address: format!("{node}.example:2"),
        state: NodeState::Member.into(),
        cosigner_proof: Bytes::copy_from_slice(&key.possess(&statement)),
        block_proof: Bytes::copy_from_slice(&block.possess(&statement)),
        ..NodeRecord::default()
    }
}

/// The state that a leader sends: the nodes 1 to 3 founded the cluster, 3 was removed in epoch 2, and 2 in epoch 3.
struct Sent(Rig);

impl Sent {
    fn new() -> Self {
        let rig = Rig::new();
        rig.apply(&genesis(CLUSTER_NAME, CLUSTER, START));
        let records: Vec<NodeRecord> = NODES.map(founder).collect();
        let cosigners = records.iter().map(NodeRecord::cosigner).collect();
        let mut writes = vec![put(COSIGNERS_KEY, &CosignerSet { epoch: 1, cosigners }.encode_to_vec())];
        writes.extend(records.iter().map(document));
        rig.apply(&block(START, [request("_system", "found", writes)]));
        let sent = Self(rig);
        for (epoch, leaving) in [(2, 3), (3, 2)] {
            let record = founder(leaving).in_state(NodeState::Leaving);
            sent.write(&format!("{leaving} leaves"), vec![document(&record)]);
            let mut removed = record.in_state(NodeState::Removed);
            removed.removed_in_epoch = epoch;
            let set = sent.0.view().cluster().registry.with(removed.clone()).next_set();
            let set = put(COSIGNERS_KEY, &set.encode_to_vec());
            sent.write(&format!("{leaving} is removed"), vec![document(&removed), set]);
        }
        assert_eq!(sent.0.view().cluster().epoch, Epoch::new(3), "it is a state in itself");
        sent
    }

    fn write(&self, name: &str, writes: Vec<quorate_ledger::block::Write>) {
        self.0.apply(&block(START, [request("_system", name, writes)]));
    }

    /// These nodes sign the beginning of an epoch, or what they say is its root.
    fn sign(&self, epoch: u64, nodes: &[u8], root: Option<Hash>) {
        let view = self.0.view();
        let system = view.system().unwrap();
        let size = view.epoch_size(Epoch::new(epoch)).unwrap().unwrap();
        let root = root.or(system.root_at(size).unwrap()).unwrap();
        let name = &system.head().name;
        let checkpoint = Checkpoint { origin: origin().ledger(name).as_str().to_owned(), size, root };
        for node in nodes {
            let signed = key(*node).cosign(&checkpoint, 5).unwrap();
            let stored = StoredCosignature {
                node: NodeId::new((*node).into()),
                time_s: 5,
                signature: signed.signature,
            };
            self.0.store().put_cosignatures(system.id(), size, &[stored]).unwrap();
        }
    }

    /// What a node says that knows the set of an epoch, or no set yet.
    fn followed(&self, own: Option<u64>) -> Result<Anchor, String> {
        let view = self.0.view();
        let own = own.map(|epoch| view.cosigner_set(Epoch::new(epoch)).unwrap().unwrap());
        Anchor::follow(&origin(), founders(&[1, 2, 3]), own, &view)
    }

    fn refused(&self, own: Option<u64>, words: &str) {
        let why = self.followed(own).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
}

fn document(record: &NodeRecord) -> quorate_ledger::block::Write {
    put(&node_key(NodeId::new(record.node_id)), &record.encode_to_vec())
}

fn founders(nodes: &[u8]) -> Arc<Panel> {
    let keys = nodes.iter().map(|node| (NodeId::new((*node).into()), key(*node).verifier().clone()));
    Arc::new(Panel::new(keys.collect()))
}

#[test]
fn sets_that_majorities_of_both_sides_begun_are_followed() {
    let sent = Sent::new();
    sent.sign(2, &[1, 2], None);
    sent.sign(3, &[1, 2], None);
    for own in [None, Some(1), Some(2), Some(3)] {
        let anchor = sent.followed(own).unwrap();
        assert_eq!(anchor.newest.keys().len(), 1, "{own:?}");
    }
}

#[test]
fn a_leader_alone_cannot_begin_an_epoch() {
    let sent = Sent::new();
    sent.sign(2, &[1], None);
    sent.sign(3, &[1], None);
    for own in [None, Some(1)] {
        sent.refused(own, "the beginning of epoch 2");
    }
    sent.refused(Some(2), "the beginning of epoch 3");
    // A majority of the old set, and not of the new one.
    sent.sign(2, &[3], None);
    sent.refused(None, "the beginning of epoch 2");
    // A majority of the new set, which is the leader alone, and not of the old one.
    sent.sign(2, &[2], None);
    sent.refused(None, "the beginning of epoch 3");
}

#[test]
fn signatures_of_strangers_of_other_roots_and_in_other_names_do_not_count() {
    let sent = Sent::new();
    sent.sign(2, &[1], None);
    sent.sign(2, &[2, 3], Some(Hash::ZERO));
    sent.refused(None, "the signatures of 1 nodes");
    // A stranger of the old set says that it is node 4: nobody counts that.
    sent.sign(2, &[4], None);
    sent.refused(None, "the signatures of 1 nodes");
    // The leader's own signature, as that of node 2.
    let view = sent.0.view();
    let system = view.system().unwrap();
    let size = view.epoch_size(Epoch::new(2)).unwrap().unwrap();
    let own =
        view.cosignatures(system.id(), size).unwrap().into_iter().find(|one| one.node == NodeId::new(1));
    let renamed = StoredCosignature { node: NodeId::new(2), time_s: 6, ..own.unwrap() };
    sent.0.store().put_cosignatures(system.id(), size, &[renamed]).unwrap();
    sent.refused(None, "the signatures of 1 nodes");
}

#[test]
fn a_chain_that_begins_with_other_keys_is_refused_whoever_signed_it() {
    let sent = Sent::new();
    sent.sign(2, &[1, 2, 3], None);
    sent.sign(3, &[1, 2], None);
    let view = sent.0.view();
    let other = Anchor::follow(&origin(), founders(&[1, 2, 4]), None, &view).unwrap_err();
    assert!(other.contains("epoch 1 is not the one that this node knows"), "{other}");
    // As this node knows it, node 2 was removed in epoch 2.
    let mut set = (*view.cosigner_set(Epoch::new(2)).unwrap().unwrap()).clone();
    set.cosigners[1] = founder(3).cosigner();
    let other = Anchor::follow(&origin(), founders(&[1, 2, 3]), Some(Arc::new(set)), &view).unwrap_err();
    assert!(other.contains("epoch 2 is not the one that this node knows"), "{other}");
}
