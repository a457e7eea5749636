//! A store that is seeded with a history holds what a store holds that applied it, row by row; what does not follow leaves
//! nothing behind.

use std::path::Path;

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    block::BlockKey,
    entry::{Leaf, Operation},
    hash::Hash,
    key::CosignerKey,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{LogIndex, NodeId},
    possession::NodeStatement,
};
use quorate_ledger::{
    effects::TransactionRecord,
    registry::{NodeRecord, NodeState, node_key},
    replay::{StoredBlock, StoredTransaction},
    system::{COSIGNERS_KEY, CosignerSet, Lineage, SETTINGS_KEY, SettingsRecord},
    view::Settings,
};

use super::super::{
    LedgerView, ReadView, SeedError, Seeded, StateStore, StoredContent, StoredMeta, database::Direction,
    options::Table, rows, scrub::scrub, seed::SEEDED_AT,
};
use super::support::{CLUSTER, Rig, START, birth, block, delete, erase, options, origin, put, request};
use crate::store::log::Identity;

const NEW: Identity = Identity { cluster_id: [0x55; 16], node_id: 2 };

/// A founder.
fn node() -> NodeRecord {
    let (id, block) = (NodeId::new(1), BlockKey::from_seed(&[2; 32]));
    let key = CosignerKey::from_seed(&origin().node(id), &[1; 32]).unwrap();
    let statement = NodeStatement {
        cluster: ClusterId::new(CLUSTER),
        node: id,
        cosigner: *key.verifier().public_key(),
        block: *block.public().as_bytes(),
    };
    NodeRecord {
        node_id: 1,
        vkey: key.verifier().to_string(),
        block_public_key: Bytes::copy_from_slice(block.public().as_bytes()),
        client_address: "a.example:1".to_owned(),
        peer_address: "a.example:2".to_owned(),
        state: NodeState::Member.into(),
        cosigner_proof: Bytes::copy_from_slice(&key.possess(&statement)),
        block_proof: Bytes::copy_from_slice(&block.possess(&statement)),
        ..NodeRecord::default()
    }
}

/// Two ledgers in which everything has happened once.
fn storied() -> Rig {
    let rig = Rig::founded();
    let node = node();
    let set = CosignerSet { epoch: 1, cosigners: vec![node.cosigner()] };
    let settings = SettingsRecord::from(Settings { max_value_len: 54_321, ..Settings::default() });
    let documents = [
        put(COSIGNERS_KEY, &set.encode_to_vec()),
        put(&node_key(NodeId::new(1)), &node.encode_to_vec()),
        put(SETTINGS_KEY, &settings.encode_to_vec()),
    ];
    rig.apply(&block(START, [request("_system", "set up", documents), birth(&origin(), "other")]));
    rig.commit((0..40_u8).map(|number| put(&[b'k', number], &[number; 50])));
    rig.commit([put(&[b'k', 1], b"again"), delete(&[b'k', 2]), put(b"big", &[7; 20_000])]);
    rig.apply(&block(
        START + 9,
        [request("other", "1", [put(b"a", b"b")]), request("default", "x", [delete(b"big")])],
    ));
    rig.commit([erase(&[b'k', 1], 1), erase(b"big", 1), put(&[b'k', 2], b"back")]);
    for number in 0..300_u16 {
        rig.commit([put(&number.to_be_bytes(), b"many")]);
    }
    rig
}

/// The blocks of a ledger, as an archive would have them.
fn blocks(ledger: &LedgerView) -> Vec<StoredBlock> {
    let (mut blocks, mut transactions) = (Vec::new(), Vec::new());
    for record in ledger.records(LogIndex::new(0)).unwrap() {
        let record = record.unwrap();
        match Leaf::decode(&record.leaf).unwrap() {
            Leaf::Transaction(leaf) => {
                let contents = ledger.contents(record.index).unwrap().unwrap();
                let StoredMeta::Present { meta, salt } = contents.meta else { panic!("the meta is there") };
                let content = |content| match content {
                    StoredContent::Present(content) => Some(content),
                    StoredContent::Nothing | StoredContent::Erased { .. } => None,
                };
                let operations: Vec<Bytes> = record.operations.iter().cloned().map(Into::into).collect();
                transactions.push(StoredTransaction {
                    leaf,
                    operations: operations.iter().map(|bytes| Operation::decode(bytes).unwrap()).collect(),
                    record: TransactionRecord {
                        leaf: record.leaf,
                        operations,
                        meta,
                        meta_salt: salt,
                        contents: contents.operations.into_iter().map(content).collect(),
                    },
                });
            }
            Leaf::Commit(commit) => {
                blocks.push(StoredBlock { transactions: std::mem::take(&mut transactions), commit });
            }
            Leaf::Opaque(_) => panic!("there is none"),
        }
    }
    blocks
}

fn lineage() -> Lineage {
    Lineage { number: 1, kind: "restored".to_owned(), ..Lineage::default() }
}

fn new_origin() -> ClusterOrigin {
    ClusterOrigin::new("ledger.example/new", &ClusterId::new(NEW.cluster_id)).unwrap()
}

