//! Receipts made of answers, and receipts that lie.

use quorate_core::answer::{AnswerError, KeyRange, Reading};
use quorate_core::hash::{Hash, sha256};
use quorate_core::receipt::{
    NamedBy, Receipt, ReceiptError, ReceiptExtra, RevealedOperation, VerifiedReceipt,
};
use quorate_core::state_tree::Query;

use crate::support::{Ledger, Op, Shown};

fn of_transaction(ledger: &Ledger, index: u64, shown: Shown<'_>) -> Receipt {
    Receipt::of_transaction(ledger.note(), &ledger.transaction_proof(index, shown))
}

/// A receipt of what a query finds, with the values.
fn of_state(ledger: &Ledger, query: &Query) -> Receipt {
    let found = ledger.records.iter().filter(|(key, _)| query.contains(key));
    let values = found.filter_map(|(_, records)| {
        let newest = records.last()?;
        Some((newest.operation.encode(), newest.contents.clone()?))
    });
    let commit = ledger.leaf_proof(ledger.last_index());
    Receipt::of_state(ledger.note(), commit, ledger.state.prove(query), values.collect()).unwrap()
}

fn reparsed(receipt: &Receipt) -> Receipt {
    let file = receipt.to_string();
    let again = Receipt::parse(&file).unwrap();
    assert_eq!((&again, again.to_string()), (receipt, file));
    again
}

#[test]
fn a_receipt_of_a_transaction_is_made_of_its_answer() {
    let ledger = Ledger::with_story();
    for index in ledger.transactions.keys() {
        let receipt = reparsed(&of_transaction(&ledger, *index, Shown::All));
        let VerifiedReceipt::Transaction(verified) = receipt.verify(&ledger.policy()).unwrap() else {
            panic!("a transaction")
        };
        assert_eq!(verified.author().as_deref(), Some("alice"));
        assert_eq!(verified.transaction().index().get(), *index);
        assert!(verified.transaction().is_complete());
    }
    let receipt = reparsed(&of_transaction(&ledger, 6, Shown::Key(b"d")));
    let VerifiedReceipt::Transaction(verified) = receipt.verify(&ledger.policy()).unwrap() else {
        panic!("a transaction")
    };
    assert!(!verified.transaction().is_complete());
    assert_eq!(verified.author(), None);
    assert_eq!(verified.transaction().operation_on(b"d").unwrap().contents().unwrap().value, b"dee");
}

#[test]
fn a_receipt_of_state_answers_for_the_keys_it_covers() {
    let ledger = Ledger::with_story();
    let receipt = reparsed(&of_state(&ledger, &Query::Key(b"a/1".to_vec())));
    let VerifiedReceipt::State(verified) = receipt.verify(&ledger.policy()).unwrap() else { panic!("state") };
    let reading = verified.get(b"a/1").unwrap();
    assert_eq!(reading.value().unwrap().bytes(), b"one at last");
    assert_eq!(verified.readings(), [reading]);
    assert!(verified.get(b"a/2").is_err() && verified.get(b"b").is_err());

    let range = KeyRange::prefix(b"a/");
    let receipt = reparsed(&of_state(&ledger, &range.query()));
    let VerifiedReceipt::State(verified) = receipt.verify(&ledger.policy()).unwrap() else { panic!("state") };
    assert_eq!(verified.scan(&range).unwrap().readings(), verified.readings());
    assert!(matches!(verified.get(b"a/3").unwrap(), Reading::Absent(_)));
    assert!(verified.scan(&KeyRange::all()).is_err());
    assert!(verified.get(b"b").is_err());

    // A ledger without a key.
    let empty = Ledger::new(2);
    let receipt = reparsed(&of_state(&empty, &Query::everything()));
    let VerifiedReceipt::State(verified) = receipt.verify(&empty.policy()).unwrap() else { panic!("state") };
    assert!(matches!(verified.get(b"any").unwrap(), Reading::Absent(_)));
}

