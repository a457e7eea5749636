//! Tests of `note`: what is accepted, what is refused, and why.

use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::key::{CosignerKey, KeyError, LogKey, VerifierKey};
use crate::name::Origin;
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

fn cosigned(key: &CosignerKey, time: u64) -> NoteSignature {
    key.cosign(&checkpoint(), time).unwrap().to_line()
}

fn note_of(lines: Vec<NoteSignature>) -> SignedNote {
    let mut note = SignedNote::new(checkpoint());
    lines.into_iter().for_each(|line| note.add(line));
    note
}

fn keys() -> Vec<VerifierKey> {
    let nodes = (1..=3).map(|id| node(id).verifier().clone());
    std::iter::once(log().verifier().clone()).chain(nodes).collect()
}

#[test]
fn the_example_of_tlog_cosignature_reads_and_prints() {
    let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let note = SignedNote::parse(text).unwrap();
    assert_eq!(note.to_string(), text);
    let [log, witness] = note.signatures() else { panic!("two lines") };
    assert_eq!(log.signature().len(), 64);
    assert_eq!(Cosignature::from_line(witness).unwrap().time, 1_679_315_147);
}

#[test]
fn lines_stand_log_first_then_nodes_by_number_then_others() {
    let other = CosignerKey::from_seed("a.example/w", &[99; 32]).unwrap();
    let far = CosignerKey::from_seed("other.example/1/4420823c/node/1", &[98; 32]).unwrap();
    let note = note_of(vec![
        cosigned(&far, 5),
        cosigned(&other, 5),
        cosigned(&node(10), 5),
        cosigned(&node(2), 5),
        log().sign(&checkpoint()),
        cosigned(&node(1), 5),
    ]);
    let names: Vec<&str> = note.signatures().iter().map(NoteSignature::name).collect();
    assert_eq!(
        names,
        [
            ORIGIN,
            "ledger.example/test/4420823c/node/1",
            "ledger.example/test/4420823c/node/2",
            "ledger.example/test/4420823c/node/10",
            "a.example/w",
            "other.example/1/4420823c/node/1",
        ]
    );
    assert_eq!(SignedNote::parse(&note.to_string()), Ok(note));
}

#[test]
fn a_later_cosignature_replaces_and_an_earlier_does_not() {
    let note = note_of(vec![cosigned(&node(1), 5), cosigned(&node(1), 9), cosigned(&node(1), 7)]);
    let times: Vec<u64> =
        note.signatures().iter().map(|line| Cosignature::from_line(line).unwrap().time).collect();
    assert_eq!(times, [9]);
}

#[test]
fn notes_merge_if_they_are_of_one_checkpoint() {
    let mut note = note_of(vec![cosigned(&node(3), 5)]);
    note.merge(&note_of(vec![cosigned(&node(1), 5), log().sign(&checkpoint())])).unwrap();
    assert_eq!(note, note_of(vec![log().sign(&checkpoint()), cosigned(&node(1), 5), cosigned(&node(3), 5)]));
    let other = SignedNote::new(Checkpoint { size: TreeSize::new(82), ..checkpoint() });
    let error = note.merge(&other).unwrap_err().to_string();
    assert!(error.contains("81") && error.contains("82"), "{error}");
}

#[test]
fn opening_names_each_known_signer_once_with_its_latest_time() {
    let lines =
        [cosigned(&node(1), 5), cosigned(&node(9), 6), cosigned(&node(1), 8), log().sign(&checkpoint())];
    let text =
        lines.iter().fold(format!("{}\n", checkpoint().body()), |text, line| format!("{text}{line}\n"));
    let opened = SignedNote::parse(&text).unwrap().open(&keys()).unwrap();
    let signers: Vec<_> =
        opened.signers().iter().map(|signer| (signer.key().clone(), signer.time())).collect();
    assert_eq!(signers, [(node(1).verifier().clone(), Some(8)), (log().verifier().clone(), None)]);
    assert_eq!(opened.cosigners().count(), 1);
    assert!(opened.is_signed_by(node(1).verifier()) && !opened.is_signed_by(node(9).verifier()));
    assert_eq!(opened.note().to_string(), text);
    assert_eq!(opened.checkpoint(), &checkpoint());
}