/// Seeds a store with what another one holds, changed by `change`.
fn seed(
    path: &Path,
    from: &ReadView,
    change: impl Fn(&LedgerName, &mut Vec<StoredBlock>),
) -> Result<(), SeedError> {
    StateStore::seed::<SeedError>(path, NEW, &options(), |seeder| {
        for ledger in from.ledgers() {
            let name = ledger.head().name.clone();
            let mut blocks = blocks(ledger);
            change(&name, &mut blocks);
            blocks.into_iter().try_for_each(|block| seeder.block(&name, block))?;
        }
        let membership = Bytes::from_static(b"members");
        Ok(Seeded { origin: new_origin(), membership, lineage: lineage() })
    })
}

/// All rows of a table.
fn table(view: &ReadView, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut scan = view.database.scan(table, &[], None, Direction::Ascending).unwrap();
    let mut all = Vec::new();
    while let Some(row) = scan.next(|key, row| Ok((key.to_vec(), row.to_vec()))).unwrap() {
        // Proofs of the epochs of another cluster are of no use to this one.
        if row.0 != rows::APPLIED && !row.0.starts_with(rows::EPOCHS) {
            all.push(row);
        }
    }
    all
}

fn same_rows(a: &ReadView, b: &ReadView) {
    for name in Table::ALL {
        let (a, b) = (table(a, name), table(b, name));
        assert!(a == b, "{name:?}: {} rows and {}", a.len(), b.len());
        assert!(!a.is_empty() || name == Table::Cosignatures, "{name:?}: nothing was compared");
    }
}

#[test]
fn a_seeded_store_holds_what_a_store_holds_that_applied_it() {
    let (rig, dir) = (storied(), tempfile::tempdir().unwrap());
    let (path, copy) = (dir.path().join("seeded"), dir.path().join("copy"));
    seed(&path, &rig.view(), |_, _| {}).unwrap();
    let other = Identity { node_id: 3, ..NEW };
    StateStore::copy_seed((&path, NEW), &copy, other).unwrap();
    for (path, identity) in [(path, NEW), (copy, other)] {
        let seeded = StateStore::open(&path, identity, options()).unwrap();
        let view = seeded.view();
        same_rows(&rig.view(), &view);
        scrub(&view).unwrap();
        assert_eq!(view.applied().last, Some(SEEDED_AT));
        assert_eq!(view.applied().membership, Some((SEEDED_AT, Bytes::from_static(b"members"))));
        let cluster = view.cluster();
        assert_eq!((cluster.origin.clone(), cluster.last_block), (Some(new_origin()), None));
        assert_eq!((cluster.epoch.get(), cluster.settings.max_value_len), (1, 54_321));
        assert_eq!(cluster.continues.as_deref(), Some(&lineage().encode_to_vec()[..]));
    }
}

#[test]
fn a_store_is_made_another_clusters_with_the_same_rows() {
    let (mut rig, dir) = (storied(), tempfile::tempdir().unwrap());
    rig.close();
    let copy = dir.path().join("copy");
    StateStore::copy_seed((&rig.path(), rig.identity), &copy, rig.identity).unwrap();
    let old = StateStore::open(&copy, rig.identity, options()).unwrap();
    let signed = super::super::StoredCosignature { node: NodeId::new(1), time_s: 1, signature: [1; 64] };
    old.put_cosignatures(old.view().ledgers()[1].id(), old.view().ledgers()[1].size(), &[signed]).unwrap();
    let path = dir.path().join("new");
    let membership = Bytes::from_static(b"members");
    old.reseed(&path, NEW, Seeded { origin: new_origin(), membership, lineage: lineage() }).unwrap();
    rig.open();
    let new = StateStore::open(&path, NEW, options()).unwrap();
    same_rows(&rig.view(), &new.view());
    assert_eq!(new.view().applied().last, Some(SEEDED_AT));
    assert_eq!(new.view().cluster().last_block, None);
    assert_eq!(new.view().cluster().settings.max_value_len, 54_321);
}

#[test]
fn what_does_not_follow_leaves_no_store() {
    let (rig, dir) = (storied(), tempfile::tempdir().unwrap());
    let path = dir.path().join("seeded");
    type Lie = (&'static str, fn(&mut Vec<StoredBlock>));
    let lies: [Lie; 3] = [
        ("another commit leaf", |blocks| blocks[1].commit.state_root = Hash::ZERO),
        ("previous index", |blocks| drop(blocks.remove(1))),
        ("is missing, and no operation erased it", |blocks| {
            blocks[1].transactions[0].record.contents[0] = None;
        }),
    ];
    for (words, lie) in lies {
        let changed = |name: &LedgerName, blocks: &mut Vec<StoredBlock>| {
            if name.as_str() == "default" {
                lie(blocks);
            }
        };
        let error = seed(&path, &rig.view(), changed).unwrap_err().to_string();
        assert!(error.contains("default") && error.contains(words), "{words}: {error}");
        assert!(!path.exists(), "{words}");
    }
    seed(&path, &rig.view(), |_, _| {}).unwrap();
    assert!(matches!(seed(&path, &rig.view(), |_, _| {}), Err(SeedError::Open(_))), "it is there already");
}
