//! A node as a child process.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};

use super::folder::DevNode;
use crate::clock::Stopwatch;
use crate::error::CliError;

/// How long a node may take to stop in good order.
const STOP: Duration = Duration::from_secs(20);

/// Bytes at the end of a log that are looked at.
const LOG_END: u64 = 4096;

/// Lines of a log that are shown.
const LOG_LINES: usize = 5;

/// A node that was started.
pub(super) struct NodeProcess {
    pub(super) node: DevNode,
    pub(super) pid: u32,
    process: Child,
    since: Stopwatch,
    /// How often it died young, one time after the other, before this process.
    pub(super) young_deaths: u32,
    /// The node ends when this does. Kept apart from `process`, which drops its own in `wait`.
    lifeline: Option<ChildStdin>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    /// `with exit code 1`, `by signal 9`.
    pub(super) text: String,
    /// Whether it was asked to stop and did.
    pub(super) in_good_order: bool,
}

impl NodeProcess {
    /// Starts `program server --config …`. It is in a process group of its own, so that Ctrl-C reaches this process
    /// alone, and ends when its standard input does.
    pub(super) fn start(program: &Path, node: DevNode, young_deaths: u32) -> Result<Self, CliError> {
        let log = File::options().create(true).append(true).open(&node.log);
        let log = log.map_err(CliError::io("open", &node.log))?;
        let mut process = Command::new(program)
            .args(["server", "--until-stdin-closes", "--config"])
            .arg(&node.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(CliError::io("start", program))?;
        let pid = process.id().unwrap_or_default();
        let lifeline = process.stdin.take();
        Ok(Self { node, pid, process, since: Stopwatch::start(), young_deaths, lifeline })
    }

    /// Waits until it has ended. Nothing is lost if this is given up half-way.
    pub(super) async fn ended(&mut self) -> Ending {
        match self.process.wait().await {
            Ok(status) => Ending::of(status),
            Err(error) => Ending { text: format!("and cannot be waited for: {error}"), in_good_order: false },
        }
    }

    /// How long it has been running.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// How it ended, if it has.
    pub(super) fn has_ended(&mut self) -> Option<Ending> {
        self.process.try_wait().ok().flatten().map(Ending::of)
    }

    /// Lets it stop in good order; one that does not is killed. Tells what was wrong, unless it had ended before.
    pub(super) async fn stop(mut self) -> Option<String> {
        if self.has_ended().is_some() {
            return None;
        }
        drop(self.lifeline.take());
        match tokio::time::timeout(STOP, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => None,
            Ok(Ok(status)) => Some(format!(
                "node {} ended {}; its log is {}",
                self.node.id,
                Ending::of(status).text,
                self.log()
            )),
            Ok(Err(error)) => Some(format!("node {} cannot be waited for: {error}", self.node.id)),
            Err(_) => {
                self.process.start_kill().ok();
                self.process.wait().await.ok();
                let secs = STOP.as_secs();
                Some(format!(
                    "node {} did not stop in {secs} s and was killed; its log is {}",
                    self.node.id,
                    self.log()
                ))
            }
        }
    }

    /// The last lines of its log.
    pub(super) fn last_words(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut log = File::open(&self.node.log)?;
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(length.saturating_sub(LOG_END)))?;
            let mut end = Vec::new();
            log.read_to_end(&mut end)?;
            Ok(String::from_utf8_lossy(&end).into_owned())
        };
        let end = read().unwrap_or_default();
        let lines: Vec<&str> = end.lines().collect();
        lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
    }

    fn log(&self) -> std::path::Display<'_> {
        self.node.log.display()
    }
}

impl Ending {
    fn of(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let text = match (status.code(), status.signal()) {
            (Some(code), _) => format!("with exit code {code}"),
            (None, Some(signal)) => format!("by signal {signal}"),
            (None, None) => status.to_string(),
        };
        Self { text, in_good_order: status.success() }
    }
}
