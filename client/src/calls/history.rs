//! The writes of a key, page by page, none left out.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _, try_unfold};
use quorate_core::answer::Direction;
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::TreeSize;
use quorate_proto::v1;

use crate::error::Error;
use crate::leader::Route;
use crate::ledger::Ledger;
use crate::options::ReadOptions;
use crate::transaction::check_key;
use crate::values::HistoryEntry;
use crate::verify::{self, HistoryPlace};

/// The history of a key: pages are asked for one at a time.
#[derive(Debug, Clone)]
#[must_use]
pub struct History {
    ledger: Ledger,
    key: Bytes,
    options: ReadOptions,
    direction: Direction,
    limit: u32,
    place: Option<HistoryPlace>,
    token: Bytes,
}

/// A page of a key's history.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The writes. With those of the pages before, no write in between is missing.
    pub entries: Vec<HistoryEntry>,
    /// Size of the ledger at the answer.
    pub size: TreeSize,
    /// The checkpoint that the page was proven under.
    pub checkpoint: Arc<CertifiedCheckpoint>,
}

impl Ledger {
    /// Every write of a key, the newest first.
    pub fn history(&self, key: impl AsRef<[u8]>) -> History {
        History {
            ledger: self.clone(),
            key: Bytes::copy_from_slice(key.as_ref()),
            options: ReadOptions::new(),
            direction: Direction::Descending,
            limit: 0,
            place: None,
            token: Bytes::new(),
        }
    }
}

impl History {
    /// From the first write on.
    pub const fn oldest_first(mut self) -> Self {
        self.direction = Direction::Ascending;
        self
    }

    /// Writes per page, 1 to 1,000; the server's default is 100.
    pub const fn page_size(mut self, writes: u32) -> Self {
        self.limit = writes;
        self
    }

    /// How it is asked for: as of when, how fresh. A history is always verified.
    pub const fn options(mut self, options: ReadOptions) -> Self {
        self.options = options;
        self
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// [`Error`]; after one the history stands where it stood.
    pub async fn next_page(&mut self) -> Result<Option<HistoryPage>, Error> {
        check_key(|| "key", &self.key)?;
        let mut place = self.place.clone().unwrap_or_else(|| HistoryPlace::new(&self.key, self.direction));
        if place.is_done() {
            return Ok(None);
        }
        let options = ReadOptions { unverified: false, ..self.options };
        let mut session = self.ledger.begin(options.timeout).await?;
        let request = v1::HistoryRequest {
            ledger: session.state.name(),
            key: self.key.clone(),
            oldest_first: self.direction == Direction::Ascending,
            limit: self.limit,
            page_token: self.token.clone(),
            options: Some(session.read_options(options)),
        };
        let answered = session.state.fleet.call(&request, session.plan(Route::Any)).await?;
        let (replica, mut response) = (answered.replica, answered.response);
        let token = response.next_page_token.clone();
        let accepted = self
            .ledger
            .accept(&mut session, &replica, response.checkpoint.take(), options.min_cosigners)
            .await?;
        let checkpoint = Arc::clone(&accepted.ground.certified);
        session.believe(&replica, session.check_age(&checkpoint, options))?;
        let point = session.point(&accepted.ground, options.at).await?;
        let entries = verify::history(&accepted.ground, point.as_ref(), &mut place, response);
        let entries = session.believe(&replica, entries)?;
        session.finish(&accepted).await?;
        (self.place, self.token) = (Some(place), token);
        Ok(Some(HistoryPage { entries, size: checkpoint.checkpoint().size, checkpoint }))
    }

    /// All writes, one after the other. Ends after the first error.
    #[must_use]
    pub fn stream(self) -> BoxStream<'static, Result<HistoryEntry, Error>> {
        let pages = try_unfold((self, VecDeque::new()), |(mut history, mut ready)| async move {
            loop {
                if let Some(entry) = ready.pop_front() {
                    return Ok(Some((entry, (history, ready))));
                }
                match history.next_page().await? {
                    Some(page) => ready.extend(page.entries),
                    None => return Ok(None),
                }
            }
        });
        pages.boxed()
    }

    /// All writes at once.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn all(self) -> Result<Vec<HistoryEntry>, Error> {
        self.stream().try_collect().await
    }
}
