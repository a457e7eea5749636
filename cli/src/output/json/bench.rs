//! The documents of `quorate bench`.

use serde::Serialize;

/// Latencies of `bench`, microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BenchLatency {
    pub(crate) p50: String,
    pub(crate) p90: String,
    pub(crate) p99: String,
    pub(crate) p99_9: String,
    pub(crate) max: String,
}

/// Reads or writes of a mixed workload of `bench`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BenchPart {
    pub(crate) operations: String,
    pub(crate) operations_per_second: String,
    pub(crate) latency_us: Option<BenchLatency>,
}

/// Calls of `bench` that failed, by what that means.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BenchFailures {
    /// Nothing was done: the cluster was busy, or could not be reached, until the call's time was over.
    pub(crate) refused: String,
    /// It may have been done.
    pub(crate) unknown_outcome: String,
    /// The answer is not believed.
    pub(crate) untrusted: String,
    /// Judged by the cluster, and refused.
    pub(crate) rejected: String,
    /// There was nothing to read.
    pub(crate) absent: String,
    pub(crate) other: String,
}

/// A node of `bench`, by its own word.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BenchNode {
    pub(crate) endpoint: String,
    pub(crate) node: Option<String>,
    /// Resident memory when the measured time began...
    pub(crate) memory_bytes_before: Option<String>,
    /// ...and when it ended.
    pub(crate) memory_bytes_after: Option<String>,
    /// What it wrote to disks in between, whatever for.
    pub(crate) written_bytes: Option<String>,
    pub(crate) written_bytes_per_operation: Option<String>,
}

/// `bench`: what was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Bench {
    pub(crate) ledger: String,
    /// How many ledgers the calls were spread over, named after `ledger`; `null` for that one alone.
    pub(crate) ledgers: Option<String>,
    /// `put`, `get`, `verified-get`, `mixed` or `scan`.
    pub(crate) workload: &'static str,
    /// `committed` or `certified`; `null` where nothing is written.
    pub(crate) wait: Option<&'static str>,
    /// Whether transactions that are under way together share streams; otherwise each is a call.
    pub(crate) streamed: bool,
    /// Whether answers were verified; those to writes with `committed` never are.
    pub(crate) verified: bool,
    /// Calls that were under way at any time; in an open loop, the most.
    pub(crate) clients: String,
    /// Connections to each replica that the clients share.
    pub(crate) connections: String,
    /// Operations that were due per second; `null` for a closed loop.
    pub(crate) rate: Option<String>,
    /// Operations of a transaction.
    pub(crate) batch: String,
    /// Keys of a page of `scan`; `null` for others.
    pub(crate) page: Option<String>,
    /// How many of a hundred calls of `mixed` are reads; `null` for others.
    pub(crate) read_percent: Option<String>,
    pub(crate) key_bytes: String,
    pub(crate) value_bytes: String,
    /// How many different keys; `null` if every write took a new one.
    pub(crate) keys: Option<String>,
    /// `random` or `ascending`.
    pub(crate) order: &'static str,
    /// How keys were chosen; `null` if every write took a new one.
    pub(crate) distribution: Option<String>,
    pub(crate) warm_up_seconds: String,
    /// The measured time, without warm-up.
    pub(crate) seconds: String,
    /// Transactions, or reads, that succeeded in that time.
    pub(crate) transactions: String,
    /// Values written or read in that time.
    pub(crate) operations: String,
    pub(crate) errors: String,
    pub(crate) failures: BenchFailures,
    pub(crate) first_error: Option<String>,
    /// Calls that were due in the measured time and not sent by its end; `null` for a closed loop.
    pub(crate) not_sent: Option<String>,
    pub(crate) transactions_per_second: String,
    pub(crate) operations_per_second: String,
    /// Of a transaction or read, verification included; `null` if none succeeded. In an open loop it counts from when a
    /// call was due, and a call that was not sent counts with the time that it waited.
    pub(crate) latency_us: Option<BenchLatency>,
    /// The same for the reads of `mixed`...
    pub(crate) reads: Option<BenchPart>,
    /// ...and for its writes; `null` for others.
    pub(crate) writes: Option<BenchPart>,
    pub(crate) nodes: Vec<BenchNode>,
}

/// `bench_sweep`: runs that differ in one number.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BenchSweep {
    pub(crate) ledger: String,
    /// `clients` or `rate`.
    pub(crate) over: &'static str,
    /// Where the picture is.
    pub(crate) chart: Option<String>,
    pub(crate) runs: Vec<Bench>,
}
