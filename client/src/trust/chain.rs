//! The checkpoints of one log that a client has believed, and how they hang together. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_core::agreement::{AgreementError, Comparison, compare};
use quorate_core::evidence::Evidence;
use quorate_core::hash::Hash;
use quorate_core::note::OpenedNote;
use quorate_core::position::TreeSize;
use quorate_core::proof::consistency;

/// How many linked checkpoints are remembered. One that was forgotten is proven again.
const MAX_LINKED: usize = 1_024;

/// Where a checkpoint stands once it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On one line with the newest believed one, and not newer: nothing changed.
    Known,
    /// It is the newest believed one now.
    Newest,
    /// It continues what was believed before the call; whether it goes together with the newest one is not known yet.
    Loose,
}

/// The line of checkpoints that are believed.
///
/// Invariants: the newest is the last of `linked`; every size occurs in at most one of the two maps.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// Proven to be on one line, by size.
    linked: BTreeMap<TreeSize, Arc<OpenedNote>>,
    /// Proven to continue an earlier linked one only.
    loose: BTreeMap<TreeSize, Arc<OpenedNote>>,
}

impl Chain {
    /// The newest believed checkpoint.
    pub(crate) fn newest(&self) -> Option<&Arc<OpenedNote>> {
        self.linked.last_key_value().map(|(_, note)| note)
    }

    /// What a note's signatures prove against those of what is believed: at the same size, or of the newest.
    pub(crate) fn contradicted_by(&self, note: &OpenedNote) -> Option<Evidence> {
        let size = note.checkpoint().size;
        let known = [self.linked.get(&size), self.loose.get(&size), self.newest()];
        known.into_iter().flatten().find_map(|known| Evidence::of_notes(known, note))
    }

    /// How many checkpoints are waiting to be linked.
    pub(crate) fn loose_count(&self) -> usize {
        self.loose.len()
    }

    /// Whether this checkpoint is linked already, without any proof.
    ///
    /// # Errors
    /// [`AgreementError`] if another root is known for its size.
    pub(crate) fn is_linked(&self, note: &OpenedNote) -> Result<bool, AgreementError> {
        let size = note.checkpoint().size;
        if let Some(loose) = self.loose.get(&size) {
            same_root(loose, note)?;
        }
        let linked = self.linked.get(&size);
        linked.map_or(Ok(false), |linked| same_root(linked, note).map(|()| true))
    }

    /// Accepts a checkpoint of an answer to a question that was asked when `anchor` was the newest; `path` proves that
    /// the smaller of the two is a prefix of the larger.
    ///
    /// # Errors
    /// [`AgreementError`]: a contradiction with what is known, or a proof that does not hold.
    pub(crate) fn accept(
        &mut self,
        anchor: Option<&Arc<OpenedNote>>,
        note: &OpenedNote,
        path: &[Hash],
    ) -> Result<Standing, AgreementError> {
        if self.is_linked(note)? {
            return Ok(Standing::Known);
        }
        let size = note.checkpoint().size;
        if let Some(anchor) = anchor {
            let note: &OpenedNote = note;
            match size >= anchor.checkpoint().size {
                true => check_prefix(anchor, note, path)?,
                false => check_prefix(note, anchor, path)?,
            }
        }
        let is_prefix = anchor.is_some_and(|anchor| size <= anchor.checkpoint().size);
        let from_newest =
            self.newest().map(|newest| newest.checkpoint()) == anchor.map(|anchor| anchor.checkpoint());
        if is_prefix || from_newest {
            self.link(Arc::new(note.clone()));
            return Ok(if is_prefix { Standing::Known } else { Standing::Newest });
        }
        self.wait_for_link(Arc::new(note.clone()))?;
        Ok(Standing::Loose)
    }

