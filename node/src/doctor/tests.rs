//! The doctor on the files of a real node folder, whole and with something planted into each of them.
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use quorate_core::position::Micros;

use super::*;
use crate::{
    cluster::SettingsFile,
    provision::{CONFIG_FILE, NodePlan, Plan, provision},
};

const YEAR_S: u64 = 365 * 24 * 60 * 60;

/// The folder of node 1, made now.
fn folder() -> (tempfile::TempDir, PathBuf, Clock) {
    let dir = tempfile::tempdir().unwrap();
    let ports = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let node = |id: u64| NodePlan {
        id,
        host: "127.0.0.1".to_owned(),
        listen: "127.0.0.1".parse().unwrap(),
        client_port: ports,
        peer_port: ports.wrapping_add(1).max(1_024),
        http_port: ports.wrapping_add(2).max(1_024),
    };
    let plan = Plan {
        name: "ledger.example/test".to_owned(),
        nodes: vec![node(1), node(2)],
        data_dir: "data".into(),
        settings: SettingsFile::default(),
    };
    let clock = Clock::system();
    provision(&plan, &dir.path().join("cluster"), clock.now()).unwrap();
    let node = dir.path().join("cluster/node-1");
    (dir, node, clock)
}

/// The verdict and the words of a check.
fn of(found: &[Finding], check: &str) -> (Verdict, String) {
    let one = found.iter().find(|finding| finding.check == check);
    let one = one.unwrap_or_else(|| panic!("no {check} in {found:?}"));
    assert_eq!(one.verdict == Verdict::Ok, one.next.is_empty(), "{one:?}");
    (one.verdict, one.found.clone())
}

#[tokio::test]
async fn a_new_node_is_well_but_for_its_missing_data() {
    let (_dir, node, clock) = folder();
    let (found, loaded) = examine(&node.join(CONFIG_FILE), &clock).await;
    assert!(loaded.is_some());
    for check in ["configuration", "keys", "server certificate", "peer certificate", "client port", "inodes"]
    {
        assert_eq!(of(&found, check).0, Verdict::Ok, "{found:?}");
    }
    assert_eq!(of(&found, "data directory").0, Verdict::Warn);
    assert!(of(&found, "sync latency").1.contains("ms for 4 KiB"));
}

#[tokio::test]
async fn what_is_planted_into_the_files_is_found() {
    type Plant = fn(&std::path::Path);
    let cases: [(&str, &str, Plant); 8] = [
        ("configuration", "data_dri", |node| replace(&node.join(CONFIG_FILE), "data_dir", "data_dri")),
        ("cluster file", "cluster.toml", |node| fs::remove_file(node.join("cluster.toml")).unwrap()),
        ("keys", "64 hex digits", |node| fs::write(node.join("keys/block.key"), "short").unwrap()),
        ("keys", "others on this machine can read it", |node| mode(&node.join("keys/log.secret"), 0o644)),
        ("keys", "node.id is 9", |node| replace(&node.join(CONFIG_FILE), "id = 1", "id = 9")),
        ("server certificate", "cannot be used together", |node| {
            fs::copy(node.join("tls/peer.key"), node.join("tls/server.key")).unwrap();
        }),
        ("peer certificate", "names no node", |node| {
            fs::copy(node.join("tls/server.crt"), node.join("tls/peer.crt")).unwrap();
            fs::copy(node.join("tls/server.key"), node.join("tls/peer.key")).unwrap();
        }),
        ("data directory", "others on this machine can enter it", |node| {
            fs::create_dir(node.join("data")).unwrap();
            mode(&node.join("data"), 0o755);
        }),
    ];
    for (check, words, plant) in cases {
        let (_dir, node, clock) = folder();
        plant(&node);
        let (found, _) = examine(&node.join(CONFIG_FILE), &clock).await;
        let (verdict, says) = of(&found, check);
        assert_eq!(verdict, Verdict::Fail, "{check}: {says}");
        assert!(says.contains(words), "{check}: {words:?} is not in: {says}");
    }
}

fn replace(path: &std::path::Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn certificates_are_judged_by_time_authority_and_name() {
    let (_dir, node, clock) = folder();
    let config = NodeConfig::load(&node.join(CONFIG_FILE)).unwrap();
    let cluster = Cluster::load(&config.node.cluster_file).unwrap();
    let at = |seconds: u64| Micros::from_secs(clock.now().as_secs() + seconds).unwrap();
    let judge = |config: &NodeConfig, cluster: &Cluster, seconds| {
        let found = certificates::examine(config, cluster, at(seconds));
        found.iter().map(|finding| finding.verdict).collect::<Vec<_>>()
    };
    assert_eq!(judge(&config, &cluster, 0), [Verdict::Ok; 2]);
    // They are valid for 825 days.
    assert_eq!(judge(&config, &cluster, 2 * YEAR_S + 70 * 24 * 3_600), [Verdict::Warn; 2]);
    assert_eq!(judge(&config, &cluster, 3 * YEAR_S), [Verdict::Fail; 2]);
    let mut elsewhere = cluster.clone();
    let id = quorate_core::position::NodeId::new(1);
    elsewhere.members.get_mut(&id).unwrap().client = "other.example:7400".to_owned();
    assert_eq!(judge(&config, &elsewhere, 0), [Verdict::Fail, Verdict::Ok]);
    let (_other, stranger, _) = folder();
    fs::copy(stranger.join("tls/authority.crt"), node.join("tls/authority.crt")).unwrap();
    assert_eq!(judge(&config, &cluster, 0), [Verdict::Fail; 2]);
}
