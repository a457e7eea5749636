//! Scans: complete in both directions, in pages of any size, now and as of any log index, while writes go on.

use std::collections::BTreeMap;

use quorate_core::{
    answer::{Direction, KeyRange, Scan},
    position::LogIndex,
};
use quorate_proto::v1::{self, ledger_server::Ledger, scan_request::Keys};

use super::{
    verify::{Parts, short},
    world::{World, delete, proven, put},
};

fn question(keys: Keys, reverse: bool, limit: u32, at: Option<u64>) -> v1::ScanRequest {
    v1::ScanRequest {
        ledger: "default".to_owned(),
        keys: Some(keys),
        reverse,
        limit,
        options: proven(at),
        ..v1::ScanRequest::default()
    }
}

fn range_of(keys: &Keys) -> KeyRange {
    match keys {
        Keys::Prefix(prefix) => KeyRange::prefix(prefix),
        Keys::Range(range) => range.clone().try_into().unwrap(),
    }
}

fn direction(reverse: bool) -> Direction {
    if reverse { Direction::Descending } else { Direction::Ascending }
}

async fn ask(world: &World, request: &v1::ScanRequest) -> v1::ScanResponse {
    world.api.scan(tonic::Request::new(request.clone())).await.unwrap().into_inner()
}

/// All pages of a scan as of an index, each verified; `between` runs after each page.
async fn all_as_of(
    world: &World,
    mut request: v1::ScanRequest,
    between: impl AsyncFn(),
) -> Vec<(String, String)> {
    let direction = direction(request.reverse);
    let mut rest = range_of(request.keys.as_ref().unwrap());
    let mut found = Vec::new();
    loop {
        let page = ask(world, &request).await;
        assert!(page.items.len() <= usize::try_from(request.limit).unwrap());
        let covered: KeyRange = page.covered.unwrap().try_into().unwrap();
        let parts = page.items.into_iter().fold(Parts::default(), |parts, item| parts.item(Some(item)));
        let proven = parts.state_proof(&page.state_proof).open(world, page.checkpoint, Some(page.at)).await;
        let as_of = proven.as_of(LogIndex::new(page.at)).unwrap();
        let verified = as_of.scan(&rest, direction, &covered).unwrap();
        let entry = |reading: &_| {
            (String::from_utf8(quorate_core::answer::Reading::key(reading).to_vec()).unwrap(), short(reading))
        };
        found.extend(verified.readings().iter().map(entry));
        match verified.rest() {
            None => {
                assert!(page.next_page_token.is_empty());
                return found;
            }
            Some(left) => rest = left.clone(),
        }
        assert!(!page.next_page_token.is_empty());
        request.page_token = page.next_page_token;
        between().await;
    }
}

/// Thirty keys, some deleted, some erased.
async fn filled(world: &World) -> BTreeMap<String, String> {
    let mut expected = BTreeMap::new();
    for number in 0..30 {
        let (key, value) = (format!("key/{number:02}"), format!("value {number}"));
        world.write(vec![put(&key, &value), put("other", &value)]).await;
        expected.insert(key, value);
    }
    for number in [3, 17, 29] {
        let key = format!("key/{number:02}");
        world.write(vec![delete(&key)]).await;
        expected.insert(key, "deleted".to_owned());
    }
    for number in [0, 12] {
        let key = format!("key/{number:02}");
        world.erase(&key, 1).await;
        expected.insert(key, "erased".to_owned());
    }
    expected
}

fn ordered(expected: &BTreeMap<String, String>, reverse: bool) -> Vec<(String, String)> {
    let mut all: Vec<_> = expected.clone().into_iter().collect();
    if reverse {
        all.reverse();
    }
    all
}

#[tokio::test]
async fn pages_of_any_size_are_complete_in_both_directions() {
    let world = World::new().await;
    let expected = filled(&world).await;
    for reverse in [false, true] {
        for limit in [1, 2, 7, 30, 1_000] {
            let mut request = question(Keys::Prefix("key/".into()), reverse, limit, None);
            let mut scan = Scan::new(KeyRange::prefix(b"key/"), direction(reverse));
            let mut found = Vec::new();
            while scan.rest().is_some() {
                let page = ask(&world, &request).await;
                let covered = page.covered.unwrap().try_into().unwrap();
                let parts =
                    page.items.into_iter().fold(Parts::default(), |parts, item| parts.item(Some(item)));
                let proven = parts.state_proof(&page.state_proof).open(&world, page.checkpoint, None).await;
                let readings = scan.page(&proven, &covered).unwrap();
                found.extend(
                    readings.iter().map(|r| (String::from_utf8(r.key().to_vec()).unwrap(), short(r))),
                );
                request.page_token = page.next_page_token;
            }
            assert!(request.page_token.is_empty());
            assert_eq!(found, ordered(&expected, reverse), "limit {limit}, reverse {reverse}");
        }
    }
}

