//! What is believed of one log: in memory, in front of the store.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures::future::try_join_all;
use quorate_core::checkpoint::Checkpoint;
use quorate_core::evidence::Evidence;
use quorate_core::hash::Hash;
use quorate_core::key::VerifierKey;
use quorate_core::note::{OpenedNote, SignedNote};
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::TreeSize;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::chain::{Chain, Standing};
use super::{Swap, TrustStore};
use crate::error::{Believe as _, Error, TrustError};

/// How often a compare-and-swap is tried against others before that is an error.
const MAX_SWAPS: u32 = 64;
/// More loose checkpoints than this make calls wait until they are linked.
pub(super) const MAX_LOOSE: usize = 512;

/// Who can be asked for consistency proofs.
pub(crate) trait Prover: Send + Sync {
    /// The proof that the tree of size `old` is a prefix of that of size `new`, and which replica gave it.
    fn prove(
        &self,
        old: TreeSize,
        new: TreeSize,
    ) -> impl Future<Output = Result<(Arc<str>, Vec<Hash>), Error>> + Send;
}

/// The believed checkpoints of one log.
///
/// Lock order: `writer` or `linker`, then `chain`; `chain` is never held across an await.
#[derive(Debug)]
pub(crate) struct Keeper {
    origin: String,
    /// Those of the policy, and of replicas of before.
    keys: Vec<VerifierKey>,
    store: Arc<dyn TrustStore>,
    chain: Mutex<Chain>,
    loaded: OnceCell<()>,
    /// Whether a log of which nothing is stored may be believed for the first time.
    first_contact: bool,
    /// Whether that happened.
    is_first: AtomicBool,
    /// What this client knows to be in the store; held while it is being changed, so that of many calls that move
    /// forward together one writes for all.
    writer: AsyncMutex<Option<Checkpoint>>,
    /// Size of the checkpoint in the store, for calls that need not wait; never ahead of the store.
    stored_size: AtomicU64,
    /// Held while loose checkpoints are being linked.
    linker: AsyncMutex<()>,
    /// Whether somebody is about to link what is loose.
    is_linking: AtomicBool,
    /// The contradiction that ended all belief in this log.
    broken: OnceLock<Error>,
}

impl Keeper {
    pub(crate) fn new(
        origin: String,
        keys: Vec<VerifierKey>,
        store: Arc<dyn TrustStore>,
        first_contact: bool,
    ) -> Self {
        Self {
            first_contact,
            is_first: AtomicBool::new(false),
            origin,
            keys,
            store,
            chain: Mutex::default(),
            loaded: OnceCell::new(),
            writer: AsyncMutex::default(),
            stored_size: AtomicU64::new(0),
            linker: AsyncMutex::default(),
            is_linking: AtomicBool::new(false),
            broken: OnceLock::new(),
        }
    }

    /// The newest believed checkpoint, before a question is asked; read from the store the first time.
    ///
    /// # Errors
    /// What the store says; or the contradiction that was found between earlier answers.
    pub(crate) async fn anchor(&self) -> Result<Option<Arc<OpenedNote>>, Error> {
        if let Some(error) = self.broken.get() {
            return Err(error.clone());
        }
        self.loaded.get_or_try_init(|| self.load()).await?;
        Ok(self.chain().newest().cloned())
    }

    /// Accepts the certified checkpoint of an answer, see [`Chain::accept`].
    ///
    /// # Errors
    /// [`Error::Untrusted`]. This answer is not believed; others are, unless it is a contradiction in the background.
    pub(crate) fn accept(
        &self,
        endpoint: &Arc<str>,
        anchor: Option<&Arc<OpenedNote>>,
        certified: &CertifiedCheckpoint,
        path: &[Hash],
    ) -> Result<Standing, Error> {
        self.chain().accept(anchor, certified.opened(), path).believe(endpoint)
    }

    /// Returns when a linked checkpoint of this size, or a newer one, is in the store.
    ///
    /// # Errors
    /// What the store says; [`Error::Untrusted`] if another process believed something that contradicts this one.
    pub(crate) async fn save(&self, size: TreeSize, prover: &impl Prover) -> Result<(), Error> {
        if self.is_stored(size) {
            return Ok(());
        }
        let mut stored = self.writer.lock().await;
        for _ in 0..MAX_SWAPS {
            if self.is_stored(size) {
                return Ok(());
            }
            // Perhaps larger than asked by now: this writes for all the calls that wait for the lock, too.
            let Some(newest) = self.chain().newest().cloned() else {
                return Ok(());
            };
            match self.swap(stored.clone(), newest.note().clone()).await? {
                Swap::Done => self.note_stored(&mut stored, newest.checkpoint()),
                Swap::Changed(None) => *stored = None,
                Swap::Changed(Some(note)) => {
                    let opened = Arc::new(self.open(note)?);
                    let known = self.chain().wait_for_link(Arc::clone(&opened));
                    known.believe(&"the trust store".into())?;
                    self.link(prover).await?;
                    self.note_stored(&mut stored, opened.checkpoint());
                }
            }
        }
        Err(TrustError::Contended { origin: self.origin.clone(), attempts: MAX_SWAPS }.into())
    }

