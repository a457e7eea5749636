//! Get and GetMany: present, absent, deleted, expired, erased; now and as of any log index.

use quorate_core::position::LogIndex;
use quorate_proto::v1::{self, ledger_server::Ledger};

use super::{
    verify::{Parts, continues, get, short},
    world::{SECOND, START, World, delete, proven, put, put_until},
};

/// Every kind of key; gives the log indexes of the four transactions.
async fn story(world: &World) -> [u64; 4] {
    let first = world.write(vec![put("a", "one"), put("b", "two"), put("gone", "soon")]).await;
    let second = world.write(vec![put("a", "one again"), delete("b")]).await;
    let third = world.write(vec![put_until("short", "lived", START + 5 * SECOND)]).await;
    let fourth = world.write(vec![put("a", "one at last"), put("late", "comer")]).await;
    world.erase("gone", 1).await;
    [first, second, third, fourth]
}

#[tokio::test]
async fn the_present_is_proven() {
    let world = World::new().await;
    story(&world).await;
    for (key, expected) in [
        ("a", "one at last"),
        ("b", "deleted"),
        ("gone", "erased"),
        ("short", "lived"),
        ("late", "comer"),
        ("nothing", "never"),
    ] {
        assert_eq!(short(&get(&world, key, None).await), expected, "{key}");
    }
}

#[tokio::test]
async fn a_value_expires_by_the_time_of_the_cosignatures() {
    let world = World::new().await;
    story(&world).await;
    world.pass(4);
    assert_eq!(short(&get(&world, "short", None).await), "lived");
    // The signatures are renewed when they are older than ten seconds and somebody asks.
    world.pass(20);
    assert_eq!(short(&get(&world, "short", None).await), "expired");
    world.write(vec![put("x", "y")]).await;
    assert_eq!(short(&get(&world, "short", None).await), "expired");
}

#[tokio::test]
async fn as_of_any_index_is_what_it_was_then() {
    let world = World::new().await;
    let [first, second, third, fourth] = story(&world).await;
    for (key, at, expected) in [
        ("a", first, "one"),
        ("a", second - 1, "one"),
        ("a", second, "one again"),
        ("a", fourth - 1, "one again"),
        ("a", fourth, "one at last"),
        ("a", fourth + 1, "one at last"),
        ("a", 0, "never"),
        ("b", first, "two"),
        ("b", second, "deleted"),
        ("late", third, "never"),
        ("late", fourth, "comer"),
        ("short", third, "lived"),
        ("gone", first, "erased"),
        ("nothing", third, "never"),
        ("a", world.size() - 1, "one at last"),
    ] {
        assert_eq!(short(&get(&world, key, Some(at)).await), expected, "{key} as of {at}");
    }
}

#[tokio::test]
async fn as_of_judges_expiry_by_the_time_then() {
    let world = World::new().await;
    let [_, _, third, _] = story(&world).await;
    world.pass(30);
    let later = world.write(vec![put("x", "y")]).await;
    assert_eq!(short(&get(&world, "short", Some(third)).await), "lived");
    assert_eq!(short(&get(&world, "short", Some(later)).await), "expired");
}

#[tokio::test]
async fn several_keys_are_proven_under_one_checkpoint() {
    let world = World::new().await;
    let [first, second, ..] = story(&world).await;
    let keys = ["a", "b", "gone", "short", "late", "nothing"];
    for (at, expected) in [
        (None, ["one at last", "deleted", "erased", "lived", "comer", "never"]),
        (Some(first), ["one", "two", "erased", "never", "never", "never"]),
        (Some(second), ["one again", "deleted", "erased", "never", "never", "never"]),
    ] {
        let request = v1::GetManyRequest {
            ledger: "default".to_owned(),
            keys: keys.iter().map(|key| key.as_bytes().to_vec().into()).collect(),
            options: proven(at),
        };
        let answer = world.api.get_many(tonic::Request::new(request)).await.unwrap().into_inner();
        assert_eq!(answer.size, world.size());
        let parts = answer
            .answers
            .into_iter()
            .fold(Parts::default(), |parts, one| parts.state_proof(&one.state_proof).item(one.item));
        let proven = parts.open(&world, answer.checkpoint, at).await;
        let readings = match at {
            None => proven.get_many(&keys).unwrap(),
            Some(at) => proven.as_of(LogIndex::new(at)).unwrap().get_many(&keys).unwrap(),
        };
        assert_eq!(readings.iter().map(short).collect::<Vec<_>>(), expected, "as of {at:?}");
    }
}

#[tokio::test]
async fn without_proofs_nothing_is_signed_and_the_rest_is_the_same() {
    let world = World::new().await;
    let [first, ..] = story(&world).await;
    // Nobody signs: an answer without proofs does not wait for anybody.
    world.fake.signing.store(0, std::sync::atomic::Ordering::Relaxed);
    let ask = async |key: &str, at| {
        let options = Some(v1::ReadOptions { at, ..v1::ReadOptions::default() });
        let key = key.as_bytes().to_vec().into();
        let request = v1::GetRequest { ledger: "default".to_owned(), key, options };
        world.api.get(tonic::Request::new(request)).await.unwrap().into_inner()
    };
    let answer = ask("a", None).await;
    assert!(answer.checkpoint.is_none() && answer.state_proof.is_empty());
    assert_eq!(answer.item.unwrap().content.unwrap().value, "one at last");
    let item = ask("a", Some(first)).await.item.unwrap();
    assert_eq!((item.index, &*item.content.unwrap().value), (Some(first), b"one".as_slice()));
    assert!(item.written.is_none() && item.superseded_by.is_none());
    assert!(ask("b", None).await.item.unwrap().content.is_none());
    assert!(ask("nothing", None).await.item.is_none());
    assert!(ask("short", None).await.item.unwrap().content.is_some());
    world.pass(6);
    assert!(ask("short", None).await.item.unwrap().content.is_none());
}

#[tokio::test]
async fn an_answer_continues_what_the_client_believed() {
    let world = World::new().await;
    let [first, second, ..] = story(&world).await;
    for trusted in [1, first + 2, second + 2, world.size()] {
        let options = Some(v1::ReadOptions { trusted_size: trusted, ..proven(None).unwrap() });
        let request = v1::GetRequest { ledger: "default".to_owned(), key: "a".into(), options };
        let answer = world.api.get(tonic::Request::new(request)).await.unwrap().into_inner();
        continues(&world, answer.checkpoint.unwrap(), trusted).await;
    }
}

#[tokio::test]
async fn a_stated_staleness_needs_no_barrier_while_signatures_are_young() {
    let world = World::new().await;
    story(&world).await;
    let ask = async |bound| {
        let before = world.fake.barriers.load(std::sync::atomic::Ordering::Relaxed);
        let consistency = Some(v1::read_options::Consistency::MaxStalenessMs(bound));
        let options = Some(v1::ReadOptions { consistency, ..proven(None).unwrap() });
        let request = v1::GetRequest { ledger: "default".to_owned(), key: "a".into(), options };
        world.api.get(tonic::Request::new(request)).await.unwrap();
        world.fake.barriers.load(std::sync::atomic::Ordering::Relaxed) - before
    };
    world.pass(3);
    assert_eq!(ask(5_000).await, 0, "signed three seconds ago");
    world.pass(20);
    assert_eq!(ask(5_000).await, 0, "signed again because somebody asked");
    world.fake.signing.store(2, std::sync::atomic::Ordering::Relaxed);
    world.pass(1);
    assert_eq!(ask(0).await, 1, "nothing was signed this very second: a barrier does it");
}
