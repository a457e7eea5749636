//! The data directory: whose it is, who may enter it, what format it has, when it was scrubbed.

use std::path::Path;

use quorate_core::position::Micros;

use super::{Finding, Verdict};
use crate::{
    clock::Clock,
    cluster::Cluster,
    config::NodeConfig,
    store::{
        log::{Identity, LogStore},
        state::{FORMAT_VERSION, StateStore},
    },
    tls::files,
};

const DAY_S: u64 = 24 * 60 * 60;

pub(super) fn examine(config: &NodeConfig, cluster: &Cluster, clock: &Clock) -> Vec<Finding> {
    let dir = &config.node.data_dir;
    let place = dir.display().to_string();
    if !dir.exists() {
        let found = "it does not exist: this node never ran here, or its disk is not mounted";
        let next = "mount the disk; a node that ran before must never start empty";
        return vec![Finding::warn("data directory", place, found, next)];
    }
    if let Err(error) = files::check_private_dir(dir) {
        let next = format!("chmod 700 {place}");
        return vec![Finding::fail("data directory", place, error, next)];
    }
    let mut found = vec![Finding::ok("data directory", place, "only its owner can enter it")];
    let (log, state) = (dir.join("log"), dir.join("state"));
    if !LogStore::exists(&log) && !StateStore::exists(&state) {
        found.push(Finding::ok("stores", dir.display().to_string(), "it is empty: this node never ran"));
        return found;
    }
    let owner = Identity { cluster_id: *cluster.id.as_bytes(), node_id: config.node.id };
    found.push(judged("Raft log", &log, LogStore::check_owner(&log, owner), String::new));
    let versions = || format!("; format {FORMAT_VERSION}{}", written_by(&state));
    found.push(judged("state", &state, StateStore::check_owner(&state, owner), versions));
    let passed = StateStore::scrubbed_in(&state);
    found.push(scrub(&state, config.scrub.interval_hours, passed, clock.now()));
    found
}

fn judged<E: std::fmt::Display>(
    check: &'static str,
    path: &Path,
    result: Result<(), E>,
    more: impl Fn() -> String,
) -> Finding {
    let place = path.display().to_string();
    match result {
        Ok(()) => Finding::ok(check, place, format!("it is of this node and cluster{}", more())),
        Err(error) => {
            let next = "leave its files as they are; docs/operations/runbook/damaged-node.md says what to do";
            Finding::fail(check, place, error, next)
        }
    }
}

/// Which RocksDB wrote the present database, as far as its files tell.
fn written_by(state: &Path) -> String {
    let version = || {
        let current = std::fs::read_to_string(state.join("CURRENT")).ok()?;
        let entries = std::fs::read_dir(state.join(current.trim_end())).ok()?;
        let names = entries.flatten().map(|entry| entry.path());
        let options = names.filter(|path| path.to_string_lossy().contains("OPTIONS-")).max()?;
        let text = std::fs::read_to_string(options).ok()?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("rocksdb_version="))?;
        Some(line.to_owned())
    };
    version().map_or_else(String::new, |version| format!(", written by RocksDB {version}"))
}

/// Judges when everything was read last.
fn scrub(state: &Path, interval_hours: u64, passed: Option<Micros>, now: Micros) -> Finding {
    let place = state.display().to_string();
    let next = "look at [scrub] in the configuration, and for `scrub` in the log of this node";
    if interval_hours == 0 {
        return Finding::warn("scrubbing", place, "it is switched off (scrub.interval_hours = 0)", next);
    }
    let Some(passed) = passed else {
        return Finding::ok("scrubbing", place, "no whole pass yet: the first begins a minute after a start");
    };
    let age_s = now.as_secs().saturating_sub(passed.as_secs());
    let old = age_s > interval_hours.saturating_mul(3_600).saturating_mul(2).saturating_add(DAY_S);
    let verdict = if old { Verdict::Warn } else { Verdict::Ok };
    let found = format!("everything was read and right {} days ago", age_s / DAY_S);
    Finding::new(verdict, "scrubbing", place, found, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_is_two_intervals_old_is_a_warning() {
        let at = |days: u64| Micros::from_secs(days * DAY_S).unwrap();
        let judge =
            |hours, passed: Option<u64>| scrub(Path::new("/x"), hours, passed.map(at), at(100)).verdict;
        assert_eq!(judge(168, Some(99)), Verdict::Ok);
        assert_eq!(judge(168, Some(86)), Verdict::Ok);
        assert_eq!(judge(168, Some(84)), Verdict::Warn);
        assert_eq!(judge(168, None), Verdict::Ok);
        assert_eq!(judge(0, Some(99)), Verdict::Warn);
    }
}
