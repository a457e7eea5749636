//! A disk with less than its reserve: reads go on, writes are refused with the reason, and come back.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests; they wait by the clock")]

mod support;

use serde_json::Value;
use support::Server;

/// More than any disk has free; TOML has no larger number.
const MORE_THAN_ALL: u64 = 0x7fff_ffff_ffff_ffff;

fn reserve(config: &str, bytes: u64) -> String {
    let lines = config.lines().map(|line| match line.starts_with("disk_reserve_bytes") {
        true => format!("disk_reserve_bytes = {bytes}"),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn below_the_reserve_nothing_is_written_and_everything_is_read() {
    let home = tempfile::tempdir().unwrap();
    let node = Server::start(home.path(), "a");
    let folder = node.folder.clone();
    assert!(node.command(&folder, &["put", "greeting", "hello"]).status.success());

    let node = node.restart_with(|config| reserve(&config, MORE_THAN_ALL));
    let put = node.command(&folder, &["put", "greeting", "again", "--timeout", "1s"]);
    let told = String::from_utf8_lossy(&put.stderr);
    assert_eq!(put.status.code(), Some(3), "{told}");
    assert!(
        told.contains("this call wrote nothing: read-only: ") && told.contains("disk_reserve_bytes"),
        "{told}"
    );
    assert_eq!(node.command(&folder, &["get", "greeting", "--raw"]).stdout, b"hello");
    let status = node.command(&folder, &["status", "-o", "json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["replicas"][0]["limitation"].as_str().unwrap().starts_with("read-only"), "{status}");
    assert_eq!(status["replicas"][0]["size"], "3", "nothing was written");
    assert_eq!(node.metric("quorate_read_only ").as_deref(), Some("1"));

    let node = node.restart_with(|config| reserve(&config, 64 << 20));
    assert!(node.command(&folder, &["put", "greeting", "again"]).status.success());
    assert_eq!(node.metric("quorate_read_only ").as_deref(), Some("0"));
}
