//! The epochs of the cosigner set: how each began, with the proof.

use std::sync::Arc;

use quorate_core::{
    position::{Epoch, Revision, TreeSize},
    state_tree::StateLeaf,
};
use quorate_ledger::registry::COSIGNERS_KEY;
use quorate_proto::v1;

use super::{
    checkpoint::Wanted,
    errors::{Problem, Reason},
    interface::{Api, Deadline},
    item::Reader,
    proofs::{Prover, misplaced},
};
use crate::{
    signer::Need,
    store::state::{LedgerView, ReadView},
};

/// Epochs in one answer, at most.
const MAX_EPOCHS: u32 = 100;

impl Api {
    /// How the epochs from one on began.
    pub(super) async fn answer_list_epochs(
        &self,
        request: v1::ListEpochsRequest,
        deadline: Deadline,
    ) -> Result<v1::ListEpochsResponse, Problem> {
        let limit = match request.limit {
            0 => MAX_EPOCHS,
            limit if limit <= MAX_EPOCHS => limit,
            limit => {
                let problem = format_args!("{limit} epochs: at most {MAX_EPOCHS} come at once");
                return Err(Reason::LimitTooLarge.of("limit", problem).into());
            }
        };
        self.backend().read_barrier().await?;
        let view = self.view();
        let first = request.from_epoch.max(view.first_epoch()?.get());
        let last = view.cluster().epoch.get().min(first.saturating_add(u64::from(limit)).saturating_sub(1));
        let mut epochs = Vec::new();
        for epoch in first..=last {
            epochs.push(self.epoch_proof(&view, Epoch::new(epoch), &deadline).await?);
        }
        Ok(v1::ListEpochsResponse { epochs })
    }

    async fn epoch_proof(
        &self,
        view: &ReadView,
        epoch: Epoch,
        deadline: &Deadline,
    ) -> Result<v1::EpochProof, Problem> {
        let gone = || misplaced(Default::default(), format!("the set of epoch {epoch} has to be in _system"));
        let system = view.system().ok_or_else(gone)?;
        let write = system.write(COSIGNERS_KEY, Revision::new(epoch.get()))?.ok_or_else(gone)?;
        let Some(start) = view.epoch_start(epoch)? else {
            let words = format!("this node does not have the proof of epoch {epoch} yet: ask another one");
            return Err(Reason::NotCertified.refuse(words).into());
        };
        let wanted = Wanted { trusted: TreeSize::ZERO, need: Need::default() };
        let checkpoint = self.checkpoint_proof(system, start.size, wanted, deadline).await?;
        Ok(v1::EpochProof {
            epoch: epoch.get(),
            checkpoint: Some(checkpoint.into()),
            state_proof: start.state_proof.into(),
            item: Some(item(system, start.size, &write)?),
        })
    }
}

/// The write of the set with what it wrote.
fn item(system: &Arc<LedgerView>, size: TreeSize, write: &StateLeaf) -> Result<v1::Item, Problem> {
    let prover = Prover::new(Arc::clone(system), Some(size));
    let mut reader = Reader { prover, at: None, expired_by: system.head().time, contents: true };
    Ok(reader.present(write)?.into())
}
