//! Tests of `policy`: what is accepted, what is refused, and why.

use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::key::{CosignerKey, LogKey, VerifierKey};
use crate::name::Origin;
use crate::note::{NoteError, SignedNote};
use crate::position::TreeSize;

const ORIGIN: &str = "ledger.example/test/4420823c/default";

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: ORIGIN.to_owned(), size: TreeSize::new(81), root: Hash::ZERO }
}

fn log() -> LogKey {
    LogKey::derive(&[7; 32], &Origin::parse(ORIGIN).unwrap())
}

fn node(id: u8) -> CosignerKey {
    CosignerKey::from_seed(&format!("ledger.example/test/4420823c/node/{id}"), &[id; 32]).unwrap()
}

fn vkey(id: u8) -> VerifierKey {
    node(id).verifier().clone()
}

fn vkeys(ids: std::ops::RangeInclusive<u8>) -> Vec<VerifierKey> {
    ids.map(vkey).collect()
}

/// A note with the log's signature and cosignatures of these nodes at these times.
fn note(cosigners: &[(u8, u64)]) -> SignedNote {
    let mut note = SignedNote::new(checkpoint());
    note.add(log().sign(&checkpoint()));
    for (id, time) in cosigners {
        note.add(node(*id).cosign(&checkpoint(), *time).unwrap().to_line());
    }
    note
}

