//! One flipped bit anywhere in a proof, and it is refused; arbitrary bytes are refused without a panic.

use proptest::prelude::*;
use quorate_core::answer::{
    AnswerError, Bundle, Contents, Direction, HistoryCursor, KeyRange, LeafProof, Meta, Proven,
    RevealedOperation, TransactionProof,
};
use quorate_core::evidence::Evidence;
use quorate_core::hash::Hash;
use quorate_core::position::LogIndex;
use quorate_core::receipt::Receipt;

use crate::support::{Ledger, Shown};

/// Every byte string of a bundle, as something whose bits can be flipped.
fn parts(bundle: &mut Bundle) -> Vec<Box<dyn FnMut(usize) -> bool + '_>> {
    let mut parts: Vec<Box<dyn FnMut(usize) -> bool + '_>> = Vec::new();
    for proof in bundle.commit.iter_mut().chain(bundle.point.iter_mut()) {
        parts.push(bytes(&mut proof.leaf));
        proof.path.iter_mut().for_each(|hash| parts.push(hash_bits(hash)));
    }
    bundle.state_proofs.iter_mut().for_each(|proof| parts.push(bytes(proof)));
    for contents in &mut bundle.contents {
        parts.push(bytes(&mut contents.salt));
        parts.push(bytes(&mut contents.attributes));
        parts.push(bytes(&mut contents.value));
    }
    for transaction in &mut bundle.transactions {
        parts.push(bytes(&mut transaction.leaf));
        let index = &mut transaction.index;
        parts.push(Box::new(move |bit| {
            *index = LogIndex::new(index.get() ^ 1_u64.checked_shl(bit as u32).unwrap_or_default());
            bit < 64
        }));
        transaction.path.iter_mut().for_each(|hash| parts.push(hash_bits(hash)));
        for operation in &mut transaction.operations {
            parts.push(bytes(&mut operation.operation));
            operation.path.iter_mut().for_each(|hash| parts.push(hash_bits(hash)));
            let position = &mut operation.position;
            parts.push(Box::new(move |bit| {
                *position ^= 1_u32.checked_shl(bit as u32).unwrap_or_default();
                bit < 32
            }));
            if let Some(contents) = &mut operation.contents {
                parts.push(bytes(&mut contents.salt));
                parts.push(bytes(&mut contents.attributes));
                parts.push(bytes(&mut contents.value));
            }
        }
        if let Some(meta) = &mut transaction.meta {
            parts.push(bytes(&mut meta.salt));
            parts.push(bytes(&mut meta.bytes));
        }
    }
    parts
}

/// Flips a bit; `false` if there is no such bit.
fn bytes(bytes: &mut [u8]) -> Box<dyn FnMut(usize) -> bool + '_> {
    Box::new(|bit| match bytes.get_mut(bit / 8) {
        Some(byte) => {
            *byte ^= 1 << (bit % 8);
            true
        }
        None => false,
    })
}

fn hash_bits(hash: &mut Hash) -> Box<dyn FnMut(usize) -> bool + '_> {
    Box::new(|bit| {
        let mut raw = *hash.as_bytes();
        let flipped = bytes(&mut raw)(bit);
        *hash = Hash::new(raw);
        flipped
    })
}

/// Flips every bit of the bundle in turn; `read` must refuse each.
fn refuses_every_flip(ledger: &Ledger, honest: &Bundle, read: impl Fn(&Proven) -> Result<(), AnswerError>) {
    let certified = ledger.certified();
    read(&Proven::open(certified.clone(), honest.clone()).unwrap()).unwrap();
    let count = parts(&mut honest.clone()).len();
    let mut flips = 0;
    for part in 0..count {
        for bit in 0.. {
            let mut bundle = honest.clone();
            if !parts(&mut bundle)[part](bit) {
                break;
            }
            flips += 1;
            let refused = Proven::open(certified.clone(), bundle).and_then(|proven| read(&proven));
            assert!(refused.is_err(), "part {part}, bit {bit}");
        }
    }
    assert!(flips > 1_000);
}

#[test]
fn in_the_answer_about_keys() {
    let ledger = Ledger::with_story();
    refuses_every_flip(&ledger, &ledger.answer_get(&[b"a/1"]), |proven| proven.get(b"a/1").map(drop));
    refuses_every_flip(&ledger, &ledger.answer_get(&[b"c"]), |proven| proven.get(b"c").map(drop));
    refuses_every_flip(&ledger, &ledger.answer_get(&[b"never"]), |proven| proven.get(b"never").map(drop));
}

#[test]
fn in_a_page_of_a_scan() {
    let ledger = Ledger::with_story();
    let range = KeyRange::prefix(b"a");
    let (bundle, covered) = ledger.answer_scan(&range, Direction::Descending, 9);
    refuses_every_flip(&ledger, &bundle, |proven| {
        proven.scan(&range, Direction::Descending, &covered).map(drop)
    });
}

#[test]
fn in_a_page_of_a_history() {
    let ledger = Ledger::with_story();
    for direction in [Direction::Ascending, Direction::Descending] {
        let cursor = HistoryCursor::new(b"a/1", direction);
        let bundle = ledger.answer_history(&cursor, 9);
        refuses_every_flip(&ledger, &bundle, |proven| proven.history(&cursor).map(drop));
    }
}