#[test]
fn an_artifact_is_found_by_its_key_or_its_value() {
    let mut ledger = Ledger::new(1);
    let digest = sha256(&[b"the artifact"]);
    let other = sha256(&[b"another"]);
    ledger.block(
        1_001_000_000,
        &[vec![
            Op::Put(digest.to_string().into_bytes(), b"{}".to_vec(), None),
            Op::Put(b"file".to_vec(), b"another".to_vec(), None),
            Op::Put(b"raw".to_vec(), b"".to_vec(), None),
        ]],
    );
    ledger.block(1_002_000_000, &[vec![Op::Put(digest.as_bytes().to_vec(), b"{}".to_vec(), None)]]);
    let verified = of_transaction(&ledger, 1, Shown::All).verify(&ledger.policy()).unwrap();
    assert_eq!(verified.artifact(&digest).unwrap().named_by, NamedBy::Key);
    let found = verified.artifact(&other).unwrap();
    assert_eq!((found.named_by, found.write.key()), (NamedBy::Value, &b"file"[..]));
    assert_eq!(verified.artifact(&Hash::ZERO), None);
    let verified = of_state(&ledger, &Query::everything()).verify(&ledger.policy()).unwrap();
    assert_eq!(verified.artifact(&digest).unwrap().named_by, NamedBy::Key);
}

#[test]
fn swapped_receipts() {
    let ledger = Ledger::with_story();
    let (one, other) = (of_transaction(&ledger, 1, Shown::All), of_transaction(&ledger, 2, Shown::All));
    let lines = |receipt: &Receipt| receipt.to_string().lines().map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (lines(&one), lines(&other));
    let verify = |lines: &[String]| {
        let file = lines.join("\n") + "\n";
        Receipt::parse(&file).and_then(|receipt| receipt.verify(&ledger.policy()))
    };
    verify(&one).unwrap();
    for line in 1..one.iter().position(String::is_empty).unwrap() {
        let mut swapped = one.clone();
        swapped[line].clone_from(&other[line]);
        assert!(swapped == one || verify(&swapped).is_err(), "line {line}");
    }
    // Under the checkpoint of before, when it was not there yet.
    let mut later = Ledger::with_story();
    later.block(1_060_000_000, &[vec![Op::Put(b"z".to_vec(), b"".to_vec(), None)]]);
    let receipt =
        Receipt::of_transaction(ledger.note(), &later.transaction_proof(later.size() - 2, Shown::All));
    assert!(matches!(
        receipt.verify(&ledger.policy()),
        Err(ReceiptError::Answer(AnswerError::NotInTree { .. }))
    ));
}

#[test]
fn parts_that_do_not_belong_there() {
    let ledger = Ledger::with_story();
    let commit = ledger.leaf_proof(ledger.last_index());
    let proof = ledger.state.prove(&Query::Key(b"b".to_vec()));
    let contents = ledger.records[&b"b"[..]][0].contents.clone().unwrap();
    let stranger = ledger.records[&b"d"[..]][0].operation.encode();
    let own = ledger.records[&b"b"[..]][0].operation.encode();
    let state = |values| {
        let receipt = Receipt::of_state(ledger.note(), commit.clone(), proof.clone(), values).unwrap();
        reparsed(&receipt).verify(&ledger.policy())
    };
    state(vec![(own.clone(), contents.clone())]).unwrap();
    // An operation that the proof does not reveal, the same twice, and a wrong value.
    assert!(matches!(state(vec![(stranger, contents.clone())]), Err(ReceiptError::NotRevealed)));
    let twice = vec![(own.clone(), contents.clone()), (own.clone(), contents.clone())];
    assert!(matches!(state(twice), Err(ReceiptError::NotRevealed)));
    let mut wrong = contents;
    wrong.value.push(b'!');
    assert!(matches!(
        state(vec![(own, wrong)]),
        Err(ReceiptError::Answer(AnswerError::WrongContents { .. }))
    ));
    // An older commit leaf is not the state of the checkpoint.
    let mut older = of_state(&ledger, &Query::Key(b"b".to_vec())).to_string();
    older = older.replacen("\nindex 14\n", "\nindex 11\n", 1);
    assert!(matches!(
        Receipt::parse(&older).unwrap().verify(&ledger.policy()),
        Err(ReceiptError::Field { field: "index", .. })
    ));
}

