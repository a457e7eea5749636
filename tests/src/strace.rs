//! System calls of running nodes that fail or take long: strace is attached to them, so the fault comes from the kernel's side.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
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

    /// The same for the calls that are about this file alone.
    ///
    /// # Panics
    /// If strace cannot be attached.
    pub fn attach_to_file(cluster: &Cluster, id: u64, call: &str, fault: &str, file: &Path) -> Self {
        Self::attach_to(cluster, id, call, fault, &["-P".as_ref(), file.as_os_str()])
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