#[test]
fn in_an_answer_as_of_an_index() {
    let ledger = Ledger::with_story();
    // A transaction leaf and a commit leaf as the point in time; the middle write, which has a next one.
    for index in [4, 5] {
        let at = LogIndex::new(index);
        let bundle = ledger.answer_as_of(&[b"a/1"], index);
        refuses_every_flip(&ledger, &bundle, |proven| proven.as_of(at)?.get(b"a/1").map(drop));
        let bundle = ledger.answer_as_of_from_log(b"a/2", index);
        refuses_every_flip(&ledger, &bundle, |proven| proven.as_of(at)?.get(b"a/2").map(drop));
    }
}

#[test]
fn in_a_transaction() {
    let ledger = Ledger::with_story();
    for shown in [Shown::All, Shown::Key(b"d")] {
        let bundle = Bundle { transactions: vec![ledger.transaction_proof(6, shown)], ..Bundle::default() };
        refuses_every_flip(&ledger, &bundle, |proven| proven.transaction(LogIndex::new(6)).map(drop));
    }
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    // Bytes that look like leaves, operations and proofs half the time.
    let tagged =
        (prop::sample::select(vec![&[1, 1][..], &[1, 2], &[0], &[2], &[3, 0, 1, 2], &[1]]), any_tail());
    prop_oneof![any_tail(), tagged.prop_map(|(head, tail)| [head, &tail].concat())]
}

fn any_tail() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..140)
}

fn any_path() -> impl Strategy<Value = Vec<Hash>> {
    prop::collection::vec(any::<[u8; 32]>().prop_map(Hash::new), 0..6)
}

fn any_contents() -> impl Strategy<Value = Contents> {
    (any::<[u8; 16]>(), any_tail(), any_tail()).prop_map(|(salt, attributes, value)| Contents {
        salt,
        attributes,
        value,
    })
}

fn any_transaction() -> impl Strategy<Value = TransactionProof> {
    let operation = (any_bytes(), any::<u32>(), any_path(), prop::option::of(any_contents()));
    let operation = operation.prop_map(|(operation, position, path, contents)| RevealedOperation {
        operation,
        position,
        path,
        contents,
    });
    let meta = (any::<[u8; 16]>(), any_tail()).prop_map(|(salt, bytes)| Meta { salt, bytes });
    let index = prop_oneof![0..20_u64, any::<u64>()].prop_map(LogIndex::new);
    (index, any_bytes(), any_path(), prop::collection::vec(operation, 0..4), prop::option::of(meta)).prop_map(
        |(index, leaf, path, operations, meta)| TransactionProof { index, leaf, path, operations, meta },
    )
}

fn any_bundle() -> impl Strategy<Value = Bundle> {
    let leaf =
        || prop::option::of((any_bytes(), any_path()).prop_map(|(leaf, path)| LeafProof { leaf, path }));
    let proofs = prop::collection::vec(any_bytes(), 0..3);
    let transactions = prop::collection::vec(any_transaction(), 0..3);
    (leaf(), proofs, transactions, prop::collection::vec(any_contents(), 0..3), leaf()).prop_map(
        |(commit, state_proofs, transactions, contents, point)| Bundle {
            commit,
            state_proofs,
            transactions,
            contents,
            point,
        },
    )
}

/// Asks everything; what comes back does not matter, only that it comes back.
fn ask_everything(proven: &Proven) {
    let range = KeyRange::prefix(b"a");
    drop(proven.get(b"a/1"));
    drop(proven.get_many(&[b"a", b"b"]));
    for direction in [Direction::Ascending, Direction::Descending] {
        drop(proven.scan(&range, direction, &range));
        drop(proven.history(&HistoryCursor::new(b"a/1", direction)));
    }
    for index in [0, 4, u64::MAX] {
        if let Ok(then) = proven.as_of(LogIndex::new(index)) {
            drop(then.get(b"a/1"));
            drop(then.scan(&range, Direction::Ascending, &range));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bundles_are_refused_without_a_panic(bundle in any_bundle(), keep in any::<[bool; 3]>()) {
        let ledger = Ledger::with_story();
        let honest = ledger.answer_get(&[b"a/1"]);
        let [keep_commit, keep_proofs, keep_transactions] = keep;
        // With some parts honest, so that the arbitrary ones are reached.
        let mut bundle = bundle;
        if keep_commit {
            bundle.commit = honest.commit;
        }
        if keep_proofs {
            bundle.state_proofs = honest.state_proofs;
        }
        if keep_transactions {
            bundle.transactions = vec![ledger.transaction_proof(4, Shown::All)];
        }
        if let Ok(proven) = Proven::open(ledger.certified(), bundle) {
            ask_everything(&proven);
        }
    }

    #[test]
    fn honest_answers_with_bytes_changed_do_not_panic(
        part in any::<prop::sample::Index>(),
        bits in prop::collection::vec(0_usize..1_200, 1..6),
    ) {
        let ledger = Ledger::with_story();
        let mut bundle = ledger.answer_as_of(&[b"a/1"], 4);
        let count = parts(&mut bundle).len();
        for bit in bits {
            parts(&mut bundle)[part.index(count)](bit);
        }
        if let Ok(proven) = Proven::open(ledger.certified(), bundle) {
            ask_everything(&proven);
        }
    }

    #[test]
    fn arbitrary_text_is_no_receipt_and_no_evidence(text in ".{0,200}", head in any::<bool>()) {
        let header = if head { "c2sp.org/tlog-proof@v1\nextra " } else { "" };
        assert!(Receipt::parse(&format!("{header}{text}")).is_err());
        assert!(Evidence::parse(&text).is_err());
    }
}