#[test]
fn every_line_has_one_form() {
    let ledger = Ledger::with_story();
    let file = of_transaction(&ledger, 2, Shown::All).to_string();
    Receipt::parse(&file).unwrap();
    for (from, to) in [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("extra ", "extra  "),
        ("extra ", "Extra "),
        ("index 2", "index 02"),
        ("index 2", "index +2"),
        ("index 2", "index 2 "),
        ("\n\nledger", "\n\n\nledger"),
        ("\n\nledger", "\nledger"),
        ("\n", "\r\n"),
        ("index 2\n", "index 2\nAAAA\n"),
    ] {
        let other = file.replacen(from, to, 1);
        assert_ne!(other, file, "{from}");
        assert!(Receipt::parse(&other).is_err(), "{from:?} as {to:?}");
    }
    assert!(Receipt::parse(&format!("{file}\n")).is_err());
    let without_extra: String =
        file.lines().filter(|line| !line.starts_with("extra")).map(|line| format!("{line}\n")).collect();
    assert!(matches!(Receipt::parse(&without_extra), Err(ReceiptError::Line { line: 2, .. })));
    let long = file.replacen(
        "\n\nledger",
        &format!("\n{}\nledger", format!("{}\n", Hash::ZERO.to_base64()).repeat(65)),
        1,
    );
    assert!(Receipt::parse(&long).is_err());
}

#[test]
fn a_removed_cosigner_leaves_the_same_statement_to_the_policy() {
    let ledger = Ledger::with_story();
    let receipt = of_transaction(&ledger, 2, Shown::All).to_string();
    let fewer: String =
        receipt.lines().filter(|line| !line.contains("node/3 ")).map(|line| format!("{line}\n")).collect();
    let verified = Receipt::parse(&fewer).unwrap().verify(&ledger.policy()).unwrap();
    assert_eq!(verified.checkpoint().cosigners().count(), 2);
    let refused = Receipt::parse(&fewer).unwrap().verify(&ledger.strict_policy());
    assert!(matches!(refused, Err(ReceiptError::Policy(_))));
}

/// The receipt's file with other extra data, in their canonical encoding.
fn with_extra(
    receipt: &Receipt,
    change: impl Fn(&mut ReceiptExtra),
) -> Result<VerifiedReceipt, ReceiptError> {
    use base64::Engine as _;
    use prost::Message as _;
    let base64 =
        |extra: &ReceiptExtra| base64::engine::general_purpose::STANDARD.encode(extra.encode_to_vec());
    let mut extra = receipt.extra().clone();
    change(&mut extra);
    let file = receipt.to_string().replacen(&base64(receipt.extra()), &base64(&extra), 1);
    Receipt::parse(&file)?.verify(&Ledger::with_story().policy())
}

#[test]
fn fields_of_the_other_kind_of_receipt() {
    let ledger = Ledger::with_story();
    let field = |result, name| match result {
        Err(ReceiptError::Field { field, .. }) => assert_eq!(field, name),
        other => panic!("{name}: {other:?}"),
    };
    let state = of_state(&ledger, &Query::Key(b"b".to_vec()));
    with_extra(&state, |_| ()).unwrap();
    field(with_extra(&state, |extra| extra.meta_salt = vec![7; 16]), "meta");
    field(with_extra(&state, |extra| extra.operations[0].position = 1), "position");
    field(with_extra(&state, |extra| extra.operations[0].path = vec![vec![0; 32]]), "position");
    field(with_extra(&state, |extra| extra.operations[0].salt.clear()), "value");
    let empty = |extra: &mut ReceiptExtra| {
        extra.operations[0] = RevealedOperation {
            operation: extra.operations[0].operation.clone(),
            ..RevealedOperation::default()
        };
    };
    field(with_extra(&state, empty), "value");

    let transaction = of_transaction(&ledger, 6, Shown::All);
    with_extra(&transaction, |_| ()).unwrap();
    field(with_extra(&transaction, |extra| extra.state_proof = vec![0]), "state_proof");
    field(with_extra(&transaction, |extra| extra.meta_salt.clear()), "meta");
    field(with_extra(&transaction, |extra| extra.meta_salt.truncate(15)), "meta_salt");
    field(with_extra(&transaction, |extra| extra.operations[1].salt.push(0)), "salt");
    field(with_extra(&transaction, |extra| extra.operations[1].path[0].truncate(31)), "path");
    let pathless =
        |extra: &mut ReceiptExtra| extra.operations.iter_mut().for_each(|shown| shown.path.clear());
    assert!(matches!(
        with_extra(&transaction, pathless),
        Err(ReceiptError::Answer(AnswerError::OperationNotIncluded { .. }))
    ));
    assert!(matches!(
        with_extra(&transaction, |extra| extra.leaf = vec![9, 9]),
        Err(ReceiptError::UnknownLeaf)
    ));
}
