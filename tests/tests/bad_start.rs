//! A node that is told something wrong does not start: the message names the key, what is wrong and what to do, the
//! exit code is the documented one, and neither its files nor the cluster that runs are changed.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use quorate_tests::{cluster::Cluster, folder, newer, shell::Ran};

/// A change of the files of node 3 that its start must find.
struct Case {
    what: &'static str,
    change: fn(&Cluster, &Path),
    code: i32,
    says: &'static [&'static str],
}

/// The configuration of a node with one text in place of another.
fn configure(folder: &Path, old: &str, new: &str) {
    let file = folder.join("quorate.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(old), "the configuration has no {old:?}:\n{text}");
    fs::write(file, text.replacen(old, new, 1)).unwrap();
}

/// Replaces the data of node 3 by that of node 2.
fn swap(folder: &Path, part: &str) {
    let own = folder.join("data").join(part);
    fs::remove_dir_all(&own).unwrap();
    folder::copy(&folder.parent().unwrap().join("node-2/data").join(part), &own).unwrap();
}

fn another_cluster_file(_: &Cluster, folder: &Path) {
    let other = Cluster::prepare(3);
    fs::copy(other.path().join("node-3/cluster.toml"), folder.join("cluster.toml")).unwrap();
}

fn another_cluster(_: &Cluster, folder: &Path) {
    let other = Cluster::prepare(3);
    for part in ["cluster.toml", "keys", "tls"] {
        let from = other.path().join("node-3").join(part);
        if from.is_dir() {
            folder::copy(&from, &folder.join(part)).unwrap();
        } else {
            fs::copy(from, folder.join(part)).unwrap();
        }
    }
}

const CASES: &[Case] = &[
    Case {
        what: "the id of another node",
        change: |_, folder| configure(folder, "id = 3", "id = 2"),
        code: 1,
        says: &["node.id is 2", "issued to node 3", "tls.peer_certificate", "correct"],
    },
    Case {
        what: "the id of no node",
        change: |_, folder| configure(folder, "id = 3", "id = 9"),
        code: 1,
        says: &["node.id is 9", "names the nodes 1, 2, 3", "correct node.id or node.cluster_file"],
    },
    Case {
        what: "no id",
        change: |_, folder| configure(folder, "id = 3", "id = 0"),
        code: 2,
        says: &["node.id is 0", "ids start at 1"],
    },
    Case {
        what: "the cluster file of another cluster",
        change: another_cluster_file,
        code: 1,
        says: &["tls.peer_certificate", "cluster", "node.cluster_file", "correct"],
    },
    Case {
        what: "everything but the data of another cluster",
        change: another_cluster,
        code: 1,
        says: &["data/log", "belongs to cluster", "correct node.cluster_file or node.data_dir"],
    },
    Case {
        what: "the data directory of another node",
        change: |_, folder| ["log", "state"].into_iter().for_each(|part| swap(folder, part)),
        code: 1,
        says: &["data/log", "data directory of node 2", "this is node 3", "correct node.id or node.data_dir"],
    },
    Case {
        what: "the log of another node",
        change: |_, folder| swap(folder, "log"),
        code: 1,
        says: &["data/log", "node 2", "node 3"],
    },
    Case {
        what: "a state of a newer format",
        change: |_, folder| newer::state(folder),
        code: 1,
        says: &["data/state", "written in format 3", "reads up to 2", "run the newer version"],
    },
    Case {
        what: "a log of a newer format",
        change: |_, folder| newer::log(folder),
        code: 1,
        says: &["data/log", "format 2", "newer version"],
    },
    Case {
        what: "a data directory that holds keys",
        change: |_, folder| configure(folder, "data_dir = \"data\"", "data_dir = \"keys\""),
        code: 1,
        says: &["keys is not a data directory of Quorate", ".key\" is in it", "correct node.data_dir"],
    },
    Case {
        what: "an unknown key",
        change: |_, folder| configure(folder, "data_dir", "data_dri"),
        code: 2,
        says: &["unknown key \"data_dri\" in [node]", "did you mean \"data_dir\"?", "deploy/quorate.toml"],
    },
    Case {
        what: "no TOML",
        change: |_, folder| configure(folder, "[listen]", "[listen"),
        code: 2,
        says: &["quorate.toml", "line ", "[listen"],
    },
    Case {
        what: "a word for a number",
        change: |_, folder| configure(folder, "id = 3", "id = \"three\""),
        code: 2,
        says: &["node.id", "\"three\"", "expected u64"],
    },
    Case {
        what: "a missing file",
        change: |_, folder| fs::remove_file(folder.join("quorate.toml")).unwrap(),
        code: 2,
        says: &["quorate.toml", "No such file", "quorate init"],
    },
    Case {
        what: "a port in use",
        change: |cluster, folder| {
            let port = |node: u64| format!("127.0.0.1:{}", cluster.nodes[&node].client.port());
            configure(folder, &port(3), &port(1));
        },
        code: 1,
        says: &["cannot listen on", "(client)", "in use by another program", "ss -ltnp"],
    },
    Case {
        what: "the block key of another node",
        change: |_, folder| {
            let keys = folder.parent().unwrap().join("node-2/keys");
            fs::copy(keys.join("block.key"), folder.join("keys/block.key")).unwrap();
        },
        code: 1,
        says: &["keys/block.key", "not the block key of node 3", "expected"],
    },
    Case {
        what: "a secret that others can read",
        change: |_, folder| {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::Permissions::from_mode(0o644);
            fs::set_permissions(folder.join("keys/cosigner.key"), mode).unwrap();
        },
        code: 1,
        says: &["keys/cosigner.key", "mode 0644", "chmod 600"],
    },
];

#[test]
fn a_wrong_start_is_refused_and_changes_nothing() {
    let mut cluster = Cluster::start(3);
    let size = cluster.size("default");
    for id in [2, 3] {
        cluster.kill(id);
    }
    let (good, folder) = (cluster.path().join("good"), cluster.path().join("node-3"));
    folder::copy(&folder, &good).unwrap();
    for case in CASES {
        fs::remove_dir_all(&folder).unwrap();
        folder::copy(&good, &folder).unwrap();
        (case.change)(&cluster, &folder);
        let before = folder::contents(&folder).unwrap();
        let ran = Ran::from(cluster.run_node(3));
        assert_eq!(ran.code, case.code, "{}: {}", case.what, ran.stderr);
        assert_eq!(ran.stdout, "", "{} wrote to stdout", case.what);
        for word in case.says {
            assert!(ran.stderr.contains(word), "{} does not say {word:?}, but: {}", case.what, ran.stderr);
        }
        assert_eq!(folder::contents(&folder).unwrap(), before, "{} changed files", case.what);
    }
    fs::remove_dir_all(&folder).unwrap();
    folder::copy(&good, &folder).unwrap();
    cluster.start_node(2);
    cluster.start_node(3);
    cluster.wait_ready();
    assert_eq!(cluster.size("default"), size, "something was written");
}
