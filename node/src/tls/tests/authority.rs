//! The authority and what it issues.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{
    super::{AuthorityError, TlsError},
    *,
};

#[test]
fn a_saved_authority_issues_the_same_trust() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("authority");
    let first = authority();
    first.save(&home).unwrap();
    let loaded = Authority::load(&home).unwrap();
    assert_eq!(loaded.certificate_pem(), first.certificate_pem());
    // Issued by the loaded one, accepted by who believes the first.
    let identity = node(CLUSTER, 2);
    let issued = loaded.issue_peer(identity, now()).unwrap();
    PeerTls::new(identity, credentials(&issued), roots(&first), now()).unwrap();
    assert!(matches!(first.save(&home), Err(AuthorityError::File(_))), "never overwritten");
}

#[test]
fn an_authority_with_an_open_key_or_foreign_certificate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("authority");
    authority().save(&home).unwrap();
    let key = home.join(Authority::KEY_FILE);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Authority::load(&home).unwrap_err().to_string().contains("chmod 600"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(home.join(Authority::CERTIFICATE_FILE), authority().certificate_pem()).unwrap();
    let text = Authority::load(&home).unwrap_err().to_string();
    assert!(text.contains("does not belong to the key"), "{text}");
    fs::write(home.join(Authority::CERTIFICATE_FILE), "no certificate").unwrap();
    assert!(matches!(Authority::load(&home), Err(AuthorityError::Malformed { .. })));
}

#[test]
fn a_server_certificate_needs_hosts_that_are_hosts() {
    let authority = authority();
    assert!(matches!(authority.issue_server(&[], now()), Err(AuthorityError::NoHost)));
    for host in ["", "host:7000", "a b", "https://host", "-"] {
        let refused = authority.issue_server(&[host.to_owned()], now());
        assert!(matches!(refused, Err(AuthorityError::Host { .. })), "{host}");
    }
    authority
        .issue_server(&["::1".to_owned(), "10.0.0.1".to_owned(), "db-1.example".to_owned()], now())
        .unwrap();
}

#[test]
fn certificates_end_when_they_say() {
    let issued =
        authority().issue_server(&["localhost".to_owned()], Micros::from_secs(1_000_000_000).unwrap());
    let ends = credentials(&issued.unwrap()).expires_at().unwrap();
    assert_eq!(ends, Micros::from_secs(1_000_000_000 + 825 * 24 * 60 * 60).unwrap());
    // A clock far off the calendar makes a short-lived certificate, not a crash.
    authority().issue_server(&["localhost".to_owned()], Micros::new(u64::MAX)).unwrap();
    authority().issue_server(&["localhost".to_owned()], Micros::new(0)).unwrap();
}

#[test]
fn a_node_says_at_once_that_its_own_certificate_is_wrong() {
    let authority = authority();
    let good = node(CLUSTER, 1);
    let wrong = |identity, roots| {
        let issued = authority.issue_peer(identity, now()).unwrap();
        PeerTls::new(good, credentials(&issued), roots, now()).unwrap_err()
    };
    assert!(matches!(wrong(node(CLUSTER, 2), roots(&authority)), TlsError::OwnIdentity(_)));
    assert!(matches!(wrong(node(OTHER_CLUSTER, 1), roots(&authority)), TlsError::OwnIdentity(_)));
    let stranger = super::authority();
    assert!(matches!(wrong(good, roots(&stranger)), TlsError::OwnCertificate(_)));
    let old = authority.issue_peer(good, Micros::from_secs(1_000_000_000).unwrap()).unwrap();
    let expired = PeerTls::new(good, credentials(&old), roots(&authority), now()).unwrap_err();
    assert!(expired.to_string().contains("issue a new one"), "{expired}");
}

#[test]
fn key_and_certificate_must_belong_together() {
    let authority = authority();
    let (one, two) =
        (authority.issue_peer(node(CLUSTER, 1), now()), authority.issue_peer(node(CLUSTER, 1), now()));
    let mixed = Credentials::from_pem(&one.unwrap().certificate, &two.unwrap().key).unwrap();
    assert!(matches!(
        PeerTls::new(node(CLUSTER, 1), mixed, roots(&authority), now()),
        Err(TlsError::Credentials(_))
    ));
}
