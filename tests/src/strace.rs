//! System calls of running nodes that fail, take long, or stop the node: strace is attached to them, so the fault comes from the
//! kernel's side.

use std::{
    ffi::OsStr,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{clock, cluster::Cluster, process};

/// Whether strace can be run. Without it a test says loudly that it was skipped.
///
/// # Panics
/// If it cannot, and skipping is not allowed.
pub fn available(test: &str) -> bool {
    let found = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    let must = std::env::var_os("QUORATE_NO_SKIP").is_some_and(|value| !value.is_empty());
    assert!(found || !must, "strace cannot be run, and QUORATE_NO_SKIP is set: apt-get install strace");
    if !found {
        eprintln!("\n!!! SKIPPED: {test}: strace cannot be run (apt-get install strace)\n");
    }
    found
}

/// A running node whose system calls are tampered with, until this is dropped.
#[derive(Debug)]
pub struct Faulty(Child);

impl Faulty {
    /// In the node `id`, what happens to `call` is `fault`, in the words of strace: `error=EIO:when=3+`, `delay_exit=50000`.
    ///
    /// # Panics
    /// If strace cannot be attached.
    pub fn attach(cluster: &Cluster, id: u64, call: &str, fault: &str) -> Self {
        Self::attach_to(cluster, id, call, fault, &[])
    }

    fn attach_to(cluster: &Cluster, id: u64, call: &str, fault: &str, more: &[&OsStr]) -> Self {
        let log = cluster.path().join(format!("strace-{id}.log"));
        let said = cluster.path().join(format!("strace-{id}.err"));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &cluster.pid(id).to_string(), "-e", &format!("trace={call}")]);
        strace.args(["-e", &format!("inject={call}:{fault}")]).args(more).arg("-o").arg(log);
        strace.stdin(Stdio::null()).stdout(Stdio::null());
        strace.stderr(fs::File::create(&said).expect("a file"));
        let faulty = Self(strace.spawn().expect("strace can be run"));
        let start = clock::now();
        while !fs::read_to_string(&said).expect("a file").contains(" attached") {
            assert!(clock::now() - start < Duration::from_secs(10), "strace is not attached");
            std::thread::sleep(Duration::from_millis(5));
        }
        faulty
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        // It ends with the node. One whose node goes on is ended, and lets go of it.
        if !process::wait(&mut self.0, Duration::from_secs(2)) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }
}

/// A running node that stops at each line of its log, until this is dropped or the node is killed: the line is there, and the
/// thread that wrote it has not gone on. So a test reads every line before anything follows from it.
#[derive(Debug)]
pub struct Stepped {
    pid: u32,
    log: PathBuf,
    /// How much of the log was read.
    read: usize,
    // Dropped last: the node is let go of.
    _faulty: Faulty,
}

impl Stepped {
    /// From its next line on.
    ///
    /// # Panics
    /// If strace cannot be attached.
    pub fn attach(cluster: &Cluster, id: u64) -> Self {
        let log = cluster.log_file(id);
        let only = ["-P".as_ref(), log.as_os_str()];
        let faulty = Faulty::attach_to(cluster, id, "write", "signal=STOP", &only);
        let read = fs::read(&log).expect("a log").len();
        Self { pid: cluster.pid(id), log, read, _faulty: faulty }
    }

    /// Lets the node go on from line to line; gives the first that `is_wanted`, with the node stopped at it.
    ///
    /// # Panics
    /// If there is none within `limit`, or the node does not stop.
    pub fn until(&mut self, limit: Duration, is_wanted: impl Fn(&str) -> bool) -> String {
        let start = clock::now();
        let first = self.read;
        loop {
            let log = fs::read(&self.log).expect("a log");
            let new = log.get(self.read..).unwrap_or_default();
            let lines = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let text = String::from_utf8_lossy(&new[..lines]).into_owned();
            if let Some(line) = text.lines().find(|line| is_wanted(line)) {
                self.wait_stopped();
                return line.to_owned();
            }
            if lines > 0 {
                // Each line has its stop, so this ends that of the lines read here and of no later one.
                self.read += lines;
                process::send(self.pid, "CONT");
            }
            let seen = || String::from_utf8_lossy(log.get(first..).unwrap_or_default()).into_owned();
            assert!(clock::now() - start < limit, "no such line:\n{}", seen());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A stop that was asked for comes at once: were it not in force, the line would hold nobody.
    fn wait_stopped(&self) {
        let start = clock::now();
        loop {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("a node that runs");
            // `pid (name) state …`; stopped, by itself or as somebody traces it.
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            if matches!(state, Some('T' | 't')) {
                return;
            }
            assert!(clock::now() - start < Duration::from_secs(1), "the node is not stopped: {stat}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
