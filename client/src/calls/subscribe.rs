//! The log as it grows: every leaf once, in order, proven, over whatever replica is there to tell.
//!
//! Contract: what is handed out is a gapless sequence from the first index asked for. Every message of a replica is
//! proven under a certified checkpoint before anything of it is handed out, and each checkpoint continues the one
//! before and all that this client believes. The right edge of the tree stays here: a replica that takes over must
//! prove its log to continue exactly what was read, so nothing is repeated, left out or replaced.
//!
//! A prefix leaves out nothing unseen: the operations of *all* transactions come along and are held against the leaves,
//! and this side picks. What the prefix saves is the values of the others.
//!
//! A replica that breaks, is silent, or shows signatures that grow old (it may be cut off from the others) is left for
//! another one. Who gives a wrong proof ends the subscription with an error. Messages are read as fast as the caller
//! takes what is in them; until then the replica waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, try_unfold};
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::{LogIndex, TreeSize};
use quorate_proto::convert::{EntryParts, path_from_wire};
use quorate_proto::v1;

use crate::clock::Deadline;
use crate::error::{Believe as _, Distrust, Error, Failure};
use crate::leader::Route;
use crate::ledger::{Ledger, Session, check_fresh};
use crate::transport::{FeedStream, Replica};
use crate::values::{Delivery, LogLeaf, LogRecord, Segment, TransactionRecord};
use crate::verify::{LeafCheck, record};

/// Replicas give a sign of life every five seconds. One that is silent for so long is left. Signatures are renewed when
/// they are ten seconds old: one that has none newer for twice as long is left, too.
const SILENCE: Duration = Duration::from_secs(15);
/// How long no replica may have anything new before the subscription ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause before another replica is tried; it doubles from break to break without a message between them.
const FIRST_PAUSE_MS: u64 = 20;
/// The longest pause.
const MAX_PAUSE_MS: u64 = 1_000;

/// A wish to read the log as it grows. Made by [`Ledger::subscribe`].
#[derive(Debug, Clone)]
#[must_use]
pub struct Subscription {
    ledger: Ledger,
    from: LogIndex,
    prefix: Vec<u8>,
    contents: bool,
    silence: Duration,
    patience: Duration,
}

impl Ledger {
    /// The transactions of the log from this index on: those that are there, and then each as it is certified.
    pub fn subscribe(&self, from: LogIndex) -> Subscription {
        Subscription {
            ledger: self.clone(),
            from,
            prefix: Vec::new(),
            contents: true,
            silence: SILENCE,
            patience: PATIENCE,
        }
    }
}

impl Subscription {
    /// Only transactions that have an operation on a key that starts with these bytes.
    pub fn prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Without values and authors.
    pub const fn without_contents(mut self) -> Self {
        self.contents = false;
        self
    }

    /// How long a replica may say nothing before another one is asked; twice as long for one whose signatures do not get
    /// newer. Default: 15 seconds. Replicas give a sign of life every 5 seconds.
    pub const fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// How long the cluster may have nothing new to show, not even newer signatures, before the stream ends with an
    /// error. Default: a minute. The caller can subscribe again from where it was.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn stall(&self) -> Deadline {
        Deadline::after(self.silence.saturating_mul(2))
    }

    /// The transactions, each proven before it is handed out. Never ends by itself; ends after the first error:
    /// [`Error::Unavailable`] when no replica had anything new for too long, [`Error::Untrusted`] when one gave something
    /// that is not believed.
    #[must_use]
    pub fn stream(self) -> BoxStream<'static, Result<Delivery, Error>> {
        let start = (Reader::new(self), VecDeque::new());
        let deliveries = try_unfold(start, |(mut reader, mut ready)| async move {
            while ready.is_empty() {
                let proven = reader.next().await?;
                ready = reader.deliveries(proven)?;
            }
            Ok(ready.pop_front().map(|delivery| (delivery, (reader, ready))))
        });
        deliveries.boxed()
    }

    /// The leaves themselves, for who recomputes everything: all of them, whatever the prefix, without contents.
    #[must_use]
    pub fn segments(self) -> BoxStream<'static, Result<Segment, Error>> {
        let reader = Reader::new(Self { contents: false, ..self });
        let segments = try_unfold(reader, |mut reader| async move {
            let Proven { entries, next, checkpoint, .. } = reader.next().await?;
            let leaf = |entry: EntryParts| LogLeaf {
                index: entry.index,
                leaf: entry.leaf,
                operations: entry.operations,
            };
            let leaves = entries.into_iter().map(leaf).collect();
            Ok(Some((Segment { leaves, next, checkpoint }, reader)))
        });
        segments.boxed()
    }
}

