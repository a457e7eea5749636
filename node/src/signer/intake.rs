//! Where apply puts checkpoints, and where a received snapshot is compared with what this node promised.

use quorate_core::hash::Hash;
use quorate_ledger::outcome::NewCheckpoint;
use tokio::sync::mpsc;

use super::pen::{PenFault, promises};
use crate::{
    machine::CheckpointSink,
    store::{log::LogStore, state::ReadView},
};

/// The way from apply to the signer.
#[derive(Debug, Clone)]
pub struct Intake {
    queue: mpsc::UnboundedSender<NewCheckpoint>,
    log: LogStore,
}

/// Makes the way from apply to the signer; the other end is for [`Signer::start`](super::Signer::start).
pub fn intake(log: LogStore) -> (Intake, mpsc::UnboundedReceiver<NewCheckpoint>) {
    let (queue, checkpoints) = mpsc::unbounded_channel();
    (Intake { queue, log }, checkpoints)
}

impl CheckpointSink for Intake {
    fn checkpoint(&self, checkpoint: NewCheckpoint) {
        if self.queue.send(checkpoint).is_err() {
            // Only at the end of the process: the signer outlives everything that applies.
            tracing::debug!("the signer has ended");
        }
    }

    fn accepts(&self, snapshot: &ReadView) -> Result<(), String> {
        consistent(&self.log, snapshot)
    }
}

/// Whether a state continues what this node signed: for each ledger, the root at the size last signed is the root
/// that was signed (trust.md, rule 3). A shorter state says nothing; the pen refuses to sign it again differently.
pub(super) fn consistent(log: &LogStore, view: &ReadView) -> Result<(), String> {
    for (name, last) in promises(log).map_err(|fault| fault.to_string())? {
        let Some(ledger) = view.ledger(&name) else {
            continue;
        };
        if last.size > ledger.size() {
            continue;
        }
        let computed = ledger.root_at(last.size).map_err(|fault| fault.to_string())?.unwrap_or(Hash::ZERO);
        if computed != last.root {
            let fault = PenFault::TwoRoots { ledger: name, size: last.size, signed: last.root, computed };
            return Err(fault.to_string());
        }
    }
    Ok(())
}
