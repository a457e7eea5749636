//! What is told of a node: status, readiness, metrics, tiles; and what a node with a fault still answers.

use quorate_core::{
    name::LedgerName,
    note::SignedNote,
    tree::tile::{TileKind, TilePath},
};
use quorate_proto::v1::{self, ledger_server::Ledger};
use tonic::Code;

use super::world::{World, put};
use crate::http::{Health, HttpSource, SourceError};

fn default() -> LedgerName {
    LedgerName::new("default").unwrap()
}

async fn status(world: &World) -> v1::StatusResponse {
    world.api.status(tonic::Request::new(v1::StatusRequest {})).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_status_tells_of_ledgers_and_members() {
    let world = World::new().await;
    world.write(vec![put("a", "1")]).await;
    let status = status(&world).await;
    assert_eq!((status.role.as_str(), status.leader, status.term, status.node_id), ("leader", 1, 3, 1));
    assert_eq!(status.fault, "");
    let ledgers: Vec<_> = status.ledgers.iter().map(|ledger| (ledger.name.as_str(), ledger.size)).collect();
    assert_eq!(ledgers[1], ("default", 3));
    assert!(
        status
            .ledgers
            .iter()
            .all(|ledger| ledger.log_root.len() == 32 && ledger.certified_size == ledger.size)
    );
    let members: Vec<_> = status.members.iter().map(|member| member.node_id).collect();
    assert_eq!(members, [1, 2, 3]);
    assert!(status.members.iter().all(|member| member.cosigner_vkey.contains("/node/")));
    assert!(status.memory_bytes > 0 && status.time == world.clock.now().get());
}

#[tokio::test]
async fn a_node_with_a_fault_answers_only_how_it_is() {
    let world = World::new().await;
    world.health.fail("diverged: for a test");
    let refusal = world.commit(world.request(vec![put("a", "1")])).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable);
    assert_eq!(quorate_proto::convert::detail(&refusal).unwrap().reason, "node_stopped");
    assert!(world.api.list_ledgers(tonic::Request::new(v1::ListLedgersRequest {})).await.is_err());
    assert_eq!(status(&world).await.fault, "diverged: for a test");
    assert_eq!(HttpSource::live(&world.api), Health::Good);
    assert_eq!(HttpSource::ready(&world.api), Health::Bad("diverged: for a test".to_owned()));
    assert!(matches!(world.api.checkpoint(&default()).await, Err(SourceError::Unavailable(_))));
}

#[tokio::test]
async fn third_parties_read_the_log_as_tiles() {
    let world = World::new().await;
    for number in 0..150 {
        world.write(vec![put("a", &number.to_string())]).await;
    }
    assert_eq!(HttpSource::ready(&world.api), Health::Good);
    let note = HttpSource::checkpoint(&world.api, &default()).await.unwrap();
    let note = SignedNote::parse(std::str::from_utf8(&note).unwrap()).unwrap();
    assert_eq!(note.checkpoint().size.get(), world.size());
    let full = TilePath::new(TileKind::Hashes { level: 0 }, 0, 256).unwrap();
    let read = async |path: &TilePath| world.api.tile_of(&default(), path).await;
    assert_eq!(read(&full).await.unwrap().len(), 256 * 32);
    let above = TilePath::new(TileKind::Hashes { level: 1 }, 0, 1).unwrap();
    assert_eq!(read(&above).await.unwrap().len(), 32);
    let beyond = TilePath::new(TileKind::Hashes { level: 1 }, 0, 2).unwrap();
    assert!(matches!(read(&beyond).await, Err(SourceError::NotFound(_))));
    let entries = TilePath::new(TileKind::Entries, 1, 3).unwrap();
    let bytes = read(&entries).await.unwrap();
    assert_eq!(u16::from_be_bytes([bytes[0], bytes[1]]), 62, "a commit leaf at 256");
    let unknown = LedgerName::new("unknown").unwrap();
    assert!(matches!(world.api.tile_of(&unknown, &full).await, Err(SourceError::NotFound(_))));
}

#[tokio::test]
async fn metrics_tell_of_calls_and_sizes() {
    let world = World::new().await;
    // Installed before the first call is counted; in a process with many tests somebody may have been first.
    assert!(crate::api::recorder().is_some());
    world.write(vec![put("a", "1")]).await;
    let text = HttpSource::metrics(&world.api);
    for line in [
        "quorate_ledger_size{ledger=\"default\"}",
        "quorate_certification_lag_leaves{ledger=\"default\"}",
        "quorate_calls_total{call=\"Commit\",code=\"OK\"}",
        "quorate_call_seconds_bucket{call=\"Commit\"",
        "quorate_ready 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}
