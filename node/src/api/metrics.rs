//! What is measured: calls as they are answered, everything else when somebody looks.
//!
//! | metric | kind | meaning |
//! |---|---|---|
//! | `quorate_calls_total{call,code}` | counter | answered calls by gRPC code |
//! | `quorate_call_seconds{call}` | histogram | time from arrival to answer |
//! | `quorate_block_requests` | histogram | requests in a block that this node proposed |
//! | `quorate_requests_given_up_total` | counter | requests left out of a block because nobody waited for them any more |
//! | `quorate_ledger_size{ledger}` | gauge | leaves applied here |
//! | `quorate_certified_size{ledger}` | gauge | leaves under the newest certified checkpoint |
//! | `quorate_certification_lag_leaves{ledger}` | gauge | the difference |
//! | `quorate_ledger_frozen{ledger}` | gauge | 1 when it is frozen: it takes no writes |
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
//! | `quorate_commit_streams_at_work` | gauge | streams of commits; each request on one counts as a call, `Commit` |
//! | `quorate_connections_refused_total{listener,reason}` | counter | connections over the limit, or whose handshake failed |
//! | `quorate_certificate_expiry_seconds{certificate}` | gauge | when the certificate in use ends, Unix time |
//! | `quorate_certificate_reloads_total{certificate,result}` | counter | new certificates `taken` or `refused` |
//! | `quorate_snapshots_sent_total` | counter | snapshots that a follower installed from this leader |
//! | `quorate_snapshots_uncertified_total` | counter | copies of the state that no majority signed in time; the one before stands on |
//! | `quorate_snapshots_installed_total` | counter | snapshots that this node received and installed |
//! | `quorate_snapshot_bytes_total{direction}` | counter | bytes of these, `sent` and `installed` |
//! | `quorate_snapshot_done_bytes{direction}` | gauge | of snapshots on their way now: what the receiver has |
//! | `quorate_snapshot_total_bytes{direction}` | gauge | of snapshots on their way now: how large they are |
//! | `quorate_snapshot_resumed_bytes_total` | counter | bytes of snapshots that were here already when they were offered |
//! | `quorate_snapshots_refused_total` | counter | received snapshots that were wrong |
//! | `quorate_scrub_running` | gauge | 1 while everything stored is read again |
//! | `quorate_scrub_read_bytes` | gauge | bytes that this pass has read, or the last one did |
//! | `quorate_scrub_passed_seconds` | gauge | when the last whole pass ended, Unix time; 0: not known |
//! | `quorate_scrub_damage_total` | counter | damage that scrubbing found |
//! | `quorate_log_sync_seconds` | histogram | time to make a group of log writes durable |
//! | `quorate_snapshot_seconds{direction}` | gauge | how long the last of them took, with all checks |
//! | `quorate_witness_submissions_total{witness,result}` | counter | checkpoints sent to an outside witness: `accepted`, `conflict` (it had another size, and was asked again), or why not |
//! | `quorate_witness_size{witness,ledger}` | gauge | leaves under the newest checkpoint that it cosigned |
//! | `quorate_witness_lag_leaves{witness,ledger}` | gauge | how far that is behind the newest certified one |
//! | `quorate_witness_lag_seconds{witness,ledger}` | gauge | how old it is, while it is behind |
//! | `quorate_memory_bytes` | gauge | resident memory of this process |
//! | `quorate_written_bytes` | gauge | what this process has caused to be written to storage |
//! | `quorate_evidence_files` | gauge | proofs that another node lied, kept in `evidence/` of the data directory |
//! | `quorate_peers_refused` | gauge | nodes that speak no version of the wire that this node speaks |
//! | `quorate_disk_free_bytes` | gauge | free space where this node stores; the least of its file systems |
//!
//! Histograms have the buckets of their unit, which is the end of their name.
//!
//! Names of ledgers are the only labels that callers choose, and creating one is a write.

use std::{path::Path, sync::OnceLock, time::Duration};

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tonic::Code;

use super::{interface::Api, resources, status::certification_lag};
use crate::{consensus::Role, upkeep::Direction};

