//! The log as it grows.

use std::{sync::atomic::Ordering, time::Duration};

use futures::StreamExt;
use quorate_core::{
    hash::leaf_hash,
    policy::CertifiedCheckpoint,
    position::{LogIndex, TreeSize},
    proof::consistency,
    tree::Frontier,
};
use quorate_proto::{
    convert::{CheckpointParts, EntryParts, detail, path_from_wire},
    v1::{self, ledger_server::Ledger},
};
use tonic::{Code, Status};

use super::world::{World, put};
use crate::api::subscribe::Feed;

fn from(index: u64) -> v1::SubscribeRequest {
    v1::SubscribeRequest { ledger: "default".to_owned(), from: index, ..v1::SubscribeRequest::default() }
}

async fn open(world: &World, request: v1::SubscribeRequest) -> Result<Feed, Status> {
    world.api.subscribe(tonic::Request::new(request)).await.map(tonic::Response::into_inner)
}

/// A reader that believes nothing without proof.
struct Reader {
    feed: Feed,
    tree: Option<Frontier>,
    from: u64,
    checkpoint: Option<CertifiedCheckpoint>,
}

impl Reader {
    async fn new(world: &World, request: v1::SubscribeRequest) -> Self {
        let from = request.from;
        Self { feed: open(world, request).await.unwrap(), tree: None, from, checkpoint: None }
    }

    /// The next message, verified: its entries.
    async fn next(&mut self, world: &World) -> Vec<EntryParts> {
        let message = self.feed.next().await.unwrap().unwrap();
        if let Some(shown) = message.checkpoint {
            let parts = CheckpointParts::try_from(shown).unwrap();
            let new = world.policy().open(&parts.note).unwrap();
            if let Some(old) = &self.checkpoint {
                let (old, new) = (old.checkpoint(), new.checkpoint());
                consistency::verify(old.size, &old.root, new.size, &new.root, &parts.consistency).unwrap();
            }
            self.checkpoint = Some(new);
        }
        let edge = || path_from_wire("edge", &message.edge).unwrap();
        let from = self.from;
        let tree =
            self.tree.get_or_insert_with(|| Frontier::from_parts(TreeSize::new(from), edge()).unwrap());
        let entries: Vec<EntryParts> =
            message.entries.into_iter().map(|entry| entry.try_into().unwrap()).collect();
        for entry in &entries {
            assert_eq!(entry.index, tree.size().next_index());
            tree.push(leaf_hash(&entry.leaf));
        }
        let goal = self.checkpoint.as_ref().expect("a checkpoint comes first").checkpoint();
        let path = path_from_wire("path", &message.path).unwrap();
        if tree.size() > TreeSize::ZERO {
            consistency::verify(tree.size(), &tree.root(), goal.size, &goal.root, &path).unwrap();
        }
        entries
    }
}

#[tokio::test]
async fn the_log_is_told_from_anywhere_and_goes_on_as_it_grows() {
    let world = World::new().await;
    for number in 0..6 {
        world.write(vec![put(&format!("key {number}"), "value")]).await;
    }
    let size = world.size();
    for first in 0..=size {
        let mut reader = Reader::new(&world, from(first)).await;
        assert!(reader.next(&world).await.is_empty(), "first the edge is proven");
        if first < world.size() {
            let entries = reader.next(&world).await;
            assert_eq!(entries.first().unwrap().index, LogIndex::new(first));
            assert_eq!(entries.len() as u64, world.size() - first);
        }
        let (written, told) = tokio::join!(world.write(vec![put("later", "value")]), reader.next(&world));
        assert_eq!(told.first().unwrap().index.get(), written);
    }
}

#[tokio::test]
async fn contents_come_of_what_the_prefix_is_about_and_operations_of_everything() {
    let world = World::new().await;
    let other = world.write(vec![put("b/1", "other")]).await;
    let wanted = world.write(vec![put("b/2", "beside"), put("a/1", "wanted")]).await;
    let request = v1::SubscribeRequest { contents: true, prefix: "a/".into(), ..from(other) };
    let mut reader = Reader::new(&world, request).await;
    reader.next(&world).await;
    let entries = reader.next(&world).await;
    let shown: Vec<(u64, usize, usize, bool)> = entries
        .iter()
        .map(|entry| {
            let contents = entry.contents.iter().flatten().count();
            (entry.index.get(), entry.operations.len(), contents, entry.meta.is_some())
        })
        .filter(|(_, operations, ..)| *operations > 0)
        .collect();
    assert_eq!(shown, [(other, 1, 0, false), (wanted, 2, 2, true)]);
}

#[tokio::test]
async fn what_is_not_certified_is_not_told() {
    let world = World::new().await;
    let mut reader = Reader::new(&world, from(world.size())).await;
    reader.next(&world).await;
    world.fake.signing.store(1, Ordering::Relaxed);
    let request =
        v1::CommitRequest { wait: v1::Wait::Committed.into(), ..world.request(vec![put("a", "1")]) };
    let index = world.commit(request).await.unwrap().transaction.unwrap().index;
    let early = tokio::time::timeout(Duration::from_millis(200), reader.next(&world)).await;
    assert!(early.is_err(), "told before it was certified: {early:?}");
    world.fake.signing.store(3, Ordering::Relaxed);
    assert_eq!(reader.next(&world).await.first().unwrap().index.get(), index);
}

#[tokio::test]
async fn an_idle_log_gives_signs_of_life_with_new_signatures() {
    let world = World::new().await;
    let mut reader = Reader::new(&world, from(world.size())).await;
    reader.next(&world).await;
    let before = reader.checkpoint.as_ref().unwrap().kth_newest_time();
    world.pass(20);
    assert!(reader.next(&world).await.is_empty());
    assert!(reader.checkpoint.as_ref().unwrap().kth_newest_time() > before);
}

#[tokio::test]
async fn a_node_that_stops_or_fails_ends_its_streams() {
    for fails in [false, true] {
        let world = World::new().await;
        let mut reader = Reader::new(&world, from(0)).await;
        reader.next(&world).await;
        reader.next(&world).await;
        match fails {
            true => world.health.fail("a planted fault"),
            false => drop(world.api.0.stopping.send_replace(true)),
        }
        let end = tokio::time::timeout(Duration::from_secs(8), reader.feed.next()).await.unwrap();
        let refusal = end.unwrap().unwrap_err();
        assert_eq!(
            (refusal.code(), detail(&refusal).unwrap().reason.as_str()),
            (Code::Unavailable, "node_stopped")
        );
        assert!(reader.feed.next().await.is_none());
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_refused_with_the_field() {
    let world = World::new().await;
    let beyond = world.size() + 1;
    let long = v1::SubscribeRequest { prefix: vec![b'a'; 1_025].into(), ..from(0) };
    let cosigners = v1::SubscribeRequest { min_cosigners: 4, ..from(0) };
    let trusted = v1::SubscribeRequest { trusted_size: beyond, ..from(0) };
    let unknown = v1::SubscribeRequest { ledger: "nowhere".to_owned(), ..from(0) };
    for (request, reason, field) in [
        (from(beyond), "index_beyond_end", "from"),
        (long, "key_too_long", "prefix"),
        (cosigners, "too_many_cosigners", "min_cosigners"),
        (trusted, "size_beyond_end", "trusted_size"),
        (unknown, "unknown_ledger", "ledger"),
    ] {
        let refusal = open(&world, request).await.err().unwrap();
        let detail = detail(&refusal).unwrap();
        assert_eq!((detail.reason.as_str(), detail.field.as_str()), (reason, field));
    }
}
