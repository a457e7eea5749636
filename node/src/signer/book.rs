//! Who has signed what: the signer's book-keeping, pure.
//!
//! For each ledger a page per checkpoint size. A page holds the root this node computed itself, and the valid
//! cosignatures of members for that size. A page is *certified* when a quorum of members, this node among them or
//! not, has signed the root that this node computed. Nothing is believed before this node has computed it too.
//!
//! Peers are untrusted: a cosignature is verified before it enters, early ones (for sizes not applied here yet) are
//! bounded, and a signature over another root than ours is never counted, only reported.

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

use super::contradiction;

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

/// One checkpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    /// The root computed here; `None` while this node has not applied so far.
    pub(crate) root: Option<Hash>,
    /// Valid signatures, whatever root they sign.
    pub(crate) signed: BTreeMap<NodeId, Signed>,
    /// Whether the store lacks something that is here.
    unsaved: bool,
    /// The note as text, with the number and the newest time of the cosignatures in it.
    pub(crate) note: Option<((usize, u64), Arc<str>)>,
}

impl Page {
    /// The signatures over our own root.
    pub(crate) fn agreeing(&self) -> impl Iterator<Item = (NodeId, &Signed)> {
        self.signed.iter().filter(|(_, s)| Some(s.root) == self.root).map(|(id, s)| (*id, s))
    }

    fn disagreement(&self, size: TreeSize, quorum: usize) -> Option<Change> {
        let ours = self.root?;
        let theirs = self.signed.values().map(|s| s.root).find(|root| *root != ours)?;
        let by: Vec<NodeId> =
            self.signed.iter().filter(|(_, s)| s.root == theirs).map(|(id, _)| *id).collect();
        let outvoted = by.len() >= quorum;
        Some(Change::Disagreement { size, ours, theirs, by, outvoted })
    }
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
    /// What each member signed at its largest size.
    latest: BTreeMap<NodeId, (TreeSize, Signed)>,
}

/// All pages of all ledgers.
#[derive(Debug)]
pub(crate) struct Book {
    members: BTreeMap<NodeId, VerifierKey>,
    quorum: usize,
    ledgers: BTreeMap<LedgerName, Pages>,
}

impl Book {
    /// An empty book for these members.
    pub(crate) fn new(members: BTreeMap<NodeId, VerifierKey>) -> Self {
        let quorum = members.len() / 2 + 1;
        Self { members, quorum, ledgers: BTreeMap::new() }
    }

    /// The members' keys.
    pub(crate) fn members(&self) -> &BTreeMap<NodeId, VerifierKey> {
        &self.members
    }

    /// How many signatures certify.
    pub(crate) fn quorum(&self) -> usize {
        self.quorum
    }

    /// This node has applied the ledger up to `size` and computed `root`.
    pub(crate) fn computed(
        &mut self,
        ledger: &LedgerName,
        origin: &Origin,
        size: TreeSize,
        root: Hash,
    ) -> Change {
        let quorum = self.quorum;
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
        let change = page.disagreement(size, quorum).unwrap_or(Change::None);
        pages.settle(size, quorum, change)
    }

    /// Adds a member's signature after checking it.
    pub(crate) fn add(
        &mut self,
        ledger: &LedgerName,
        node: NodeId,
        size: TreeSize,
        signed: Signed,
    ) -> Result<Change, Refused> {
        let key = self.members.get(&node).ok_or(Refused::Stranger(node))?;
        let Some(pages) = self.ledgers.get_mut(ledger) else {
            return Ok(Change::None);
        };
        let contradicted = pages.contradicted(node, size, &signed);
        if contradicted.is_none() && !pages.wants(node, size, &signed) {
            return Ok(Change::None);
        }
        let checkpoint = Checkpoint { origin: pages.origin.as_str().to_owned(), size, root: signed.root };
        Cosignature::by(key, signed.time, signed.signature)
            .verify(key, &checkpoint)
            .map_err(|_| Refused::BadSignature(node, size, ledger.clone()))?;
        if let Some((before, other)) = contradicted {
            let evidence = contradiction::of_one(&pages.origin, key, (size, &signed), (before, &other));
            return Ok(evidence.map_or(Change::None, |evidence| Change::Contradiction(Box::new(evidence))));
        }
        Ok(pages.enter(node, size, signed, self.quorum))
    }

