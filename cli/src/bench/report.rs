//! From what was counted to what is shown: rates, shares and quantiles, in whole numbers.

use std::time::Duration;

use hdrhistogram::Histogram;
use quorate_client::{Error, Status};

use super::args::What;
use super::recording::{Failures, Recording, Tally};
use crate::commands::WaitFor;
use crate::error::CliError;
use crate::output::json::{Bench, BenchFailures, BenchLatency, BenchNode, BenchPart};
use crate::output::{Table, text, time};

/// What every replica says of itself, by endpoint.
pub(super) type Statuses = Vec<(String, Result<Status, Error>)>;

/// What a node says of the resources it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// Its id.
    pub(super) node: u64,
    /// Resident memory.
    pub(super) memory_bytes: u64,
    /// What it has written to disks since its process began.
    pub(super) written_bytes: u64,
}

/// The usage of each node that answered, by endpoint.
pub(super) fn usages(statuses: &Statuses) -> Vec<(String, Option<Usage>)> {
    let usage = |status: &Status| Usage {
        node: status.node_id,
        memory_bytes: status.memory_bytes,
        written_bytes: status.written_bytes,
    };
    statuses.iter().map(|(endpoint, answer)| (endpoint.clone(), answer.as_ref().ok().map(usage))).collect()
}

/// How many per second, rounded down; 0 if no time went by.
pub(super) fn per_second(count: u64, elapsed: Duration) -> u64 {
    let rate = (u128::from(count) * 1_000_000).checked_div(elapsed.as_micros());
    rate.map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}

/// What was measured, apart from what the nodes say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured<'a> {
    /// The ledger's name.
    pub(super) ledger: &'a str,
    /// What was asked for.
    pub(super) what: &'a What,
    /// Whether the session verifies what can be.
    pub(super) verify: bool,
    /// What the clients saw.
    pub(super) recording: &'a Recording,
}

/// The document of a run, from the usage of the nodes before and after it.
///
/// # Errors
/// If the latencies of reads and writes cannot be put together.
pub(super) fn document(
    measured: Measured<'_>,
    before: &[(String, Option<Usage>)],
    after: &[(String, Option<Usage>)],
) -> Result<Bench, CliError> {
    let Measured { ledger, what, verify, recording } = measured;
    let load = what.load();
    let (transactions, operations) = recording.done();
    let node = |(endpoint, before): &(String, Option<Usage>)| {
        let after = after.iter().find(|(other, _)| other == endpoint).and_then(|(_, usage)| *usage);
        node(endpoint, *before, after, operations)
    };
    let part = |tally| what.reads().map(|_| part(tally, load.duration));
    Ok(Bench {
        ledger: ledger.to_owned(),
        ledgers: what.ledgers().map(|ledgers| ledgers.to_string()),
        workload: what.word(),
        wait: what.wait().map(wait),
        streamed: what.streams(),
        verified: what.verifies(verify),
        clients: load.clients().to_string(),
        connections: load.connections.to_string(),
        rate: load.rate.map(|rate| rate.to_string()),
        batch: what.batch().to_string(),
        page: what.page().map(|page| page.to_string()),
        read_percent: what.reads().map(|reads| reads.to_string()),
        key_bytes: load.key_bytes.to_string(),
        value_bytes: load.value_bytes.to_string(),
        keys: what.keys().map(|keys| keys.to_string()),
        order: load.order.word(),
        distribution: what.distribution().map(|distribution| distribution.to_string()),
        warm_up_seconds: time::seconds_exact(load.warm_up),
        seconds: time::seconds_exact(load.duration),
        transactions: transactions.to_string(),
        operations: operations.to_string(),
        errors: recording.failures.total().to_string(),
        failures: failures(recording.failures),
        first_error: recording.first_error.as_ref().map(ToString::to_string),
        not_sent: load.rate.map(|_| recording.not_sent.to_string()),
        transactions_per_second: per_second(transactions, load.duration).to_string(),
        operations_per_second: per_second(operations, load.duration).to_string(),
        latency_us: latency(&recording.latencies_us()?),
        reads: part(&recording.reads),
        writes: part(&recording.writes),
        nodes: before.iter().map(node).collect(),
    })
}

const fn wait(wait: WaitFor) -> &'static str {
    match wait {
        WaitFor::Certified => "certified",
        WaitFor::Committed => "committed",
    }
}

/// The calls of one kind of a mixed workload.
fn part(tally: &Tally, elapsed: Duration) -> BenchPart {
    BenchPart {
        operations: tally.operations.to_string(),
        operations_per_second: per_second(tally.operations, elapsed).to_string(),
        latency_us: latency(&tally.latencies_us),
    }
}

fn failures(failures: Failures) -> BenchFailures {
    let Failures { refused, unknown, untrusted, rejected, absent, other } = failures;
    BenchFailures {
        refused: refused.to_string(),
        unknown_outcome: unknown.to_string(),
        untrusted: untrusted.to_string(),
        rejected: rejected.to_string(),
        absent: absent.to_string(),
        other: other.to_string(),
    }
}

/// The kinds of failures that there were, the worst first, in words.
pub(super) fn failure_kinds(failures: Failures) -> Vec<(u64, &'static str)> {
    let Failures { refused, unknown, untrusted, rejected, absent, other } = failures;
    let kinds = [
        (untrusted, "not believed"),
        (unknown, "of unknown outcome"),
        (refused, "refused with nothing done"),
        (rejected, "rejected"),
        (absent, "absent"),
        (other, "others"),
    ];
    kinds.into_iter().filter(|(count, _)| *count > 0).collect()
}

