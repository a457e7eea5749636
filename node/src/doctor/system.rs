//! The machine: open files, memory, swap, overcommitment.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::{Finding, Verdict};
use crate::config::NodeConfig;

/// Files and connections that a node may need at once.
const OPEN_FILES: u64 = 16_384;

pub(super) fn examine(config: &NodeConfig) -> Vec<Finding> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let storage = &config.storage;
    let caches = [
        storage.state_cache_bytes,
        storage.block_cache_bytes,
        storage.write_buffer_bytes,
        config.limits.queued_bytes,
    ];
    let bounds =
        caches.iter().fold(0_u64, |sum, bytes| sum.saturating_add(u64::try_from(*bytes).unwrap_or(u64::MAX)));
    vec![
        open_files(getrlimit(Resource::Nofile).maximum),
        memory(&text("/proc/meminfo"), bounds),
        swap(&text("/proc/swaps")),
        overcommit(&text("/proc/sys/vm/overcommit_memory")),
    ]
}

fn open_files(most: Option<u64>) -> Finding {
    let found = most.map_or_else(|| "no limit".to_owned(), |most| format!("at most {most}, here"));
    let verdict = match most {
        Some(most) if most < OPEN_FILES / 8 => Verdict::Fail,
        Some(most) if most < OPEN_FILES => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let next =
        format!("allow {OPEN_FILES} or more to the service: LimitNOFILE of the systemd unit, or ulimit -Hn");
    Finding::new(verdict, "open files", "this user", found, next)
}

/// Judges the machine's memory by what the configuration bounds.
fn memory(meminfo: &str, bounds: u64) -> Finding {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let Some(total) = total.map(|kib| kib.saturating_mul(1_024)) else {
        return Finding::warn("memory", "this machine", "not known", "look at /proc/meminfo");
    };
    let mib = |bytes: u64| bytes >> 20;
    let found = format!("{} MiB; caches and queues are bounded by {} MiB", mib(total), mib(bounds));
    let verdict = match bounds {
        bounds if bounds > total => Verdict::Fail,
        bounds if bounds > total / 2 => Verdict::Warn,
        _ => Verdict::Ok,
    };
    Finding::new(
        verdict,
        "memory",
        "this machine",
        found,
        "lower the bounds in [storage] and [limits], or add memory",
    )
}

fn swap(swaps: &str) -> Finding {
    let count = swaps.lines().skip(1).filter(|line| !line.trim().is_empty()).count();
    let verdict = if count == 0 { Verdict::Ok } else { Verdict::Warn };
    let found = if count == 0 { "off".to_owned() } else { format!("on, {count} areas") };
    let next = "switch it off (swapoff -a), or expect elections when the leader waits for its memory";
    Finding::new(verdict, "swap", "this machine", found, next)
}

fn overcommit(setting: &str) -> Finding {
    let (verdict, found) = match setting.trim() {
        "2" => (Verdict::Warn, "never: an allocation can fail although memory is free"),
        "0" | "1" => (Verdict::Ok, "allowed"),
        _ => (Verdict::Ok, "not known"),
    };
    Finding::new(verdict, "overcommitment", "this machine", found, "sysctl vm.overcommit_memory=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_a_good_and_a_bad_value() {
        let gib = 1_u64 << 30;
        let meminfo = "MemTotal:        2097152 kB\nMemFree: 1 kB\n";
        let judged = |finding: Finding| finding.verdict;
        assert_eq!(judged(open_files(None)), Verdict::Ok);
        assert_eq!(judged(open_files(Some(65_536))), Verdict::Ok);
        assert_eq!(judged(open_files(Some(4_096))), Verdict::Warn);
        assert_eq!(judged(open_files(Some(1_024))), Verdict::Fail);
        assert_eq!(judged(memory(meminfo, gib / 2)), Verdict::Ok);
        assert_eq!(judged(memory(meminfo, gib + 1)), Verdict::Warn);
        assert_eq!(judged(memory(meminfo, 3 * gib)), Verdict::Fail);
        assert_eq!(judged(memory("", gib)), Verdict::Warn);
        assert_eq!(judged(swap("Filename Type Size\n")), Verdict::Ok);
        assert_eq!(judged(swap("Filename Type Size\n/swapfile file 1\n")), Verdict::Warn);
        assert_eq!(judged(overcommit("0\n")), Verdict::Ok);
        assert_eq!(judged(overcommit("2\n")), Verdict::Warn);
    }
}
