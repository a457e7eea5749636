//! The documented configuration says everything that a node can be told, and the defaults in it are the real ones.

use std::collections::BTreeMap;

use quorate_node::config::{Limits, Log, NodeConfig, Raft, Storage};

const DOCUMENTED: &str = include_str!("../../../../deploy/quorate.toml");

fn load(text: &str) -> Result<NodeConfig, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("quorate.toml");
    std::fs::write(&path, text).unwrap();
    NodeConfig::load(&path).map_err(|error| error.to_string())
}

/// `section.key` to value, for every key.
fn keys(text: &str) -> BTreeMap<String, toml::Value> {
    let table: toml::Table = toml::from_str(text).unwrap();
    let sections = table.into_iter().flat_map(|(section, keys)| {
        let keys = keys.as_table().unwrap().clone();
        keys.into_iter().map(move |(key, value)| (format!("{section}.{key}"), value))
    });
    sections.collect()
}

#[test]
fn the_documented_configuration_has_every_key_and_no_other() {
    let config = load(DOCUMENTED).unwrap();
    let known = keys(&toml::to_string(&config).unwrap());
    let documented = keys(DOCUMENTED);
    assert!(known.len() > 30, "{known:?}");
    assert_eq!(documented.keys().collect::<Vec<_>>(), known.keys().collect::<Vec<_>>());
}

#[test]
fn the_documented_defaults_are_the_real_ones() {
    let section = |name: &str, text: String| format!("[{name}]\n{text}");
    let defaults = [
        section("limits", toml::to_string(&Limits::default()).unwrap()),
        section("storage", toml::to_string(&Storage::default()).unwrap()),
        section("raft", toml::to_string(&Raft::default()).unwrap()),
        section("log", toml::to_string(&Log::default()).unwrap()),
    ];
    let documented = keys(DOCUMENTED);
    for (key, value) in keys(&defaults.concat()) {
        assert_eq!(documented.get(&key), Some(&value), "{key}");
    }
}

#[test]
fn every_documented_key_has_words_about_it() {
    let mut explained = false;
    for line in DOCUMENTED.lines() {
        if line.starts_with('#') {
            explained = true;
        } else if line.is_empty() || line.starts_with('[') {
            explained = false;
        }
        // Keys of a pair share one comment.
        assert!(explained || !line.contains('='), "{line} stands without a comment");
    }
}

#[test]
fn a_documented_key_that_is_mistyped_is_refused_by_name() {
    let error = load(&DOCUMENTED.replace("queued_bytes", "queued_byte")).unwrap_err();
    assert!(error.contains("queued_byte") && error.contains("did you mean \"queued_bytes\""), "{error}");
}
