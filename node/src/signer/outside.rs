//! What outside witnesses cosigned, and who waits for it.
//!
//! A witness is asked now and then, not for every block, so its cosignature is of some sizes only. Who needs it reads the
//! ledger as of such a size: [`Signer::reach`] gives the view that goes with it. A view is a size and costs nothing, so
//! the last few that were submitted are kept.
//!
//! Nothing here is needed for the cluster's own certification. It is in memory only: after a start the witness is asked again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_core::{
    hash::Hash,
    key::{KeyId, VerifierKey},
    name::LedgerName,
    position::TreeSize,
};
use quorate_proto::peer::v1 as pb;
use tokio::sync::watch;

use super::{
    book::{Refused, Signed},
    desk::{Signer, WaitError, lock},
    need::Need,
};
use crate::store::state::LedgerView;

/// Submitted views of a ledger that are kept.
const KEPT: usize = 4;

/// For how long replicas alone are waited for before a witness is asked, where they may be enough.
const GRACE: Duration = Duration::from_millis(50);

/// Who waits for a witness looks this often besides, for what it was not told of.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The part of the signer that knows of outside witnesses.
pub(super) struct Outside {
    keys: BTreeMap<KeyId, VerifierKey>,
    ledgers: Mutex<BTreeMap<LedgerName, Known>>,
    /// Counts cosignatures of witnesses.
    signed: watch::Sender<u64>,
}

/// What is known of one ledger.
#[derive(Default)]
struct Known {
    /// The newest of each witness.
    newest: BTreeMap<KeyId, (TreeSize, u64)>,
    /// By ascending size, with a cosignature each.
    views: VecDeque<Arc<LedgerView>>,
    wanted: watch::Sender<Wanted>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// A view of at least this size.
    pub(crate) least: TreeSize,
    /// How often somebody asked, so that every time is a change.
    asked: u64,
}

/// A checkpoint that enough have signed.
#[derive(Debug, Clone)]
pub struct Reached {
    /// The view in which it is.
    pub view: Arc<LedgerView>,
    /// Its size: that of the view, or a smaller one.
    pub size: TreeSize,
}

impl Outside {
    pub(super) fn new(keys: Vec<VerifierKey>) -> Self {
        let keys = keys.into_iter().map(|key| (key.id(), key)).collect();
        Self { keys, ledgers: Mutex::default(), signed: watch::Sender::new(0) }
    }

    pub(super) const fn keys(&self) -> &BTreeMap<KeyId, VerifierKey> {
        &self.keys
    }

    fn note(&self, ledger: &LedgerName, id: KeyId, at: (TreeSize, u64), view: Option<Arc<LedgerView>>) {
        let mut ledgers = lock(&self.ledgers);
        let known = ledgers.entry(ledger.clone()).or_default();
        let newest = known.newest.entry(id).or_default();
        *newest = at.max(*newest);
        let newer = |view: &Arc<LedgerView>| known.views.back().is_none_or(|last| last.size() < view.size());
        if let Some(view) = view.filter(newer) {
            known.views.push_back(view);
            if known.views.len() > KEPT {
                known.views.pop_front();
            }
        }
        drop(ledgers);
        self.signed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn views(&self, ledger: &LedgerName) -> Vec<Arc<LedgerView>> {
        lock(&self.ledgers)
            .get(ledger)
            .map(|known| known.views.iter().rev().cloned().collect())
            .unwrap_or_default()
    }
}

impl Signer {
    /// The newest checkpoint that a witness cosigned and of which this node has the view: its size.
    pub(crate) fn kept_size(&self, ledger: &LedgerName) -> TreeSize {
        let ledgers = lock(&self.0.outside.ledgers);
        let last = ledgers.get(ledger).and_then(|known| known.views.back());
        last.map_or(TreeSize::ZERO, |view| view.size())
    }

    /// Size and time, in seconds, of the newest cosignature of a witness.
    pub(crate) fn newest_of(&self, ledger: &LedgerName, witness: KeyId) -> (TreeSize, u64) {
        let ledgers = lock(&self.0.outside.ledgers);
        ledgers.get(ledger).and_then(|known| known.newest.get(&witness)).copied().unwrap_or_default()
    }

    /// Changes whenever somebody waits for a witness to cosign this ledger.
    pub(crate) fn wanted(&self, ledger: &LedgerName) -> watch::Receiver<Wanted> {
        let mut ledgers = lock(&self.0.outside.ledgers);
        ledgers.entry(ledger.clone()).or_default().wanted.subscribe()
    }

    /// Has the witnesses asked for a cosignature of this size or a larger one.
    pub(super) fn want(&self, ledger: &LedgerName, least: TreeSize) {
        let mut ledgers = lock(&self.0.outside.ledgers);
        ledgers.entry(ledger.clone()).or_default().wanted.send_modify(|wanted| {
            wanted.least = wanted.least.max(least);
            wanted.asked = wanted.asked.wrapping_add(1);
        });
    }