/// Three witnesses in one place, three in another, as in the example of the specification.
fn nested() -> String {
    let mut file = format!("# two places\nlog {}\n\n", log().verifier());
    for (place, ids) in [("X", 1..=3), ("Y", 4..=6)] {
        for (number, id) in ids.enumerate() {
            file.push_str(&format!("witness {place}{} {}\n", number + 1, vkey(id)));
        }
    }
    file + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n\
            group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

fn problem(file: impl AsRef<[u8]>) -> (usize, PolicyProblem) {
    let PolicyFileError { line, problem } = Policy::parse(file).unwrap_err();
    (line, problem)
}

#[test]
fn the_majority_of_three_is_two() {
    let policy = Policy::majority(log().verifier(), &vkeys(1..=3)).unwrap();
    assert_eq!((policy.threshold(), policy.witnesses().len()), (2, 3));
    assert_eq!(policy.witnesses()[1].name().to_string(), "node-2");
    assert_eq!(policy.witness(&vkey(3)).unwrap().name().to_string(), "node-3");
    assert_eq!(policy.log(ORIGIN).unwrap().key(), log().verifier());
    let opened = policy.certify(note(&[(1, 50), (3, 40)])).unwrap();
    assert_eq!(opened.checkpoint(), &checkpoint());
    assert_eq!((opened.signers().len(), opened.cosigners().count()), (3, 2));
    assert_eq!(policy.open(&opened.note().to_string()), Ok(opened));
}

#[test]
fn not_met_says_how_many_and_who_is_missing() {
    let policy = Policy::majority(log().verifier(), &vkeys(1..=3)).unwrap();
    let error = policy.certify(note(&[(2, 50), (9, 50)])).unwrap_err();
    let missing = vec!["node-1".to_owned(), "node-3".to_owned()];
    assert_eq!(error, PolicyError::NotMet { have: 1, need: 2, missing });
    let says = "1 of its witnesses cosigned, it takes at least 2; missing: node-1, node-3";
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn one_key_counts_once() {
    let policy = Policy::majority(log().verifier(), &vkeys(1..=3)).unwrap();
    let mut text = note(&[(1, 50)]).to_string();
    let again = node(1).cosign(&checkpoint(), 60).unwrap().to_line();
    text.push_str(&format!("{again}\n"));
    assert!(matches!(policy.open(&text), Err(PolicyError::NotMet { have: 1, .. })));
}

#[test]
fn the_kth_newest_time_is_when_a_quorum_had_signed() {
    let policy = Policy::k_of_n(log().verifier(), &vkeys(1..=5), 3).unwrap();
    let time = |cosigners: &[(u8, u64)]| policy.certify(note(cosigners)).unwrap().kth_newest_time();
    assert_eq!(time(&[(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)]), Some(30));
    assert_eq!(time(&[(1, 50), (2, 10), (4, 50)]), Some(10));
    // In the nested one, the newest of Y counts, and the second newest of X.
    let policy = Policy::parse(nested()).unwrap();
    let opened = policy.certify(note(&[(1, 10), (2, 20), (3, 30), (4, 5), (5, 15)])).unwrap();
    assert_eq!(opened.kth_newest_time(), Some(15));
    let none = Policy::parse(format!("log {}\nquorum none\n", log().verifier())).unwrap();
    assert_eq!(none.certify(note(&[(1, 10)])).unwrap().kth_newest_time(), None);
}

#[test]
fn the_nested_example_needs_two_of_x_and_one_of_y() {
    let policy = Policy::parse(nested()).unwrap();
    assert_eq!(policy.threshold(), 3);
    for (cosigners, is_met) in [
        (&[1, 2, 4][..], true),
        (&[2, 3, 6], true),
        (&[1, 2, 3], false),
        (&[1, 4, 5, 6], false),
        (&[], false),
    ] {
        let cosigners: Vec<(u8, u64)> = cosigners.iter().map(|id| (*id, 9)).collect();
        assert_eq!(policy.certify(note(&cosigners)).is_ok(), is_met, "{cosigners:?}");
    }
}

#[test]
fn the_log_must_be_listed_and_must_have_signed() {
    let policy = Policy::majority(log().verifier(), &vkeys(1..=3)).unwrap();
    let mut unsigned = SignedNote::new(checkpoint());
    for id in 1..=3 {
        unsigned.add(node(id).cosign(&checkpoint(), 9).unwrap().to_line());
    }
    let refused = PolicyError::NotSignedByLog { origin: ORIGIN.to_owned() };
    assert_eq!(policy.certify(unsigned), Err(refused));

    let other = LogKey::derive(&[7; 32], &Origin::parse("ledger.example/test/4420823c/other").unwrap());
    let policy = Policy::majority(other.verifier(), &vkeys(1..=3)).unwrap();
    let error = policy.certify(note(&[(1, 9), (2, 9)])).unwrap_err().to_string();
    assert!(error.contains("is of ledger.example/test/4420823c/default, but the policy is for"), "{error}");

    let without = Policy::parse("quorum none\n").unwrap();
    assert_eq!(without.certify(note(&[])), Err(PolicyError::NoLog));
}

#[test]
fn another_log_of_the_policy_cannot_sign_for_this_one() {
    let other = LogKey::derive(&[7; 32], &Origin::parse("ledger.example/test/4420823c/other").unwrap());
    let file = format!("log {}\nlog {}\nquorum none\n", log().verifier(), other.verifier());
    let mut note = SignedNote::new(checkpoint());
    note.add(other.sign(&checkpoint()));
    let refused = Policy::parse(file).unwrap().certify(note);
    assert!(matches!(refused, Err(PolicyError::NotSignedByLog { .. })), "{refused:?}");
}

#[test]
fn a_bad_signature_of_a_witness_beyond_the_quorum_still_refuses() {
    let policy = Policy::majority(log().verifier(), &vkeys(1..=3)).unwrap();
    let mut note = note(&[(1, 9), (2, 9)]);
    let other = Checkpoint { size: TreeSize::new(82), ..checkpoint() };
    note.add(node(3).cosign(&other, 9).unwrap().to_line());
    let refused = policy.certify(note);
    assert!(matches!(refused, Err(PolicyError::Note(NoteError::Signature(_)))), "{refused:?}");
}

#[test]
fn promises_are_the_rows_of_the_trust_model() {
    for (n, k, fork, down, guilty) in [
        (3, 2, Some(0), 1, 1),
        (4, 3, Some(1), 1, 2),
        (5, 3, Some(0), 2, 1),
        (5, 4, Some(2), 1, 3),
        (7, 5, Some(2), 2, 3),
        (4, 2, None, 2, 0),
        (3, 1, None, 2, 0),
        (1, 1, Some(0), 0, 1),
    ] {
        let policy = Policy::k_of_n(log().verifier(), &vkeys(1..=n), k).unwrap();
        let promise = Promise {
            witnesses: usize::from(n),
            threshold: k,
            fork_impossible_up_to: fork,
            may_be_down: down,
            provably_guilty: guilty,
        };
        assert_eq!(policy.promise(), promise, "{k} of {n}");
    }
}

#[test]
fn nested_promises_are_those_of_a_search_over_all_sets() {
    let policy = Policy::parse(nested()).unwrap();
    let met = |set: u32| policy.is_met_by(|index| set & (1 << index) != 0);
    let quorums: Vec<u32> = (0..64).filter(|set| met(*set)).collect();
    let pairs = quorums.iter().flat_map(|a| quorums.iter().map(move |b| (a & b).count_ones()));
    let blocking = (0..64_u32).filter(|down| !met(!down & 63)).map(u32::count_ones);
    let promise = policy.promise();
    assert_eq!(promise.provably_guilty, pairs.min().unwrap() as usize);
    assert_eq!(promise.may_be_down + 1, blocking.min().unwrap() as usize);
    assert_eq!(promise.threshold, quorums.iter().map(|set| set.count_ones()).min().unwrap() as usize);
    assert_eq!(promise.witnesses, 6);
}

#[test]
fn a_file_prints_as_itself_without_comments() {
    let policy = Policy::parse(nested()).unwrap();
    assert_eq!(Policy::parse(policy.to_string()), Ok(policy.clone()));
    let spaced = nested().replace(' ', " \t ").replace("log", "  log").replace("any", "1");
    let same = Policy::parse(format!("#\n \n\t# x\n{spaced}\n   \n")).unwrap();
    assert_eq!((same.clone(), same.fingerprint()), (policy.clone(), policy.fingerprint()));
    let other = Policy::parse(nested().replace("any", "2")).unwrap();
    assert_ne!(other.fingerprint(), policy.fingerprint());
}

#[test]
fn urls_and_octets_above_ascii_are_kept() {
    let mut file =
        format!("# caf\u{e9}\nlog {} https://log.example/\nwitness ", log().verifier()).into_bytes();
    file.extend_from_slice(b"\xff\xe2K");
    file.extend_from_slice(format!(" {} https://w.example/\nquorum ", vkey(1)).as_bytes());
    file.extend_from_slice(b"\xff\xe2K\n");
    let policy = Policy::parse(&file).unwrap();
    assert_eq!(policy.logs()[0].url().unwrap().to_string(), "https://log.example/");
    assert_eq!(policy.witnesses()[0].url().unwrap().as_bytes(), b"https://w.example/");
    assert_eq!(policy.witnesses()[0].name().as_bytes(), b"\xff\xe2K");
    assert!(file.ends_with(&policy.to_bytes()));
    assert!(policy.certify(note(&[(1, 9)])).is_ok());
}

#[test]
fn the_form_of_a_line_is_checked_and_named() {
    let log = log().verifier().to_string();
    let (one, two) = (vkey(1), vkey(2));
    for (file, line, says) in [
        (String::new(), 1, "without a quorum line"),
        ("quorum none".to_owned(), 1, "does not end with a newline"),
        (format!("log {log}\n"), 2, "without a quorum line"),
        (format!("log {log}\r\nquorum none\r\n"), 1, "0x0d"),
        ("quorum none\x7f\n".to_owned(), 1, "0x7f"),
        ("# \0\nquorum none\n".to_owned(), 1, "0x00"),
        ("\nlogs x\n".to_owned(), 2, "not logs"),
        ("Log x\n".to_owned(), 1, "not Log"),
        ("log\n".to_owned(), 1, "expected \"log <vkey> [<url>]\", but there are 1 items"),
        (format!("log {log} a b\n"), 1, "there are 4 items"),
        ("log x\n".to_owned(), 1, "expected <name>+<8 hex digits>+<base64>"),
        (format!("log {one}\n"), 1, "type of a cosigner"),
        (format!("witness {one}\n"), 1, "expected \"witness <name> <vkey> [<url>]\""),
        (format!("witness a {log}\n"), 1, "type of a log"),
        (format!("witness none {one}\n"), 1, "none is taken"),
        (format!("witness a {one}\nwitness a {two}\n"), 2, "a is already defined"),
        (format!("witness a {one}\ngroup a any a\n"), 2, "a is already defined"),
        (format!("witness a {one}\ngroup g any a\ngroup g any g\n"), 3, "g is already defined"),
        (format!("witness a {one}\ngroup none any a\n"), 2, "none is taken"),
        ("group g\n".to_owned(), 1, "expected \"group"),
        ("group g any\n".to_owned(), 1, "there are 3 items"),
        ("group g any a\n".to_owned(), 1, "a is not defined"),
        ("group g any g\n".to_owned(), 1, "g is not defined"),
        ("group g any none\n".to_owned(), 1, "none is not defined"),
        ("quorum a\n".to_owned(), 1, "a is not defined"),
        ("quorum\n".to_owned(), 1, "expected \"quorum <name|none>\""),
        ("quorum none none\n".to_owned(), 1, "there are 3 items"),
        ("quorum none\n#\nquorum none\n".to_owned(), 3, "already a quorum on line 1"),
        (format!("quorum a\nwitness a {one}\n"), 1, "a is not defined"),
    ] {
        let error = Policy::parse(&file).unwrap_err();
        assert_eq!(error.line, line, "{file:?}: {error}");
        assert!(error.to_string().contains(says), "{file:?}: {error}");
    }
}

#[test]
fn a_threshold_that_cannot_be_met_is_refused() {
    let file = |k: &str| format!("witness a {}\nwitness b {}\ngroup g {k} a b\nquorum g\n", vkey(1), vkey(2));
    for k in ["1", "2", "all", "any"] {
        assert!(Policy::parse(file(k)).is_ok(), "{k}");
    }
    for k in ["0", "3", "01", "+1", "-1", "1.5", "ALL", "one", "18446744073709551617"] {
        let (line, problem) = problem(file(k));
        assert!(line == 3 && matches!(problem, PolicyProblem::Threshold { .. }), "{k}: {problem}");
    }
    assert!(Policy::k_of_n(log().verifier(), &vkeys(1..=3), 4).is_err());
    assert!(Policy::k_of_n(log().verifier(), &[], 1).is_err());
}

#[test]
fn a_key_is_in_a_policy_once_under_whatever_name() {
    let renamed = CosignerKey::from_seed("another.example", &[1; 32]).unwrap();
    let file = format!("witness a {}\nwitness b {}\nquorum a\n", vkey(1), renamed.verifier());
    let (line, problem) = problem(file);
    assert_eq!(line, 2);
    let says = "another.example is already in this policy, as ledger.example/test/4420823c/node/1 on line 1";
    assert!(problem.to_string().contains(says), "{problem}");

    // A log's key as a witness's: the same 32 bytes, of the other type.
    use crate::key::SignatureType;
    let as_witness =
        VerifierKey::new("w", SignatureType::Cosignature, log().verifier().public_key()).unwrap();
    let file = format!("log {}\nwitness w {as_witness}\nquorum w\n", log().verifier());
    assert!(matches!(Policy::parse(file).unwrap_err().problem, PolicyProblem::DuplicateKey { .. }));
}

#[test]
fn a_name_counts_in_one_group_once() {
    let head = format!("witness a {}\nwitness b {}\n", vkey(1), vkey(2));
    for tail in [
        "group g 1 a a\nquorum g\n",
        "group g any a b\ngroup h all a g\nquorum h\n",
        "group g any a\ngroup h any g\ngroup i all g h\nquorum i\n",
    ] {
        let (_, problem) = problem(format!("{head}{tail}"));
        assert!(matches!(problem, PolicyProblem::MemberTwice { .. }), "{tail}: {problem}");
    }
}

#[test]
fn forty_logs_witnesses_and_groups_are_read() {
    let mut file = String::new();
    for id in 1..=40 {
        let origin = Origin::parse(&format!("a/4420823c/l{id}")).unwrap();
        file.push_str(&format!("log {}\n", LogKey::derive(&[9; 32], &origin).verifier()));
        file.push_str(&format!("witness w{id} {}\ngroup g{id} any w{id}\n", vkey(id)));
    }
    let names: Vec<String> = (1..=40).map(|id| format!("g{id}")).collect();
    file.push_str(&format!("group all-of-them 21 {}\nquorum all-of-them\n", names.join(" ")));
    let policy = Policy::parse(file).unwrap();
    assert_eq!((policy.threshold(), policy.promise().provably_guilty), (21, 2));
}

proptest! {
    #[test]
    fn any_octets_are_refused_or_print_as_the_same_policy(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("quorum none".to_owned()),
                Just("quorum g".to_owned()),
                Just(format!("witness a {}", vkey(1))),
                Just(format!("witness b {}", vkey(2))),
                Just(format!("log {}", log().verifier())),
                "group [gh] (1|2|any|all)( [abg]){0,3}",
                "(log|witness|group|quorum|#)?[ \t]{0,2}\\PC{0,20}",
            ],
            0..8,
        ),
        noise in proptest::collection::vec(any::<u8>(), 0..40),
        is_noisy in any::<bool>(),
    ) {
        let mut file = lines.join("\n").into_bytes();
        file.push(b'\n');
        if is_noisy {
            file.extend_from_slice(&noise);
        }
        if let Ok(policy) = Policy::parse(&file) {
            prop_assert_eq!(Policy::parse(policy.to_bytes()), Ok(policy));
        }
    }
}

