//! What this process uses of the machine, as the kernel tells it. Unknown is 0: these numbers are for people.

use std::{fs, path::Path};

use crate::disk;

/// What is used, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Resources {
    /// Resident memory of this process.
    pub(super) memory_bytes: u64,
    /// What this process has caused to be written to storage.
    pub(super) written_bytes: u64,
    /// Free space where the data directory is.
    pub(super) disk_free_bytes: u64,
}

/// Reads them.
pub(super) fn read(data_dir: &Path) -> Resources {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Resources {
        memory_bytes: field(&text("/proc/self/status"), "VmRSS:").saturating_mul(1_024),
        written_bytes: field(&text("/proc/self/io"), "write_bytes:"),
        disk_free_bytes: disk::free_bytes(data_dir).unwrap_or(0),
    }
}

/// The number in the line that begins with `name`.
fn field(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_names() {
        let text = "Name:\tquorate\nVmRSS:\t   12345 kB\nwrite_bytes: 7\n";
        assert_eq!(
            (field(text, "VmRSS:"), field(text, "write_bytes:"), field(text, "none:")),
            (12_345, 7, 0)
        );
    }

    #[test]
    fn this_process_uses_memory() {
        let used = read(Path::new("/"));
        assert!(used.memory_bytes > 0 && used.disk_free_bytes > 0, "{used:?}");
    }
}