    /// Adds what this node signed itself just now.
    pub(crate) fn add_own(
        &mut self,
        ledger: &LedgerName,
        me: NodeId,
        size: TreeSize,
        signed: Signed,
    ) -> Change {
        let quorum = self.quorum;
        match self.ledgers.get_mut(ledger) {
            Some(pages) if pages.wants(me, size, &signed) => pages.enter(me, size, signed, quorum),
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
            signed.filter_map(|(id, signed)| Some((self.members.get(id)?, signed)))
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

    /// Ledgers whose head is not signed by every member, with the smallest size above the certified one.
    pub(crate) fn lagging(&self) -> Vec<(LedgerName, TreeSize, BTreeSet<NodeId>)> {
        let lags = self.ledgers.iter().filter_map(|(name, pages)| {
            let page = pages.pages.get(&pages.head)?;
            let missing: BTreeSet<NodeId> =
                self.members.keys().filter(|id| !page.signed.contains_key(id)).copied().collect();
            let from = if pages.certified < pages.head { pages.certified } else { pages.head };
            (!missing.is_empty()).then(|| (name.clone(), from, missing))
        });
        lags.collect()
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

    fn enter(&mut self, node: NodeId, size: TreeSize, signed: Signed, quorum: usize) -> Change {
        if self.latest.get(&node).is_none_or(|(latest, _)| *latest <= size) {
            self.latest.insert(node, (size, signed.clone()));
        }
        let page = self.pages.entry(size).or_default();
        page.signed.insert(node, signed);
        // The note was made of what is replaced here.
        page.note = None;
        page.unsaved = true;
        let change = page.disagreement(size, quorum).unwrap_or(Change::Added);
        self.settle(size, quorum, change)
    }

    fn settle(&mut self, size: TreeSize, quorum: usize, change: Change) -> Change {
        let enough = self
            .pages
            .get(&size)
            .is_some_and(|page| page.root.is_some() && page.agreeing().count() >= quorum);
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
                Some((size, page)) if *size < self.certified && !page.unsaved => {
                    self.pages.pop_first();
                }
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{
        hash::sha256,
        key::CosignerKey,
        name::{ClusterId, ClusterOrigin},
    };

    use super::*;

    struct Members {
        keys: Vec<CosignerKey>,
        origin: Origin,
        ledger: LedgerName,
    }

    impl Members {
        fn new() -> (Self, Book) {
            let cluster = ClusterOrigin::new("test", &ClusterId::new([7; 16])).unwrap();
            let ledger = LedgerName::new("default").unwrap();
            let key = |n: u8| CosignerKey::from_seed(&cluster.node(NodeId::new(n.into())), &[n; 32]).unwrap();
            let keys: Vec<CosignerKey> = (1..=3).map(key).collect();
            let members = (1..).map(NodeId::new).zip(keys.iter().map(|k| k.verifier().clone())).collect();
            (Self { keys, origin: cluster.ledger(&ledger), ledger }, Book::new(members))
        }

        fn sign(&self, node: usize, size: u64, root: Hash) -> Signed {
            let checkpoint =
                Checkpoint { origin: self.origin.as_str().to_owned(), size: TreeSize::new(size), root };
            let cosignature = self.keys[node - 1].cosign(&checkpoint, 100).unwrap();
            Signed { root, time: 100, signature: cosignature.signature }
        }
    }

    fn root(n: u8) -> Hash {
        sha256(&[&[n]])
    }

    #[test]
    fn a_majority_over_our_own_root_certifies() {
        let (m, mut book) = Members::new();
        let size = TreeSize::new(1);
        assert_eq!(book.computed(&m.ledger, &m.origin, size, root(1)), Change::None);
        assert_eq!(book.add(&m.ledger, NodeId::new(1), size, m.sign(1, 1, root(1))).unwrap(), Change::Added);
        assert_eq!(
            book.add(&m.ledger, NodeId::new(2), size, m.sign(2, 1, root(1))).unwrap(),
            Change::Certified
        );
        assert_eq!(book.certified(&m.ledger), size);
        assert_eq!(book.add(&m.ledger, NodeId::new(3), size, m.sign(3, 1, root(1))).unwrap(), Change::Added);
    }

    #[test]
    fn a_note_is_made_anew_after_every_new_signature() {
        let (m, mut book) = Members::new();
        let size = TreeSize::new(1);
        book.computed(&m.ledger, &m.origin, size, root(1));
        for node in 1..=3 {
            book.add(&m.ledger, NodeId::new(node as u64), size, m.sign(node, 1, root(1))).unwrap();
            let page = book.page(&m.ledger, size).unwrap();
            assert!(page.note.is_none());
            page.note = Some(((node, 100), Arc::from("made before the next signature")));
        }
        let mut later = m.sign(2, 1, root(1));
        let checkpoint = Checkpoint { origin: m.origin.as_str().to_owned(), size, root: root(1) };
        later.time = 101;
        later.signature = m.keys[1].cosign(&checkpoint, 101).unwrap().signature;
        assert_eq!(book.add(&m.ledger, NodeId::new(2), size, later).unwrap(), Change::Added);
        assert!(book.page(&m.ledger, size).unwrap().note.is_none());
    }

    #[test]
    fn nothing_is_certified_before_it_is_computed_here() {
        let (m, mut book) = Members::new();
        book.computed(&m.ledger, &m.origin, TreeSize::new(1), root(1));
        let size = TreeSize::new(4);
        for node in [2, 3] {
            book.add(&m.ledger, NodeId::new(node as u64), size, m.sign(node, 4, root(4))).unwrap();
        }
        assert_eq!(book.certified(&m.ledger), TreeSize::ZERO);
        assert_eq!(book.computed(&m.ledger, &m.origin, size, root(4)), Change::Certified);
    }

    #[test]
    fn a_quorum_over_another_root_outvotes_us() {
        let (m, mut book) = Members::new();
        let size = TreeSize::new(1);
        book.computed(&m.ledger, &m.origin, size, root(1));
        let first = book.add(&m.ledger, NodeId::new(2), size, m.sign(2, 1, root(2))).unwrap();
        assert!(matches!(first, Change::Disagreement { outvoted: false, .. }), "{first:?}");
        let second = book.add(&m.ledger, NodeId::new(3), size, m.sign(3, 1, root(2))).unwrap();
        assert!(matches!(second, Change::Disagreement { outvoted: true, .. }), "{second:?}");
        assert_eq!(book.certified(&m.ledger), TreeSize::ZERO);
    }

    #[test]
    fn strangers_and_bad_signatures_are_refused() {
        let (m, mut book) = Members::new();
        let size = TreeSize::new(1);
        book.computed(&m.ledger, &m.origin, size, root(1));
        let stranger = book.add(&m.ledger, NodeId::new(9), size, m.sign(1, 1, root(1)));
        assert_eq!(stranger.unwrap_err(), Refused::Stranger(NodeId::new(9)));
        let swapped = book.add(&m.ledger, NodeId::new(2), size, m.sign(1, 1, root(1)));
        assert!(matches!(swapped.unwrap_err(), Refused::BadSignature(..)));
        let other_size = book.add(&m.ledger, NodeId::new(2), TreeSize::new(2), m.sign(2, 1, root(1)));
        assert!(matches!(other_size.unwrap_err(), Refused::BadSignature(..)));
    }

    #[test]
    fn early_signatures_are_bounded() {
        let (m, mut book) = Members::new();
        book.computed(&m.ledger, &m.origin, TreeSize::new(1), root(1));
        let signed = m.sign(2, 5, root(5));
        for size in 2..2 + EARLY_PAGES as u64 {
            book.ledgers.get_mut(&m.ledger).unwrap().pages.insert(TreeSize::new(size), Page::default());
        }
        let far = TreeSize::new(1_000_000);
        assert_eq!(book.add(&m.ledger, NodeId::new(2), far, signed).unwrap(), Change::None);
        assert!(book.page(&m.ledger, far).is_none());
    }

    #[test]
    fn saved_pages_are_forgotten_and_unsaved_ones_are_not() {
        let (m, mut book) = Members::new();
        let last = KEPT_PAGES as u64 + 10;
        for size in 1..=last {
            book.computed(&m.ledger, &m.origin, TreeSize::new(size), root(1));
        }
        for node in [1, 2] {
            let signed = m.sign(node, last, root(1));
            book.add(&m.ledger, NodeId::new(node as u64), TreeSize::new(last), signed).unwrap();
        }
        assert_eq!(book.take_unsaved().len(), 1);
        assert_eq!(book.ledgers[&m.ledger].pages.len(), KEPT_PAGES);
        assert!(book.take_unsaved().is_empty());
    }

    #[test]
    fn a_member_that_contradicts_itself_is_convicted() {
        let (m, mut book) = Members::new();
        let (node, key) = (NodeId::new(2), m.keys[1].verifier().clone());
        let keys = quorate_core::evidence::Keys::new(std::slice::from_ref(&key), &[]);
        let convicted = |change: Change| {
            let Change::Contradiction(evidence) = change else { panic!("{change:?}") };
            evidence.verify(&keys).unwrap();
            evidence.kind().as_str()
        };
        for size in [1, 4] {
            book.computed(&m.ledger, &m.origin, TreeSize::new(size), root(1));
        }
        let mut add = |size: u64, root: Hash, time: u64| {
            let mut signed = m.sign(2, size, root);
            let checkpoint =
                Checkpoint { origin: m.origin.as_str().to_owned(), size: TreeSize::new(size), root };
            signed.time = time;
            signed.signature = m.keys[1].cosign(&checkpoint, time).unwrap().signature;
            book.add(&m.ledger, node, TreeSize::new(size), signed).unwrap()
        };
        assert_eq!(add(4, root(1), 100), Change::Added);
        // Two roots for one size, and a smaller size later.
        assert_eq!(convicted(add(4, root(2), 100)), "fork");
        assert_eq!(convicted(add(1, root(1), 101)), "rollback");
        // An older size signed before, and the newest signed again, are what honest nodes do.
        assert_eq!(add(1, root(1), 99), Change::Added);
        assert_eq!(add(4, root(1), 111), Change::Added);
    }

    #[test]
    fn members_that_differ_are_evidence_of_a_disagreement() {
        let (m, mut book) = Members::new();
        let size = TreeSize::new(1);
        book.computed(&m.ledger, &m.origin, size, root(1));
        book.add(&m.ledger, NodeId::new(1), size, m.sign(1, 1, root(1))).unwrap();
        assert_eq!(book.differing(&m.ledger, size), None);
        let change = book.add(&m.ledger, NodeId::new(2), size, m.sign(2, 1, root(2))).unwrap();
        assert!(matches!(change, Change::Disagreement { outvoted: false, .. }), "{change:?}");
        let evidence = book.differing(&m.ledger, size).unwrap();
        assert_eq!(evidence.kind().as_str(), "disagreement");
    }
}
