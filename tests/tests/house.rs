//! The rules of the house hold, and each rule catches a planted violation.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use quorate_tests::house::{files, licence_allowed, manifest_problems, platform, root, source_problems};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn sources_keep_to_the_layout() {
    let sources = files(&[".rs"]);
    assert!(sources.len() > 50, "found only {} source files", sources.len());
    let problems: Vec<String> = sources.iter().flat_map(|path| source_problems(path, &read(path))).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn packages_depend_in_one_direction() {
    let manifests = files(&["Cargo.toml"]);
    let problems: Vec<String> =
        manifests.iter().flat_map(|path| manifest_problems(path, &read(path))).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_planted_violation_of_each_rule_is_found() {
    let long = "//! x\n".repeat(601);
    for (path, text, word) in [
        ("cli/src/x.rs", long.as_str(), "601 lines"),
        ("cli/src/x.rs", "fn f() {}\n", "module doc"),
        ("node/src/api/x.rs", "//! x\nuse rocksdb::DB;\n", "rocksdb"),
        ("node/src/api/x.rs", "//! x\nlet x: openraft::Vote;\n", "openraft"),
        ("client/src/verify.rs", "//! x\nuse tonic::Status;\n", "tonic"),
        ("core/src/x.rs", "//! x\nuse std::time::Instant;\n", "pure"),
        ("node/ledger/src/x.rs", "//! x\nuse tokio::sync::Mutex;\n", "pure"),
    ] {
        let problems = source_problems(path, text);
        assert!(problems.iter().any(|p| p.contains(word)), "{path}: {word} not found in {problems:?}");
    }
    let planted = "[lints]\nworkspace = true\n[dependencies]\nquorate-node.workspace = true\n";
    assert!(!manifest_problems("client/Cargo.toml", planted).is_empty());
    assert!(!manifest_problems("core/Cargo.toml", "[dependencies]\n").is_empty());
    assert!(!licence_allowed("GPL-3.0-only"));
    assert!(!licence_allowed("MIT AND AGPL-3.0"));
}

#[test]
fn comments_do_not_count_and_allowed_places_may() {
    assert!(source_problems("cli/src/x.rs", "//! x\n// openraft::Vote is not known here\n").is_empty());
    assert!(source_problems("node/src/store/log/x.rs", "//! x\nuse rocksdb::DB;\n").is_empty());
}

#[test]
fn licences_of_all_dependencies_are_allowed() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &platform()])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "metadata names only {} packages", packages.len());
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !licence_allowed(package["license"].as_str().unwrap_or("none")))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "licences not allowed:\n{}", refused.join("\n"));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for path in files(&[".md"]) {
        let folder = root().join(&path).parent().unwrap().to_path_buf();
        for link in
            read(&path).split("](").skip(1).filter_map(|rest| rest.split(')').next().map(str::to_owned))
        {
            let target = link.split('#').next().unwrap_or("").to_owned();
            if !target.is_empty() && !target.contains("://") && !folder.join(&target).exists() {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}