#[test]
fn one_bad_signature_of_a_known_key_rejects_the_note() {
    let other = Checkpoint { size: TreeSize::new(82), ..checkpoint() };
    let replayed = node(2).cosign(&other, 5).unwrap().to_line();
    let note = note_of(vec![log().sign(&checkpoint()), cosigned(&node(1), 5), replayed]);
    let error = note.clone().open(&keys()).unwrap_err();
    assert!(matches!(error, NoteError::Signature(KeyError::BadSignature { .. })), "{error}");
    assert!(error.to_string().contains("node/2"), "{error}");
    // Unknown to the reader, it is not looked at.
    assert!(note.open(&keys()[..2]).is_ok());
}

#[test]
fn a_log_signature_in_the_place_of_a_cosignature_is_bad() {
    let key = node(1);
    let short = NoteSignature::by(key.verifier(), log().sign(&checkpoint()).signature().to_vec());
    assert!(note_of(vec![short]).open(&keys()).is_err());
    let long = NoteSignature::by(log().verifier(), cosigned(&key, 5).signature().to_vec());
    assert!(note_of(vec![long]).open(&keys()).is_err());
}

#[test]
fn a_note_that_no_known_key_signed_is_refused() {
    let error = note_of(vec![cosigned(&node(9), 5)]).open(&keys()).unwrap_err();
    assert!(error.to_string().contains("signed by ledger.example/test/4420823c/node/9"), "{error}");
}

#[test]
fn errors_name_the_line() {
    let good = note_of(vec![log().sign(&checkpoint()), cosigned(&node(1), 5)]).to_string();
    let body = checkpoint().body();
    for (text, says) in [
        (String::new(), "an empty line"),
        (body.clone(), "an empty line"),
        (format!("{body}\n"), "an empty line"),
        (good.trim_end().to_owned(), "newline"),
        (format!("{good}\n"), "newline"),
        (
            good.replace("\n— ledger.example/test/4420823c/node", "\n- ledger.example/test/4420823c/node"),
            "note line 6",
        ),
        (good.replace("node/1 ", "node/1  "), "note line 6"),
        (good.replace("node/1 ", "node/1+a "), "note line 6"),
        (good.replace("==\n", "=\n"), "note line 6"),
        (format!("{good}— a AAAAAA==\n"), "note line 7"),
        (format!("{good}— a AAAAAAA\n"), "note line 7"),
        (good.replace("\n81\n", "\n081\n"), "checkpoint line 2"),
        (good.replace("\n81\n", "\n81\r\n"), "note line 2: control character 0x0d"),
        (good.replace("\n\n", "\nextension\n\n"), "there are 4"),
        ("x".repeat(MAX_NOTE_BYTES + 1), "bytes"),
        (format!("{body}\n{}", "— a AAAAAAA=\n".repeat(MAX_SIGNATURES + 1)), "129 signature lines"),
    ] {
        let error = SignedNote::parse(&text).unwrap_err().to_string();
        assert!(error.contains(says), "{text:?}: {error}");
    }
}

#[test]
fn as_many_signatures_as_allowed_are_read() {
    let text = format!("{}\n{}", checkpoint().body(), "— a AAAAAAA=\n".repeat(MAX_SIGNATURES));
    assert_eq!(SignedNote::parse(&text).unwrap().to_string(), text);
}

proptest! {
    #[test]
    fn any_text_is_refused_or_prints_as_itself(text in "(\\PC|\n| |— |81|A=){0,80}") {
        if let Ok(note) = SignedNote::parse(&text) {
            prop_assert_eq!(note.to_string(), text);
        }
    }

    #[test]
    fn a_changed_note_is_refused_or_prints_as_itself(position in any::<prop::sample::Index>(), new in "\\PC|\n|— ") {
        let good = note_of(vec![log().sign(&checkpoint()), cosigned(&node(1), 5)]).to_string();
        let mut chars: Vec<String> = good.chars().map(String::from).collect();
        let position = position.index(chars.len());
        chars[position] = new;
        let text = chars.concat();
        if let Ok(note) = SignedNote::parse(&text) {
            prop_assert_eq!(note.to_string(), text);
        }
    }
}
