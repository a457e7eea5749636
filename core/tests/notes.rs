//! Every bit of every note of the golden ledgers, flipped: the note is refused, or it says the same with fewer
//! known signers, for the policy to judge.
#![expect(clippy::unwrap_used, reason = "tests")]

use quorate_core::checkpoint::Checkpoint;
use quorate_core::key::VerifierKey;
use quorate_core::policy::{CertifiedCheckpoint, Policy, PolicyError};
use serde_json::Value;

/// The worked ledgers.
fn vectors() -> [Value; 3] {
    [
        include_str!("vectors/ledger-1.json"),
        include_str!("vectors/ledger-2.json"),
        include_str!("vectors/ledger-3.json"),
    ]
    .map(|text| serde_json::from_str(text).unwrap())
}

/// The policy for a ledger that asks for k cosignatures, or all.
fn policy(vector: &Value, k: Option<usize>) -> Policy {
    let vkey = |value: &Value| VerifierKey::parse(value.as_str().unwrap()).unwrap();
    let cosigners = vector["cosigners"].as_array().unwrap().iter();
    let cosigners: Vec<VerifierKey> = cosigners.map(|cosigner| vkey(&cosigner["vkey"])).collect();
    Policy::k_of_n(&vkey(&vector["log_key"]["vkey"]), &cosigners, k.unwrap_or(cosigners.len())).unwrap()
}

/// What the flips of a note came to.
#[derive(Default)]
struct Outcome {
    refused: usize,
    fewer_signers: usize,
}

/// Opens the note with every bit flipped once.
fn flip_every_bit(note: &str, majority: &Policy, all: &Policy) -> Outcome {
    let whole = majority.open(note).unwrap();
    let mut bytes = note.as_bytes().to_vec();
    let mut outcome = Outcome::default();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let opened =
            std::str::from_utf8(&bytes).ok().and_then(|text| Some((text, majority.open(text).ok()?)));
        match opened {
            None => outcome.refused += 1,
            Some((text, less)) => {
                check_less(&less, &whole, bit);
                // With a signer gone, a policy that asks for all of them refuses.
                let refused = all.open(text);
                assert!(matches!(refused, Err(PolicyError::NotMet { .. })), "bit {bit}: {refused:?}");
                outcome.fewer_signers += 1;
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    outcome
}

/// The same statement by fewer of the same signers.
fn check_less(less: &CertifiedCheckpoint, whole: &CertifiedCheckpoint, bit: usize) {
    assert_eq!(less.checkpoint(), whole.checkpoint(), "bit {bit}");
    assert!(less.signers().len() < whole.signers().len(), "bit {bit}");
    assert!(less.signers().iter().all(|signer| whole.signers().contains(signer)), "bit {bit}");
}

/// The claim for all notes of a ledger. One test for each ledger, so that they run side by side.
fn every_flipped_bit_of(vector: &Value) {
    let (majority, all) = (policy(vector, Some(2)), policy(vector, None));
    for block in vector["expect"].as_array().unwrap() {
        let note = block["checkpoint_note"].as_str().unwrap();
        let outcome = flip_every_bit(note, &majority, &all);
        assert_eq!(outcome.refused + outcome.fewer_signers, note.len() * 8);
        // Both happen: a flip in a cosigner's name or key id makes it somebody unknown.
        assert!(outcome.fewer_signers > 3 * 32 && outcome.refused > note.len(), "{}", outcome.fewer_signers);
    }
}

#[test]
fn every_flipped_bit_is_refused_or_leaves_fewer_signers_1() {
    every_flipped_bit_of(&vectors()[0]);
}

#[test]
fn every_flipped_bit_is_refused_or_leaves_fewer_signers_2() {
    every_flipped_bit_of(&vectors()[1]);
}

#[test]
fn every_flipped_bit_is_refused_or_leaves_fewer_signers_3() {
    every_flipped_bit_of(&vectors()[2]);
}

#[test]
fn every_cut_of_a_note_is_refused_or_leaves_fewer_signers() {
    let vector = &vectors()[0];
    let (none, note) = (policy(vector, Some(1)), vector["expect"][5]["checkpoint_note"].as_str().unwrap());
    let whole = none.open(note).unwrap();
    let cuts = (0..note.len()).filter(|end| note.is_char_boundary(*end));
    let opened: Vec<CertifiedCheckpoint> = cuts.filter_map(|end| none.open(&note[..end]).ok()).collect();
    // After the first and the second cosigner.
    assert_eq!(opened.len(), 2);
    for less in &opened {
        check_less(less, &whole, 0);
    }
}

#[test]
fn signatures_of_one_size_do_not_fit_another() {
    let vector = &vectors()[0];
    let policy = policy(vector, Some(1));
    let note = |block: usize| vector["expect"][block]["checkpoint_note"].as_str().unwrap();
    let (body, _) = note(4).split_once("\n\n").unwrap();
    let (_, lines) = note(5).split_once("\n\n").unwrap();
    assert!(policy.open(&format!("{body}\n\n{lines}")).is_err());
}

#[test]
fn a_note_of_one_ledger_is_nothing_to_another() {
    let [one, two, _] = vectors();
    let error = policy(&two, Some(1)).open(one["expect"][3]["checkpoint_note"].as_str().unwrap());
    assert!(matches!(error, Err(PolicyError::UnknownOrigin { .. })), "{error:?}");
}

#[test]
fn bodies_read_back() {
    for vector in vectors() {
        for block in vector["expect"].as_array().unwrap() {
            let body = block["checkpoint_body"].as_str().unwrap();
            assert_eq!(Checkpoint::parse(body).unwrap().body(), body);
        }
    }
}
