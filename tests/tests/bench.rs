//! `quorate bench` against real nodes: every workload gives its document, and every command of the manual runs. What is
//! checked is what is reported, never how fast it is.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use quorate_tests::{cluster::Cluster, house, shell::Shell};
use serde_json::Value;

/// Short runs: how long, and how many keys.
const SHORT: [&str; 4] = ["--warm-up", "100ms", "--duration", "700ms"];
const KEYS: &str = "150";

fn bench(shell: &Shell, line: &str) -> Value {
    let ran =
        shell.run(["bench"].into_iter().chain(line.split_whitespace()).chain(SHORT).chain(["-o", "json"]));
    assert_eq!(ran.code, 0, "{line}: {}", ran.stderr);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["schema"], 1, "{line}");
    document
}

/// A number, which documents have as a string.
fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

/// What every run of a healthy cluster reports.
fn check(line: &str, run: &Value) {
    assert_eq!(run["errors"], "0", "{line}: {run:#}");
    assert!(number(&run["transactions"]) > 0 && run["first_error"].is_null(), "{line}: {run:#}");
    assert_eq!((run["warm_up_seconds"].as_str(), run["seconds"].as_str()), (Some("0.100"), Some("0.700")));
    let latency: Vec<u64> =
        ["p50", "p90", "p99", "p99_9", "max"].iter().map(|name| number(&run["latency_us"][name])).collect();
    assert!(latency.is_sorted() && latency[0] > 0, "{line}: {latency:?}");
    assert_eq!(run["nodes"].as_array().unwrap().len(), 3, "{line}");
}

#[test]
fn every_workload_gives_its_document() {
    let cluster = Cluster::start(3);
    let shell = Shell::of(&cluster);
    for (line, expected) in [
        ("put --clients 8", [("workload", "put"), ("wait", "certified"), ("clients", "8")]),
        ("put --clients 32 --stream", [("workload", "put"), ("wait", "certified"), ("clients", "32")]),
        ("put --wait committed --batch 20", [("wait", "committed"), ("batch", "20"), ("order", "random")]),
        (
            "put --keys 30 --batch 3 --distribution zipf:1.2",
            [("keys", "30"), ("distribution", "zipf:1.2"), ("batch", "3")],
        ),
        ("put --clients 4 --ledgers 3", [("ledger", "default"), ("ledgers", "3"), ("clients", "4")]),
        ("put --rate 200", [("rate", "200"), ("clients", "1000"), ("not_sent", "0")]),
        (
            "verified-get --keys 150",
            [("workload", "verified-get"), ("keys", KEYS), ("distribution", "uniform")],
        ),
        (
            "get --keys 150 --no-load --distribution sequential",
            [("workload", "get"), ("keys", KEYS), ("distribution", "sequential")],
        ),
        (
            "mixed --keys 150 --reads 50 --clients 16",
            [("workload", "mixed"), ("read_percent", "50"), ("wait", "certified")],
        ),
        ("scan --keys 150 --no-load --page 20", [("workload", "scan"), ("page", "20"), ("keys", KEYS)]),
    ] {
        let run = bench(&shell, line);
        check(line, &run);
        assert_eq!(run["kind"], "bench");
        for (field, value) in expected {
            assert_eq!(run[field], value, "{line}: {field} of {run:#}");
        }
        let verified = !line.starts_with("get") && !line.contains("committed");
        assert_eq!(run["verified"], verified, "{line}");
        assert_eq!(run["streamed"], line.contains("--stream"), "{line}");
        let operations = (number(&run["transactions"]), number(&run["operations"]));
        match line.split(' ').next() {
            Some("mixed") => {
                let parts = number(&run["reads"]["operations"]) + number(&run["writes"]["operations"]);
                assert_eq!(parts, operations.1);
            }
            Some("scan") => assert!(operations.1 > operations.0 && operations.1 <= 20 * operations.0),
            _ => assert_eq!(operations.1, operations.0 * number(&run["batch"]), "{line}"),
        }
    }
    more_than_a_cluster_does(&shell);
    a_sweep(&shell);
    errors_are_told_apart(&shell);
}

