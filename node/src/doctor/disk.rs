//! The disks: what file system they have, how much is free, how long a sync takes.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Finding, Verdict};
use crate::{clock::Clock, config::NodeConfig};

/// Syncs that are measured.
const SYNCS: usize = 50;
/// Bytes written before each.
const BLOCK: usize = 4_096;
/// All of them together take no longer.
const LONGEST: Duration = Duration::from_secs(5);

/// Fewer free inodes are too few.
const MIN_INODES: u64 = 10_000;

/// What is known of a kind of file system.
struct Kind {
    magic: u64,
    name: &'static str,
    verdict: Verdict,
    why: &'static str,
}

const NETWORK: &str =
    "it is on the network: a sync may not reach a disk, and every write waits for the network";
const COPY_ON_WRITE: &str =
    "it copies on write: syncs are slow, and snapshots of it must never be started as a node";

/// Kinds that a node should not store on, by the number that statfs gives.
const KINDS: [Kind; 13] = [
    Kind { magic: 0x6969, name: "NFS", verdict: Verdict::Fail, why: NETWORK },
    Kind { magic: 0xFF53_4D42, name: "CIFS", verdict: Verdict::Fail, why: NETWORK },
    Kind { magic: 0xFE53_4D42, name: "SMB2", verdict: Verdict::Fail, why: NETWORK },
    Kind { magic: 0x517B, name: "SMB", verdict: Verdict::Fail, why: NETWORK },
    Kind { magic: 0x0102_1997, name: "9p", verdict: Verdict::Fail, why: NETWORK },
    Kind { magic: 0x00C3_6400, name: "Ceph", verdict: Verdict::Warn, why: NETWORK },
    Kind {
        magic: 0x6573_5546,
        name: "FUSE",
        verdict: Verdict::Warn,
        why: "a program stands between this node and the disk: whether a sync reaches it depends on that",
    },
    Kind {
        magic: 0x0102_1994,
        name: "tmpfs",
        verdict: Verdict::Fail,
        why: "it is memory: everything this node promised is gone after a restart of the machine",
    },
    Kind { magic: 0x8584_58F6, name: "ramfs", verdict: Verdict::Fail, why: "it is memory" },
    Kind { magic: 0x9123_683E, name: "btrfs", verdict: Verdict::Warn, why: COPY_ON_WRITE },
    Kind { magic: 0x2FC1_2FC1, name: "ZFS", verdict: Verdict::Warn, why: COPY_ON_WRITE },
    Kind { magic: 0xCA45_1A4E, name: "bcachefs", verdict: Verdict::Warn, why: COPY_ON_WRITE },
    Kind {
        magic: 0x794C_7630,
        name: "overlayfs",
        verdict: Verdict::Fail,
        why: "it is the layer of a container: it is gone with the container. Mount a volume there",
    },
];

pub(super) fn examine(config: &NodeConfig, clock: &Clock) -> Vec<Finding> {
    let mut found = Vec::new();
    for dir in places(&config.node.data_dir) {
        let place = dir.display().to_string();
        match rustix::fs::statfs(&dir) {
            Ok(stat) => {
                // The number is 32 bits wide; the type of the field is not the same on all machines.
                let magic = u64::try_from(stat.f_type).unwrap_or_default() & 0xFFFF_FFFF;
                found.push(file_system(&place, magic));
            }
            Err(error) => found.push(Finding::warn("file system", &place, error, "look at the mount")),
        }
        if let Ok(stat) = rustix::fs::statvfs(&dir) {
            let bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
            let all = stat.f_blocks.saturating_mul(stat.f_frsize);
            found.push(space(&place, bytes, all, config.storage.disk_reserve_bytes));
            found.push(inodes(&place, stat.f_favail, stat.f_files));
        }
        found.push(match sync_times(&dir, clock) {
            Ok(times) => latency(&place, times),
            Err(error) => {
                let next = "run this as the user of the node, on a disk that can be written to";
                Finding::fail("sync latency", place, format!("nothing can be written: {error}"), next)
            }
        });
    }
    found
}

/// Where a node stores: one directory of each file system.
fn places(data_dir: &Path) -> Vec<PathBuf> {
    let device = |path: &Path| rustix::fs::stat(path).ok().map(|stat| stat.st_dev);
    let mut devices = Vec::new();
    let mut places = Vec::new();
    // A directory that is not there yet will be made in the nearest one that is.
    let base = data_dir.ancestors().find(|path| path.exists()).unwrap_or(data_dir).to_owned();
    for dir in [base, data_dir.join("log"), data_dir.join("state")] {
        if let Some(on) = device(&dir)
            && !devices.contains(&on)
        {
            devices.push(on);
            places.push(dir);
        }
    }
    places
}

fn file_system(place: &str, magic: u64) -> Finding {
    match KINDS.iter().find(|kind| kind.magic == magic) {
        None => Finding::ok("file system", place, "a local disk"),
        Some(Kind { name, verdict, why, .. }) => {
            let next = "store on a local disk with ext4 or XFS";
            Finding::new(*verdict, "file system", place, format!("{name}: {why}"), next)
        }
    }
}

