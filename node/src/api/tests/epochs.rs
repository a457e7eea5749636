//! ListEpochs: how each epoch began, verified under the checkpoint of its time.

use prost::Message;
use quorate_core::{
    entry::{Leaf, Operation},
    hash::leaf_hash,
    proof::inclusion,
    state_tree::{Query, verify},
};
use quorate_ledger::registry::{COSIGNERS_KEY, CosignerSet};
use quorate_proto::{
    convert::{CheckpointParts, ItemParts},
    v1::{self, ledger_server::Ledger},
};
use tonic::Status;

use super::world::{World, put};

async fn ask(world: &World, from_epoch: u64, limit: u32) -> Result<Vec<v1::EpochProof>, Status> {
    let request = v1::ListEpochsRequest { from_epoch, limit };
    world.api.list_epochs(tonic::Request::new(request)).await.map(|answer| answer.into_inner().epochs)
}

/// The set of a proof, and the size that it is proven at.
fn open(world: &World, proof: v1::EpochProof) -> (CosignerSet, u64) {
    let parts = CheckpointParts::try_from(proof.checkpoint.unwrap()).unwrap();
    let certified = world.policy_of("_system").open(&parts.note).unwrap();
    let checkpoint = certified.checkpoint();
    let index = checkpoint.size.last_index().unwrap();
    let leaf = leaf_hash(&parts.commit.leaf);
    inclusion::verify(&leaf, index, checkpoint.size, &parts.commit.path, &checkpoint.root).unwrap();
    let Leaf::Commit(commit) = Leaf::decode(&parts.commit.leaf).unwrap() else { panic!("no commit leaf") };
    assert_eq!(commit.epoch.get() + 1, proof.epoch, "the block that changes the set carries the old epoch");
    let query = Query::Key(COSIGNERS_KEY.to_vec());
    let proven = verify(&commit.state_root, &query, &proof.state_proof).unwrap();
    let item = ItemParts::try_from(proof.item.unwrap()).unwrap();
    let leaf = proven.get(COSIGNERS_KEY).unwrap().unwrap();
    let operation = Operation::decode(&item.operation).unwrap();
    assert_eq!((leaf.op(), Some(leaf.index())), (&operation, item.index));
    let contents = item.contents.unwrap();
    assert!(operation.wrote(&contents.salt, &contents.attributes, &contents.value));
    let set = CosignerSet::decode(contents.value.as_slice()).unwrap();
    assert_eq!(set.epoch, proof.epoch);
    (set, checkpoint.size.get())
}

#[tokio::test]
async fn every_epoch_is_proven_at_the_size_with_which_it_began() {
    let world = World::new().await;
    world.next_epoch().await;
    world.write(vec![put("a", "b")]).await;
    world.next_epoch().await;
    world.create("later").await.unwrap();
    let epochs = ask(&world, 0, 0).await.unwrap();
    let numbers: Vec<u64> = epochs.iter().map(|proof| proof.epoch).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let sizes: Vec<u64> = epochs.into_iter().map(|proof| open(&world, proof).1).collect();
    assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?}");
}

#[tokio::test]
async fn epochs_come_in_pages_and_end() {
    let world = World::new().await;
    world.next_epoch().await;
    let one = ask(&world, 1, 1).await.unwrap();
    assert_eq!(one.iter().map(|proof| proof.epoch).collect::<Vec<_>>(), [1]);
    let rest = ask(&world, 2, 100).await.unwrap();
    assert_eq!(rest.iter().map(|proof| proof.epoch).collect::<Vec<_>>(), [2]);
    assert!(ask(&world, 3, 0).await.unwrap().is_empty());
    assert!(ask(&world, u64::MAX, 100).await.unwrap().is_empty());
    let refused = ask(&world, 1, 101).await.unwrap_err();
    assert!(refused.message().starts_with("limit: "), "{refused:?}");
}
