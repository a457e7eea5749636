//! The arithmetic of the report, and what counts.

use std::time::Duration;

use super::recording::{Failed, Recording, Window};
use super::report::{Measured, Usage, document, latency, per_second, table};
use crate::output::json;

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const WINDOW: Window = Window { from: at(2_000), to: at(12_000) };

fn what(line: &str) -> super::args::What {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        args: super::Args,
    }
    Only::try_parse_from(std::iter::once("bench").chain(line.split_whitespace())).unwrap().args.what
}

fn usage(node: u64, memory_bytes: u64, written_bytes: u64) -> Option<Usage> {
    Some(Usage { node, memory_bytes, written_bytes })
}

#[test]
fn rates_are_rounded_down_and_no_time_is_no_rate() {
    assert_eq!(per_second(0, at(10_000)), 0);
    assert_eq!(per_second(80_000, at(10_000)), 8_000);
    assert_eq!(per_second(1, at(3_000)), 0);
    assert_eq!(per_second(5, at(500)), 10);
    assert_eq!(per_second(5, Duration::ZERO), 0);
    assert_eq!(per_second(u64::MAX, Duration::from_micros(1)), u64::MAX);
}

#[test]
fn the_rate_counts_what_ends_within_and_the_latency_what_begins_within() {
    let mut recording = Recording::new().unwrap();
    recording.note(WINDOW, at(100), at(1_999), Ok(())); // in the warm-up
    recording.note(WINDOW, at(1_990), at(2_000), Ok(())); // ends within: rate
    recording.note(WINDOW, at(3_000), at(3_010), Ok(())); // both
    recording.note(WINDOW, at(11_000), at(15_000), Ok(())); // begins within: latency
    assert_eq!(recording.transactions, 2);
    assert_eq!(recording.latencies_us.len(), 2);
    assert!(recording.latencies_us.max() >= 4_000_000, "what hangs at the end is not hidden");
}

#[test]
fn errors_of_the_warm_up_are_not_counted_and_the_first_is_kept() {
    let mut one = Recording::new().unwrap();
    one.note(WINDOW, at(100), at(200), Err(Failed::Absent));
    assert_eq!((one.errors, one.first_error.is_some()), (0, true));
    one.note(WINDOW, at(11_000), at(21_000), Err(Failed::Absent));
    let mut all = Recording::new().unwrap();
    all.note(WINDOW, at(3_000), at(3_001), Ok(()));
    all.add(one).unwrap();
    assert_eq!((all.errors, all.transactions, all.latencies_us.len()), (1, 1, 1));
    assert!(all.first_error.is_some());
}

#[test]
fn quantiles_are_those_of_the_merged_latencies() {
    let mut all = Recording::new().unwrap();
    for tens in 0..10_u64 {
        let mut one = Recording::new().unwrap();
        for millis in 1..=10 {
            one.note(WINDOW, at(3_000), at(3_000 + tens * 10 + millis), Ok(()));
        }
        all.add(one).unwrap();
    }
    let shown = latency(&all.latencies_us).unwrap();
    let near = |text: &str, millis: u64| text.parse::<u64>().unwrap().abs_diff(millis * 1_000) <= millis;
    assert!(near(&shown.p50, 50) && near(&shown.p99, 99) && near(&shown.max, 100), "{shown:?}");
    assert!(latency(&Recording::new().unwrap().latencies_us).is_none());
}

#[test]
fn bytes_are_per_operation_and_unknown_after_a_restart() {
    let what = what("put --batch 10 --clients 2");
    let mut recording = Recording::new().unwrap();
    for _ in 0..100 {
        recording.note(WINDOW, at(3_000), at(3_001), Ok(()));
    }
    let node = |name: &str, usage| (format!("https://{name}:1"), usage);
    let before = [node("a", usage(1, 1 << 20, 500)), node("b", usage(2, 0, 9_000)), node("c", None)];
    let after =
        [node("c", usage(3, 5, 5)), node("b", usage(2, 7, 10)), node("a", usage(1, 3 << 19, 600_500))];
    let measured = Measured { ledger: "default", what: &what, recording: &recording };
    let bench = document(measured, &before, &after);
    assert_eq!((bench.operations.as_str(), bench.operations_per_second.as_str()), ("1000", "100"));
    assert_eq!(bench.transactions_per_second, "10");
    let written: Vec<_> =
        bench.nodes.iter().map(|node| node.written_bytes_per_operation.as_deref()).collect();
    assert_eq!(written, [Some("600"), None, None]);
    assert_eq!(bench.nodes[2].memory_bytes_after.as_deref(), Some("5"));
    let text = table(&bench);
    assert!(text.contains("100 operations/s, 10 transactions/s; 1,000 operations, 0 errors\n"), "{text}");
    assert!(text.contains("1     1.0 MiB        1.5 MiB       0.5 MiB  600 B\n"), "{text}");
}

#[test]
fn nothing_done_is_no_division() {
    let what = what("verified-get");
    let recording = Recording::new().unwrap();
    let nodes = [("https://a:1".to_owned(), usage(1, 2, 3))];
    let bench = document(Measured { ledger: "l", what: &what, recording: &recording }, &nodes, &nodes);
    assert_eq!(bench.nodes[0].written_bytes_per_operation, None);
    assert!(bench.latency_us.is_none() && bench.wait.is_none());
    assert!(json::document("bench", &bench).unwrap().contains("\"latency_us\": null"));
}

#[test]
fn what_means_nothing_is_refused() {
    assert!(what("put --keys 9 --batch 10").check(true).is_err());
    assert!(what("put --keys 10 --batch 10").check(true).is_ok());
    assert!(what("verified-get").check(false).is_err());
    assert!(what("get").check(false).is_ok());
}
