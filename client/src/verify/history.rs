//! Pages of the writes of a key, none left out.

use quorate_core::answer::{
    Direction, HistoryCursor, HistoryPage, IncludedOperation, Proven, TransactionProof,
};
use quorate_core::position::{LogIndex, Revision};
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
    let is_empty = response.writes.is_empty();
    parts.add_wire_transactions("writes", response.writes)?;
    parts.add_wire_transactions("erasures", response.erasures)?;
    let after = response.superseded_by.map(TransactionProof::try_from).transpose();
    let after = after.map_err(|error| error.within("superseded_by"))?;
    let (entries, next) = match (point, place.direction) {
        (Some(point), Direction::Descending) if !place.begun => {
            after.into_iter().for_each(|next| parts.add_transaction(next));
            begin_down(&ground.open(parts, Some(point))?, point, &place.key)?
        }
        (Some(point), Direction::Ascending) => {
            let after = after.map(|next| write_after(ground, point, &place.key, next)).transpose()?;
            let page = up_to(&ground.open(parts, None)?, &cursor, after, is_empty)?;
            if page.0.iter().any(|entry| entry.index > point.index) {
                return Err(Distrust::NotAsked { what: "writes after the log index asked about" });
            }
            page
        }
        _ => {
            let proven = ground.open(parts, None)?;
            shown(&proven, &proven.history(&cursor)?)
        }
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

/// The key's write after the point, proven: which one it names as the one before, and its own revision.
fn write_after(
    ground: &Ground,
    point: &Point,
    key: &[u8],
    next: TransactionProof,
) -> Result<(Option<LogIndex>, Revision), Distrust> {
    let index = next.index;
    if index <= point.index {
        return Err(Distrust::NotAsked { what: "a next write that is not after the log index asked about" });
    }
    // Apart from the page: what it wrote is not asked for, and need not be shown.
    let mut parts = Parts::default();
    parts.add_transaction(next);
    let proven = ground.open(parts, None)?;
    let shown = proven.transaction(index)?.operation_on(key).map(IncludedOperation::operation);
    let write = shown.filter(|operation| operation.kind.is_write());
    let write = write.ok_or(Distrust::Missing { part: "the key's next write" })?;
    Ok((write.prev_index, write.revision))
}

/// A page upwards as of a point. Complete when it ends with the write that the next one names as the one before, or
/// with the newest.
fn up_to(
    proven: &Proven,
    cursor: &HistoryCursor,
    after: Option<(Option<LogIndex>, Revision)>,
    is_empty: bool,
) -> Result<Page, Distrust> {
    // Nothing had been written by then: the next write is the first.
    if is_empty && cursor.index().is_none() && after == Some((None, Revision::FIRST)) {
        return Ok((Vec::new(), None));
    }
    let (entries, next) = shown(proven, &proven.history(cursor)?);
    let last = entries.last().and_then(|last| Some((Some(last.index), last.revision.next()?)));
    let is_complete = after.is_some() && last == after;
    Ok((entries, next.filter(|_| !is_complete)))
}

fn shown(proven: &Proven, page: &HistoryPage<'_>) -> Page {
    let time_of = |index| proven.transaction(index).ok().map(|transaction| transaction.leaf().time);
    let entries = page.entries().iter().map(|entry| HistoryEntry::of(entry, time_of));
    (entries.collect(), page.next().cloned())
}