fn space(place: &str, free: u64, all: u64, reserve: u64) -> Finding {
    let mib = |bytes: u64| bytes >> 20;
    let found = format!("{} of {} MiB are free; the reserve is {} MiB", mib(free), mib(all), mib(reserve));
    let verdict = match free {
        free if free < reserve => Verdict::Fail,
        free if free < reserve.saturating_mul(4) || free < all / 10 => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let next = "make space or a larger disk: below the reserve no writes are taken (docs/operations/runbook/disk-full.md)";
    Finding::new(verdict, "disk space", place, found, next)
}

fn inodes(place: &str, free: u64, all: u64) -> Finding {
    // Some file systems make them as they need them, and say 0 of 0.
    let verdict = if all == 0 || free >= MIN_INODES { Verdict::Ok } else { Verdict::Fail };
    let found = if all == 0 { "unlimited".to_owned() } else { format!("{free} of {all} are free") };
    Finding::new(verdict, "inodes", place, found, "remove files that nobody needs from this file system")
}

/// How long writing a block and syncing it takes, again and again.
fn sync_times(dir: &Path, clock: &Clock) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".quorate-doctor-{}", std::process::id()));
    let mut file = File::options().write(true).create_new(true).open(&path)?;
    let measured = measure(&mut file, clock);
    std::fs::remove_file(&path)?;
    measured
}

fn measure(file: &mut File, clock: &Clock) -> io::Result<Vec<Duration>> {
    let (begun, mut times) = (clock.monotonic(), Vec::with_capacity(SYNCS));
    while times.len() < SYNCS && clock.monotonic().saturating_sub(begun) < LONGEST {
        let at = clock.monotonic();
        file.write_all(&[0; BLOCK])?;
        file.sync_data()?;
        times.push(clock.monotonic().saturating_sub(at));
    }
    Ok(times)
}

fn latency(place: &str, mut times: Vec<Duration>) -> Finding {
    times.sort();
    let (median, worst) =
        (times.get(times.len() / 2).copied().unwrap_or_default(), times.last().copied().unwrap_or_default());
    let verdict = match (median.as_millis(), worst.as_millis()) {
        (50.., _) => Verdict::Fail,
        (10.., _) | (_, 200..) => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let show = |time: Duration| format!("{}.{:02} ms", time.as_millis(), time.subsec_micros() / 10 % 100);
    let found = format!("{} for 4 KiB, {} at worst, of {} syncs", show(median), show(worst), times.len());
    let next = "each write waits for this on a majority of nodes: use a faster disk (docs/operations/runbook/slow-disk.md)";
    Finding::new(verdict, "sync latency", place, found, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_that_do_not_keep_what_is_synced_are_named() {
        let judge = |magic| file_system("/x", magic).verdict;
        assert_eq!(judge(0xEF53), Verdict::Ok, "ext4");
        assert_eq!(judge(0x5846_5342), Verdict::Ok, "XFS");
        assert_eq!(
            (judge(0x6969), judge(0x0102_1994), judge(0x794C_7630)),
            (Verdict::Fail, Verdict::Fail, Verdict::Fail)
        );
        assert_eq!((judge(0x9123_683E), judge(0x2FC1_2FC1)), (Verdict::Warn, Verdict::Warn));
    }

    #[test]
    fn space_is_judged_by_the_reserve() {
        let gib = 1_u64 << 30;
        let judge = |free| space("/x", free, 100 * gib, gib).verdict;
        assert_eq!(
            (judge(gib - 1), judge(gib), judge(9 * gib), judge(11 * gib)),
            (Verdict::Fail, Verdict::Warn, Verdict::Warn, Verdict::Ok)
        );
        assert_eq!(
            (inodes("/x", 9, 100_000).verdict, inodes("/x", 0, 0).verdict),
            (Verdict::Fail, Verdict::Ok)
        );
    }

    #[test]
    fn a_slow_disk_is_found_and_a_fast_one_passes() {
        let judge = |millis: u64, worst: u64| {
            let mut times = vec![Duration::from_millis(millis); 9];
            times.push(Duration::from_millis(worst));
            latency("/x", times).verdict
        };
        assert_eq!(
            [judge(1, 5), judge(9, 199), judge(1, 200), judge(10, 12), judge(50, 60)],
            [Verdict::Ok, Verdict::Ok, Verdict::Warn, Verdict::Warn, Verdict::Fail]
        );
    }

    #[test]
    fn the_disk_itself_is_measured_and_nothing_is_left_there() {
        let dir = tempfile::tempdir().unwrap();
        let times = sync_times(dir.path(), &Clock::system()).unwrap();
        assert!(!times.is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(sync_times(&dir.path().join("gone"), &Clock::system()).is_err());
        assert_eq!(places(&dir.path().join("not/there/yet")), [dir.path().to_owned()]);
    }
}
