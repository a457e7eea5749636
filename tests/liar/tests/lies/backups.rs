//! A backup that was altered by whoever kept it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use quorate_core::hash::sha256;
use quorate_liar::{
    row::Row,
    stage::{Stage, put},
};
use quorate_tests::{cluster::Cluster, shell::Shell};

/// The value that is altered, in a file of the backup.
const VALUE: &[u8] = b"what was really written";

/// The file of a folder in which these bytes are, and where.
fn find(folder: PathBuf, bytes: &[u8]) -> Option<(PathBuf, usize)> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find_map(|path| {
        if path.is_dir() {
            return find(path, bytes);
        }
        let at = fs::read(&path).unwrap().windows(bytes.len()).position(|window| window == bytes)?;
        Some((path, at))
    })
}

/// Has the manifest state another hash of a file, and the right one of itself: who alters a backup can do that too.
fn state_hash(manifest: &Path, before: &str, after: &str) {
    let text = fs::read_to_string(manifest).unwrap();
    assert!(text.contains(before), "the manifest states the hash of the file");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let own = |hash: &str| format!("\"sha256\": \"{hash}\"\n}}\n");
    let old = own(document["sha256"].as_str().unwrap());
    let body = text.replace(before, after).replace(&old, &own(""));
    let hash = sha256(&[body.as_bytes()]).to_string();
    fs::write(manifest, body.replace(&own(""), &own(&hash))).unwrap();
}

/// One word of a value is another: the backup is neither called good nor made a cluster of.
pub(crate) async fn an_altered_backup(liar: &str) -> Row {
    let stage = Stage::with(Cluster::start(3), liar);
    let value = String::from_utf8_lossy(VALUE).into_owned();
    put(&stage.honest("writer").ledger("default"), "k", &value).await;
    let shell = Shell::of(&stage.cluster);
    let (backup, out) = (stage.folder("backup").display().to_string(), stage.folder("restored"));
    let created = shell.run(["backup", "create", "--to", &backup]);
    assert_eq!(created.code, 0, "{}", created.stderr);
    let verify = || shell.run(["backup", "verify", &backup]);
    assert_eq!(verify().code, 0, "as it was made, it is good");
    let (file, at) = find(stage.folder("backup"), VALUE).expect("the backup has the value");
    let mut bytes = fs::read(&file).unwrap();
    let before = sha256(&[&bytes]);
    bytes[at..at + VALUE.len()].copy_from_slice(b"what was never, written");
    fs::write(file, &bytes).unwrap();
    state_hash(&stage.folder("backup/manifest.json"), &before.to_string(), &sha256(&[&bytes]).to_string());
    let refused = verify();
    assert_eq!(refused.code, 10, "{}", refused.stderr);
    assert!(refused.stderr.contains("digest"), "the hash of the file is right: {}", refused.stderr);
    let nodes =
        (1..=3).flat_map(|id| ["--node".to_owned(), format!("{id}=127.0.0.1:1{id}000:1{id}001:1{id}002")]);
    let restore = ["backup".to_owned(), "restore".to_owned(), "--out".to_owned(), out.display().to_string()];
    let restored = shell.run(restore.into_iter().chain(nodes).chain([backup.clone()]));
    assert_eq!(restored.code, 10, "{}", restored.stderr);
    assert!(!out.exists(), "no cluster is made of it");
    Row {
        lie: "an altered backup",
        said: refused.stderr.replace(&backup, "BACKUP"),
        evidence: None,
        named: Vec::new(),
    }
}