    fn is_stored(&self, size: TreeSize) -> bool {
        size.get() <= self.stored_size.load(Ordering::Acquire)
    }

    fn note_stored(&self, stored: &mut Option<Checkpoint>, checkpoint: &Checkpoint) {
        self.stored_size.store(checkpoint.size.get(), Ordering::Release);
        *stored = Some(checkpoint.clone());
    }

    /// Links everything that is loose now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and the like: it can be tried again. [`Error::Untrusted`]: from now on every call on
    /// this log fails with it.
    pub(crate) async fn link(&self, prover: &impl Prover) -> Result<(), Error> {
        let linking = self.linker.lock().await;
        // What becomes loose meanwhile is for the next call: this one ends.
        let goal = self.chain().loose_sizes();
        while !self.chain().loose_sizes().is_disjoint(&goal) {
            let gaps = self.chain().gaps();
            if gaps.is_empty() {
                break;
            }
            let proofs = gaps
                .iter()
                .map(|(small, large)| prover.prove(small.checkpoint().size, large.checkpoint().size));
            let proofs = try_join_all(proofs).await?;
            for ((small, large), (endpoint, path)) in gaps.iter().zip(proofs) {
                let closed = self.chain().close(small, large, &path);
                if let Err(error) = closed.believe(&endpoint) {
                    return Err(self.broken.get_or_init(|| error).clone());
                }
            }
        }
        drop(linking);
        Ok(())
    }

    /// Ends all belief in this log.
    pub(crate) fn break_with(&self, error: &Error) {
        self.broken.get_or_init(|| error.clone());
    }

    /// What the signed statements of a note that is not believed prove against those of one that is.
    pub(crate) fn contradicted_by(&self, note: &str) -> Option<Evidence> {
        let opened = SignedNote::parse(note).ok()?.open(&self.keys).ok()?;
        self.chain().contradicted_by(&opened)
    }

    /// Whether the caller should see to it that loose checkpoints get linked: nobody else is about to.
    pub(crate) fn take_linking(&self) -> bool {
        !self.is_linking.swap(true, Ordering::AcqRel)
    }

    /// The caller is done linking.
    pub(crate) fn leave_linking(&self) {
        self.is_linking.store(false, Ordering::Release);
    }

    /// Whether anything is loose.
    pub(crate) fn has_loose(&self) -> bool {
        self.chain().loose_count() > 0
    }

    /// Whether so much is loose that callers have to wait.
    pub(crate) fn is_crowded(&self) -> bool {
        self.chain().loose_count() > MAX_LOOSE
    }

    /// The newest believed checkpoint.
    pub(crate) fn newest(&self) -> Option<Checkpoint> {
        self.chain().newest().map(|newest| newest.checkpoint().clone())
    }

    async fn load(&self) -> Result<(), Error> {
        let mut stored = self.writer.lock().await;
        let (store, origin) = (Arc::clone(&self.store), self.origin.clone());
        let note = self.blocking(move || store.load(&origin)).await?;
        if let Some(note) = note {
            let opened = Arc::new(self.open(note)?);
            self.note_stored(&mut stored, opened.checkpoint());
            self.chain().link(opened);
        } else if self.first_contact {
            self.is_first.store(true, Ordering::Relaxed);
        } else {
            return Err(TrustError::FirstContact { origin: self.origin.clone() }.into());
        }
        Ok(())
    }

    /// Whether nothing was stored of this log when it was first looked at.
    pub(crate) fn is_first_contact(&self) -> bool {
        self.is_first.load(Ordering::Relaxed)
    }

    /// Opens a stored note. It need not meet the policy, which may have changed since; but a key of it signed it.
    fn open(&self, note: SignedNote) -> Result<OpenedNote, TrustError> {
        let got = &note.checkpoint().origin;
        if *got != self.origin {
            return Err(TrustError::OtherOrigin { wanted: self.origin.clone(), got: got.clone() });
        }
        let opened = note.open(&self.keys);
        opened.map_err(|reason| TrustError::NotSigned { origin: self.origin.clone(), reason })
    }

    async fn swap(&self, expected: Option<Checkpoint>, new: SignedNote) -> Result<Swap, TrustError> {
        let store = Arc::clone(&self.store);
        self.blocking(move || store.compare_and_swap(expected.as_ref(), &new)).await
    }

    /// Runs a call of the store where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, TrustError> + Send + 'static,
    ) -> Result<T, TrustError> {
        if self.store.is_instant() {
            return call();
        }
        tokio::task::spawn_blocking(call).await.unwrap_or_else(|error| {
            Err(TrustError::Io {
                action: "run a call on",
                path: "the trust store".into(),
                reason: error.to_string(),
            })
        })
    }

    /// A panic while it was held leaves the maps whole: every change is one insertion or removal after the checks.
    fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
