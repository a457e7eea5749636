//! All nodes of a development cluster, as one.

use std::path::Path;
use std::time::Duration;

use futures::future::{join_all, select_all};

use super::child::NodeProcess;
use super::folder::DevNode;
use crate::clock::Stopwatch;
use crate::error::CliError;
use crate::run::probe;

/// How long a cluster may take until it serves. A node with much to replay says so in its log.
const START: Duration = Duration::from_secs(120);
/// Between two looks at a node that is starting.
const POLL: Duration = Duration::from_millis(50);
/// How long a node may take to answer a probe.
const PROBE: Duration = Duration::from_secs(2);
/// Paths that answer 200 once a node serves clients: it has caught up, and the founding ledger is certified.
const SIGNS: [&str; 2] = ["/readyz", "/default/checkpoint"];

/// The nodes that run.
pub(super) struct Crew {
    running: Vec<NodeProcess>,
}

/// A node that died.
pub(super) struct Death {
    pub(super) node: DevNode,
    pub(super) pid: u32,
    /// `by signal 9`.
    pub(super) how: String,
    pub(super) last_words: String,
}

impl Crew {
    /// Starts all nodes. If one cannot be started, those that were end when this is dropped.
    pub(super) fn start(program: &Path, nodes: Vec<DevNode>) -> Result<Self, CliError> {
        let running = nodes.into_iter().map(|node| NodeProcess::start(program, node));
        Ok(Self { running: running.collect::<Result<_, _>>()? })
    }

    /// The nodes and the processes they are.
    pub(super) fn members(&self) -> impl Iterator<Item = (&DevNode, u32)> {
        self.running.iter().map(|process| (&process.node, process.pid))
    }

    /// Whether no node is left.
    pub(super) fn is_gone(&self) -> bool {
        self.running.is_empty()
    }

    /// Waits until every node serves.
    pub(super) async fn ready(&mut self) -> Result<(), CliError> {
        let since = Stopwatch::start();
        for number in 0..self.running.len() {
            while let Some(reason) = self.not_ready(number).await {
                self.nobody_died()?;
                if since.elapsed() > START {
                    return Err(CliError::other(format!(
                        "the cluster does not serve after {START:?}: {reason}"
                    )));
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    async fn not_ready(&self, number: usize) -> Option<String> {
        let process = self.running.get(number)?;
        let node = &process.node;
        for path in SIGNS {
            let answer = tokio::time::timeout(PROBE, probe::get(&node.http, path)).await;
            let reason = match answer {
                Ok(Ok(answer)) if answer.status == 200 => continue,
                Ok(Ok(answer)) => format!("{path} answers {}: {}", answer.status, answer.body),
                Ok(Err(error)) => format!("{path}: {error}"),
                Err(_) => format!("{path} does not answer"),
            };
            return Some(format!("node {}: {reason}; its log is {}", node.id, node.log.display()));
        }
        None
    }

    fn nobody_died(&mut self) -> Result<(), CliError> {
        for process in &mut self.running {
            if let Some(how) = process.has_ended() {
                let (id, log, words) = (process.node.id, process.node.log.display(), process.last_words());
                let message =
                    format!("node {id} ended {how} while it was starting; {log} ends with:\n{words}");
                return Err(CliError::other(message));
            }
        }
        Ok(())
    }

    /// Waits for the next death. Never returns when nobody is left.
    pub(super) async fn death(&mut self) -> Death {
        if self.running.is_empty() {
            return std::future::pending().await;
        }
        let watched = self.running.iter_mut().map(|process| Box::pin(process.ended()));
        let (how, number, _) = select_all(watched).await;
        let process = self.running.remove(number);
        Death { last_words: process.last_words(), pid: process.pid, how, node: process.node }
    }

    /// Stops all nodes in good order, and tells what went wrong.
    pub(super) async fn stop(self) -> Vec<String> {
        join_all(self.running.into_iter().map(NodeProcess::stop)).await.into_iter().flatten().collect()
    }
}
