//! The name in a peer certificate.

use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{super::IdentityError, *};

fn named(names: &[&str]) -> CertificateDer<'static> {
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names =
        names.iter().map(|name| rcgen::SanType::URI((*name).try_into().unwrap())).collect();
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
}

#[test]
fn an_identity_survives_its_certificate() {
    let identity = node(CLUSTER, 3);
    assert_eq!(identity.to_string(), format!("quorate:node:{}:3", "07".repeat(16)));
    let issued = authority().issue_peer(identity, now()).unwrap();
    let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    assert_eq!(PeerIdentity::of_certificate(&der), Ok(identity));
}

#[test]
fn each_identity_has_one_spelling() {
    let hex = "07".repeat(16);
    for text in [
        format!("quorate:node:{hex}:0"),
        format!("quorate:node:{hex}:03"),
        format!("quorate:node:{hex}:+3"),
        format!("quorate:node:{hex}:3 "),
        format!("quorate:node:{hex}:"),
        format!("quorate:node:{hex}"),
        format!("quorate:node:{}:3", "0A".repeat(16)),
        format!("quorate:client:{hex}:3"),
        format!("quorate:node:{hex}:18446744073709551616"),
    ] {
        assert_eq!(text.parse::<PeerIdentity>(), Err(IdentityError::Malformed { text }));
    }
}

#[test]
fn a_certificate_names_exactly_one_node() {
    let one = node(CLUSTER, 1).to_string();
    let two = node(CLUSTER, 2).to_string();
    assert_eq!(PeerIdentity::of_certificate(&named(&["https://elsewhere", &one])), Ok(node(CLUSTER, 1)));
    assert_eq!(PeerIdentity::of_certificate(&named(&["https://elsewhere"])), Err(IdentityError::Absent));
    assert!(matches!(
        PeerIdentity::of_certificate(&named(&[&one, &two])),
        Err(IdentityError::Several { .. })
    ));
    assert!(matches!(
        PeerIdentity::of_certificate(&named(&["quorate:node:zz:1"])),
        Err(IdentityError::Malformed { .. })
    ));
    assert_eq!(
        PeerIdentity::of_certificate(&CertificateDer::from(vec![0x30, 0x03, 1, 2])),
        Err(IdentityError::Unreadable)
    );
}
