//! `quorate plan`: what a cluster needs for a load, from what was measured.
//!
//! Contract: arithmetic over the constants below, each of which was measured and says where; nothing is asked or looked
//! at. What was measured on one kind of machine is a beginning, not a promise: the first week shows more.

use serde::Serialize;

use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::Table;

const MIB: u64 = 1 << 20;
const DAY_S: u64 = 24 * 60 * 60;

/// Kept on each node per entry besides its key and value, bytes: leaf, operation, index rows, tiles, cosignatures, and
/// what RocksDB has not compacted yet. Measured (docs/operations/README.md, "Sizing").
const KEPT_PER_ENTRY: u64 = 600;
/// A key is in the operation, in the newest write and in the index of its bucket.
const KEPT_PER_KEY_BYTE: u64 = 2;
/// Written to disk for each byte that is kept: Raft log, flush, compaction; measured there, too: 1.9 to 2.3.
const WRITTEN_PER_KEPT_TENTHS: u64 = 23;
/// Raft log, floor, diaries and files that are not removed yet.
const LOG_BYTES: u64 = 1_024 * MIB;
/// Resident memory with up to a million keys, and for each key beyond: 396 MiB were seen with one million; with ten,
/// 555, and 773 while everything was scrubbed.
const MEMORY_BYTES: u64 = 400 * MIB;
const MEMORY_PER_KEY: u64 = 44;
const MEMORY_KEYS: u64 = 1_000_000;
/// For the system and its page cache.
const SYSTEM_BYTES: u64 = 1_024 * MIB;
/// Sent per entry between two nodes besides key and value: envelope, signatures, acknowledgements.
const SENT_PER_ENTRY: u64 = 350;
/// README: certified single writes, and operations in batches of 1,000, with all three nodes and the load on 2 cores.
const SINGLE_PER_SECOND: u64 = 5_905;
const BATCHED_PER_SECOND: u64 = 39_625;
/// Beyond so many keys, random writes read their buckets from the disk.
const CACHED_KEYS: u64 = 4_000_000;

/// Work out what a cluster needs for a load
///
/// From figures that were measured (README.md; docs/operations/README.md, "Sizing") on 2 cores: disk, memory and network of
/// each node, and how many machines. Nothing is ever deleted, so disk grows with time: --days is how long it is to last.
///
///   quorate plan --entries-per-second 200 --value-bytes 1024 --days 365
///   quorate plan --entries-per-second 20 --value-bytes 300 --days 1825 --nodes 5 --keys 1000000 -o json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Entries written per second, on average
    #[arg(long, value_name = "N")]
    entries_per_second: u64,

    /// Bytes of a value, on average
    #[arg(long, value_name = "N")]
    value_bytes: u64,

    /// Bytes of a key, on average
    #[arg(long, value_name = "N", default_value_t = 32)]
    key_bytes: u64,

    /// How many days the disks are to last
    #[arg(long, value_name = "N")]
    days: u64,

    /// Different keys at the end [default: each entry has its own]
    #[arg(long, value_name = "N")]
    keys: Option<u64>,

    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
}

/// `plan`: what is needed.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Plan {
    nodes: String,
    /// Nodes that may be down while it goes on.
    may_fail: String,
    entries: String,
    keys: String,
    /// Each node.
    state_bytes: String,
    disk_bytes: String,
    memory_bytes: String,
    written_bytes_per_second: String,
    /// The leader, to all others.
    network_bytes_per_second: String,
    /// What does not fit what was measured.
    warnings: Vec<String>,
}

/// Works it out and tells it.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let plan = plan(args).ok_or_else(|| {
        CliError::usage("these numbers are beyond anything that can be stored", "give smaller ones")
    })?;
    global.output().result("plan", &plan, table)?;
    Ok(Exit::Done)
}

/// `None` when a number does not fit.
fn plan(args: &Args) -> Option<Plan> {
    let entries = args.entries_per_second.checked_mul(args.days.checked_mul(DAY_S)?)?;
    let keys = args.keys.unwrap_or(entries).min(entries);
    let kept = KEPT_PER_ENTRY
        .checked_add(args.value_bytes)?
        .checked_add(args.key_bytes.checked_mul(KEPT_PER_KEY_BYTE)?)?;
    let state = entries.checked_mul(kept)?;
    // A second state beside the first while a snapshot is received.
    let disk = state.checked_mul(2)?.checked_add(LOG_BYTES)?;
    let upper = keys.saturating_sub(MEMORY_KEYS).checked_mul(MEMORY_PER_KEY)?;
    let memory = MEMORY_BYTES.checked_add(upper)?.checked_add(SYSTEM_BYTES)?;
    let sent = SENT_PER_ENTRY.checked_add(args.value_bytes)?.checked_add(args.key_bytes)?;
    let network = args.entries_per_second.checked_mul(sent)?.checked_mul(args.nodes.saturating_sub(1))?;
    let written = args.entries_per_second.checked_mul(kept)?.checked_mul(WRITTEN_PER_KEPT_TENTHS)? / 10;
    Some(Plan {
        nodes: args.nodes.to_string(),
        may_fail: (args.nodes.saturating_sub(1) / 2).to_string(),
        entries: entries.to_string(),
        keys: keys.to_string(),
        state_bytes: state.to_string(),
        disk_bytes: disk.to_string(),
        memory_bytes: memory.to_string(),
        written_bytes_per_second: written.to_string(),
        network_bytes_per_second: network.to_string(),
        warnings: warnings(args, keys),
    })
}

