//! The log: streams, inclusion, consistency, checkpoints.

use std::{sync::atomic::Ordering, time::Duration};

use futures::TryStreamExt;
use prost::Message as _;
use quorate_core::{
    entry::{Leaf, OpKind, Operation, ops_root},
    hash::{Hash, leaf_hash},
    position::{LogIndex, TreeSize},
    proof::{consistency, inclusion},
    state_tree::MemoryStateTree,
    tree::Frontier,
};
use quorate_proto::{
    convert::{EntryParts, detail, path_from_wire},
    v1::{self, ledger_server::Ledger},
};
use tonic::{Code, Status};

use super::{
    verify::{checkpoint_at, continues},
    world::{World, delete, put},
};
use crate::config::Limits;

async fn list(world: &World, from: u64, to: u64, contents: bool) -> Result<Vec<EntryParts>, Status> {
    let request = v1::ListTransactionsRequest { ledger: "default".to_owned(), from, to, contents };
    let stream = world.api.list_transactions(tonic::Request::new(request)).await?.into_inner();
    let messages: Vec<v1::ListTransactionsResponse> = stream.try_collect().await?;
    Ok(messages.into_iter().flat_map(|one| one.entries).map(|entry| entry.try_into().unwrap()).collect())
}

async fn filled(world: &World) {
    for number in 0..12 {
        let key = format!("key {}", number % 5);
        world.write(vec![put(&key, &format!("value {number}")), put("always", "x")]).await;
    }
    world.write(vec![delete("key 1")]).await;
    world.erase("key 2", 1).await;
}

#[tokio::test]
async fn everything_follows_from_the_log() {
    let world = World::new().await;
    filled(&world).await;
    let mut tree = Frontier::new();
    let mut state = MemoryStateTree::new();
    for entry in list(&world, 0, 0, true).await.unwrap() {
        assert_eq!(entry.index, tree.size().next_index());
        tree.push(leaf_hash(&entry.leaf));
        match Leaf::decode(&entry.leaf).unwrap() {
            Leaf::Transaction(leaf) => {
                assert_eq!(ops_root(&entry.operations), leaf.ops_root);
                assert_eq!(entry.contents.len(), entry.operations.len());
                for (bytes, contents) in entry.operations.iter().zip(&entry.contents) {
                    let operation = Operation::decode(bytes).unwrap();
                    assert!(contents.as_ref().is_none_or(|contents| contents.opens(&operation)));
                    if operation.kind != OpKind::Erase {
                        state.insert(entry.index, bytes.clone()).unwrap();
                    }
                }
            }
            Leaf::Commit(leaf) => assert_eq!(state.root(), leaf.state_root),
            Leaf::Opaque(_) => panic!("no such leaf is written"),
        }
    }
    assert_eq!(tree.size().get(), world.size());
    assert_eq!(tree.root(), checkpoint_at(&world, world.size()).await.root);
}

#[tokio::test]
async fn contents_are_read_at_a_pace_while_clients_write() {
    let world = World::with(Limits { busy_log_bytes_per_second: 50_000, ..Limits::default() }).await;
    filled(&world).await;
    world.hand.advance(Duration::from_secs(1));
    list(&world, 0, 0, true).await.unwrap();
    assert_eq!(world.api.charge_for_log(1 << 30), Duration::ZERO, "nobody writes");
    world.written.fetch_add(1, Ordering::Relaxed);
    // A tenth of a second's worth was saved up.
    assert_eq!(world.api.charge_for_log(5_000), Duration::ZERO);
    list(&world, 0, 0, false).await.unwrap();
    assert_eq!(world.api.charge_for_log(0), Duration::ZERO, "leaves alone are let through");
    let sent = list(&world, 0, 0, true).await.unwrap();
    let bytes: usize = sent.into_iter().map(|entry| v1::LogEntry::from(entry).encoded_len()).sum();
    let micros = u64::try_from(bytes).unwrap() * 1_000_000 / 50_000;
    assert_eq!(
        world.api.charge_for_log(0),
        Duration::from_micros(micros),
        "the contents are to be waited for"
    );
}