#[test]
fn how_many_of_some_witnesses_it_takes_when_the_others_sign() {
    let named = |names: &'static [&str]| {
        move |witness: &Witness| names.contains(&witness.name().to_string().as_str())
    };
    let policy = Policy::parse(nested()).unwrap();
    // Two of X and any of Y: of the X it takes two, of one X none, of all of Y one.
    for (names, least) in [
        (&["X1", "X2", "X3"][..], 2),
        (&["X1"][..], 0),
        (&["X1", "X2"][..], 1),
        (&["Y1", "Y2", "Y3"][..], 1),
        (&["Y1"][..], 0),
        (&["X1", "X2", "X3", "Y1", "Y2", "Y3"][..], 3),
        (&[][..], 0),
    ] {
        assert_eq!(policy.least_of(named(names)), least, "{names:?}");
    }
    assert_eq!(policy.counted_witnesses().count(), 6);
    let four = Policy::k_of_n(log().verifier(), &vkeys(1..=4), 3).unwrap();
    let last = |witness: &Witness| witness.key().same_key(&vkey(4));
    assert_eq!((four.least_of(last), four.least_of(|_| true)), (0, 3));
    let none = Policy::parse(format!("log {}\nquorum none\n", log().verifier())).unwrap();
    assert_eq!((none.least_of(|_| true), none.counted_witnesses().count()), (0, 0));
}
