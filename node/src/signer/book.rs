//! Who has signed what: the signer's book-keeping, pure.
//!
//! For each ledger a page per checkpoint size. A page holds the root this node computed itself, the [`Panel`]s whose
//! majorities certify it, and the valid cosignatures of their members. A page is *certified* when a majority of each
//! panel, this node among them or not, has signed the root that this node computed. Nothing is believed before this node
//! has computed it too.
//!
//! Peers are untrusted: a cosignature is verified before it enters, early ones (for sizes not applied here yet) are
//! bounded and only taken from members of the newest set, and a signature over another root than ours is never counted,
//! only reported. Who is not in a page's panels, such as a removed node, has no signature there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use quorate_core::{
    checkpoint::Checkpoint,
    evidence::Evidence,
    hash::Hash,
    key::VerifierKey,
    name::{LedgerName, Origin},
    note::Cosignature,
    position::{NodeId, TreeSize},
};
use quorate_ledger::registry::CosignerSet;

use super::{contradiction, page::Page, panel::Panel};

/// Sizes kept in memory behind the newest of a ledger; older ones are read from the store.
const KEPT_PAGES: usize = 1_024;

/// Early pages (sizes not applied here) kept for a ledger.
const EARLY_PAGES: usize = 4_096;

/// One member's signature over one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The root it signed.
    pub root: Hash,
    /// Seconds since the Unix epoch, as signed.
    pub time: u64,
    /// Ed25519.
    pub signature: [u8; 64],
}

/// The agreeing signatures of one size of a ledger.
pub(crate) type Unsaved = (LedgerName, TreeSize, Vec<(NodeId, Signed)>);

/// What a new signature changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: it was known, too early or too old.
    None,
    /// It was added to a page.
    Added,
    /// It made this size of the ledger certified.
    Certified,
    /// It contradicts what the same member signed before; it is not entered.
    Contradiction(Box<Evidence>),
    /// This node and another validly signed different roots for one size. `outvoted` when a quorum of other members
    /// has signed that other root: then this node is the one that is wrong.
    Disagreement {
        /// The size.
        size: TreeSize,
        /// The root computed here.
        ours: Hash,
        /// The root the others signed.
        theirs: Hash,
        /// Who signed that.
        by: Vec<NodeId>,
        /// Whether they are a quorum.
        outvoted: bool,
    },
}

/// A cosignature that is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not a member of the cosigner set.
    #[error("node {0} is not in the cosigner set")]
    Stranger(NodeId),
    /// The signature does not verify.
    #[error("the signature of node {0} for size {1} of {2} does not verify")]
    BadSignature(NodeId, TreeSize, LedgerName),
}

/// The pages of one ledger.
#[derive(Debug)]
struct Pages {
    origin: Origin,
    pages: BTreeMap<TreeSize, Page>,
    /// Largest size applied here.
    head: TreeSize,
    /// Largest certified size.
    certified: TreeSize,
    /// What each member signed at its largest size, first.
    latest: BTreeMap<NodeId, (TreeSize, Signed)>,
}

/// All pages of all ledgers.
#[derive(Debug)]
pub(crate) struct Book {
    /// Who counts as long as there is no set.
    founders: Arc<Panel>,
    /// The newest set applied here.
    newest: Arc<Panel>,
    /// The sets met so far, by epoch.
    known: BTreeMap<u64, Arc<Panel>>,
    ledgers: BTreeMap<LedgerName, Pages>,
}

impl Book {
    /// An empty book; these members count until there is a cosigner set.
    pub(crate) fn new(founders: BTreeMap<NodeId, VerifierKey>) -> Self {
        let founders = Arc::new(Panel::new(founders));
        Self { newest: Arc::clone(&founders), founders, known: BTreeMap::new(), ledgers: BTreeMap::new() }
    }

    /// The panels of these sets.
    ///
    /// # Errors
    /// A set that is not what was applied.
    pub(crate) fn panels(&mut self, sets: &[Arc<CosignerSet>]) -> Result<Vec<Arc<Panel>>, String> {
        if sets.is_empty() {
            return Ok(vec![Arc::clone(&self.founders)]);
        }
        let mut panels = Vec::with_capacity(sets.len());
        for set in sets {
            let panel = match self.known.get(&set.epoch) {
                Some(panel) => Arc::clone(panel),
                None => Arc::new(Panel::of(set)?),
            };
            if self.known.last_key_value().is_none_or(|(epoch, _)| *epoch < set.epoch) {
                self.newest = Arc::clone(&panel);
            }
            self.known.insert(set.epoch, Arc::clone(&panel));
            panels.push(panel);
        }
        Ok(panels)
    }

    /// Who counts as long as there is no set.
    pub(crate) fn founders(&self) -> Arc<Panel> {
        Arc::clone(&self.founders)
    }