    /// Takes in what a witness cosigned when this node asked it, and tells the other members.
    ///
    /// # Errors
    /// [`Refused`], above all when the witness signed another root.
    pub(crate) fn witnessed(
        &self,
        view: Arc<LedgerView>,
        witness: KeyId,
        signed: Signed,
    ) -> Result<(), Refused> {
        let (ledger, size) = (view.head().name.clone(), view.size());
        let mut message = super::desk::wire(&ledger, size, &signed);
        message.witness = Some(u32::from_be_bytes(*witness.as_bytes()));
        self.take_outside(&ledger, witness, size, signed, Some(view))?;
        self.0.outbox.send(vec![message]);
        Ok(())
    }

    /// Takes in what a member was given by a witness; passes over what is of none that is known here.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) fn witnessed_elsewhere(
        &self,
        message: &pb::Cosignature,
        ledger: &LedgerName,
        signed: Signed,
    ) -> Result<(), Refused> {
        let Some(id) = message.witness.map(|id| KeyId::new(id.to_be_bytes())) else { return Ok(()) };
        if !self.0.outside.keys.contains_key(&id) {
            return Ok(());
        }
        let size = TreeSize::new(message.size);
        let view = self.0.state.view().ledger(ledger).filter(|view| view.size() == size).cloned();
        self.take_outside(ledger, id, size, signed, view)
    }

    fn take_outside(
        &self,
        ledger: &LedgerName,
        witness: KeyId,
        size: TreeSize,
        signed: Signed,
        view: Option<Arc<LedgerView>>,
    ) -> Result<(), Refused> {
        let time = signed.time;
        let key = self.0.outside.keys.get(&witness).ok_or(Refused::UnknownWitness(witness))?;
        lock(&self.0.book).add_outside(ledger, key, size, signed)?;
        self.0.outside.note(ledger, witness, (size, time), view);
        self.0.changed.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// The largest size that enough have signed, as far as that is in memory; zero when there is none.
    pub fn newest_meeting(&self, ledger: &LedgerName, need: &Need) -> TreeSize {
        lock(&self.0.book).newest_meeting(ledger, need)
    }

    /// Waits until enough have signed the checkpoint of `least`, which is in `view`, or a larger one.
    ///
    /// # Errors
    /// [`WaitError`]: who is missing when `timeout` is over.
    pub async fn reach(
        &self,
        view: Arc<LedgerView>,
        least: TreeSize,
        need: &Need,
        timeout: Duration,
    ) -> Result<Reached, WaitError> {
        let ledger = view.head().name.clone();
        self.check_possible(need)?;
        let root = view.root_at(least)?.unwrap_or(Hash::ZERO);
        let enough = async {
            let (mut changed, mut signed) = (self.0.changed.subscribe(), self.0.outside.signed.subscribe());
            let mut patience = std::pin::pin!(tokio::time::sleep(GRACE));
            let mut asked = false;
            loop {
                changed.mark_unchanged();
                signed.mark_unchanged();
                if let Some(reached) = self.reached(&view, least, root, need)? {
                    return Ok(reached);
                }
                self.hurry();
                if !asked && (need.outside > 0 || patience.is_elapsed()) {
                    self.want(&ledger, least);
                    asked = true;
                }
                tokio::select! {
                    _ = changed.changed(), if !asked => {}
                    () = &mut patience, if !asked => {}
                    _ = signed.changed(), if asked => {}
                    () = tokio::time::sleep(LOOK_EVERY), if asked => {}
                }
            }
        };
        match tokio::time::timeout(timeout, enough).await {
            Ok(result) => result,
            Err(_) => Err(self.missing(&ledger, least, need)),
        }
    }

    fn reached(
        &self,
        view: &Arc<LedgerView>,
        least: TreeSize,
        root: Hash,
        need: &Need,
    ) -> Result<Option<Reached>, WaitError> {
        let ledger = &view.head().name;
        if self.certified_at(ledger, least, root, need)?.is_some() {
            return Ok(Some(Reached { view: Arc::clone(view), size: least }));
        }
        for kept in self.0.outside.views(ledger).into_iter().take_while(|kept| kept.size() >= least) {
            let (size, root) = (kept.size(), kept.head().frontier.root());
            if self.certified_at(ledger, size, root, need)?.is_some() {
                return Ok(Some(Reached { view: kept, size }));
            }
        }
        Ok(None)
    }

    /// Refuses to wait for more than there are.
    pub(super) fn check_possible(&self, need: &Need) -> Result<(), WaitError> {
        let members = lock(&self.0.book).newest().keys().len();
        let known = need.named().filter(|id| self.0.outside.keys.contains_key(id)).count();
        if need.outside > known {
            let asked: Vec<&str> = self.0.outside.keys.values().map(VerifierKey::name).collect();
            let asked = if asked.is_empty() { "none".to_owned() } else { asked.join(", ") };
            return Err(WaitError::UnknownWitnesses { need: need.outside, known, asked });
        }
        if need.cosigners > members.saturating_add(known) {
            return Err(WaitError::TooMany { need: need.cosigners, members, witnesses: known });
        }
        Ok(())
    }
}
