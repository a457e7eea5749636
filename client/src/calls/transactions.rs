//! The log itself, leaf by leaf: what an auditor recomputes everything from.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{BoxStream, try_unfold};
use quorate_core::position::{LogIndex, TreeSize};
use quorate_proto::convert::EntryParts;
use quorate_proto::v1;

use crate::clock::Deadline;
use crate::error::{Believe as _, Distrust, Error, Failure};
use crate::leader::Route;
use crate::ledger::{Ledger, Session};
use crate::options::CheckpointOptions;
use crate::transport::{EntryStream, Replica};
use crate::trust::Prover as _;
use crate::values::LogRecord;
use crate::verify::{LeafCheck, record};

/// Leaves that are kept back until they are proven together...
const BATCH_LEAVES: usize = 2_048;
/// ...or this many bytes of operations and values.
const BATCH_BYTES: usize = 4 << 20;
/// How often the stream may break without a single leaf in between.
const MAX_BREAKS: u32 = 5;

/// What a proven leaf is handed out as.
type Make<T> = fn(EntryParts) -> Result<T, Distrust>;

/// Reads the log from a leaf on, and proves what it reads against a certified checkpoint.
struct Reader<T> {
    make: Make<T>,
    session: Session,
    check: LeafCheck,
    /// The first leaf not wanted.
    to: LogIndex,
    contents: bool,
    /// The stream that is being read, and whose it is.
    source: Option<(EntryStream, Arc<Replica>)>,
    breaks: u32,
    /// Proven, and not handed out yet.
    ready: VecDeque<T>,
}

impl Ledger {
    /// The leaves of the log from `from` to below `to` (`None`: to the end as of now), in order, without gaps, each
    /// proven before it is handed out; with `contents`, what was written too. Ends after the first error.
    pub fn transactions(
        &self,
        from: LogIndex,
        to: Option<LogIndex>,
        contents: bool,
    ) -> BoxStream<'static, Result<LogRecord, Error>> {
        self.leaves(from, to, contents, record)
    }

    /// The same leaves as they are on the wire, with their contents: for copies of the log that others verify again.
    pub fn entries(
        &self,
        from: LogIndex,
        to: Option<LogIndex>,
    ) -> BoxStream<'static, Result<v1::LogEntry, Error>> {
        self.leaves(from, to, true, |parts| record(parts.clone()).map(|_| parts.into()))
    }

    fn leaves<T: Send + 'static>(
        &self,
        from: LogIndex,
        to: Option<LogIndex>,
        contents: bool,
        make: Make<T>,
    ) -> BoxStream<'static, Result<T, Error>> {
        let ledger = self.clone();
        let leaves = try_unfold(None, move |reader: Option<Reader<T>>| {
            let ledger = ledger.clone();
            async move {
                let mut reader = match reader {
                    Some(reader) => reader,
                    None => Reader::open(&ledger, (from, to), contents, make).await?,
                };
                Ok(reader.next().await?.map(|leaf| (leaf, Some(reader))))
            }
        });
        leaves.boxed()
    }
}

impl<T> Reader<T> {
    async fn open(
        ledger: &Ledger,
        (from, to): (LogIndex, Option<LogIndex>),
        contents: bool,
        make: Make<T>,
    ) -> Result<Self, Error> {
        let (session, accepted) = ledger.accepted_checkpoint(CheckpointOptions::latest()).await?;
        session.finish(&accepted).await?;
        let certified = accepted.ground.certified;
        let size = certified.checkpoint().size;
        let to = to.unwrap_or_else(|| size.next_index());
        if from > to || to > size.next_index() {
            let message = format!("the ledger has the leaves 0 to below {size}, not {from} to below {to}");
            return Err(Error::NotFound { reason: "out_of_range".to_owned(), message });
        }
        let check = match from == LogIndex::default() || from == to {
            true => LeafCheck::from_start(certified),
            false => {
                let through = from.size_through().unwrap_or(size);
                let (replica, leaf) = session.leaf(from, through).await?;
                let (_, path) = session.state.prove(through, size).await?;
                LeafCheck::from_leaf(certified, &leaf, &path).believe(replica.endpoint())?
            }
        };
        let is_empty = from == to;
        let to = if is_empty { LogIndex::default() } else { to };
        Ok(Self { make, session, check, to, contents, source: None, breaks: 0, ready: VecDeque::new() })
    }

