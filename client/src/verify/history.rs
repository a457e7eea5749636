//! Pages of the writes of a key, none left out.

use quorate_core::answer::{Direction, HistoryCursor, HistoryPage, Proven, TransactionProof};
use quorate_core::position::LogIndex;
use quorate_proto::v1;

use super::{Ground, Parts, Point};
use crate::error::Distrust;
use crate::values::HistoryEntry;

/// Where in a key's history the next page begins.
#[derive(Debug, Clone)]
pub(crate) struct HistoryPlace {
    key: Vec<u8>,
    direction: Direction,
    /// `None`: everything has been read.
    cursor: Option<HistoryCursor>,
    /// Whether a page has been read.
    begun: bool,
}

impl HistoryPlace {
    pub(crate) fn new(key: &[u8], direction: Direction) -> Self {
        let cursor = Some(HistoryCursor::new(key, direction));
        Self { key: key.to_vec(), direction, cursor, begun: false }
    }

    /// Whether everything has been read.
    pub(crate) const fn is_done(&self) -> bool {
        self.cursor.is_none()
    }
}

/// Verifies the next page, and moves on. With a point, only writes up to it count. After an error the place is what
/// it was.
pub(crate) fn history(
    ground: &Ground,
    point: Option<&Point>,
    place: &mut HistoryPlace,
    response: v1::HistoryResponse,
) -> Result<Vec<HistoryEntry>, Distrust> {
    let cursor = place.cursor.clone().ok_or(Distrust::NotAsked { what: "a page after the last one" })?;
    let has_token = !response.next_page_token.is_empty();
    let mut parts = Parts::default();
    parts.add_state_proof(response.state_proof.into());
    let last_shown = response.writes.last().map(|write| LogIndex::new(write.index));
    parts.add_wire_transactions("writes", response.writes)?;
    parts.add_wire_transactions("erasures", response.erasures)?;
    if let Some(next) = response.superseded_by {
        let next = TransactionProof::try_from(next).map_err(|error| error.within("superseded_by"))?;
        if place.direction == Direction::Descending || follows(&next, place, last_shown, &cursor) {
            parts.add_transaction(next);
        }
    }
    let proven = ground.open(parts, point)?;
    let (entries, next) = match (point, place.direction) {
        (Some(point), Direction::Descending) if !place.begun => begin_down(&proven, point, &place.key)?,
        (Some(point), Direction::Ascending) => up_to(&proven, point, &cursor)?,
        _ => shown(&proven, &proven.history(&cursor)?),
    };
    if next.is_some() && !has_token {
        return Err(Distrust::Missing { part: "the token of the next page, though writes are left" });
    }
    place.cursor = next;
    place.begun = true;
    Ok(entries)
}

type Page = (Vec<HistoryEntry>, Option<HistoryCursor>);

/// The first page downwards as of a point: it begins with what the key held then.
fn begin_down(proven: &Proven, point: &Point, key: &[u8]) -> Result<Page, Distrust> {
    let reading = proven.as_of(point.index)?.get(key)?;
    match reading.write() {
        None => Ok((Vec::new(), None)),
        Some(write) => Ok(shown(proven, &proven.history(&HistoryCursor::down_from(write))?)),
    }
}

/// A page upwards as of a point: complete when the next write is shown to come after the point, or there is none.
fn up_to(proven: &Proven, point: &Point, cursor: &HistoryCursor) -> Result<Page, Distrust> {
    let page = proven.history(cursor)?;
    let (mut entries, next) = shown(proven, &page);
    let count = entries.len();
    entries.retain(|entry| entry.index <= point.index);
    let is_complete = entries.len() < count;
    Ok((entries, next.filter(|_| !is_complete)))
}

fn shown(proven: &Proven, page: &HistoryPage<'_>) -> Page {
    let time_of = |index| proven.transaction(index).ok().map(|transaction| transaction.leaf().time);
    let entries = page.entries().iter().map(|entry| HistoryEntry::of(entry, time_of));
    (entries.collect(), page.next().cloned())
}

/// Whether the write after the point follows right upon the last one of an ascending page. Only then is it part of the
/// chain that the page shows.
fn follows(
    next: &TransactionProof,
    place: &HistoryPlace,
    last_shown: Option<LogIndex>,
    cursor: &HistoryCursor,
) -> bool {
    let before = last_shown.or_else(|| cursor.index());
    next.operations
        .iter()
        .filter_map(|revealed| quorate_core::entry::Operation::decode(&revealed.operation).ok())
        .any(|operation| operation.key == place.key && operation.prev_index == before)
}
