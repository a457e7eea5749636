//! From what was counted to what is shown: rates, shares and quantiles, in whole numbers.

use std::time::Duration;

use hdrhistogram::Histogram;
use quorate_client::{Error, Status};

use super::args::What;
use super::recording::Recording;
use crate::output::json::{Bench, BenchLatency, BenchNode};
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
    /// What the clients saw.
    pub(super) recording: &'a Recording,
}

/// The document of a run, from the usage of the nodes before and after it.
pub(super) fn document(
    measured: Measured<'_>,
    before: &[(String, Option<Usage>)],
    after: &[(String, Option<Usage>)],
) -> Bench {
    let Measured { ledger, what, recording } = measured;
    let (load, transactions) = (what.load(), recording.transactions);
    let operations = transactions.saturating_mul(u64::from(what.batch()));
    let node = |(endpoint, before): &(String, Option<Usage>)| {
        let after = after.iter().find(|(other, _)| other == endpoint).and_then(|(_, usage)| *usage);
        node(endpoint, *before, after, operations)
    };
    Bench {
        ledger: ledger.to_owned(),
        workload: what.word(),
        wait: what.wait(),
        clients: load.clients.to_string(),
        connections: load.connections.to_string(),
        batch: what.batch().to_string(),
        key_bytes: load.key_bytes.to_string(),
        value_bytes: load.value_bytes.to_string(),
        keys: what.keys().map(|keys| keys.to_string()),
        seconds: time::seconds_exact(load.duration),
        transactions: transactions.to_string(),
        operations: operations.to_string(),
        errors: recording.errors.to_string(),
        first_error: recording.first_error.as_ref().map(ToString::to_string),
        transactions_per_second: per_second(transactions, load.duration).to_string(),
        operations_per_second: per_second(operations, load.duration).to_string(),
        latency_us: latency(&recording.latencies_us),
        nodes: before.iter().map(node).collect(),
    }
}

/// Median, 99th percentile and maximum; `None` if nothing succeeded.
pub(super) fn latency(histogram: &Histogram<u64>) -> Option<BenchLatency> {
    (!histogram.is_empty()).then(|| BenchLatency {
        p50: histogram.value_at_quantile(0.5).to_string(),
        p99: histogram.value_at_quantile(0.99).to_string(),
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
    let keys = bench.keys.as_ref().map_or("new keys".to_owned(), |keys| format!("{keys} keys"));
    format!(
        "{}{wait}: {} clients on {} connections, batches of {}, values of {} bytes, {keys} of {} bytes, {} s\n",
        bench.workload,
        bench.clients,
        bench.connections,
        bench.batch,
        bench.value_bytes,
        bench.key_bytes,
        bench.seconds
    )
}

/// What came of it.
fn figures(bench: &Bench) -> String {
    let mut lines = format!(
        "{} operations/s, {} transactions/s; {} operations, {} errors\n",
        grouped(&bench.operations_per_second),
        grouped(&bench.transactions_per_second),
        grouped(&bench.operations),
        grouped(&bench.errors),
    );
    if let Some(latency) = &bench.latency_us {
        lines.push_str(&format!(
            "latency: p50 {} µs, p99 {} µs, max {} µs\n",
            grouped(&latency.p50),
            grouped(&latency.p99),
            grouped(&latency.max)
        ));
    }
    lines
}

fn grouped(number: &str) -> String {
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
