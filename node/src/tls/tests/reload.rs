//! New files under a running node: good ones serve the next connection, bad ones change nothing.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{
    super::{Limits, Reloader, Security, listen},
    *,
};
use crate::config;

const DAYS: u64 = 24 * 60 * 60 * Micros::PER_SECOND;

/// A folder with the certificates of node 1.
struct Folder {
    dir: tempfile::TempDir,
    files: config::Tls,
}

impl Folder {
    fn new(authority: &Authority) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let files = config::Tls {
            authority: at("authority.crt"),
            server_certificate: at("server.crt"),
            server_key: at("server.key"),
            peer_certificate: at("peer.crt"),
            peer_key: at("peer.key"),
        };
        let folder = Self { dir, files };
        folder.write("authority.crt", authority.certificate_pem());
        folder.issue("server", &issue_server(authority, now()));
        folder.issue("peer", &authority.issue_peer(node(CLUSTER, 1), now()).unwrap());
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        closed(&path);
    }

    fn issue(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.crt"), &issued.certificate);
        self.write(&format!("{name}.key"), &issued.key);
    }

    fn reloader(&self) -> Reloader {
        Reloader::start(&self.files, node(CLUSTER, 1), &Clock::system()).unwrap()
    }
}

fn closed(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn issue_server(authority: &Authority, at: Micros) -> Issued {
    authority.issue_server(&["localhost".to_owned()], at).unwrap()
}

async fn serve(security: Security) -> String {
    let listener = listen("client", "127.0.0.1:0", security, Limits::default()).await.unwrap();
    let address = listener.local_addr().to_string();
    echo(listener.incoming());
    address
}

#[tokio::test]
async fn a_new_certificate_serves_the_next_connection_and_the_old_ones_go_on() {
    let (old, new) = (authority(), authority());
    let folder = Folder::new(&old);
    let mut reloader = folder.reloader();
    let address = serve(Security::Server(reloader.server())).await;
    let mut before = connect(&address, client_config(&old, None)).await.unwrap();
    reloader.look(false);
    assert!(connect(&address, client_config(&old, None)).await.is_ok(), "nothing is new");

    folder.issue("server", &issue_server(&new, now()));
    assert!(connect(&address, client_config(&new, None)).await.is_err(), "nobody has looked yet");
    reloader.look(false);
    assert!(alive(&mut before).await, "a connection goes on");
    assert!(connect(&address, client_config(&old, None)).await.is_err(), "the old certificate is gone");
    let mut after = connect(&address, client_config(&new, None)).await.unwrap();
    assert!(alive(&mut after).await);
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing_until_they_are_corrected() {
    let (old, new) = (authority(), authority());
    let folder = Folder::new(&old);
    let mut reloader = folder.reloader();
    let address = serve(Security::Server(reloader.server())).await;
    let good = issue_server(&new, now());
    let expired = issue_server(&new, Micros::new(now().get() - 900 * DAYS));
    let early = issue_server(&new, Micros::new(now().get() + 9 * DAYS));
    for (what, certificate, key) in [
        ("garbage", "no certificate", &*good.key),
        ("expired", expired.certificate.as_str(), &*expired.key),
        ("not valid yet", early.certificate.as_str(), &*early.key),
        ("another key", good.certificate.as_str(), &*expired.key),
        ("half written", &good.certificate[..good.certificate.len() / 2], &*good.key),
    ] {
        folder.write("server.crt", certificate);
        folder.write("server.key", key);
        reloader.look(false);
        assert!(connect(&address, client_config(&old, None)).await.is_ok(), "{what}");
        assert!(connect(&address, client_config(&new, None)).await.is_err(), "{what}");
    }
    fs::remove_file(&folder.files.server_key).unwrap();
    reloader.look(true);
    assert!(connect(&address, client_config(&old, None)).await.is_ok(), "no key at all");
    folder.issue("server", &good);
    reloader.look(false);
    assert!(connect(&address, client_config(&new, None)).await.is_ok(), "corrected");
}

#[tokio::test]
async fn a_node_changes_authority_and_never_becomes_another_node() {
    let (old, new) = (authority(), authority());
    let folder = Folder::new(&old);
    let mut reloader = folder.reloader();
    let address = serve(Security::Peer(reloader.peer())).await;
    let (by_old, by_new) = (peer(&old, node(CLUSTER, 2)), peer(&new, node(CLUSTER, 2)));
    let dial = async |by: &PeerTls| match by.dial(&address, NodeId::new(1), PATIENCE).await {
        Ok(mut connection) => alive(&mut connection).await,
        Err(_) => false,
    };
    assert!(dial(&by_old).await && !dial(&by_new).await);

    folder.issue("peer", &old.issue_peer(node(CLUSTER, 3), now()).unwrap());
    reloader.look(false);
    folder.issue("peer", &old.issue_peer(node(OTHER_CLUSTER, 1), now()).unwrap());
    reloader.look(false);
    folder.issue("peer", &new.issue_peer(node(CLUSTER, 1), now()).unwrap());
    reloader.look(false);
    assert!(dial(&by_old).await && !dial(&by_new).await, "another node, cluster, authority");

    folder.write("authority.crt", new.certificate_pem());
    reloader.look(false);
    assert!(dial(&by_new).await && !dial(&by_old).await, "authority and certificate together");
}