/// The loop stays open: what two clients cannot send is counted, and the others have waited for them.
fn more_than_a_cluster_does(shell: &Shell) {
    let line = "put --rate 1000000 --clients 2";
    let run = bench(shell, line);
    check(line, &run);
    assert!(number(&run["not_sent"]) > 500_000, "{run:#}");
    assert!(number(&run["latency_us"]["p50"]) > 100_000, "calls that wait are in the percentiles: {run:#}");
}

fn a_sweep(shell: &Shell) {
    let sweep = bench(shell, "sweep --over-clients 1,8 --chart put.svg put --wait committed");
    assert_eq!((sweep["kind"].as_str(), sweep["over"].as_str()), (Some("bench_sweep"), Some("clients")));
    let runs = sweep["runs"].as_array().unwrap();
    assert_eq!(runs.iter().map(|run| number(&run["clients"])).collect::<Vec<_>>(), [1, 8]);
    runs.iter().for_each(|run| check("sweep", run));
    let chart = fs::read_to_string(shell.dir().join("put.svg")).unwrap();
    assert!(
        chart.starts_with("<svg") && chart.contains(">8</text>") && chart.matches("<circle").count() == 2
    );
    let refused = shell.run(["bench", "sweep", "--over-rates", "10", "--chart", "nowhere/put.svg", "put"]);
    assert!(refused.code == 1 && refused.stderr.contains("nowhere/put.svg"), "{refused:?}");
}

/// A run in which nothing succeeds has failed, and says why.
fn errors_are_told_apart(shell: &Shell) {
    let arguments = ["bench", "verified-get", "--no-load", "--prefix", "none/", "--keys", KEYS, "-o", "json"];
    let ran = shell.run(arguments.into_iter().chain(SHORT));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let run: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(number(&run["failures"]["absent"]) > 0, "{run:#}");
    assert_eq!(run["failures"]["absent"], run["errors"]);
    assert_eq!(run["failures"]["untrusted"], "0");
    assert!(run["latency_us"].is_null() && ran.stderr.contains("absent"), "{}", ran.stderr);
    let nobody =
        shell.clone().with("QUORATE_ENDPOINTS", "https://127.0.0.1:1").with("QUORATE_TIMEOUT", "200ms");
    let ran = nobody.run(["bench", "put", "--clients", "2", "-o", "json"].into_iter().chain(SHORT));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let run: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(run["failures"]["refused"], run["errors"], "{run:#}");
    assert_eq!(run["transactions"], "0");
}

/// The commands of a page that are for `quorate bench`, with its own lengths and numbers left out.
fn commands(page: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(house::root().join(page)).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("quorate bench "));
    let command = |line: &str| {
        let mut words = line.split(" #").next().unwrap().split_whitespace();
        let mut kept = vec!["bench".to_owned()];
        while let Some(word) = words.next() {
            match word {
                "--warm-up" | "--duration" => drop(words.next()),
                "--keys" => {
                    kept.extend([word.to_owned(), KEYS.to_owned()]);
                    words.next();
                }
                _ => kept.push(word.to_owned()),
            }
        }
        kept
    };
    lines.map(command).collect()
}

#[test]
fn the_commands_of_the_manual_run() {
    let commands = commands("docs/performance.md");
    assert!(commands.len() >= 8, "{commands:?}");
    let cluster = Cluster::start(3);
    let shell = Shell::of(&cluster);
    // What is there to be read without being written first.
    bench(&shell, &format!("get --keys {KEYS}"));
    for command in commands {
        let ran = shell.run(command.iter().map(String::as_str).chain(SHORT));
        assert_eq!(ran.code, 0, "{}: {}", command.join(" "), ran.stderr);
    }
}
