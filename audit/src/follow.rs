//! Feeds an auditor from a cluster.
//!
//! The entries come from whatever replica tells them, under certified checkpoints only. Beside that, the checkpoint of
//! every replica is fetched over its own connection, again and again, and held against the roots that were recomputed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Fuse, FusedFuture as _, FutureExt as _};
use futures::stream::{BoxStream, StreamExt as _};
use quorate_client::{CertifiedCheckpoint, Comparison, Error, Ledger, LogLeaf, Segment};
use quorate_core::hash::Hash;
use quorate_core::policy::Policy;
use quorate_core::position::TreeSize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use crate::auditor::{AuditError, Auditor};
use crate::progress::Progress;
use crate::records::Answer;
use crate::submission::{Refusal, Submission};
use crate::witness::Witness;

/// Checkpoints of replicas that are ahead of the audit and wait to be compared, at most.
const WAITING: usize = 256;
/// What is recomputed is made durable this often; a crash of the machine costs at most that much work.
const DURABLE_EVERY: Duration = Duration::from_secs(1);
/// A witness signs at most this often.
const COSIGN_EVERY: Duration = Duration::from_secs(1);
/// How long a submission of a size that is not recomputed yet waits for that.
const REACH: Duration = Duration::from_secs(3);
/// How long nothing new may come before that is reported; the audit goes on trying.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a ledger is followed.
#[derive(Debug)]
pub struct Options {
    /// End once everything that is certified has been recomputed and compared.
    pub once: bool,
    /// How often the replicas are compared.
    pub compare_every: Duration,
    /// Cosigns what was recomputed.
    pub witness: Option<Witness>,
    /// What others submit of this ledger, for the witness.
    pub submissions: Option<Submissions>,
}

/// Submissions of the ledger that is audited (c2sp.org/tlog-witness).
#[derive(Debug)]
pub struct Submissions {
    /// By whose log keys.
    pub logs: Policy,
    /// Where they come from.
    pub queue: mpsc::Receiver<Submitted>,
}

/// One of them.
#[derive(Debug)]
pub struct Submitted {
    /// What is asked.
    pub submission: Submission,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// How far an audit that ended in good order came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// The size recomputed.
    pub size: TreeSize,
    /// The root there.
    pub root: Hash,
}

/// Why an audit ended.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Something does not follow, or the auditor's files are at fault.
    #[error("{source}")]
    Audit {
        /// What.
        source: Box<AuditError>,
        /// The certified note under which the last entries came.
        note: Option<String>,
    },
    /// The cluster cannot be followed: its answers are not believed, or it did not answer an audit that was to end.
    #[error(transparent)]
    Client(#[from] Error),
}

impl From<AuditError> for FollowError {
    fn from(source: AuditError) -> Self {
        Self::Audit { source: Box::new(source), note: None }
    }
}

/// Recomputes a ledger as it grows, until something does not follow. With [`Options::once`], until the end of what is
/// certified.
///
/// # Errors
/// [`FollowError`]. While no replica answers, the audit waits, and `progress` says so.
pub async fn follow(
    ledger: &Ledger,
    auditor: Auditor,
    options: Options,
    progress: &Arc<Progress>,
) -> Result<Followed, FollowError> {
    let mut following = Following {
        segments: segments(ledger, &auditor),
        ledger: ledger.clone(),
        auditor: Some(auditor),
        options,
        progress: Arc::clone(progress),
        waiting: VecDeque::new(),
        durable: Instant::now(),
        cosigned: None,
        shown: None,
        submitted: Vec::new(),
    };
    following.run().await.map_err(|error| match error {
        FollowError::Audit { source, .. } => {
            let note = following.shown.map(|shown| shown.note().to_string());
            FollowError::Audit { source, note }
        }
        error => error,
    })
}

struct Following {
    segments: BoxStream<'static, Result<Segment, Error>>,
    ledger: Ledger,
    /// `None` only while it is at work on another thread.
    auditor: Option<Auditor>,
    options: Options,
    progress: Arc<Progress>,
    /// Checkpoints of replicas that are ahead of the audit.
    waiting: VecDeque<(String, Arc<CertifiedCheckpoint>)>,
    durable: Instant,
    cosigned: Option<Instant>,
    /// The checkpoint of the last segment.
    shown: Option<Arc<CertifiedCheckpoint>>,
    /// Submissions of sizes that the audit has not reached yet, and since when they wait.
    submitted: Vec<(Submitted, Instant)>,
}

/// The next submission; never, if none are taken.
async fn submission(submissions: &mut Option<Submissions>) -> Submitted {
    let next = match submissions {
        Some(submissions) => submissions.queue.recv().await,
        None => None,
    };
    match next {
        Some(submitted) => submitted,
        None => std::future::pending().await,
    }
}

fn segments(ledger: &Ledger, auditor: &Auditor) -> BoxStream<'static, Result<Segment, Error>> {
    // A block that was not whole at the last end is read again from its beginning.
    ledger.subscribe(auditor.size().next_index()).patience(PATIENCE).segments()
}

