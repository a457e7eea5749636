//! What is measured: calls as they are answered, everything else when somebody looks.
//!
//! | metric | kind | meaning |
//! |---|---|---|
//! | `quorate_calls_total{call,code}` | counter | answered calls by gRPC code |
//! | `quorate_call_seconds{call}` | histogram | time from arrival to answer |
//! | `quorate_block_requests` | histogram | requests in a block that this node proposed |
//! | `quorate_ledger_size{ledger}` | gauge | leaves applied here |
//! | `quorate_certified_size{ledger}` | gauge | leaves under the newest certified checkpoint |
//! | `quorate_certification_lag_leaves{ledger}` | gauge | the difference |
//! | `quorate_root_mismatch_total` | counter | roots signed by other members that differ from the ones computed here |
//! | `quorate_cosignatures_dropped_total` | counter | cosignatures that a slow or absent peer did not take |
//! | `quorate_raft_term` | gauge | Raft term |
//! | `quorate_raft_last_log_index` | gauge | last entry in the log |
//! | `quorate_raft_committed_index` | gauge | last entry known to be committed |
//! | `quorate_raft_applied_index` | gauge | last entry applied |
//! | `quorate_is_leader` | gauge | 1 on the leader |
//! | `quorate_ready` | gauge | 1 when requests may be sent here |
//! | `quorate_fault` | gauge | 1 when this node has stopped for good |
//! | `quorate_read_only` | gauge | 1 when its disk is nearly full, so that it takes no writes |
//! | `quorate_leader_silence_seconds` | gauge | since a leader was heard |
//! | `quorate_calls_at_work` | gauge | calls, of `limits.calls` |
//! | `quorate_streams_at_work` | gauge | streams of the log |
//! | `quorate_connections_refused_total{listener,reason}` | counter | connections over the limit, or whose handshake failed |
//! | `quorate_certificate_expiry_seconds{certificate}` | gauge | when the certificate in use ends, Unix time |
//! | `quorate_certificate_reloads_total{certificate,result}` | counter | new certificates `taken` or `refused` |
//! | `quorate_memory_bytes` | gauge | resident memory of this process |
//! | `quorate_written_bytes` | gauge | what this process has caused to be written to storage |
//! | `quorate_disk_free_bytes` | gauge | free space of the disk of the data directory |
//!
//! Names of ledgers are the only labels that callers choose, and creating one is a write.

use std::{path::Path, sync::OnceLock, time::Duration};

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tonic::Code;

use super::{interface::Api, resources, status::certification_lag};
use crate::consensus::Role;

/// Bounds of the histogram of seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The recorder of this process; the first call installs it. `None` if another one is installed.
pub fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS).ok()?;
        builder.install_recorder().ok()
    };
    HANDLE.get_or_init(install).as_ref()
}

/// Notes an answered call.
pub(super) fn answered(call: &'static str, code: Code, took: Duration) {
    counter!("quorate_calls_total", "call" => call, "code" => code_name(code)).increment(1);
    histogram!("quorate_call_seconds", "call" => call).record(took.as_secs_f64());
}

impl Api {
    /// Everything that is measured, in the Prometheus text format.
    pub(super) fn measured(&self) -> String {
        let Some(handle) = recorder() else {
            return String::new();
        };
        self.measure();
        handle.run_upkeep();
        handle.render()
    }

    fn measure(&self) {
        for ledger in self.view().ledgers() {
            let head = ledger.head();
            let name = head.name.as_str().to_owned();
            let (size, certified) = (ledger.size(), self.backend().certified_size(&head.name));
            set(gauge!("quorate_ledger_size", "ledger" => name.clone()), size.get());
            set(gauge!("quorate_certified_size", "ledger" => name.clone()), certified.get());
            set(
                gauge!("quorate_certification_lag_leaves", "ledger" => name),
                certification_lag(size, certified),
            );
        }
        self.measure_raft();
        let parts = self.parts();
        set(gauge!("quorate_ready"), u64::from(self.unready().is_none()));
        set(gauge!("quorate_fault"), u64::from(!parts.health.is_good()));
        let used = |most: usize, free: usize| u64::try_from(most.saturating_sub(free)).unwrap_or(u64::MAX);
        let (calls, streams) = (&self.0.calls, &self.0.streams);
        set(gauge!("quorate_calls_at_work"), used(parts.limits.calls, calls.available_permits()));
        set(
            gauge!("quorate_streams_at_work"),
            used(super::interface::MAX_STREAMS, streams.available_permits()),
        );
        set(gauge!("quorate_read_only"), u64::from(self.limitation().is_some()));
        measure_machine(&parts.data_dir);
    }

    fn measure_raft(&self) {
        let raft = self.backend().consensus();
        set(gauge!("quorate_raft_term"), raft.term);
        set(gauge!("quorate_raft_last_log_index"), raft.last_log_index.unwrap_or(0));
        set(gauge!("quorate_raft_committed_index"), raft.committed.map_or(0, |id| id.index));
        set(gauge!("quorate_raft_applied_index"), self.view().applied().last.map_or(0, |id| id.index));
        set(gauge!("quorate_is_leader"), u64::from(raft.role == Role::Leader));
        gauge!("quorate_leader_silence_seconds").set(self.backend().leader_silence().as_secs_f64());
    }
}

/// What is measured of a node that was not started: that it is up, and has a fault.
pub(super) fn measured_when_stopped(data_dir: &Path) -> String {
    let Some(handle) = recorder() else {
        return String::new();
    };
    set(gauge!("quorate_ready"), 0);
    set(gauge!("quorate_fault"), 1);
    measure_machine(data_dir);
    handle.run_upkeep();
    handle.render()
}

fn measure_machine(data_dir: &Path) {
    let used = resources::read(data_dir);
    set(gauge!("quorate_memory_bytes"), used.memory_bytes);
    set(gauge!("quorate_written_bytes"), used.written_bytes);
    set(gauge!("quorate_disk_free_bytes"), used.disk_free_bytes);
}

/// A whole number as the gauges take it; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; nothing is decided by them")]
fn set(gauge: metrics::Gauge, value: u64) {
    gauge.set(value as f64);
}

/// The name of a code as gRPC spells it.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
