//! The arithmetic of the report, and what counts.

use std::time::Duration;

use quorate_client::{Error, Outcome};

use super::args::{Command, SweepArgs, What};
use super::recording::{Ended, Failed, Kind, Recorder, Recording, Window};
use super::report::{Measured, Usage, document, latency, per_second, table};
use super::sweep;
use crate::output::json::{self, Bench, BenchSweep};

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const WINDOW: Window = Window { from: at(2_000), to: at(12_000) };

fn command(line: &str) -> Command {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        args: super::Args,
    }
    Only::try_parse_from(std::iter::once("bench").chain(line.split_whitespace())).unwrap().args.command
}

fn what(line: &str) -> What {
    match command(line) {
        Command::One(what) => what,
        Command::Sweep(_) => panic!("{line} is a sweep"),
    }
}

fn sweep_args(line: &str) -> SweepArgs {
    match command(line) {
        Command::Sweep(args) => args,
        Command::One(_) => panic!("{line} is no sweep"),
    }
}

fn recorder() -> Recorder {
    Recorder::new(WINDOW).unwrap()
}

fn note(recorder: &Recorder, began: u64, ended: u64, outcome: Result<u64, Failed>) {
    recorder.note(Ended { kind: Kind::Write, began: at(began), ended: at(ended), outcome });
}

fn usage(node: u64, memory_bytes: u64, written_bytes: u64) -> Option<Usage> {
    Some(Usage { node, memory_bytes, written_bytes })
}

fn report(line: &str, recording: &Recording, before: &[(String, Option<Usage>)]) -> Bench {
    let what = what(line);
    let measured = Measured { ledger: "default", what: &what, verify: true, recording };
    document(measured, before, before).unwrap()
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
    let recorder = recorder();
    note(&recorder, 100, 1_999, Ok(1)); // in the warm-up
    note(&recorder, 1_990, 2_000, Ok(1)); // ends within: rate
    note(&recorder, 3_000, 3_010, Ok(10)); // both
    note(&recorder, 11_000, 15_000, Ok(1)); // begins within: latency
    let recording = recorder.recording();
    assert_eq!(recording.done(), (2, 11));
    let latencies = recording.latencies_us().unwrap();
    assert_eq!(latencies.len(), 2);
    assert!(latencies.max() >= 4_000_000, "what hangs at the end is not hidden");
}

#[test]
fn errors_of_the_warm_up_are_not_counted_and_the_first_is_kept() {
    let recorder = recorder();
    note(&recorder, 100, 200, Err(Failed::Absent));
    let recording = recorder.recording();
    assert_eq!((recording.failures.total(), recording.first_error.is_some()), (0, true));
    note(&recorder, 11_000, 21_000, Err(Failed::Absent));
    assert_eq!(recorder.recording().failures.total(), 1);
}

#[test]
fn failures_are_told_apart() {
    let recorder = recorder();
    for outcome in [Outcome::NotDone, Outcome::NotDone, Outcome::Unknown] {
        let error = Error::Unavailable { outcome, attempts: 1, last: String::new() };
        note(&recorder, 3_000, 3_001, Err(error.into()));
    }
    note(&recorder, 3_000, 3_001, Err(Failed::Absent));
    note(&recorder, 3_000, 3_001, Err(Error::Denied { message: String::new() }.into()));
    let recording = recorder.recording();
    let bench = report("put", &recording, &[]);
    let kinds = bench.failures;
    assert_eq!([kinds.refused, kinds.unknown_outcome, kinds.absent, kinds.other], ["2", "1", "1", "1"]);
    assert_eq!((bench.errors.as_str(), kinds.untrusted.as_str()), ("5", "0"));
}

#[test]
fn what_was_due_in_the_measured_time_and_not_sent_has_waited_until_its_end() {
    let recorder = recorder();
    recorder.note_not_sent(Kind::Write, at(1_000));
    recorder.note_not_sent(Kind::Write, at(4_000));
    let recording = recorder.recording();
    assert_eq!(recording.not_sent, 1);
    assert!(recording.latencies_us().unwrap().max() >= 8_000_000);
    let bench = report("put --rate 100", &recording, &[]);
    assert_eq!((bench.not_sent.as_deref(), bench.rate.as_deref()), (Some("1"), Some("100")));
    assert!(table(&bench).contains("1 calls not sent\n"), "{}", table(&bench));
    assert_eq!(report("put", &recording, &[]).not_sent, None);
}

#[test]
fn quantiles_are_those_of_all_latencies() {
    let recorder = recorder();
    for number in 0..1_000 {
        let kind = if number % 2 == 0 { Kind::Read } else { Kind::Write };
        recorder.note(Ended { kind, began: at(3_000), ended: at(3_001 + number), outcome: Ok(1) });
    }
    let recording = recorder.recording();
    let shown = latency(&recording.latencies_us().unwrap()).unwrap();
    let near = |text: &str, millis: u64| text.parse::<u64>().unwrap().abs_diff(millis * 1_000) <= 1_000;
    assert!(near(&shown.p50, 500) && near(&shown.p90, 900) && near(&shown.p99, 990), "{shown:?}");
    assert!(near(&shown.p99_9, 999) && near(&shown.max, 1_000), "{shown:?}");
    assert!(latency(&self::recorder().recording().latencies_us().unwrap()).is_none());
    let mixed = report("mixed", &recording, &[]);
    assert_eq!(mixed.reads.unwrap().operations, "500");
    assert_eq!(mixed.writes.unwrap().operations_per_second, "50");
    assert!(report("put", &recording, &[]).writes.is_none());
}