#[tokio::test]
async fn ranges_end_where_they_say() {
    let world = World::new().await;
    let expected = filled(&world).await;
    let cases: [(&str, Option<&str>); 5] =
        [("", None), ("key/10", Some("key/12")), ("key/28", None), ("zz", None), ("", Some("key/01"))];
    for (first, end) in cases {
        let range = v1::KeyRange {
            first: first.as_bytes().to_vec().into(),
            end: end.map(|end| end.as_bytes().to_vec().into()),
        };
        let request = question(Keys::Range(range), false, 4, None);
        let found = all_as_of(&world, request, async || {}).await;
        let wanted: Vec<String> = expected
            .keys()
            .map(String::as_str)
            .chain(["other"])
            .filter(|key| *key >= first && end.is_none_or(|end| *key < end))
            .map(str::to_owned)
            .collect();
        assert_eq!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), wanted, "{first} to {end:?}");
    }
}

#[tokio::test]
async fn all_pages_show_one_moment_while_writes_go_on() {
    for reverse in [false, true] {
        let world = World::new().await;
        let expected = filled(&world).await;
        let request = question(Keys::Prefix("key/".into()), reverse, 4, None);
        let disturb = async || {
            // Later than the scan: new keys between the old ones, new values, deletes, and one that was deleted before.
            let number = world.size() % 30;
            let key = format!("key/{number:02}");
            world.write(vec![put(&format!("{key}/new"), "new"), put(&key, "changed")]).await;
            world.write(vec![delete(&key), put("key/03", "back")]).await;
            world.write(vec![put(&key, "changed again")]).await;
        };
        let found = all_as_of(&world, request, disturb).await;
        let found: Vec<_> = found.into_iter().filter(|(_, value)| value != "never").collect();
        assert_eq!(found, ordered(&expected, reverse), "reverse {reverse}");
    }
}

#[tokio::test]
async fn as_of_an_index_later_writes_are_not_there() {
    let world = World::new().await;
    let first = world.write(vec![put("a", "1"), put("b", "1"), put("c", "1")]).await;
    let second = world.write(vec![delete("b"), put("c", "2"), put("d", "1")]).await;
    world.write(vec![put("a", "3"), put("b", "3"), put("c", "3"), put("e", "3")]).await;
    let text = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    for (at, expected) in [
        (0, text(&[])),
        (first, text(&[("a", "1"), ("b", "1"), ("c", "1")])),
        (second, text(&[("a", "1"), ("b", "deleted"), ("c", "2"), ("d", "1")])),
    ] {
        for (reverse, limit) in [(false, 2), (true, 2), (false, 100), (true, 100)] {
            let request = question(Keys::Prefix("".into()), reverse, limit, Some(at));
            let mut found = all_as_of(&world, request, async || {}).await;
            if reverse {
                found.reverse();
            }
            assert_eq!(found, expected, "as of {at}, reverse {reverse}, limit {limit}");
        }
    }
}

#[tokio::test]
async fn without_proofs_keys_of_later_are_left_out() {
    let world = World::new().await;
    let first = world.write(vec![put("a", "1"), put("c", "1")]).await;
    world.write(vec![put("b", "2"), put("c", "2")]).await;
    let options = Some(v1::ReadOptions { at: Some(first), ..v1::ReadOptions::default() });
    let request = v1::ScanRequest { options, ..question(Keys::Prefix("".into()), false, 10, None) };
    let page = ask(&world, &request).await;
    assert!(page.checkpoint.is_none() && page.state_proof.is_empty() && page.next_page_token.is_empty());
    let keys: Vec<_> =
        page.items.iter().map(|item| (&*item.key, &*item.content.as_ref().unwrap().value)).collect();
    assert_eq!(keys, [(b"a".as_slice(), b"1".as_slice()), (b"c", b"1")]);
}

#[tokio::test]
async fn keys_only_leaves_contents_out() {
    let world = World::new().await;
    world.write(vec![put("a", "1"), put("b", "2")]).await;
    let request = v1::ScanRequest { keys_only: true, ..question(Keys::Prefix("".into()), false, 10, None) };
    let page = ask(&world, &request).await;
    assert_eq!(page.items.len(), 2);
    assert!(page.items.iter().all(|item| item.content.is_none() && !item.operation.is_empty()));
}

#[tokio::test]
async fn a_page_of_large_values_ends_early() {
    let world = World::new().await;
    let large = "x".repeat(900 << 10);
    for key in ["a", "b", "c", "d", "e"] {
        world.write(vec![put(key, &large)]).await;
    }
    let request = question(Keys::Prefix("".into()), false, 100, None);
    let page = ask(&world, &request).await;
    assert!((1..5).contains(&page.items.len()), "{}", page.items.len());
    assert_eq!(all_as_of(&world, request, async || {}).await.len(), 5);
}
