//! The beginnings of epochs: kept, checked whenever they are used, and taken from others only if they prove something.

use prost::Message;
use quorate_core::{
    name::ClusterId,
    position::{Epoch, NodeId},
};
use quorate_ledger::registry::{COSIGNERS_KEY, CosignerSet, node_key};

use super::{
    super::{
        EpochStart,
        epochs::{check, registry},
        options::Table,
        rows,
    },
    support::{CLUSTER, CLUSTER_NAME, Rig, START, block, genesis, origin, put, request},
};
use crate::{
    cluster::{Cluster, ClusterFile},
    provision::{NodePlan, NodeSecrets},
};

fn cluster() -> Cluster {
    let id = ClusterId::new(CLUSTER);
    let member = |node: u64| {
        let plan = NodePlan {
            id: node,
            host: "127.0.0.1".to_owned(),
            listen: "127.0.0.1".parse().unwrap(),
            client_port: 1,
            peer_port: 2,
            http_port: 3,
        };
        NodeSecrets::random().unwrap().member(&plan, id, &origin()).unwrap()
    };
    let nodes = (1..=3).map(member).collect();
    let file = ClusterFile {
        name: CLUSTER_NAME.to_owned(),
        id: id.to_string(),
        settings: Default::default(),
        continues: None,
        nodes,
        joined: None,
    };
    Cluster::from_file(&file).unwrap()
}

/// A store in epoch 3, the sets of which have the same members.
fn in_epoch_3() -> Rig {
    let rig = Rig::new();
    rig.apply(&genesis(CLUSTER_NAME, CLUSTER, START));
    let cluster = cluster();
    let mut writes = vec![put(COSIGNERS_KEY, &cluster.cosigner_set().encode_to_vec())];
    for record in cluster.node_records() {
        writes.push(put(&node_key(NodeId::new(record.node_id)), &record.encode_to_vec()));
    }
    rig.apply(&block(START, [request("_system", "found", writes)]));
    for epoch in 2..=3 {
        let set = CosignerSet { epoch, ..cluster.cosigner_set() };
        rig.apply(&block(
            START,
            [request("_system", &epoch.to_string(), [put(COSIGNERS_KEY, &set.encode_to_vec())])],
        ));
    }
    assert_eq!(rig.view().cluster().epoch, Epoch::new(3));
    assert_eq!(rig.view().cluster().registry.nodes().len(), 3);
    rig
}

fn replace(rig: &Rig, epoch: u64, row: &[u8]) {
    let view = rig.view();
    let mut batch = view.database.batch(0);
    batch.put(Table::Meta, &rows::epoch(Epoch::new(epoch)), row).unwrap();
    view.database.write(batch).unwrap();
}

#[test]
fn each_epoch_keeps_its_beginning_for_ever_and_after_a_restart() {
    let mut rig = in_epoch_3();
    for _ in 0..2 {
        let view = rig.view();
        check(&view).unwrap();
        for epoch in 1..=3 {
            let start = view.epoch_start(Epoch::new(epoch)).unwrap().unwrap();
            assert_eq!(view.epoch_size(Epoch::new(epoch)).unwrap(), Some(start.size));
            let sets = view.certifiers(view.system().unwrap(), start.size).unwrap();
            let epochs: Vec<u64> = sets.iter().map(|set| set.epoch).collect();
            let expected = if epoch == 1 { vec![1] } else { vec![epoch - 1, epoch] };
            assert_eq!(epochs, expected, "the old and the new set");
        }
        assert_eq!(view.epoch_start(Epoch::new(4)).unwrap(), None);
        assert_eq!(view.epoch_size(Epoch::new(0)).unwrap(), None);
        // A view keeps the database open.
        drop(view);
        rig.close();
        rig.open();
    }
}

#[test]
fn what_proves_nothing_is_not_used_and_not_taken() {
    let rig = in_epoch_3();
    let view = rig.view();
    let epoch = Epoch::new(2);
    let good = view.epoch_start(epoch).unwrap().unwrap();
    let later = view.epoch_start(Epoch::new(3)).unwrap().unwrap();
    let row = [&good.size.to_be_bytes()[..], &good.state_proof].concat();
    for bit in 0..row.len() * 8 {
        let mut flipped = row.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        replace(&rig, 2, &flipped);
        assert_eq!(view.epoch_start(epoch).unwrap(), None, "bit {bit}");
    }
    assert!(check(&view).unwrap_err().to_string().contains("not the proof"), "a snapshot with it is refused");
    replace(&rig, 2, &[]);
    assert_eq!(view.epoch_start(epoch).unwrap(), None);
    for wrong in [
        EpochStart { state_proof: later.state_proof.clone(), ..good.clone() },
        EpochStart { size: later.size, ..good.clone() },
        EpochStart { state_proof: Vec::new(), ..good.clone() },
    ] {
        assert!(!rig.store().put_epoch_start(epoch, &wrong).unwrap());
        assert_eq!(view.epoch_start(epoch).unwrap(), None);
    }
    assert!(rig.store().put_epoch_start(epoch, &good).unwrap());
    assert_eq!(view.epoch_start(epoch).unwrap(), Some(good));
    check(&view).unwrap();
}

#[test]
fn what_the_applied_row_says_has_to_agree_with_the_documents() {
    let rig = in_epoch_3();
    let mut altered = (*rig.view()).clone();
    altered.cluster.epoch = Epoch::new(4);
    let fault = registry(&altered).unwrap_err().to_string();
    assert!(fault.contains("its epoch is not that of the cosigner set"), "{fault}");
}
