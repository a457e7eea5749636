//! Who writes: an object that is created under the condition that it is not there.
//!
//! A process that is killed leaves it. The next one on the same machine sees that it is gone, and takes the lock over; from
//! anywhere else nobody can know, and the error says what to do.

use std::{
    fs, process,
    sync::atomic::{AtomicU64, Ordering},
};

use object_store::PutMode;
use quorate_archive::{ArchiveError, Storage as _};

use crate::bucket::Bucket;

/// The lock, held until it is dropped.
pub(crate) struct Lock {
    bucket: Bucket,
    name: String,
    holder: Holder,
}

/// A process, so that another one on the same machine can tell whether it still runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    host: String,
    /// Changes with every boot.
    boot: String,
    /// The space in which process ids are counted: containers have their own.
    space: String,
    process: u32,
    /// When it was started, in ticks after boot: ids are used again.
    started: String,
    /// Which of its locks this is.
    number: u64,
}

/// How many locks this process has asked for.
static LOCKS: AtomicU64 = AtomicU64::new(0);

impl Lock {
    /// Takes the lock.
    pub(crate) fn take(bucket: &Bucket, name: &str) -> Result<Self, ArchiveError> {
        let holder = Holder::this();
        let lock = Self { bucket: bucket.clone(), name: name.to_owned(), holder };
        let text = lock.holder.to_text();
        if bucket.put(name, text.as_bytes(), PutMode::Create)? {
            return Ok(lock);
        }
        let Some(found) = bucket.find(name)? else {
            // It was released in between.
            return if bucket.put(name, text.as_bytes(), PutMode::Create)? {
                Ok(lock)
            } else {
                Err(lock.busy(None))
            };
        };
        let other = Holder::parse(&String::from_utf8_lossy(&found.bytes));
        let ended = other.as_ref().is_some_and(|other| other.ended_on(&lock.holder));
        if ended && bucket.put(name, text.as_bytes(), PutMode::Update(found.version))? {
            return Ok(lock);
        }
        Err(lock.busy(other.as_ref()))
    }

    /// The error while another process holds it. `self` does not hold it, and must not release it: its holder is another.
    fn busy(&self, other: Option<&Holder>) -> ArchiveError {
        let object = self.bucket.path(&self.name);
        let who = other.map_or_else(String::new, |other| {
            format!(" (it is process {} on {})", other.process, other.host)
        });
        let hint =
            format!("{who}; if it was killed on another machine, remove the object {}", object.display());
        ArchiveError::Busy { path: self.bucket.path(""), hint }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only if it is ours. If it cannot be removed, the next run on this machine sees that we are gone.
        let ours = |bytes: Vec<u8>| bytes == self.holder.to_text().as_bytes();
        if self.bucket.read(&self.name).is_ok_and(|found| found.is_some_and(ours)) {
            self.bucket.remove(&self.name).ok();
        }
    }
}

impl Holder {
    /// This process.
    fn this() -> Self {
        let read =
            |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let space = fs::read_link("/proc/self/ns/pid").map(|path| path.display().to_string());
        Self {
            host: read("/proc/sys/kernel/hostname"),
            boot: read("/proc/sys/kernel/random/boot_id"),
            space: space.unwrap_or_default(),
            process: process::id(),
            started: started(process::id()).unwrap_or_default(),
            number: LOCKS.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn to_text(&self) -> String {
        let Self { host, boot, space, process, started, number } = self;
        format!(
            "host {host}\nboot {boot}\nspace {space}\nprocess {process}\nstarted {started}\nnumber {number}\n"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
        Some(Self {
            host: field("host")?,
            boot: field("boot")?,
            space: field("space")?,
            process: field("process")?.parse().ok()?,
            started: field("started")?,
            number: field("number")?.parse().ok()?,
        })
    }

    /// Whether this process is known to have ended, as seen from `here`.
    fn ended_on(&self, here: &Self) -> bool {
        if self.host != here.host || self.host.is_empty() {
            return false;
        }
        if self.boot != here.boot {
            return true;
        }
        self.space == here.space && started(self.process).as_ref() != Some(&self.started)
    }
}

/// When a process was started, in ticks after boot; `None` if there is none. The field is the 22nd of proc(5)'s `stat`, the
/// 20th behind the name in parentheses.
fn started(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_to_have_ended_only_where_that_can_be_known() {
        let here = Holder::this();
        assert_eq!(Holder::parse(&here.to_text()).as_ref(), Some(&here));
        assert!(!here.ended_on(&here), "this process runs");
        let other = |change: fn(&mut Holder)| {
            let mut other = here.clone();
            change(&mut other);
            other
        };
        assert!(other(|other| other.started = "1".to_owned()).ended_on(&here), "its id was used again");
        assert!(other(|other| other.process = u32::MAX).ended_on(&here), "there is no such process");
        assert!(other(|other| other.boot = "before".to_owned()).ended_on(&here), "the machine was booted");
        let foreign: [fn(&mut Holder); 2] = [
            |other| other.host = "elsewhere".to_owned(),
            |other| {
                other.space = "pid:[1]".to_owned();
                other.process = u32::MAX;
            },
        ];
        assert!(foreign.into_iter().all(|change| !other(change).ended_on(&here)), "nobody can know");
    }
}
