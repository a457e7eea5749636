//! Who counts, when a size is certified, and what convicts a member.

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
        let keys: Vec<CosignerKey> = (1..=5).map(key).collect();
        let members = (1..).map(NodeId::new).zip(keys.iter().map(|k| k.verifier().clone())).take(3).collect();
        (Self { keys, origin: cluster.ledger(&ledger), ledger }, Book::new(members))
    }

    /// The set of these nodes.
    fn set(&self, epoch: u64, nodes: &[u64]) -> Arc<CosignerSet> {
        let cosigner = |node: &u64| quorate_ledger::registry::Cosigner {
            node_id: *node,
            vkey: self.keys[usize::try_from(*node).unwrap() - 1].verifier().to_string(),
            ..Default::default()
        };
        Arc::new(CosignerSet { epoch, cosigners: nodes.iter().map(cosigner).collect() })
    }

    /// With the founders as those who count.
    fn founded(&self, book: &mut Book, size: TreeSize, root: Hash) -> Change {
        let panels = book.panels(&[]).unwrap();
        book.computed(&self.ledger, &self.origin, size, root, panels)
    }

    fn computed(&self, book: &mut Book, size: u64, sets: &[Arc<CosignerSet>]) -> Change {
        let panels = book.panels(sets).unwrap();
        book.computed(&self.ledger, &self.origin, TreeSize::new(size), root(1), panels)
    }

    fn add(&self, book: &mut Book, node: u64, size: u64) -> Result<Change, Refused> {
        let signed = self.sign(usize::try_from(node).unwrap(), size, root(1));
        book.add(&self.ledger, NodeId::new(node), TreeSize::new(size), signed)
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
    assert_eq!(m.founded(&mut book, size, root(1)), Change::None);
    assert_eq!(book.add(&m.ledger, NodeId::new(1), size, m.sign(1, 1, root(1))).unwrap(), Change::Added);
    assert_eq!(book.add(&m.ledger, NodeId::new(2), size, m.sign(2, 1, root(1))).unwrap(), Change::Certified);
    assert_eq!(book.certified(&m.ledger), size);
    assert_eq!(book.add(&m.ledger, NodeId::new(3), size, m.sign(3, 1, root(1))).unwrap(), Change::Added);
}

#[test]
fn the_beginning_of_an_epoch_takes_a_majority_of_the_old_and_of_the_new_set() {
    let (m, mut book) = Members::new();
    let (old, new) = (m.set(1, &[1, 2, 3]), m.set(2, &[3, 4, 5]));
    assert_eq!(m.computed(&mut book, 7, &[old, Arc::clone(&new)]), Change::None);
    for node in [3, 4, 5] {
        assert_eq!(m.add(&mut book, node, 7).unwrap(), Change::Added, "only one of the old set so far");
    }
    assert_eq!(book.lagging().len(), 2, "it is asked for until it is certified");
    // A later size needs only the new set.
    m.computed(&mut book, 9, &[new]);
    for node in [3, 4, 5] {
        m.add(&mut book, node, 9).unwrap();
    }
    assert_eq!(book.certified(&m.ledger), TreeSize::new(9));
    let lagging: Vec<_> =
        book.lagging().into_iter().map(|(_, size, missing)| (size.get(), missing.len())).collect();
    assert_eq!(lagging, [(7, 2)]);
    m.add(&mut book, 1, 7).unwrap();
    assert!(book.page(&m.ledger, TreeSize::new(7)).unwrap().is_certified());
    assert!(book.lagging().is_empty());
}

#[test]
fn a_removed_node_does_not_count_any_more_and_a_new_one_does() {
    let (m, mut book) = Members::new();
    m.computed(&mut book, 1, &[m.set(1, &[1, 2, 3])]);
    // Early, when it was a member still.
    m.add(&mut book, 3, 5).unwrap();
    assert_eq!(m.add(&mut book, 4, 5).unwrap_err(), Refused::Stranger(NodeId::new(4)));
    m.computed(&mut book, 3, &[m.set(2, &[1, 2, 4])]);
    assert_eq!(m.add(&mut book, 3, 3).unwrap_err(), Refused::Stranger(NodeId::new(3)));
    assert_eq!(m.add(&mut book, 3, 1).unwrap(), Change::Added, "of the time when it was a member");
    m.computed(&mut book, 5, &[m.set(2, &[1, 2, 4])]);
    m.add(&mut book, 1, 5).unwrap();
    assert_eq!(book.certified(&m.ledger), TreeSize::ZERO, "its early signature does not count");
    assert_eq!(m.add(&mut book, 4, 5).unwrap(), Change::Certified);
}