    /// Remembers a checkpoint that somebody believed and that must be proven to be on the line.
    ///
    /// # Errors
    /// [`AgreementError`] if it contradicts the newest one by itself.
    pub(crate) fn wait_for_link(&mut self, note: Arc<OpenedNote>) -> Result<(), AgreementError> {
        if self.is_linked(&note)? {
            return Ok(());
        }
        let Some(newest) = self.newest() else {
            self.link(note);
            return Ok(());
        };
        check_notes(newest, &note)?;
        self.loose.entry(note.checkpoint().size).or_insert(note);
        Ok(())
    }

    /// Puts a checkpoint on the line that is known to belong there, such as the stored one at the beginning.
    pub(crate) fn link(&mut self, note: Arc<OpenedNote>) {
        let size = note.checkpoint().size;
        self.loose.remove(&size);
        self.linked.entry(size).or_insert(note);
        while self.linked.len() > MAX_LINKED {
            self.linked.pop_first();
        }
    }

    /// The sizes that are loose.
    pub(crate) fn loose_sizes(&self) -> BTreeSet<TreeSize> {
        self.loose.keys().copied().collect()
    }

    /// The proofs that are needed next to link what is loose, each from a smaller to a larger checkpoint of which one
    /// is linked: first from the newest one up to the largest, then for all others up to their linked neighbours.
    pub(crate) fn gaps(&self) -> Vec<(Arc<OpenedNote>, Arc<OpenedNote>)> {
        let newest =
            self.newest().filter(|newest| self.loose.keys().any(|size| newest.checkpoint().size < *size));
        if let (Some(newest), Some((_, largest))) = (newest, self.loose.last_key_value()) {
            return vec![(Arc::clone(newest), Arc::clone(largest))];
        }
        let gap = |(size, loose): (&TreeSize, &Arc<OpenedNote>)| {
            let (_, upper) = self.linked.range(*size..).next()?;
            Some((Arc::clone(loose), Arc::clone(upper)))
        };
        self.loose.iter().filter_map(gap).collect()
    }

    /// Links the two sides of a gap.
    ///
    /// # Errors
    /// [`AgreementError`].
    pub(crate) fn close(
        &mut self,
        small: &Arc<OpenedNote>,
        large: &Arc<OpenedNote>,
        path: &[Hash],
    ) -> Result<(), AgreementError> {
        check_prefix(small, large, path)?;
        self.link(Arc::clone(small));
        self.link(Arc::clone(large));
        Ok(())
    }
}

/// That the larger tree begins with the smaller one.
///
/// # Errors
/// [`AgreementError`], with evidence where signed statements contradict each other.
fn check_prefix(small: &OpenedNote, large: &OpenedNote, path: &[Hash]) -> Result<(), AgreementError> {
    check_notes(small, large)?;
    let (old, new) = (small.checkpoint(), large.checkpoint());
    let Err(source) = consistency::verify(old.size, &old.root, new.size, &new.root, path) else {
        return Ok(());
    };
    // A proof that holds for another root of the smaller size shows a rewrite.
    let rewrite = consistency::roots_from_path(old.size, &old.root, new.size, path)
        .ok()
        .and_then(|roots| Evidence::of_rewrite(small, large, roots.old, path));
    Err(match rewrite {
        Some(evidence) => AgreementError::Contradiction(Box::new(evidence)),
        None => AgreementError::NotConsistent { small: old.size, large: new.size, source },
    })
}

/// What two notes say against each other by themselves.
fn check_notes(a: &OpenedNote, b: &OpenedNote) -> Result<(), AgreementError> {
    match compare(a, b)? {
        Comparison::Agreed | Comparison::OtherSize => Ok(()),
        Comparison::Disagreement(evidence) => Err(AgreementError::Contradiction(evidence)),
    }
}

/// The quick comparison of one size; only a difference looks at signatures.
fn same_root(known: &OpenedNote, note: &OpenedNote) -> Result<(), AgreementError> {
    if known.checkpoint() == note.checkpoint() {
        return Ok(());
    }
    check_notes(known, note)
}