/// What the latencies were like; `None` if nothing succeeded.
pub(super) fn latency(histogram: &Histogram<u64>) -> Option<BenchLatency> {
    let at = |quantile| histogram.value_at_quantile(quantile).to_string();
    (!histogram.is_empty()).then(|| BenchLatency {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p99_9: at(0.999),
        max: histogram.max().to_string(),
    })
}

/// One node. What it wrote is unknown if it did not answer twice, or began anew in between.
fn node(endpoint: &str, before: Option<Usage>, after: Option<Usage>, operations: u64) -> BenchNode {
    let written = before
        .zip(after)
        .filter(|(before, after)| before.node == after.node)
        .and_then(|(before, after)| after.written_bytes.checked_sub(before.written_bytes));
    BenchNode {
        endpoint: endpoint.to_owned(),
        node: after.or(before).map(|usage| usage.node.to_string()),
        memory_bytes_before: before.map(|usage| usage.memory_bytes.to_string()),
        memory_bytes_after: after.map(|usage| usage.memory_bytes.to_string()),
        written_bytes: written.map(|bytes| bytes.to_string()),
        written_bytes_per_operation: written
            .and_then(|bytes| bytes.checked_div(operations))
            .map(|bytes| bytes.to_string()),
    }
}

/// The document for people.
pub(super) fn table(bench: &Bench) -> String {
    let mut table = Table::new(["NODE", "MEMORY BEFORE", "MEMORY AFTER", "WRITTEN", "WRITTEN/OPERATION"]);
    for node in &bench.nodes {
        table.row([
            node.node.clone().unwrap_or_else(|| node.endpoint.clone()),
            mebibytes(node.memory_bytes_before.as_deref()),
            mebibytes(node.memory_bytes_after.as_deref()),
            mebibytes(node.written_bytes.as_deref()),
            node.written_bytes_per_operation.as_ref().map_or("-".to_owned(), |bytes| format!("{bytes} B")),
        ]);
    }
    format!("{}{}{table}", setting(bench), figures(bench))
}

/// What was done.
fn setting(bench: &Bench) -> String {
    let wait = bench.wait.map(|wait| format!(", {wait}")).unwrap_or_default();
    let verified = if bench.verified { ", verified" } else { ", not verified" };
    let keys = bench.keys.as_ref().map_or("new keys".to_owned(), |keys| format!("{keys} keys"));
    let chosen = bench.distribution.as_ref().map(|how| format!(", {how}")).unwrap_or_default();
    let clients = match &bench.rate {
        None => format!("{} clients", bench.clients),
        Some(rate) => format!("{} operations/s by at most {} clients", grouped(rate), bench.clients),
    };
    let call = call(bench);
    let ledgers = bench.ledgers.as_ref().map(|count| format!(", {count} ledgers")).unwrap_or_default();
    format!(
        "{}{wait}{verified}: {clients} on {} connections{ledgers}, {call}, values of {} bytes, {keys} of {} bytes{chosen}, {} s\n",
        bench.workload, bench.connections, bench.value_bytes, bench.key_bytes, bench.seconds
    )
}

/// What a call is.
pub(super) fn call(bench: &Bench) -> String {
    let calls = if bench.streamed { " on streams" } else { "" };
    match (&bench.page, &bench.read_percent, bench.wait) {
        (Some(page), ..) => format!("pages of {page}"),
        (None, Some(reads), _) => format!("{reads} % reads"),
        (None, None, Some(_)) => format!("batches of {}{calls}", bench.batch),
        (None, None, None) => "a key a call".to_owned(),
    }
}

/// What came of it.
fn figures(bench: &Bench) -> String {
    let mut lines = format!(
        "{} operations/s, {} transactions/s; {} operations, {} errors{}\n",
        grouped(&bench.operations_per_second),
        grouped(&bench.transactions_per_second),
        grouped(&bench.operations),
        grouped(&bench.errors),
        bench
            .not_sent
            .as_ref()
            .map(|calls| format!(", {} calls not sent", grouped(calls)))
            .unwrap_or_default(),
    );
    for (name, latency) in [
        ("latency", &bench.latency_us),
        ("reads", &bench.reads.as_ref().and_then(|part| part.latency_us.clone())),
        ("writes", &bench.writes.as_ref().and_then(|part| part.latency_us.clone())),
    ] {
        let Some(latency) = latency else { continue };
        lines.push_str(&format!(
            "{name}: p50 {} µs, p90 {} µs, p99 {} µs, p99.9 {} µs, max {} µs\n",
            grouped(&latency.p50),
            grouped(&latency.p90),
            grouped(&latency.p99),
            grouped(&latency.p99_9),
            grouped(&latency.max)
        ));
    }
    lines
}

/// Microseconds as milliseconds with one digit after the point, rounded down.
pub(super) fn millis(micros: u64) -> String {
    format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
}

/// A number with commas between its thousands.
pub(super) fn grouped(number: &str) -> String {
    number.parse().map_or_else(|_| number.to_owned(), text::thousands)
}

/// With one digit after the point, rounded down.
fn mebibytes(bytes: Option<&str>) -> String {
    let Some(bytes) = bytes.and_then(|bytes| bytes.parse::<u64>().ok()) else {
        return "-".to_owned();
    };
    let tenths = u128::from(bytes) * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}
