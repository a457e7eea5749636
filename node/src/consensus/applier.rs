//! The one thread that applies: entries in log order, and snapshots that replace the state.
//!
//! Applying is CPU work and disk reads; it must neither hold up an async worker nor run on two threads.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
};

use tokio::sync::oneshot;

use crate::store::faults::StoreFault;

use super::machine::{CommittedEntry, Machine, Outcome, Position};

enum Job {
    Apply(Vec<CommittedEntry>, oneshot::Sender<Result<Vec<Outcome>, StoreFault>>),
    Install(Position, PathBuf, oneshot::Sender<Result<(), StoreFault>>),
}

/// Why the apply thread gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error(transparent)]
    Fault(#[from] StoreFault),
    #[error("the apply thread has stopped")]
    Stopped,
}

/// Handle of the apply thread. The thread ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Applier {
    jobs: Sender<Job>,
}

impl Applier {
    pub(crate) fn start(machine: Arc<dyn Machine>) -> std::io::Result<Self> {
        let (jobs, receiver) = mpsc::channel();
        std::thread::Builder::new().name("apply".to_owned()).spawn(move || {
            // Whoever asked may have gone (shutdown); then nobody needs the answer.
            while let Ok(job) = receiver.recv() {
                match job {
                    Job::Apply(entries, answer) => {
                        answer.send(machine.apply(entries)).ok();
                    }
                    Job::Install(position, dir, answer) => {
                        answer.send(machine.install(&position, &dir)).ok();
                    }
                }
            }
        })?;
        Ok(Self { jobs })
    }

    /// Applies entries; gives the outcomes of the blocks among them.
    pub(crate) async fn apply(&self, entries: Vec<CommittedEntry>) -> Result<Vec<Outcome>, ApplyError> {
        let (answer, result) = oneshot::channel();
        self.jobs.send(Job::Apply(entries, answer)).map_err(|_| ApplyError::Stopped)?;
        Ok(result.await.map_err(|_| ApplyError::Stopped)??)
    }

    /// Replaces the state by a snapshot.
    pub(crate) async fn install(&self, position: Position, dir: PathBuf) -> Result<(), ApplyError> {
        let (answer, result) = oneshot::channel();
        self.jobs.send(Job::Install(position, dir, answer)).map_err(|_| ApplyError::Stopped)?;
        Ok(result.await.map_err(|_| ApplyError::Stopped)??)
    }
}
