//! All nodes of a development cluster, as one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{join_all, select_all};

use super::child::{Ending, NodeProcess};
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

/// How long a dead node is left dead the first time, so that its death can be seen; twice as long each time that it
/// dies young.
const PAUSE: Duration = Duration::from_secs(2);
/// A node that lived so long did not die young.
const YOUNG: Duration = Duration::from_secs(30);
/// Deaths of a node in a row, all young, after which it is not started any more.
const TRIES: u32 = 5;

/// The nodes that run, and those that will again.
pub(super) struct Crew {
    program: PathBuf,
    running: Vec<NodeProcess>,
    resting: Vec<Resting>,
}

/// A dead node that will be started again.
struct Resting {
    node: DevNode,
    dead: Stopwatch,
    pause: Duration,
    young_deaths: u32,
}

/// A node that died.
pub(super) struct Death {
    pub(super) node: DevNode,
    pub(super) pid: u32,
    /// `by signal 9`.
    pub(super) how: String,
    pub(super) last_words: String,
    pub(super) next: Next,
}

/// What becomes of a dead node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is started again after this pause.
    Again(Duration),
    /// It was asked to stop, and stays so.
    Stays,
    /// It died too often.
    GivenUp(u32),
}

/// What happens to a crew.
pub(super) enum Event {
    /// A node died.
    Died(Box<Death>),
    /// It runs again, as this process.
    Restarted {
        /// The node.
        id: u64,
        /// Its process.
        pid: u32,
    },
}

impl Crew {
    /// Starts all nodes. If one cannot be started, those that were end when this is dropped.
    pub(super) fn start(program: &Path, nodes: Vec<DevNode>) -> Result<Self, CliError> {
        let running = nodes.into_iter().map(|node| NodeProcess::start(program, node, 0));
        let running = running.collect::<Result<_, _>>()?;
        Ok(Self { program: program.to_owned(), running, resting: Vec::new() })
    }

    /// The nodes and the processes they are.
    pub(super) fn members(&self) -> impl Iterator<Item = (&DevNode, u32)> {
        self.running.iter().map(|process| (&process.node, process.pid))
    }

    /// Whether no node is left, and none will be started again.
    pub(super) fn is_gone(&self) -> bool {
        self.running.is_empty() && self.resting.is_empty()
    }

    /// Waits until every node serves, or has a fault that keeps it from that for good; tells each of those.
    pub(super) async fn ready(&mut self) -> Result<Vec<String>, CliError> {
        let since = Stopwatch::start();
        let mut faults = Vec::new();
        for number in 0..self.running.len() {
            while let Some(reason) = self.not_ready(number).await {
                self.nobody_died()?;
                if self.has_fault(number).await {
                    faults.push(reason);
                    break;
                }
                if since.elapsed() > START {
                    return Err(CliError::other(format!(
                        "the cluster does not serve after {START:?}: {reason}"
                    )));
                }
                tokio::time::sleep(POLL).await;
            }
        }
        if faults.len() > self.running.len() / 2 {
            return Err(CliError::other(format!("no majority of the nodes is well: {}", faults.join("; "))));
        }
        Ok(faults)
    }

    async fn has_fault(&self, number: usize) -> bool {
        let Some(process) = self.running.get(number) else {
            return false;
        };
        let answer = tokio::time::timeout(PROBE, probe::get(&process.node.http, "/metrics")).await;
        matches!(answer, Ok(Ok(answer)) if answer.body.lines().any(|line| line == "quorate_fault 1"))
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
            if let Some(Ending { text: how, .. }) = process.has_ended() {
                let (id, log, words) = (process.node.id, process.node.log.display(), process.last_words());
                let message =
                    format!("node {id} ended {how} while it was starting; {log} ends with:\n{words}");
                return Err(CliError::other(message));
            }
        }
        Ok(())
    }

    /// Waits for the next death or restart. Never returns when nobody is left. Nothing is lost if this is given up
    /// half-way.
    ///
    /// # Errors
    /// [`CliError`] if a node cannot be started again, such as when the program is gone.
    pub(super) async fn event(&mut self) -> Result<Event, CliError> {
        let rest = self.resting.iter().map(|one| one.pause.saturating_sub(one.dead.elapsed())).min();
        let rested = async {
            match rest {
                Some(rest) => tokio::time::sleep(rest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (how, number) = death(&mut self.running) => Ok(Event::Died(Box::new(self.bury(number, &how)))),
            () = rested => self.wake(),
        }
    }

    /// Takes a dead node out, and decides what becomes of it.
    fn bury(&mut self, number: usize, how: &Ending) -> Death {
        let process = self.running.remove(number);
        let young_deaths = if process.age() < YOUNG { process.young_deaths.saturating_add(1) } else { 1 };
        let next = if how.in_good_order {
            Next::Stays
        } else if young_deaths > TRIES {
            Next::GivenUp(young_deaths)
        } else {
            Next::Again(PAUSE.saturating_mul(1 << young_deaths.saturating_sub(1)))
        };
        let node = process.node.clone();
        if let Next::Again(pause) = next {
            self.resting.push(Resting { node: node.clone(), dead: Stopwatch::start(), pause, young_deaths });
        }
        Death { last_words: process.last_words(), pid: process.pid, how: how.text.clone(), node, next }
    }

    /// Starts the node that has rested longest beyond its time.
    fn wake(&mut self) -> Result<Event, CliError> {
        let left = |one: &Resting| one.pause.saturating_sub(one.dead.elapsed());
        let Some(number) = (0..self.resting.len()).min_by_key(|number| self.resting.get(*number).map(left))
        else {
            return Err(CliError::other("there is no node to be started again"));
        };
        let Resting { node, young_deaths, .. } = self.resting.remove(number);
        let process = NodeProcess::start(&self.program, node, young_deaths)?;
        let event = Event::Restarted { id: process.node.id, pid: process.pid };
        self.running.push(process);
        Ok(event)
    }

    /// Stops all nodes in good order, and tells what went wrong.
    pub(super) async fn stop(self) -> Vec<String> {
        join_all(self.running.into_iter().map(NodeProcess::stop)).await.into_iter().flatten().collect()
    }
}

/// Waits for the next death; gives its manner and the number of the process.
async fn death(running: &mut [NodeProcess]) -> (Ending, usize) {
    if running.is_empty() {
        return std::future::pending().await;
    }
    let (how, number, _) = select_all(running.iter_mut().map(|process| Box::pin(process.ended()))).await;
    (how, number)
}