    /// The newest set.
    pub(crate) fn newest(&self) -> &Panel {
        &self.newest
    }

    /// Has the newest set vouch for the heads of ledgers that have not grown since it came into force; gives what there
    /// is to sign again.
    pub(crate) fn adopt(&mut self) -> Vec<(LedgerName, TreeSize, Hash)> {
        let mut heads = Vec::new();
        for (name, pages) in &mut self.ledgers {
            let head = pages.head;
            let Some(page) = pages.pages.get_mut(&head).filter(|page| !page.begins_epoch()) else {
                continue;
            };
            let is_present = page.adopted.as_ref().or(page.panels.first()) == Some(&self.newest);
            if let Some(root) = page.root.filter(|_| !is_present) {
                page.adopted = Some(Arc::clone(&self.newest));
                page.note = None;
                heads.push((name.clone(), head, root));
                pages.settle(head, Change::None);
            }
        }
        heads
    }

    /// This node has applied the ledger up to `size` and computed `root`, which a majority of each panel certifies.
    pub(crate) fn computed(
        &mut self,
        ledger: &LedgerName,
        origin: &Origin,
        size: TreeSize,
        root: Hash,
        panels: Vec<Arc<Panel>>,
    ) -> Change {
        let pages = self.ledgers.entry(ledger.clone()).or_insert_with(|| Pages {
            origin: origin.clone(),
            pages: BTreeMap::new(),
            head: TreeSize::ZERO,
            certified: TreeSize::ZERO,
            latest: BTreeMap::new(),
        });
        pages.head = pages.head.max(size);
        let page = pages.pages.entry(size).or_default();
        page.root = Some(root);
        page.signed.retain(|id, _| panels.iter().any(|panel| panel.lists(*id)));
        page.panels = panels;
        let change = page.disagreement(size).unwrap_or(Change::None);
        pages.settle(size, change)
    }

    /// Adds a member's signature after checking it.
    pub(crate) fn add(
        &mut self,
        ledger: &LedgerName,
        node: NodeId,
        size: TreeSize,
        signed: Signed,
    ) -> Result<Change, Refused> {
        let Some(pages) = self.ledgers.get_mut(ledger) else {
            return Ok(Change::None);
        };
        let page = pages.pages.get(&size).filter(|page| page.root.is_some());
        let key = match page {
            Some(page) => page.key(node).cloned(),
            None => self.newest.keys().get(&node).cloned(),
        };
        let key = key.ok_or(Refused::Stranger(node))?;
        let contradicted = pages.contradicted(node, size, &signed);
        if contradicted.is_none() && !pages.wants(node, size, &signed) {
            return Ok(Change::None);
        }
        let checkpoint = Checkpoint { origin: pages.origin.as_str().to_owned(), size, root: signed.root };
        Cosignature::by(&key, signed.time, signed.signature)
            .verify(&key, &checkpoint)
            .map_err(|_| Refused::BadSignature(node, size, ledger.clone()))?;
        if let Some((before, other)) = contradicted {
            let evidence = contradiction::of_one(&pages.origin, &key, (size, &signed), (before, &other));
            return Ok(evidence.map_or(Change::None, |evidence| Change::Contradiction(Box::new(evidence))));
        }
        Ok(pages.enter(node, size, signed))
    }

    /// Adds what this node signed itself just now.
    pub(crate) fn add_own(
        &mut self,
        ledger: &LedgerName,
        me: NodeId,
        size: TreeSize,
        signed: Signed,
    ) -> Change {
        match self.ledgers.get_mut(ledger) {
            Some(pages) if pages.wants(me, size, &signed) => pages.enter(me, size, signed),
            _ => Change::None,
        }
    }

    /// What the signatures of a size prove, if members signed another root than the one computed here: by one of them
    /// and one who agrees with this node.
    pub(crate) fn differing(&self, ledger: &LedgerName, size: TreeSize) -> Option<Evidence> {
        let pages = self.ledgers.get(ledger)?;
        let page = pages.pages.get(&size)?;
        let ours = page.root?;
        let theirs = page.signed.values().map(|signed| signed.root).find(|root| *root != ours)?;
        let of = |root: Hash| {
            let signed = page.signed.iter().filter(move |(_, signed)| signed.root == root);
            signed.filter_map(|(id, signed)| Some((page.key(*id)?, signed)))
        };
        contradiction::of_two(&pages.origin, size, of(ours), of(theirs))
    }

    /// The page of a size, if it is in memory.
    pub(crate) fn page(&mut self, ledger: &LedgerName, size: TreeSize) -> Option<&mut Page> {
        self.ledgers.get_mut(ledger)?.pages.get_mut(&size)
    }

    /// The largest size applied here; zero where nothing was.
    pub(crate) fn head(&self, ledger: &LedgerName) -> TreeSize {
        self.ledgers.get(ledger).map_or(TreeSize::ZERO, |pages| pages.head)
    }

