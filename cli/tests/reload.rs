//! SIGHUP: a running server takes new certificates, and refuses bad ones, without a restart.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; they wait by the clock")]

mod support;

use std::fs;
use std::path::Path;

use support::{Server, init, wait_for};

fn replace(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        fs::copy(from.join("node-1/tls").join(name), to.join("node-1/tls").join(name)).unwrap();
    }
}

#[test]
fn a_signal_brings_new_certificates_into_use_and_a_bad_one_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path(), "a");
    // Another cluster: its server certificate is for the same host, its peer certificate for another cluster.
    let other = init(home.path(), "b", [1, 2, 3]);
    let own = server.folder.clone();
    let puts = |folder: &Path| server.command(folder, &["put", "greeting", "hello"]).status.success();
    let taken = r#"quorate_certificate_reloads_total{certificate="server",result="taken"}"#;
    let refused = r#"quorate_certificate_reloads_total{certificate="server",result="refused"}"#;
    assert!(puts(&own) && !puts(&other));
    let expiry = server.metric(r#"quorate_certificate_expiry_seconds{certificate="server"}"#);
    assert!(expiry.is_some_and(|seconds| seconds.parse::<u64>().unwrap() > 1_700_000_000));

    replace(&other, &own, &["server.crt"]);
    server.hang_up();
    wait_for(|| server.metric(refused));
    assert!(puts(&own), "the certificate without its key is not used");

    replace(&other, &own, &["server.key"]);
    server.hang_up();
    wait_for(|| server.metric(taken));
    assert!(puts(&other) && !puts(&own), "the new one is used");

    replace(&other, &own, &["peer.crt", "peer.key", "authority.crt"]);
    server.hang_up();
    wait_for(|| server.metric(r#"quorate_certificate_reloads_total{certificate="peer",result="refused"}"#));
    let log = fs::read_to_string(own.join("log")).unwrap();
    assert!(log.contains("tls.peer_certificate") && log.contains("the old one goes on"), "{log}");
    assert!(puts(&other));
}