    async fn next(&mut self) -> Result<Option<T>, Error> {
        while self.ready.is_empty() && self.position() < self.to {
            self.read_batch().await?;
        }
        Ok(self.ready.pop_front())
    }

    /// The next leaf to be read.
    const fn position(&self) -> LogIndex {
        self.check.size().next_index()
    }

    /// Reads some leaves, and proves them all.
    async fn read_batch(&mut self) -> Result<(), Error> {
        let mut batch = Vec::new();
        let mut bytes = 0_usize;
        while self.position() < self.to && batch.len() < BATCH_LEAVES && bytes < BATCH_BYTES {
            for entry in self.read_message().await? {
                bytes = bytes.saturating_add(weight(&entry));
                batch.push(entry);
            }
        }
        self.prove().await?;
        let endpoint =
            self.source.as_ref().map_or_else(|| "the stream".into(), |(_, at)| at.endpoint().clone());
        let records = batch.into_iter().map(self.make).collect::<Result<Vec<_>, _>>();
        self.ready.extend(records.believe(&endpoint)?);
        Ok(())
    }

    /// The leaves of one message. A stream that breaks is taken up where it broke.
    async fn read_message(&mut self) -> Result<Vec<EntryParts>, Error> {
        let (mut stream, replica) = match self.source.take() {
            Some(source) => source,
            None => self.connect().await?,
        };
        let message = tokio::time::timeout(self.session.state.settings.timeout, stream.next()).await;
        match message {
            Ok(Some(Ok(message))) => {
                let entries = self.push_all(message).believe(replica.endpoint())?;
                self.source = Some((stream, replica));
                Ok(entries)
            }
            Ok(Some(Err(failure))) => self.broke(failure).map(|()| Vec::new()),
            Ok(None) | Err(_) => {
                let message = format!("{}: the stream ended before its time", replica.endpoint());
                self.broke(Failure::TryAgain { message, no_effect: true }).map(|()| Vec::new())
            }
        }
    }

    async fn connect(&mut self) -> Result<(EntryStream, Arc<Replica>), Error> {
        self.session.deadline = Deadline::after(self.session.state.settings.timeout);
        let request = v1::ListTransactionsRequest {
            ledger: self.session.state.name(),
            from: self.position().get(),
            to: self.to.get(),
            contents: self.contents,
        };
        let answered = self.session.state.fleet.call(&request, self.session.plan(Route::Any)).await?;
        Ok((answered.response, answered.replica))
    }

    fn push_all(&mut self, message: v1::ListTransactionsResponse) -> Result<Vec<EntryParts>, Distrust> {
        let mut entries = Vec::with_capacity(message.entries.len());
        for (place, entry) in message.entries.into_iter().enumerate() {
            let entry = EntryParts::try_from(entry)
                .map_err(|error| error.within(format_args!("entries[{place}]")))?;
            if entry.index >= self.to {
                return Err(Distrust::NotAsked { what: "more leaves" });
            }
            self.check.push(&entry)?;
            entries.push(entry);
        }
        if !entries.is_empty() {
            self.breaks = 0;
        }
        Ok(entries)
    }

    fn broke(&mut self, failure: Failure) -> Result<(), Error> {
        self.breaks = self.breaks.saturating_add(1);
        match failure {
            Failure::Final(error) => Err(error),
            failure if self.breaks >= MAX_BREAKS => Err(failure.into_error(self.breaks)),
            _ => Ok(()),
        }
    }

    /// Proves that all that was read so far is what the log holds.
    async fn prove(&mut self) -> Result<(), Error> {
        if self.check.size() == TreeSize::ZERO {
            return Ok(());
        }
        let (endpoint, path) = match self.check.is_at_goal() {
            true => ("the stream".into(), Vec::new()),
            false => self.session.state.prove(self.check.size(), self.check.goal()).await?,
        };
        self.check.prove(&path).believe(&endpoint)
    }
}

/// How much memory an entry takes, roughly.
fn weight(entry: &EntryParts) -> usize {
    let operations: usize = entry.operations.iter().map(Vec::len).sum();
    let contents: usize = entry.contents.iter().flatten().map(|contents| contents.value.len()).sum();
    entry.leaf.len().saturating_add(operations).saturating_add(contents)
}