impl Following {
    async fn run(&mut self) -> Result<Followed, FollowError> {
        let mut tick = tokio::time::interval(self.options.compare_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut comparing: Fuse<BoxFuture<'static, Result<Comparison, Error>>> = Fuse::terminated();
        let mut ended = false;
        loop {
            tokio::select! {
                segment = self.segments.next(), if !ended => match segment {
                    Some(Ok(segment)) => ended = self.take(segment).await? && self.options.once,
                    Some(Err(error)) => self.interrupted(error).await?,
                    None => {}
                },
                submitted = submission(&mut self.options.submissions) => {
                    self.submitted.push((submitted, Instant::now()));
                    self.answer_submitted()?;
                }
                _ = tick.tick(), if comparing.is_terminated() => {
                    let ledger = self.ledger.clone();
                    comparing = async move { ledger.compare_replicas().await }.boxed().fuse();
                }
                compared = &mut comparing => match compared {
                    Ok(comparison) => {
                        self.compare(comparison)?;
                        if ended {
                            return Ok(self.end()?);
                        }
                    }
                    Err(error) if self.may_wait(&error) => self.progress.stuck(error.to_string()),
                    Err(error) => return Err(error.into()),
                },
            }
        }
    }

    /// Recomputes a segment. Whether that is all that is certified.
    async fn take(&mut self, segment: Segment) -> Result<bool, FollowError> {
        self.shown = Some(Arc::clone(&segment.checkpoint));
        let durable = self.durable.elapsed() >= DURABLE_EVERY;
        if !segment.leaves.is_empty() || durable {
            self.recompute(segment.leaves, durable).await?;
        }
        if durable {
            self.durable = Instant::now();
        }
        let due = self.cosigned.is_none_or(|last| last.elapsed() >= COSIGN_EVERY);
        let certified = segment.checkpoint.checkpoint();
        let Some(auditor) = self.auditor.as_mut() else { return Ok(false) };
        auditor.check_root(certified, "the quorum")?;
        if let Some(witness) = self.options.witness.as_ref().filter(|_| due)
            && let Some(note) = witness.cosign(auditor, &segment.checkpoint)?
        {
            self.progress.cosigned(note.to_string());
            self.cosigned = Some(Instant::now());
        }
        self.progress.heard(auditor, certified.size.get());
        let is_all = auditor.size() >= certified.size;
        self.answer_submitted()?;
        self.compare_waiting()?;
        Ok(is_all)
    }

    async fn recompute(&mut self, leaves: Vec<LogLeaf>, durable: bool) -> Result<(), AuditError> {
        let Some(mut auditor) = self.auditor.take() else { return Ok(()) };
        let work = move || {
            let taken = auditor.take(leaves, durable);
            (auditor, taken)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok((auditor, taken)) => {
                self.auditor = Some(auditor);
                taken
            }
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Whether an audit goes on after this: nobody answered, and it is not to end.
    fn may_wait(&self, error: &Error) -> bool {
        !self.options.once && matches!(error, Error::Unavailable { .. })
    }

    /// No replica had anything new for long: says so and goes on, unless the audit is to end. Doubt ends it.
    async fn interrupted(&mut self, error: Error) -> Result<(), FollowError> {
        if !self.may_wait(&error) {
            return Err(error.into());
        }
        self.progress.stuck(error.to_string());
        let Some(mut auditor) = self.auditor.take() else { return Ok(()) };
        auditor.rewind();
        self.segments = segments(&self.ledger, &auditor);
        self.auditor = Some(auditor);
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    fn compare(&mut self, comparison: Comparison) -> Result<(), FollowError> {
        self.progress.compared(&comparison);
        for replica in comparison.replicas {
            match replica.checkpoint {
                Ok(checkpoint) => self.waiting.push_back((replica.endpoint, checkpoint)),
                Err(error) if error.is_untrusted() => return Err(error.into()),
                // Who does not answer is counted, and asked again.
                Err(_) => {}
            }
        }
        while self.waiting.len() > WAITING {
            self.waiting.pop_front();
        }
        Ok(self.compare_waiting()?)
    }

    /// Answers the submissions that the audit has reached, and those that waited for long.
    fn answer_submitted(&mut self) -> Result<(), AuditError> {
        let (Some(auditor), Some(submissions)) = (&self.auditor, &self.options.submissions) else {
            return Ok(());
        };
        for (submitted, since) in std::mem::take(&mut self.submitted) {
            let size = submitted.submission.size();
            if size > auditor.size() && since.elapsed() < REACH && !submitted.answer.is_closed() {
                self.submitted.push((submitted, since));
                continue;
            }
            let answer = match &self.options.witness {
                Some(witness) if size <= auditor.size() => {
                    witness.answer(auditor, &submitted.submission, &submissions.logs)?
                }
                _ => Answer::Refused(Refusal::NotRecomputed(size)),
            };
            // Who asked may have gone.
            drop(submitted.answer.send(answer));
        }
        Ok(())
    }

    /// Holds what replicas showed against what was recomputed, as far as that is.
    fn compare_waiting(&mut self) -> Result<(), AuditError> {
        let Some(auditor) = &self.auditor else { return Ok(()) };
        let size = auditor.size();
        for (endpoint, certified) in &self.waiting {
            auditor.check_root(certified.checkpoint(), endpoint)?;
        }
        self.waiting.retain(|(_, certified)| certified.checkpoint().size > size);
        Ok(())
    }

    fn end(&mut self) -> Result<Followed, AuditError> {
        let Some(auditor) = self.auditor.as_mut() else {
            return Ok(Followed { size: TreeSize::ZERO, root: Hash::ZERO });
        };
        auditor.take(Vec::new(), true)?;
        Ok(Followed { size: auditor.size(), root: auditor.root() })
    }
}
