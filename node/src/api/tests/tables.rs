//! The table of reasons.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use quorate_proto::convert::detail;
use tonic::Code;

use crate::{
    api::{
        errors::{Problem, Reason},
        metrics::{UNITS, recorder},
    },
    consensus::ReadError,
};

#[test]
fn every_reason_has_its_own_name_in_lower_case() {
    let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.row().0).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    for name in names {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    }
}

#[test]
fn every_refusal_carries_its_row() {
    for reason in Reason::ALL {
        let (name, code, no_effect) = reason.row();
        let refusal = reason.of("some.field", "what is wrong");
        let detail = detail(&refusal).unwrap();
        assert_ne!(code, Code::Ok);
        assert_eq!((refusal.code(), detail.reason.as_str(), detail.no_effect), (code, name, no_effect));
        assert_eq!((detail.field.as_str(), refusal.message()), ("some.field", "some.field: what is wrong"));
    }
}

#[test]
fn an_unknown_outcome_is_never_called_certain() {
    for (reason, code) in
        [(Reason::OutcomeUnknown, Code::Unavailable), (Reason::Timeout, Code::DeadlineExceeded)]
    {
        assert_eq!((reason.row().1, reason.row().2), (code, false));
    }
}

#[test]
fn a_read_without_a_leader_names_the_one_that_is_known() {
    let Problem::Refused(refusal) = ReadError::NotLeader { leader: Some(2) }.into() else {
        panic!("a refusal is no fault")
    };
    let detail = detail(&refusal).unwrap();
    assert_eq!((refusal.code(), detail.reason.as_str(), detail.leader), (Code::Unavailable, "no_leader", 2));
}

/// The names of metrics in a text.
fn names_of_metrics(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = text.match_indices("quorate_").filter(|(at, _)| !text[..*at].ends_with(is_part));
    let names = starts.filter_map(|(at, _)| {
        let rest = &text[at..];
        let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        // Not a path of Rust, such as quorate_node::api.
        (!rest[name.len()..].starts_with("::")).then(|| name.to_owned())
    });
    names.collect()
}

/// The names of the metrics that a source file emits.
fn emitted_by(source: &str) -> BTreeSet<String> {
    named_in(source, &["counter!(", "gauge!(", "histogram!("])
}

/// The names in the calls of these macros.
fn named_in(source: &str, macros: &[&str]) -> BTreeSet<String> {
    let calls = macros.iter().flat_map(|call| source.split(call).skip(1));
    let names = calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
    names.map(str::to_owned).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.file_name().is_some_and(|name| name == "tests") => {}
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn every_metric_is_in_both_tables_and_there_is_none_that_is_not_measured() {
    let node = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&node.join("src"), &mut files);
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let emitted: BTreeSet<String> = files.iter().flat_map(|path| emitted_by(&text(path))).collect();
    assert!(emitted.len() > 20, "{emitted:?}");

    let module = text(&node.join("src/api/metrics.rs"));
    let rows: String = module.lines().filter(|line| line.starts_with("//! | `")).collect();
    assert_eq!(names_of_metrics(&rows), emitted, "the table of api/metrics.rs");
    let manual = text(&node.join("../docs/operations/README.md"));
    assert_eq!(names_of_metrics(&manual), emitted, "docs/operations/README.md");
}

#[test]
fn every_histogram_has_the_buckets_of_its_unit() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    let names: BTreeSet<String> =
        files.iter().flat_map(|path| named_in(&text(path), &["histogram!("])).collect();
    assert!(names.contains("quorate_call_seconds"), "{names:?}");
    for name in &names {
        assert!(UNITS.iter().any(|(end, _)| name.ends_with(end)), "{name} ends with no unit");
    }
    let recorder = recorder().unwrap();
    metrics::histogram!("quorate_block_requests").record(3_000);
    metrics::histogram!("quorate_call_seconds").record(0.003);
    let shown = recorder.render();
    for line in [
        "quorate_block_requests_bucket{le=\"2048\"}",
        "quorate_block_requests_bucket{le=\"4096\"}",
        "quorate_call_seconds_bucket{le=\"0.005\"}",
    ] {
        assert!(shown.contains(line), "no {line} in:\n{shown}");
    }
    assert!(!shown.contains("quorate_block_requests_bucket{le=\"0.005\"}"), "{shown}");
}

#[test]
fn a_metric_that_is_missing_in_a_table_is_found() {
    assert_eq!(
        emitted_by("gauge!(\n    \"quorate_new\", \"a\" => b).set(1); counter!(\"quorate_x_total\")"),
        ["quorate_new".to_owned(), "quorate_x_total".to_owned()].into()
    );
    let table = "//! | `quorate_x_total{a}` | see quorate_node::api and my_quorate_y |";
    assert_eq!(names_of_metrics(table), ["quorate_x_total".to_owned()].into());
}
