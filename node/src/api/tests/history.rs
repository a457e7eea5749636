//! Histories: every write, none left out, in both directions and in pages.

use quorate_core::{
    answer::{Content, Direction, HistoryCursor},
    position::LogIndex,
};
use quorate_proto::v1::{self, ledger_server::Ledger};

use super::{
    verify::Parts,
    world::{World, delete, proven, put},
};

fn question(oldest_first: bool, limit: u32, at: Option<u64>) -> v1::HistoryRequest {
    v1::HistoryRequest {
        ledger: "default".to_owned(),
        key: "key".into(),
        oldest_first,
        limit,
        options: proven(at),
        ..v1::HistoryRequest::default()
    }
}

async fn ask(world: &World, request: &v1::HistoryRequest) -> v1::HistoryResponse {
    world.api.history(tonic::Request::new(request.clone())).await.unwrap().into_inner()
}

fn parts(page: &v1::HistoryResponse) -> Parts {
    let transactions = page.writes.iter().chain(&page.erasures).cloned();
    transactions
        .fold(Parts::default().state_proof(&page.state_proof), |parts, one| parts.transaction(Some(one)))
}

fn text(content: Content<'_>) -> String {
    match content {
        Content::Value(contents) => String::from_utf8(contents.value.clone()).unwrap(),
        Content::Deleted => "deleted".to_owned(),
        Content::Erased { .. } => "erased".to_owned(),
    }
}

/// Twenty writes of one key among others; the third is erased, every fifth is a delete.
async fn filled(world: &World) -> Vec<String> {
    let mut expected = Vec::new();
    for number in 1..=20 {
        let (write, shown) = match number % 5 {
            0 => (delete("key"), "deleted".to_owned()),
            _ => (put("key", &format!("value {number}")), format!("value {number}")),
        };
        world.write(vec![put("other", "x"), write, put("third", "y")]).await;
        expected.push(shown);
    }
    world.erase("key", 3).await;
    expected[2] = "erased".to_owned();
    expected
}

#[tokio::test]
async fn every_write_is_there_in_both_directions() {
    let world = World::new().await;
    let mut expected = filled(&world).await;
    for (direction, oldest_first) in [(Direction::Ascending, true), (Direction::Descending, false)] {
        for limit in [1, 3, 20, 100] {
            let mut request = question(oldest_first, limit, None);
            let mut cursor = Some(HistoryCursor::new(b"key", direction));
            let mut found = Vec::new();
            while let Some(at) = cursor {
                let page = ask(&world, &request).await;
                let proven = parts(&page).open(&world, page.checkpoint.clone(), None).await;
                let verified = proven.history(&at).unwrap();
                assert!(verified.entries().iter().all(|entry| entry.transaction().meta().is_some()));
                found.extend(verified.entries().iter().map(|entry| text(entry.content())));
                cursor = verified.next().cloned();
                assert_eq!(cursor.is_none(), page.next_page_token.is_empty());
                request.page_token = page.next_page_token;
            }
            assert_eq!(found, expected, "{direction:?}, limit {limit}");
        }
        expected.reverse();
    }
}

#[tokio::test]
async fn pages_go_on_over_later_writes() {
    let world = World::new().await;
    let expected = filled(&world).await;
    let mut request = question(false, 6, None);
    let mut cursor = Some(HistoryCursor::new(b"key", Direction::Descending));
    let mut found = Vec::new();
    while let Some(at) = cursor {
        let page = ask(&world, &request).await;
        let proven = parts(&page).open(&world, page.checkpoint.clone(), None).await;
        let verified = proven.history(&at).unwrap();
        found.extend(verified.entries().iter().map(|entry| text(entry.content())));
        cursor = verified.next().cloned();
        request.page_token = page.next_page_token;
        world.write(vec![put("key", "later")]).await;
    }
    found.reverse();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn as_of_an_index_the_history_ends_there() {
    let world = World::new().await;
    let expected = filled(&world).await;
    let request = question(true, 100, None);
    let indexes: Vec<u64> = ask(&world, &request).await.writes.iter().map(|write| write.index).collect();
    let at = indexes[8];
    let page = ask(&world, &question(false, 100, Some(at))).await;
    assert_eq!(page.writes.len(), 9);
    assert_eq!(page.superseded_by.as_ref().unwrap().index, indexes[9]);
    // The next write shows which one held; from there the chain goes down.
    let parts = parts(&page).transaction(page.superseded_by.clone());
    let proven = parts.open(&world, page.checkpoint.clone(), Some(at)).await;
    let reading = proven.as_of(LogIndex::new(at)).unwrap().get(b"key").unwrap();
    let verified = proven.history(&HistoryCursor::down_from(reading.write().unwrap())).unwrap();
    let mut found: Vec<String> = verified.entries().iter().map(|entry| text(entry.content())).collect();
    found.reverse();
    assert_eq!(found, expected[..9]);
    assert!(verified.next().is_none() && page.next_page_token.is_empty());
    let before = ask(&world, &question(false, 100, Some(0))).await;
    assert!(before.writes.is_empty() && before.superseded_by.unwrap().index == indexes[0]);
    let ascending = ask(&world, &question(true, 100, Some(at))).await;
    let shown: Vec<u64> = ascending.writes.iter().map(|write| write.index).collect();
    assert_eq!(shown, indexes[..9]);
}

#[tokio::test]
async fn a_key_that_was_never_written_has_no_history() {
    let world = World::new().await;
    let page = ask(&world, &question(false, 10, None)).await;
    assert!(page.writes.is_empty() && page.next_page_token.is_empty());
    let proven = parts(&page).open(&world, page.checkpoint.clone(), None).await;
    let verified = proven.history(&HistoryCursor::new(b"key", Direction::Descending)).unwrap();
    assert!(verified.entries().is_empty() && verified.next().is_none());
}
