//! Listing keys, page by page, none left out.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _, try_unfold};
use quorate_core::answer::{Direction, KeyRange};
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::TreeSize;
use quorate_core::state_tree::Query;
use quorate_proto::v1;

use crate::error::Error;
use crate::leader::Route;
use crate::ledger::{Ledger, Session};
use crate::options::ReadOptions;
use crate::retry::Answered;
use crate::values::{Entry, KeyState};
use crate::verify::{self, ScanPlace};

/// A scan: pages are asked for one at a time, and all show the ledger as of one log index.
#[derive(Debug, Clone)]
#[must_use]
pub struct Scan {
    ledger: Ledger,
    query: Query,
    options: ReadOptions,
    direction: Direction,
    limit: u32,
    keys_only: bool,
    with_absent: bool,
    place: Option<ScanPlace>,
    token: Bytes,
    is_done: bool,
}

/// A page of a scan.
#[derive(Debug, Clone)]
pub struct ScanPage {
    /// The keys, in the order of the scan. A page may be short, or empty, and not the last one.
    pub entries: Vec<Entry>,
    /// Size of the ledger at the answer.
    pub size: TreeSize,
    /// The checkpoint that the page was proven under; `None` if it is unverified.
    pub checkpoint: Option<Arc<CertifiedCheckpoint>>,
}

impl Ledger {
    /// The keys that a query asks for, with their values.
    pub fn scan(&self, query: Query, options: ReadOptions) -> Scan {
        Scan {
            ledger: self.clone(),
            query,
            options,
            direction: Direction::Ascending,
            limit: 0,
            keys_only: false,
            with_absent: false,
            place: None,
            token: Bytes::new(),
            is_done: false,
        }
    }
}

impl Scan {
    /// From the last key to the first.
    pub const fn reverse(mut self) -> Self {
        self.direction = Direction::Descending;
        self
    }

    /// Keys per page, 1 to 1,000; the server's default is 100.
    pub const fn page_size(mut self, keys: u32) -> Self {
        self.limit = keys;
        self
    }

    /// Only keys, no values.
    pub const fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Keys that read as absent, too: deleted and expired ones.
    pub const fn with_absent(mut self) -> Self {
        self.with_absent = true;
        self
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// [`Error`]; after one the scan stands where it stood.
    pub async fn next_page(&mut self) -> Result<Option<ScanPage>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let mut session = self.ledger.begin(self.options.timeout).await?;
        let range = range_of(&self.query)?;
        let start = || ScanPlace::new(range.clone(), self.direction, self.options.at);
        let mut place = self.place.clone().unwrap_or_else(start);
        let request = v1::ScanRequest {
            ledger: session.state.name(),
            keys: Some(v1::scan_request::Keys::Range(range.into())),
            reverse: place.direction() == Direction::Descending,
            limit: self.limit,
            page_token: self.token.clone(),
            options: Some(session.read_options(self.options)),
            // Whether a value is there, erased or expired is part of what is proven: values come along.
            keys_only: self.keys_only && self.options.unverified,
        };
        let answered = session.state.fleet.call(&request, session.plan(Route::Any)).await?;
        let token = answered.response.next_page_token.clone();
        let page = match self.options.unverified {
            true => self.claimed(&session, answered, &token)?,
            false => self.verified(&mut session, &mut place, answered).await?,
        };
        (self.token, self.place) = (token, Some(place));
        Ok(Some(page))
    }

    /// All keys, one after the other. Ends after the first error.
    #[must_use]
    pub fn stream(self) -> BoxStream<'static, Result<Entry, Error>> {
        let pages = try_unfold((self, VecDeque::new()), |(mut scan, mut ready)| async move {
            loop {
                if let Some(entry) = ready.pop_front() {
                    return Ok(Some((entry, (scan, ready))));
                }
                match scan.next_page().await? {
                    Some(page) => ready.extend(page.entries),
                    None => return Ok(None),
                }
            }
        });
        pages.boxed()
    }

    /// All keys at once.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn all(self) -> Result<Vec<Entry>, Error> {
        self.stream().try_collect().await
    }

    async fn verified(
        &mut self,
        session: &mut Session,
        place: &mut ScanPlace,
        answered: Answered<v1::ScanResponse>,
    ) -> Result<ScanPage, Error> {
        let Answered { response, replica } = answered;
        let options = self.options;
        let accepted =
            self.ledger.accept(session, &replica, response.checkpoint.clone(), options.min_cosigners).await?;
        let certified = Arc::clone(&accepted.ground.certified);
        let asked_at = place.at();
        if asked_at.is_none() {
            session.believe(&replica, session.check_age(&certified, options))?;
        }
        // The first page of a scan of the present is of the present; all that follow are as of then.
        let is_present = asked_at.is_none()
            || (options.at.is_none() && asked_at == certified.checkpoint().size.last_index());
        let point = session.point(&accepted.ground, asked_at.filter(|_| !is_present)).await?;
        let readings = verify::scan(&accepted.ground, point.as_ref(), place, response);
        self.is_done = place.is_done();
        let readings = session.believe(&replica, readings)?;
        session.finish(&accepted).await?;
        let entries = readings.into_iter().map(Entry::proven);
        Ok(ScanPage {
            entries: self.shown(entries),
            size: certified.checkpoint().size,
            checkpoint: Some(certified),
        })
    }

    fn claimed(
        &mut self,
        session: &Session,
        answered: Answered<v1::ScanResponse>,
        token: &Bytes,
    ) -> Result<ScanPage, Error> {
        let Answered { response, replica } = answered;
        let entries = response.items.into_iter().map(Entry::claimed).collect::<Result<Vec<_>, _>>();
        let entries = session.believe(&replica, entries)?;
        self.is_done = token.is_empty();
        Ok(ScanPage {
            entries: self.shown(entries.into_iter()),
            size: TreeSize::new(response.size),
            checkpoint: None,
        })
    }

    /// What the caller asked to see of a page.
    fn shown(&self, entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
        let is_shown = |entry: &Entry| match entry.state {
            KeyState::Present | KeyState::Erased { .. } => true,
            KeyState::NeverWritten | KeyState::Deleted | KeyState::Expired => self.with_absent,
        };
        let strip = |mut entry: Entry| {
            entry.value = entry.value.filter(|_| !self.keys_only);
            entry
        };
        entries.filter(is_shown).map(strip).collect()
    }
}

/// A query as the range that is asked for on the wire: what a page covers is then one, too.
fn range_of(query: &Query) -> Result<KeyRange, Error> {
    let range = match query {
        Query::Key(key) => KeyRange::new(key.clone(), Some([key.as_slice(), &[0]].concat())),
        Query::Prefix(prefix) => Ok(KeyRange::prefix(prefix)),
        Query::Range { first, end } => KeyRange::new(first.clone(), end.clone()),
    };
    range.map_err(|error| Error::invalid("range.end", error.to_string()))
}
