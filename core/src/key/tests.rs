//! Tests of `key`: what is accepted, what is refused, and why.

use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::name::Origin;
use crate::note::Cosignature;
use crate::position::TreeSize;

/// The example of c2sp.org/signed-note.
const EXAMPLE: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint {
        origin: "ledger.example/test/4420823c/default".to_owned(),
        size: TreeSize::new(size),
        root: Hash::ZERO,
    }
}

#[test]
fn the_example_of_the_specification_reads_prints_and_verifies() {
    let key = VerifierKey::parse(EXAMPLE).unwrap();
    assert_eq!((key.name(), key.kind()), ("example.com/foo", SignatureType::Ed25519));
    assert_eq!(key.id().to_string(), "530d903a");
    assert_eq!(key.to_string(), EXAMPLE);
    let line = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=";
    let bytes = crate::note::text::decode_base64(line).unwrap();
    let signature: &[u8; 64] = bytes[4..].try_into().unwrap();
    assert_eq!(key.verify_message(b"This is an example message.\n", signature), Ok(()));
    let refused = key.verify_message(b"This is an example message!\n", signature);
    assert_eq!(refused, Err(key.bad_signature()));
}

#[test]
fn every_other_spelling_of_a_vkey_is_refused() {
    let other_id = EXAMPLE.replace("530d903a", "530d903b");
    let error = VerifierKey::parse(&other_id).unwrap_err();
    assert!(error.to_string().contains("copied wrong"), "{error}");
    for text in [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        &EXAMPLE.replace("foo", "f o"),
        &EXAMPLE.replace("foo", "f\u{2003}o"),
        &EXAMPLE.replace("foo", "f\u{1}o"),
        &EXAMPLE.replace("530d903a", "530D903A"),
        &EXAMPLE.replace("530d903a", "530d903"),
        &EXAMPLE.replace("U2k", "U2l"),
        &EXAMPLE.replace("U2k", "U2k="),
        &EXAMPLE[..EXAMPLE.len() - 4],
        &format!("{EXAMPLE} "),
        &format!(" {EXAMPLE}"),
        &format!("{EXAMPLE}\n"),
    ] {
        assert!(VerifierKey::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn types_not_verified_here_say_so() {
    let mut material = vec![6];
    material.extend_from_slice(&[7; 1312]);
    let text = format!("w.example+00000000+{}", crate::note::text::encode_base64(&material));
    let error = VerifierKey::parse(&text).unwrap_err();
    assert!(error.to_string().contains("0x06 is not supported"), "{error}");
}

#[test]
fn keys_that_prove_nothing_are_refused() {
    // The neutral element, and the same point in its other encoding (y + p).
    let mut one = [0; 32];
    one[0] = 1;
    let refused = VerifierKey::new("a", SignatureType::Ed25519, &one);
    assert!(matches!(refused, Err(KeyError::Weak { .. })), "{refused:?}");
    let mut one_and_p = [0xff; 32];
    one_and_p[0] = 0xee;
    one_and_p[31] = 0x7f;
    let refused = VerifierKey::new("a", SignatureType::Ed25519, &one_and_p);
    assert!(matches!(refused, Err(KeyError::NotAPoint { .. })), "{refused:?}");
    let mut no_point = [0; 32];
    no_point[0] = 2;
    let refused = VerifierKey::new("a", SignatureType::Ed25519, &no_point);
    assert!(matches!(refused, Err(KeyError::NotAPoint { .. })), "{refused:?}");
}

#[test]
fn the_same_key_under_another_name_is_the_same_key() {
    let a = CosignerKey::from_seed("a", &[1; 32]).unwrap();
    let b = CosignerKey::from_seed("b", &[1; 32]).unwrap();
    let c = CosignerKey::from_seed("a", &[2; 32]).unwrap();
    assert!(a.verifier().same_key(b.verifier()) && a.verifier() != b.verifier());
    assert!(!a.verifier().same_key(c.verifier()));
}

#[test]
fn log_keys_differ_by_origin_and_secret() {
    let origin = |text| Origin::parse(text).unwrap();
    let (a, b) = (origin("a/4420823c/x"), origin("a/4420823c/y"));
    let key = LogKey::derive(&[1; 32], &a);
    assert_eq!(key.verifier().name(), "a/4420823c/x");
    assert_eq!(key.verifier(), LogKey::derive(&[1; 32], &a).verifier());
    assert!(!key.verifier().same_key(LogKey::derive(&[1; 32], &b).verifier()));
    assert!(!key.verifier().same_key(LogKey::derive(&[2; 32], &a).verifier()));
}

#[test]
fn a_cosignature_is_of_one_checkpoint_at_one_time_by_one_key() {
    let key = CosignerKey::from_seed("a/node/1", &[1; 32]).unwrap();
    let other = CosignerKey::from_seed("a/node/2", &[2; 32]).unwrap();
    let renamed = CosignerKey::from_seed("a/node/2", &[1; 32]).unwrap();
    let made = key.cosign(&checkpoint(7), 100).unwrap();
    assert_eq!(made.verify(key.verifier(), &checkpoint(7)), Ok(()));
    assert!(made.verify(key.verifier(), &checkpoint(8)).is_err());
    assert!(made.verify(other.verifier(), &checkpoint(7)).is_err());
    assert!(made.verify(renamed.verifier(), &checkpoint(7)).is_err());
    let later = Cosignature { time: 101, ..made.clone() };
    assert!(later.verify(key.verifier(), &checkpoint(7)).is_err());
    assert_eq!(Cosignature::from_line(&made.to_line()), Some(made));
}

#[test]
fn times_end_at_2_to_the_63_less_one() {
    let key = CosignerKey::from_seed("a", &[1; 32]).unwrap();
    let last = key.cosign(&checkpoint(7), Cosignature::MAX_TIME).unwrap();
    assert_eq!(last.verify(key.verifier(), &checkpoint(7)), Ok(()));
    let time = Cosignature::MAX_TIME + 1;
    assert_eq!(key.cosign(&checkpoint(7), time), Err(KeyError::Time { time }));
    let beyond = Cosignature { time, ..last };
    assert_eq!(Cosignature::from_line(&beyond.to_line()), None);
    assert!(beyond.verify(key.verifier(), &checkpoint(7)).is_err());
}

#[test]
fn secrets_are_not_printed() {
    let seed = [0xab; 32];
    let cosigner = CosignerKey::from_seed("a", &seed).unwrap();
    let log = LogKey::derive(&seed, &Origin::parse("a/4420823c/x").unwrap());
    let block = crate::block::BlockKey::from_seed(&seed);
    let printed = format!("{cosigner:?} {log:?} {block:?}");
    assert!(!printed.contains("abab") && !printed.contains("171"), "{printed}");
}

proptest! {
    #[test]
    fn any_text_is_refused_or_is_the_vkey(text in "[a+]?[a-c/ ]{0,4}\\+[0-9a-f]{7,9}\\+[A-Za-z0-9+/=]{0,48}") {
        if let Ok(key) = VerifierKey::parse(&text) {
            prop_assert_eq!(key.to_string(), text);
        }
    }

    #[test]
    fn one_changed_character_of_a_vkey_is_refused(position in 0..EXAMPLE.len(), byte in 0x20_u8..0x7f) {
        let mut text = EXAMPLE.as_bytes().to_vec();
        prop_assume!(text[position] != byte);
        text[position] = byte;
        prop_assert!(VerifierKey::parse(std::str::from_utf8(&text).unwrap()).is_err());
    }
}
