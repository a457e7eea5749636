//! Pages of a scan, all as of one log index.

use quorate_core::answer::{Direction, KeyRange, Reading};
use quorate_core::position::LogIndex;
use quorate_proto::v1;

use super::{Ground, Parts, Point};
use crate::error::Distrust;

/// Where a scan stands: what is left to ask for, and as of which log index all its pages are.
#[derive(Debug, Clone)]
pub(crate) struct ScanPlace {
    rest: Option<KeyRange>,
    direction: Direction,
    at: Option<LogIndex>,
}

impl ScanPlace {
    pub(crate) const fn new(range: KeyRange, direction: Direction, at: Option<LogIndex>) -> Self {
        Self { rest: Some(range), direction, at }
    }

    /// Whether everything has been read.
    pub(crate) const fn is_done(&self) -> bool {
        self.rest.is_none()
    }

    /// The log index that the pages are as of; known after the first page at the latest.
    pub(crate) const fn at(&self) -> Option<LogIndex> {
        self.at
    }

    pub(crate) const fn direction(&self) -> Direction {
        self.direction
    }
}

/// Verifies the next page, and moves on. After an error the place is what it was.
pub(crate) fn scan(
    ground: &Ground,
    point: Option<&Point>,
    place: &mut ScanPlace,
    response: v1::ScanResponse,
) -> Result<Vec<Reading>, Distrust> {
    let asked = place.rest.as_ref().ok_or(Distrust::NotAsked { what: "a page after the last one" })?;
    let at = LogIndex::new(response.at);
    let last = ground.certified.checkpoint().size.last_index();
    // The first page of a scan of the present says which log index that is: its checkpoint's own last one.
    if at != place.at.or(last).unwrap_or_default() {
        return Err(Distrust::NotAsked { what: "a page as of another log index" });
    }
    let covered = response.covered.ok_or(Distrust::Missing { part: "the range that the page covers" })?;
    let covered = KeyRange::try_from(covered).map_err(|error| error.within("covered"))?;
    let mut parts = Parts::default();
    parts.add_state_proof(response.state_proof.into());
    for (number, item) in response.items.into_iter().enumerate() {
        parts.add_wire_item(format_args!("items[{number}]"), item)?;
    }
    let proven = ground.open(parts, point)?;
    let page = match point {
        None => proven.scan(asked, place.direction, &covered)?,
        Some(point) => proven.as_of(point.index)?.scan(asked, place.direction, &covered)?,
    };
    if page.rest().is_some() && response.next_page_token.is_empty() {
        return Err(Distrust::Missing { part: "the token of the next page, though keys are left" });
    }
    place.rest = page.rest().cloned();
    place.at = Some(at);
    Ok(page.into_readings())
}