/// The leaves of one message, proven to be what the log holds.
struct Proven {
    entries: Vec<EntryParts>,
    next: LogIndex,
    checkpoint: Arc<CertifiedCheckpoint>,
    endpoint: Arc<str>,
}

/// A stream that is being read, and whose it is.
struct Source {
    stream: FeedStream,
    replica: Arc<Replica>,
    session: Session,
    /// The checkpoint it has shown last.
    checkpoint: Option<Arc<CertifiedCheckpoint>>,
    /// By then it has to show a newer one than anybody before, or newer signatures.
    stalled: Deadline,
}

/// Where the reading is.
struct Reader {
    asked: Subscription,
    /// The tree of all that was read.
    check: Option<LeafCheck>,
    source: Option<Source>,
    /// Size and signatures' time of the newest checkpoint that any replica has shown.
    newest: (TreeSize, Option<u64>),
    /// Breaks since something new came.
    breaks: u32,
    /// By then something new has to come.
    give_up: Deadline,
}

impl Reader {
    fn new(asked: Subscription) -> Self {
        let give_up = Deadline::after(asked.patience);
        Self { asked, check: None, source: None, newest: (TreeSize::ZERO, None), breaks: 0, give_up }
    }

    /// The next leaf to be read.
    fn position(&self) -> LogIndex {
        self.check.as_ref().map_or(self.asked.from, |check| check.size().next_index())
    }

    /// What the next message holds, proven.
    async fn next(&mut self) -> Result<Proven, Error> {
        loop {
            let mut source = match self.source.take() {
                Some(source) => source,
                None => self.connect().await?,
            };
            let failure = match tokio::time::timeout(self.asked.silence, source.stream.next()).await {
                Ok(Some(Ok(message))) => {
                    let proven = self.take(&mut source, message).await?;
                    match self.is_alive(&mut source, &proven.checkpoint) {
                        Ok(()) => {
                            self.source = Some(source);
                            return Ok(proven);
                        }
                        // What it told is proven all the same.
                        Err(failure) if !proven.entries.is_empty() => {
                            self.leave(&source, failure)?;
                            return Ok(proven);
                        }
                        Err(failure) => failure,
                    }
                }
                Ok(Some(Err(failure))) => failure,
                Ok(None) => try_again(&source, "the stream ended"),
                Err(_) => try_again(&source, "no sign of life"),
            };
            self.leave(&source, failure)?;
        }
    }

    /// Asks the replicas, one after the other, until one begins to tell.
    async fn connect(&mut self) -> Result<Source, Error> {
        loop {
            if self.breaks > 0 {
                let pause = FIRST_PAUSE_MS << self.breaks.min(10);
                tokio::time::sleep(Duration::from_millis(pause.min(MAX_PAUSE_MS))).await;
            }
            match self.try_connect().await {
                Err(Error::Unavailable { .. }) if self.give_up.remaining().is_some() => {
                    self.breaks = self.breaks.saturating_add(1);
                }
                connected => return connected,
            }
        }
    }

    async fn try_connect(&mut self) -> Result<Source, Error> {
        let session = self.asked.ledger.begin(None).await?;
        let (witnesses, min_witnesses) = session.state.outside();
        let request = v1::SubscribeRequest {
            ledger: session.state.name(),
            from: self.position().get(),
            contents: self.asked.contents,
            prefix: self.asked.prefix.clone().into(),
            trusted_size: session.trusted_size().map_or(0, TreeSize::get),
            min_cosigners: session.state.min_cosigners(None),
            witnesses,
            min_witnesses,
        };
        let answered = session.state.fleet.call(&request, session.plan(Route::Any)).await?;
        Ok(Source {
            stream: answered.response,
            replica: answered.replica,
            session,
            checkpoint: None,
            stalled: self.asked.stall(),
        })
    }

    /// Leaves a replica for the others; ends the subscription if none has had anything new for too long.
    fn leave(&mut self, source: &Source, failure: Failure) -> Result<(), Error> {
        source.session.state.fleet.avoid(&source.replica);
        self.breaks = self.breaks.saturating_add(1);
        match failure {
            Failure::Final(error) => Err(error),
            failure if self.give_up.remaining().is_none() => Err(failure.into_error(self.breaks)),
            _ => Ok(()),
        }
    }