fn warnings(args: &Args, keys: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if args.entries_per_second > BATCHED_PER_SECOND {
        warnings.push(format!(
            "{} entries per second is more than was ever measured ({BATCHED_PER_SECOND} in batches of 1,000)",
            args.entries_per_second
        ));
    } else if args.entries_per_second > SINGLE_PER_SECOND / 2 {
        warnings.push(format!(
            "write in batches: single certified writes were measured up to {SINGLE_PER_SECOND} per second, and a peak needs \
             room"
        ));
    }
    if keys > CACHED_KEYS {
        warnings.push(format!(
            "beyond {CACHED_KEYS} keys, writes to random ones read the disk: raise storage.state_cache_bytes, about 64 \
             bytes a key"
        ));
    }
    if args.nodes.is_multiple_of(2) {
        warnings.push(format!("{} nodes survive no more failures than {}", args.nodes, args.nodes - 1));
    }
    if args.nodes < 3 {
        warnings.push("fewer than 3 nodes survive no failure at all".to_owned());
    }
    warnings
}

fn table(plan: &Plan) -> String {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let size = |text: &str| match number(text) {
        bytes if bytes >= 10 * 1_024 * MIB => format!("{} GiB", bytes.div_ceil(1_024 * MIB)),
        bytes => format!("{} MiB", bytes.div_ceil(MIB)),
    };
    let rate = |text: &str| format!("{} KiB/s", number(text).div_ceil(1_024));
    let mut table = Table::new(["WHAT", "EACH NODE"]);
    for (what, value) in [
        ("machines", format!("{}, of which {} may fail", plan.nodes, plan.may_fail)),
        ("entries at the end", format!("{} of {} keys", plan.entries, plan.keys)),
        ("stored", size(&plan.state_bytes)),
        (
            "disk",
            format!("{} (a second state while a snapshot is received, and the log)", size(&plan.disk_bytes)),
        ),
        ("written to disk", rate(&plan.written_bytes_per_second)),
        ("memory", size(&plan.memory_bytes)),
        ("network of the leader", rate(&plan.network_bytes_per_second)),
    ] {
        table.row([what.to_owned(), value]);
    }
    let warnings: String = plan.warnings.iter().map(|warning| format!("note: {warning}\n")).collect();
    format!("{table}{warnings}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(entries_per_second: u64, value_bytes: u64, days: u64) -> Args {
        Args { entries_per_second, value_bytes, key_bytes: 32, days, keys: None, nodes: 3 }
    }

    #[test]
    fn a_plan_is_the_sum_of_its_parts() {
        let plan = plan(&args(10, 256, 1)).unwrap();
        let entries = 864_000;
        let kept = KEPT_PER_ENTRY + 256 + 64;
        assert_eq!(plan.entries, entries.to_string());
        assert_eq!(plan.state_bytes, (entries * kept).to_string());
        assert_eq!(plan.disk_bytes, (entries * kept * 2 + LOG_BYTES).to_string());
        assert_eq!(plan.memory_bytes, (1_424 * MIB).to_string());
        assert_eq!(plan.network_bytes_per_second, (10 * (350 + 256 + 32) * 2).to_string());
        assert_eq!((plan.may_fail.as_str(), plan.warnings.len()), ("1", 0));
        let text = table(&plan);
        assert!(text.contains("3, of which 1 may fail") && text.contains("memory"), "{text}");
    }

    #[test]
    fn what_was_never_measured_is_said() {
        let has = |args: &Args, words: &str| {
            let warnings = plan(args).unwrap().warnings;
            assert!(warnings.iter().any(|warning| warning.contains(words)), "{warnings:?}");
        };
        has(&args(5_000, 100, 1), "batches");
        has(&args(50_000, 100, 1), "ever measured");
        has(&args(100, 100, 365), "state_cache_bytes");
        has(&Args { nodes: 4, ..args(1, 1, 1) }, "no more failures than 3");
        has(&Args { nodes: 1, ..args(1, 1, 1) }, "fewer than 3");
        assert!(plan(&args(u64::MAX, 1, 365)).is_none());
    }
}