/// Bounds of histograms of seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Bounds of histograms of counts: up to what `limits.block_requests` allows by default.
const COUNTS: [f64; 13] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0];

/// The units of histograms, by the end of their names, with their bounds. Without one a histogram has no buckets.
pub(super) const UNITS: [(&str, &[f64]); 2] = [("_seconds", &SECONDS), ("_requests", &COUNTS)];

/// The recorder of this process; the first call installs it. `None` if another one is installed.
pub fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let with = |builder: PrometheusBuilder, (end, bounds): (&str, &[f64])| {
            builder.set_buckets_for_metric(Matcher::Suffix(end.to_owned()), bounds).ok()
        };
        UNITS.into_iter().try_fold(PrometheusBuilder::new(), with)?.install_recorder().ok()
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
        let view = self.view();
        for ledger in view.ledgers() {
            let head = ledger.head();
            let name = head.name.as_str().to_owned();
            let (size, certified) = (ledger.size(), self.backend().certified_size(&head.name));
            set(gauge!("quorate_ledger_size", "ledger" => name.clone()), size.get());
            let frozen = view.cluster().frozen.contains_key(&head.name);
            set(gauge!("quorate_ledger_frozen", "ledger" => name.clone()), u64::from(frozen));
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
        set(
            gauge!("quorate_commit_streams_at_work"),
            used(super::interface::MAX_COMMIT_STREAMS, self.0.commit_streams.available_permits()),
        );
        set(gauge!("quorate_read_only"), u64::from(self.limitation().is_some()));
        set(gauge!("quorate_evidence_files"), u64::try_from(parts.evidence.count()).unwrap_or(u64::MAX));
        measure_machine(&parts.data_dir);
        if let Some(free) = parts.disk.free() {
            set(gauge!("quorate_disk_free_bytes"), free);
        }
        self.measure_upkeep();
        self.measure_witnesses();
    }

    fn measure_witnesses(&self) {
        let now = self.parts().clock.now().as_secs();
        for ((witness, ledger), row) in self.parts().upkeep.witnesses.now() {
            let labels = [("witness", witness), ("ledger", ledger.as_str().to_owned())];
            let lag = certification_lag(self.backend().certified_size(&ledger), row.size);
            let age = if lag == 0 || row.time_s == 0 { 0 } else { now.saturating_sub(row.time_s) };
            set(gauge!("quorate_witness_size", &labels), row.size.get());
            set(gauge!("quorate_witness_lag_leaves", &labels), lag);
            set(gauge!("quorate_witness_lag_seconds", &labels), age);
        }
    }

    fn measure_upkeep(&self) {
        let upkeep = &self.parts().upkeep;
        let transfers = upkeep.transfers.now();
        for direction in [Direction::Sent, Direction::Received] {
            let these = transfers.iter().filter(|transfer| transfer.direction == direction);
            let (done, total) = these.fold((0_u64, 0_u64), |(done, total), transfer| {
                (done.saturating_add(transfer.done), total.saturating_add(transfer.total))
            });
            set(gauge!("quorate_snapshot_done_bytes", "direction" => direction.name()), done);
            set(gauge!("quorate_snapshot_total_bytes", "direction" => direction.name()), total);
        }
        set(gauge!("quorate_peers_refused"), u64::try_from(upkeep.refused.now().len()).unwrap_or(u64::MAX));
        let scrub = upkeep.scrub.now();
        set(gauge!("quorate_scrub_running"), u64::from(scrub.running));
        set(gauge!("quorate_scrub_read_bytes"), scrub.read);
        set(gauge!("quorate_scrub_passed_seconds"), scrub.passed_at.map_or(0, |at| at.as_secs()));
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

/// What is measured of a node that does not take part: that it is up, and whether it has a fault.
pub(super) fn measured_when_stopped(data_dir: &Path, has_fault: bool) -> String {
    let Some(handle) = recorder() else {
        return String::new();
    };
    set(gauge!("quorate_ready"), 0);
    set(gauge!("quorate_fault"), u64::from(has_fault));
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