#[test]
fn a_ledger_that_does_not_grow_is_vouched_for_by_the_newest_set() {
    let (m, mut book) = Members::new();
    m.computed(&mut book, 4, &[m.set(1, &[1, 2, 3])]);
    for node in [1, 2] {
        m.add(&mut book, node, 4).unwrap();
    }
    assert!(book.adopt().is_empty());
    book.panels(&[m.set(2, &[3, 4, 5])]).unwrap();
    assert_eq!(m.add(&mut book, 4, 4).unwrap_err(), Refused::Stranger(NodeId::new(4)));
    assert_eq!(book.adopt(), [(m.ledger.clone(), TreeSize::new(4), root(1))]);
    assert!(book.adopt().is_empty());
    assert!(book.page(&m.ledger, TreeSize::new(4)).unwrap().is_certified(), "it was, and stays");
    assert_eq!(book.lagging()[0].2.len(), 3);
    for node in [3, 4, 5] {
        m.add(&mut book, node, 4).unwrap();
    }
    assert!(book.lagging().is_empty());
}

#[test]
fn a_note_is_made_anew_after_every_new_signature() {
    let (m, mut book) = Members::new();
    let size = TreeSize::new(1);
    m.founded(&mut book, size, root(1));
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
    m.founded(&mut book, TreeSize::new(1), root(1));
    let size = TreeSize::new(4);
    for node in [2, 3] {
        book.add(&m.ledger, NodeId::new(node as u64), size, m.sign(node, 4, root(4))).unwrap();
    }
    assert_eq!(book.certified(&m.ledger), TreeSize::ZERO);
    assert_eq!(m.founded(&mut book, size, root(4)), Change::Certified);
}

#[test]
fn a_quorum_over_another_root_outvotes_us() {
    let (m, mut book) = Members::new();
    let size = TreeSize::new(1);
    m.founded(&mut book, size, root(1));
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
    m.founded(&mut book, size, root(1));
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
    m.founded(&mut book, TreeSize::new(1), root(1));
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
        m.founded(&mut book, TreeSize::new(size), root(1));
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
        m.founded(&mut book, TreeSize::new(size), root(1));
    }
    let mut add = |size: u64, root: Hash, time: u64| {
        let mut signed = m.sign(2, size, root);
        let checkpoint = Checkpoint { origin: m.origin.as_str().to_owned(), size: TreeSize::new(size), root };
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
    assert_eq!(convicted(add(1, root(1), 105)), "rollback");
}

#[test]
fn a_head_signed_again_and_a_change_of_the_set_convict_nobody() {
    let (m, mut book) = Members::new();
    let at = |node: u64, size: u64, time: u64| {
        let checkpoint =
            Checkpoint { origin: m.origin.as_str().to_owned(), size: TreeSize::new(size), root: root(1) };
        let key = &m.keys[usize::try_from(node).unwrap() - 1];
        Signed { root: root(1), time, signature: key.cosign(&checkpoint, time).unwrap().signature }
    };
    let add = |book: &mut Book, node: u64, size: u64, time: u64| {
        let change = book.add(&m.ledger, NodeId::new(node), TreeSize::new(size), at(node, size, time));
        assert!(!matches!(change, Ok(Change::Contradiction(_))), "{node} {size} {time}: {change:?}");
    };
    m.computed(&mut book, 4, &[m.set(1, &[1, 2, 3])]);
    // The head, asked for again and again, and answers that arrive in another order than they were signed in.
    for time in [100, 120, 111] {
        add(&mut book, 2, 4, time);
    }
    book.panels(&[m.set(2, &[2, 3, 4])]).unwrap();
    assert_eq!(book.adopt().len(), 1);
    for (node, time) in [(2, 130), (4, 90), (4, 131)] {
        add(&mut book, node, 4, time);
    }
    // The ledger grows; what was signed of the smaller size arrives late, and within the same second.
    m.computed(&mut book, 6, &[m.set(2, &[2, 3, 4])]);
    for (node, size, time) in [(2, 6, 140), (2, 4, 140), (4, 6, 140), (4, 4, 139)] {
        add(&mut book, node, size, time);
    }
    let late = book.add(&m.ledger, NodeId::new(2), TreeSize::new(4), at(2, 4, 141)).unwrap();
    assert!(matches!(late, Change::Contradiction(_)), "planted: a smaller size at a later time");
}

#[test]
fn members_that_differ_are_evidence_of_a_disagreement() {
    let (m, mut book) = Members::new();
    let size = TreeSize::new(1);
    m.founded(&mut book, size, root(1));
    book.add(&m.ledger, NodeId::new(1), size, m.sign(1, 1, root(1))).unwrap();
    assert_eq!(book.differing(&m.ledger, size), None);
    let change = book.add(&m.ledger, NodeId::new(2), size, m.sign(2, 1, root(2))).unwrap();
    assert!(matches!(change, Change::Disagreement { outvoted: false, .. }), "{change:?}");
    let evidence = book.differing(&m.ledger, size).unwrap();
    assert_eq!(evidence.kind().as_str(), "disagreement");
}