#[tokio::test]
async fn a_stretch_of_the_log_is_what_was_asked_for() {
    let world = World::new().await;
    filled(&world).await;
    let indexes = async |from, to| -> Vec<u64> {
        list(&world, from, to, false).await.unwrap().iter().map(|entry| entry.index.get()).collect()
    };
    assert_eq!(indexes(3, 8).await, [3, 4, 5, 6, 7]);
    assert_eq!(indexes(8, 8).await, [0_u64; 0]);
    assert_eq!(indexes(world.size(), 0).await, [0_u64; 0]);
    assert_eq!(indexes(world.size() - 1, 0).await, [world.size() - 1]);
    for (from, to, code, field) in [
        (world.size() + 1, 0, Code::OutOfRange, "from"),
        (0, world.size() + 1, Code::OutOfRange, "to"),
        (5, 4, Code::InvalidArgument, "to"),
    ] {
        let refusal = list(&world, from, to, false).await.unwrap_err();
        assert_eq!((refusal.code(), detail(&refusal).unwrap().field.as_str()), (code, field));
    }
}

#[tokio::test]
async fn leaves_and_sizes_are_proven() {
    let world = World::new().await;
    filled(&world).await;
    let size = world.size();
    for (index, at) in [(0, size), (5, 7), (5, 0), (size - 1, size)] {
        let request = v1::InclusionProofRequest { ledger: "default".to_owned(), index, size: at };
        let answer = world.api.inclusion_proof(tonic::Request::new(request)).await.unwrap().into_inner();
        assert_eq!(answer.size, if at == 0 { size } else { at });
        let path = path_from_wire("path", &answer.path).unwrap();
        let root = root_at(&world, answer.size).await;
        let index = LogIndex::new(index);
        inclusion::verify(&leaf_hash(&answer.leaf), index, TreeSize::new(answer.size), &path, &root).unwrap();
    }
    for (old, new) in [(1, size), (3, 9), (size, 0), (4, 4)] {
        let request =
            v1::ConsistencyProofRequest { ledger: "default".to_owned(), old_size: old, new_size: new };
        let answer = world.api.consistency_proof(tonic::Request::new(request)).await.unwrap().into_inner();
        let path = path_from_wire("path", &answer.path).unwrap();
        let (from, to) = (root_at(&world, answer.old_size).await, root_at(&world, answer.new_size).await);
        let (old, new) = (TreeSize::new(answer.old_size), TreeSize::new(answer.new_size));
        consistency::verify(old, &from, new, &to, &path).unwrap();
    }
}

/// The root of any size, recomputed from the log.
async fn root_at(world: &World, size: u64) -> Hash {
    let mut tree = Frontier::new();
    for entry in list(world, 0, size, false).await.unwrap() {
        tree.push(leaf_hash(&entry.leaf));
    }
    tree.root()
}

#[tokio::test]
async fn a_checkpoint_is_given_at_its_size_and_nowhere_else() {
    let world = World::new().await;
    filled(&world).await;
    let ask = async |size, wait_ms, trusted_size| {
        let request = v1::GetCheckpointRequest {
            ledger: "default".to_owned(),
            size,
            wait_ms,
            trusted_size,
            ..v1::GetCheckpointRequest::default()
        };
        world.api.get_checkpoint(tonic::Request::new(request)).await.map(tonic::Response::into_inner)
    };
    for (size, trusted) in [(0, 1), (3, 0), (3, 5), (5, 3), (world.size(), world.size())] {
        let checkpoint = ask(size, 0, trusted).await.unwrap().checkpoint.unwrap();
        if trusted > 0 {
            continues(&world, checkpoint, trusted).await;
        }
    }
    let reason = |refusal: Status| (refusal.code(), detail(&refusal).unwrap().reason);
    assert_eq!(reason(ask(4, 0, 0).await.unwrap_err()), (Code::NotFound, "no_checkpoint".to_owned()));
    assert!(ask(4, 0, 0).await.unwrap_err().message().contains("the next one is at 5"));
    let beyond = (Code::OutOfRange, "size_beyond_end".to_owned());
    assert_eq!(reason(ask(world.size() + 2, 0, 0).await.unwrap_err()), beyond);
    assert_eq!(reason(ask(0, 0, world.size() + 2).await.unwrap_err()), beyond);
    world.fake.signing.store(1, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(reason(ask(3, 0, 0).await.unwrap_err()), (Code::DeadlineExceeded, "not_certified".to_owned()));
}

#[tokio::test]
async fn a_size_that_is_not_there_yet_is_waited_for() {
    let world = World::new().await;
    let size = world.size() + 2;
    let request = v1::GetCheckpointRequest {
        ledger: "default".to_owned(),
        size,
        wait_ms: 10_000,
        ..v1::GetCheckpointRequest::default()
    };
    let wait = world.api.get_checkpoint(tonic::Request::new(request));
    let write = async {
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        world.write(vec![put("a", "1")]).await
    };
    let (answer, _) = tokio::join!(wait, write);
    assert!(answer.unwrap().into_inner().checkpoint.is_some());
}