#[test]
fn bytes_are_per_operation_and_unknown_after_a_restart() {
    let what = what("put --batch 10 --clients 2");
    let recorder = recorder();
    for _ in 0..100 {
        note(&recorder, 3_000, 3_001, Ok(10));
    }
    let node = |name: &str, usage| (format!("https://{name}:1"), usage);
    let before = [node("a", usage(1, 1 << 20, 500)), node("b", usage(2, 0, 9_000)), node("c", None)];
    let after =
        [node("c", usage(3, 5, 5)), node("b", usage(2, 7, 10)), node("a", usage(1, 3 << 19, 600_500))];
    let recording = recorder.recording();
    let measured = Measured { ledger: "default", what: &what, verify: true, recording: &recording };
    let bench = document(measured, &before, &after).unwrap();
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
    let nodes = [("https://a:1".to_owned(), usage(1, 2, 3))];
    let bench = report("verified-get", &recorder().recording(), &nodes);
    assert_eq!(bench.nodes[0].written_bytes_per_operation, None);
    assert!(bench.latency_us.is_none() && bench.wait.is_none() && bench.verified);
    assert!(json::document("bench", &bench).unwrap().contains("\"latency_us\": null"));
}

#[test]
fn the_settings_are_told_as_they_are() {
    let told = |line| {
        let bench = report(line, &recorder().recording(), &[]);
        let text = table(&bench);
        (bench, text.lines().next().unwrap().to_owned())
    };
    let (bench, line) = told("put --rate 4000 --batch 10 --wait committed");
    assert_eq!((bench.clients.as_str(), bench.distribution, bench.verified), ("1000", None, false));
    assert!(
        line.starts_with("put, committed, not verified: 4,000 operations/s by at most 1000 clients"),
        "{line}"
    );
    let (bench, line) = told("put --keys 50");
    assert_eq!((bench.clients.as_str(), bench.distribution.as_deref()), ("64", Some("sequential")));
    assert!(line.ends_with("50 keys of 16 bytes, sequential, 10.000 s"), "{line}");
    let (bench, _) = told("mixed --distribution zipf:1.1 --clients 8");
    assert_eq!(
        (bench.read_percent.as_deref(), bench.distribution.as_deref()),
        (Some("90"), Some("zipf:1.1"))
    );
    let (bench, line) = told("scan --page 20");
    assert_eq!((bench.page.as_deref(), bench.distribution.as_deref()), (Some("20"), Some("uniform")));
    assert!(line.contains("pages of 20"), "{line}");
}

#[test]
fn what_means_nothing_is_refused() {
    assert!(what("put --keys 9 --batch 10").check(true).is_err());
    assert!(what("put --keys 10 --batch 10").check(true).is_ok());
    assert!(what("put --distribution zipf").check(true).is_err());
    assert!(what("put --distribution zipf --keys 10").check(true).is_ok());
    assert!(what("put --stream").streams() && !what("put").streams() && !what("mixed").streams());
    assert!(what("verified-get").check(false).is_err());
    assert!(what("get").check(false).is_ok());
    assert!(what("mixed").check(false).is_ok() && !what("mixed").verifies(false));
}

#[test]
fn a_sweep_differs_in_one_number() {
    let runs = sweep_args("sweep --over-clients 1,4 put").runs().unwrap();
    assert_eq!(runs.iter().map(|what| what.load().clients()).collect::<Vec<_>>(), [1, 4]);
    let runs = sweep_args("sweep --over-rates 100,200 verified-get --clients 9").runs().unwrap();
    assert_eq!(runs.iter().map(|what| what.load().rate).collect::<Vec<_>>(), [Some(100), Some(200)]);
    assert!(runs.iter().all(|what| what.load().clients() == 9));
    assert!(sweep_args("sweep --over-clients 1,4 put --clients 3").runs().is_err());
    assert!(sweep_args("sweep --over-rates 1 put --rate 3").runs().is_err());
    let many = (1..=33).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    assert!(sweep_args(&format!("sweep --over-clients {many} put")).runs().is_err());
}

#[test]
fn a_sweep_is_told_by_run() {
    let recorder = recorder();
    (0..50).for_each(|number| note(&recorder, 3_000, 3_001 + number, Ok(1)));
    let recording = recorder.recording();
    let runs = sweep_args("sweep --over-rates 1000,2000 put").runs().unwrap();
    let document = |what: &What| {
        let measured = Measured { ledger: "default", what, verify: true, recording: &recording };
        document(measured, &[], &[]).unwrap()
    };
    let runs = runs.iter().map(document).collect();
    let sweep = BenchSweep { ledger: "default".into(), over: "rate", chart: None, runs };
    let text = sweep::table(&sweep);
    assert!(text.contains("\n2,000  5             25,007 µs"), "{text}");
    assert!(json::document("bench_sweep", &sweep).unwrap().contains("\"over\": \"rate\""));
}
