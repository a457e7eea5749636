//! A node that was copied and signs two histories convicts itself: the command line keeps the proof, and checks it.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; they wait by the clock")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use support::Server;

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()));
    entries.map(Iterator::collect).unwrap_or_default()
}

#[test]
fn two_histories_under_one_key_are_found_kept_and_verified() {
    let home = tempfile::tempdir().unwrap();
    let node = Server::start(home.path(), "a");
    let folder = node.folder.clone();
    assert!(node.command(&folder, &["put", "greeting", "hello"]).status.success());
    let (left, right) = node.split("copy");

    // Two histories; then one trust store meets both: the second answer contradicts what was believed of the first.
    let elsewhere = home.path().join("elsewhere").display().to_string();
    let put = right.command(&folder, &["put", "balance", "2", "--trust-dir", &elsewhere]);
    assert!(put.status.success(), "{}", told(&put));
    assert!(left.command(&folder, &["put", "balance", "1"]).status.success());
    let lie = right.command(&folder, &["get", "balance"]);
    assert_eq!(lie.status.code(), Some(10), "{}", told(&lie));
    let kept = files(&home.path().join(".local/state/quorate/evidence"));
    let [file] = kept.as_slice() else { panic!("{kept:?} after: {}", told(&lie)) };
    let name = file.display().to_string();
    assert!(name.contains("/evidence-default-"), "{name}");
    assert!(told(&lie).contains(&name) && told(&lie).contains("quorate evidence verify"), "{}", told(&lie));

    let verified = left.command(&folder, &["evidence", "verify", &name, "-o", "json"]);
    assert_eq!(verified.status.code(), Some(0), "{}", told(&verified));
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!((&verified["lie"], &verified["verdict"]), (&"fork".into(), &"guilty".into()));
    assert!(verified["keys"][0].as_str().unwrap().ends_with("/node/1"), "{verified}");

    // One changed character, and it proves nothing.
    let altered = home.path().join("altered.json");
    fs::write(&altered, fs::read_to_string(file).unwrap().replacen("node/1 ", "node/1 A", 1)).unwrap();
    let altered = left.command(&folder, &["evidence", "verify", &altered.display().to_string()]);
    assert_eq!(altered.status.code(), Some(10), "{}", told(&altered));

    // Somebody who believes nothing yet compares both, as replicas of one cluster.
    let both = format!("{},{}", left.endpoint(), right.endpoint());
    let [trust, proofs] = ["fresh", "proofs"].map(|name| home.path().join(name).display().to_string());
    let place = ["--endpoints", &both, "--trust-dir", &trust, "--evidence-dir", &proofs];
    let status = left.command(&folder, &[&["status", "-o", "json"][..], &place].concat());
    assert_eq!(status.status.code(), Some(10), "{}", told(&status));
    let document: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&document["roots"], &document["verified"]), (&"differ".into(), &true.into()), "{document}");
    assert_eq!(files(Path::new(&proofs)), [PathBuf::from(document["evidence"].as_str().unwrap())]);
}

#[test]
fn replicas_that_agree_are_proven_to() {
    let home = tempfile::tempdir().unwrap();
    let node = Server::start(home.path(), "a");
    let folder = node.folder.clone();
    assert!(node.command(&folder, &["put", "greeting", "hello"]).status.success());
    // The same replica twice is enough to see what is proven.
    let (left, right) = node.split("copy");
    let both = format!("{},{}", left.endpoint(), right.endpoint());
    let status = left.command(&folder, &["status", "-o", "yaml", "--endpoints", &both]);
    let document = String::from_utf8(status.stdout.clone()).unwrap();
    assert_eq!(status.status.code(), Some(0), "{}{document}", told(&status));
    assert!(
        document.contains("\nroots: \"equal\"\n") && document.contains("\nverified: true\n"),
        "{document}"
    );
    assert_eq!(document.matches("signed_by_itself: true").count(), 2, "{document}");
}