    /// The largest certified size; zero where there is none.
    pub(crate) fn certified(&self, ledger: &LedgerName) -> TreeSize {
        self.ledgers.get(ledger).map_or(TreeSize::ZERO, |pages| pages.certified)
    }

    /// Ledgers whose head is not signed by everybody in its panels, with the smallest size above the certified one; and
    /// beginnings of epochs that are not certified, each of which is needed for ever.
    pub(crate) fn lagging(&self) -> Vec<(LedgerName, TreeSize, BTreeSet<NodeId>)> {
        let mut lags = Vec::new();
        for (name, pages) in &self.ledgers {
            let begun = pages.pages.iter().filter(|(_, page)| page.begins_epoch() && !page.is_certified());
            lags.extend(begun.map(|(size, page)| (name.clone(), *size, page.missing())));
            let Some(page) = pages.pages.get(&pages.head) else {
                continue;
            };
            let missing = page.missing();
            let from = if pages.certified < pages.head { pages.certified } else { pages.head };
            if !missing.is_empty() {
                lags.push((name.clone(), from, missing));
            }
        }
        lags
    }

    /// A node's own signatures of a ledger from a size on, at most `limit`.
    pub(crate) fn signed_by(
        &self,
        node: NodeId,
        ledger: &LedgerName,
        from: TreeSize,
        limit: usize,
    ) -> Vec<(TreeSize, Signed)> {
        let Some(pages) = self.ledgers.get(ledger) else {
            return Vec::new();
        };
        let own = pages
            .pages
            .range(from..)
            .filter_map(|(size, page)| Some((*size, page.signed.get(&node)?.clone())));
        own.take(limit).collect()
    }

    /// Takes what the store lacks: per ledger and size all agreeing signatures.
    pub(crate) fn take_unsaved(&mut self) -> Vec<Unsaved> {
        let mut unsaved = Vec::new();
        for (name, pages) in &mut self.ledgers {
            for (size, page) in &mut pages.pages {
                if page.root.is_some() && std::mem::take(&mut page.unsaved) {
                    unsaved.push((
                        name.clone(),
                        *size,
                        page.agreeing().map(|(id, s)| (id, s.clone())).collect(),
                    ));
                }
            }
            pages.trim();
        }
        unsaved
    }
}

impl Pages {
    /// Whether a signature says something new that there is room for. A later one replaces an earlier one only over
    /// the same root: two roots of one member for one size must both stay visible to whoever asks.
    fn wants(&self, node: NodeId, size: TreeSize, signed: &Signed) -> bool {
        match self.pages.get(&size) {
            Some(page) => page
                .signed
                .get(&node)
                .is_none_or(|known| known.root == signed.root && known.time < signed.time),
            None => size > self.head && self.pages.range(self.head..).count() <= EARLY_PAGES,
        }
    }

    /// What the same member signed before that cannot be true beside this, if the signature is its own: another root for
    /// this size, or a larger size at an earlier time.
    fn contradicted(&self, node: NodeId, size: TreeSize, signed: &Signed) -> Option<(TreeSize, Signed)> {
        let known = self.pages.get(&size).and_then(|page| page.signed.get(&node));
        if let Some(known) = known.filter(|known| known.root != signed.root) {
            return Some((size, known.clone()));
        }
        let (latest, before) = self.latest.get(&node)?;
        (size < *latest && signed.time > before.time).then(|| (*latest, before.clone()))
    }

    fn enter(&mut self, node: NodeId, size: TreeSize, signed: Signed) -> Change {
        // The earliest: an honest node never signs a smaller size after it, however often it signs this one again.
        let known = self.latest.get(&node);
        if known.is_none_or(|(at, known)| *at < size || (*at == size && signed.time < known.time)) {
            self.latest.insert(node, (size, signed.clone()));
        }
        let page = self.pages.entry(size).or_default();
        page.signed.insert(node, signed);
        // The note was made of what is replaced here.
        page.note = None;
        page.unsaved = true;
        let change = page.disagreement(size).unwrap_or(Change::Added);
        self.settle(size, change)
    }

    fn settle(&mut self, size: TreeSize, change: Change) -> Change {
        let enough = self.pages.get(&size).is_some_and(Page::is_certified);
        if enough && size > self.certified {
            self.certified = size;
            if matches!(change, Change::None | Change::Added) {
                return Change::Certified;
            }
        }
        change
    }

    fn trim(&mut self) {
        while self.pages.len() > KEPT_PAGES {
            match self.pages.first_key_value() {
                Some((size, page))
                    if *size < self.certified
                        && !page.unsaved
                        && (!page.begins_epoch() || page.is_certified()) =>
                {
                    self.pages.pop_first();
                }
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests;