    /// Proves a message, and believes its checkpoint.
    async fn take(&mut self, source: &mut Source, message: v1::SubscribeResponse) -> Result<Proven, Error> {
        let Source { replica, session, .. } = source;
        let accepted = match message.checkpoint {
            Some(checkpoint) => Some(session.accept(replica, Some(checkpoint), None)?),
            None => None,
        };
        let shown = accepted.as_ref().map(|accepted| Arc::clone(&accepted.ground.certified));
        let checkpoint = shown.or_else(|| source.checkpoint.clone());
        let checkpoint =
            session.believe(replica, checkpoint.ok_or(Distrust::Missing { part: "the checkpoint" }))?;
        let proven = self.prove(&checkpoint, message.entries, &message.edge, &message.path);
        let entries = session.believe(replica, proven)?;
        if let Some(accepted) = accepted {
            session.finish(&accepted).await?;
            session.go_on_from(&checkpoint);
        }
        let endpoint = Arc::clone(replica.endpoint());
        Ok(Proven { entries, next: self.position(), checkpoint, endpoint })
    }

    /// Proves that the entries continue what was read, and that all of it is what the log holds.
    fn prove(
        &mut self,
        checkpoint: &Arc<CertifiedCheckpoint>,
        entries: Vec<v1::LogEntry>,
        edge: &[bytes::Bytes],
        path: &[bytes::Bytes],
    ) -> Result<Vec<EntryParts>, Distrust> {
        let path = path_from_wire("path", path)?;
        let check = match &mut self.check {
            Some(check) => {
                check.go_on_under(Arc::clone(checkpoint));
                check
            }
            // Nothing is believed of this edge before the path has proven it, below.
            none => {
                let edge = path_from_wire("edge", edge)?;
                none.insert(LeafCheck::from_edge(Arc::clone(checkpoint), self.asked.from, edge)?)
            }
        };
        let mut proven = Vec::with_capacity(entries.len());
        for (place, entry) in entries.into_iter().enumerate() {
            let entry = EntryParts::try_from(entry)
                .map_err(|error| error.within(format_args!("entries[{place}]")))?;
            check.push(&entry)?;
            proven.push(entry);
        }
        if check.size() > check.goal() {
            return Err(Distrust::NotAsked { what: "a checkpoint that does not cover what was read" });
        }
        if check.size() > TreeSize::ZERO {
            check.prove(&path)?;
        }
        Ok(proven)
    }

    /// Whether a replica shows anything newer than before; a fresh checkpoint, where freshness is asked for.
    fn is_alive(&mut self, source: &mut Source, now: &Arc<CertifiedCheckpoint>) -> Result<(), Failure> {
        source.checkpoint = Some(Arc::clone(now));
        if let Some(bound) = source.session.state.settings.freshness
            && let Err(old) = check_fresh(now, bound)
        {
            return Err(Failure::Broken(Error::untrusted(source.replica.endpoint(), old)));
        }
        let stamp = (now.checkpoint().size, now.kth_newest_time());
        if stamp > self.newest {
            self.newest = stamp;
            source.stalled = self.asked.stall();
            self.give_up = Deadline::after(self.asked.patience);
            self.breaks = 0;
        }
        match source.stalled.remaining() {
            Some(_) => Ok(()),
            None => Err(try_again(source, "no checkpoint that was signed lately")),
        }
    }

    /// What a proven message means to the caller.
    fn deliveries(&self, proven: Proven) -> Result<VecDeque<Delivery>, Error> {
        let mut ready = VecDeque::new();
        for entry in proven.entries {
            if let LogRecord::Transaction(transaction) = record(entry).believe(&proven.endpoint)?
                && self.is_about(&transaction)
            {
                ready.push_back(Delivery::Transaction(transaction));
            }
        }
        ready.push_back(Delivery::UpTo { next: proven.next, checkpoint: proven.checkpoint });
        Ok(ready)
    }

    fn is_about(&self, transaction: &TransactionRecord) -> bool {
        let prefix = &self.asked.prefix;
        prefix.is_empty() || transaction.operations.iter().any(|operation| operation.key.starts_with(prefix))
    }
}

fn try_again(source: &Source, what: &str) -> Failure {
    Failure::TryAgain { message: format!("{}: {what}", source.replica.endpoint()), no_effect: true }
}
