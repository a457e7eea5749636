//! Certificates are renewed in place: same names, another key, and only where it is time.

use std::{fs, path::PathBuf, time::Duration};

use quorate_core::position::Micros;

use crate::{
    cluster::{Cluster, SettingsFile},
    config::NodeConfig,
    provision::{CONFIG_FILE, NodePlan, Plan, provision},
    tls::{Authority, Credentials, PeerIdentity, PeerTls, RenewError, Roots, check_server, renew},
};

const DAY_S: u64 = 24 * 60 * 60;
const NOW_S: u64 = 1_790_000_000;

fn at(days: u64) -> Micros {
    Micros::from_secs(NOW_S + days * DAY_S).unwrap()
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * DAY_S)
}

fn cluster() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let node = |id: u64| NodePlan {
        id,
        host: format!("node-{id}.example"),
        listen: "127.0.0.1".parse().unwrap(),
        client_port: 7_400,
        peer_port: 7_401,
        http_port: 7_402,
    };
    let plan = Plan {
        name: "ledger.example/test".to_owned(),
        nodes: vec![node(1), node(2)],
        data_dir: "data".into(),
        settings: SettingsFile::default(),
    };
    let out = dir.path().join("cluster");
    provision(&plan, &out, at(0)).unwrap();
    (dir, out)
}

#[test]
fn what_ends_soon_is_renewed_and_nothing_else() {
    let (_dir, out) = cluster();
    let authority = Authority::load(&out.join("authority")).unwrap();
    let config = out.join("node-1").join(CONFIG_FILE);
    let files =
        ["server.crt", "server.key", "peer.crt", "peer.key"].map(|name| out.join("node-1/tls").join(name));
    let read = || files.clone().map(|path| fs::read(path).unwrap());
    let before = read();
    let early = renew(&config, &authority, days(90), at(700)).unwrap();
    assert!(early.iter().all(|one| !one.renewed), "{early:?}");
    assert_eq!(read(), before);
    let late = renew(&config, &authority, days(90), at(740)).unwrap();
    assert!(late.iter().all(|one| one.renewed && one.ends > Some(at(1_500))), "{late:?}");
    let after = read();
    assert!(
        before.iter().zip(&after).all(|(before, after)| before != after),
        "certificates and keys are new"
    );
    assert_eq!(fs::read_dir(out.join("node-1/tls")).unwrap().count(), 5, "nothing is left over");

    let loaded = NodeConfig::load(&config).unwrap();
    let (tls, members) = (loaded.tls.unwrap(), Cluster::load(&loaded.node.cluster_file).unwrap());
    let roots = Roots::load(&tls.authority).unwrap();
    let server = Credentials::load(&tls.server_certificate, &tls.server_key).unwrap();
    for host in ["node-1.example", "localhost", "127.0.0.1"] {
        check_server(&server, &roots, host, at(900)).unwrap();
    }
    assert!(check_server(&server, &roots, "node-2.example", at(900)).is_err());
    let own = PeerIdentity { cluster: members.id, node: quorate_core::position::NodeId::new(1) };
    let peer = Credentials::load(&tls.peer_certificate, &tls.peer_key).unwrap();
    PeerTls::new(own, peer, roots, at(900)).unwrap();
}

#[test]
fn what_was_left_half_way_is_repaired_and_another_authority_is_refused() {
    let (_dir, out) = cluster();
    let authority = Authority::load(&out.join("authority")).unwrap();
    let config = out.join("node-2").join(CONFIG_FILE);
    // As after a crash between key and certificate, with a file of that attempt left over.
    fs::copy(out.join("node-1/tls/server.key"), out.join("node-2/tls/server.key")).unwrap();
    fs::write(out.join("node-2/tls/server.key.new"), "half").unwrap();
    let renewed = renew(&config, &authority, days(1), at(1)).unwrap();
    assert_eq!(renewed.iter().map(|one| one.renewed).collect::<Vec<_>>(), [true, false]);
    let (_other, stranger) = cluster();
    let stranger = Authority::load(&stranger.join("authority")).unwrap();
    let before = fs::read(out.join("node-2/tls/peer.crt")).unwrap();
    assert!(matches!(renew(&config, &stranger, days(999), at(1)), Err(RenewError::OtherAuthority(_))));
    assert_eq!(fs::read(out.join("node-2/tls/peer.crt")).unwrap(), before);
}
