//! Proofs of the log itself: inclusion, consistency, checkpoints.

use std::{sync::Arc, time::Duration};

use quorate_core::position::{LogIndex, TreeSize};
use quorate_proto::{
    convert::{self, LeafAt},
    v1,
};

use super::{
    bounds,
    checkpoint::{Wanted, consistency_between},
    errors::{Problem, Reason},
    interface::{Api, Deadline, check_size},
    proofs,
};
use crate::store::state::LedgerView;

/// How often a size that is waited for is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Api {
    /// That a leaf is in the log.
    pub(super) async fn answer_inclusion_proof(
        &self,
        request: v1::InclusionProofRequest,
    ) -> Result<v1::InclusionProofResponse, Problem> {
        let name = bounds::ledger(&request.ledger)?;
        let index = LogIndex::new(request.index);
        let asked = TreeSize::new(request.size);
        let ledger = self.find(&name, |ledger| check_size(ledger, asked, "size")).await?;
        let size = self.or_certified(&ledger, asked).await?;
        if !size.contains(index) {
            let problem = format_args!("log index {index} is not in the tree of size {size}");
            return Err(Reason::IndexBeyondEnd.of("index", problem).into());
        }
        let proof = proofs::leaf(&ledger, index, size)?;
        Ok(LeafAt { index, size, proof }.into())
    }

    /// That one size of the log is a prefix of another.
    pub(super) async fn answer_consistency_proof(
        &self,
        request: v1::ConsistencyProofRequest,
    ) -> Result<v1::ConsistencyProofResponse, Problem> {
        let name = bounds::ledger(&request.ledger)?;
        let (old, asked) = (TreeSize::new(request.old_size), TreeSize::new(request.new_size));
        if old == TreeSize::ZERO {
            let problem = "0: every tree continues the empty one; the smaller size is at least 1";
            return Err(Reason::SizesOutOfOrder.of("old_size", problem).into());
        }
        let ledger = self
            .find(&name, |ledger| {
                check_size(ledger, old, "old_size")?;
                check_size(ledger, asked, "new_size")
            })
            .await?;
        let new = self.or_certified(&ledger, asked).await?;
        if old > new {
            let problem = format_args!("{old} is larger than the new size, {new}");
            return Err(Reason::SizesOutOfOrder.of("old_size", problem).into());
        }
        let path = consistency_between(&ledger, old, new)?;
        let path = convert::path_to_wire(&path);
        Ok(v1::ConsistencyProofResponse { old_size: old.get(), new_size: new.get(), path })
    }

    /// The size asked for, or the latest certified one where none was.
    async fn or_certified(&self, ledger: &LedgerView, asked: TreeSize) -> Result<TreeSize, Problem> {
        if asked > TreeSize::ZERO {
            return Ok(asked);
        }
        let certified = self.backend().certified_size(&ledger.head().name).min(ledger.size());
        if certified > TreeSize::ZERO {
            return Ok(certified);
        }
        let problem = "no checkpoint of this ledger is certified yet: try again in a moment";
        Err(Reason::NotCertified.of("ledger", problem).into())
    }

    /// The cosigned checkpoint of a ledger.
    pub(super) async fn answer_get_checkpoint(
        &self,
        request: v1::GetCheckpointRequest,
        deadline: Deadline,
    ) -> Result<v1::GetCheckpointResponse, Problem> {
        let name = bounds::ledger(&request.ledger)?;
        let patience = bounds::wait(request.wait_ms)?.min(deadline.patience());
        let until = Deadline::after(&self.parts().clock, patience);
        let need = bounds::need((request.min_cosigners, &request.witnesses, request.min_witnesses), "")?;
        self.check_cosigners(&need, "min_cosigners")?;
        let (asked, trusted) = (TreeSize::new(request.size), TreeSize::new(request.trusted_size));
        let enough = |ledger: &LedgerView| check_size(ledger, asked, "size");
        let mut found = self.find(&name, enough).await;
        while found.is_err() && until.remaining() > Duration::ZERO && self.view().ledger(&name).is_some() {
            tokio::time::sleep(LOOK_EVERY).await;
            found = self.find(&name, enough).await;
        }
        let ledger = found?;
        check_size(&ledger, trusted, "trusted_size")?;
        let newest = self.backend().newest_meeting(&name, need).min(ledger.size());
        let (ledger, size) = match (asked, newest) {
            (TreeSize::ZERO, TreeSize::ZERO) if need.looks_outside() => {
                let size = ledger.size();
                let reached = self.backend().reach(ledger, size, need, until.remaining()).await?;
                (reached.view, reached.size)
            }
            (TreeSize::ZERO, TreeSize::ZERO) => (Arc::clone(&ledger), ledger.size()),
            (TreeSize::ZERO, newest) => (ledger, newest),
            (asked, _) => (ledger, asked),
        };
        check_checkpoint(&ledger, size)?;
        let checkpoint = self.checkpoint_proof(&ledger, size, Wanted { trusted, need }, &until).await?;
        Ok(v1::GetCheckpointResponse { checkpoint: Some(checkpoint.into()) })
    }
}

/// Refuses a size at which there is no checkpoint.
fn check_checkpoint(ledger: &LedgerView, size: TreeSize) -> Result<(), Problem> {
    if ledger.is_checkpoint(size)? {
        return Ok(());
    }
    let next = ledger
        .checkpoint_with(size.next_index())?
        .map_or_else(String::new, |next| format!("; the next one is at {next}"));
    let problem = format_args!("there is no checkpoint of size {size}: sizes end with a commit leaf{next}");
    Err(Reason::NoCheckpoint.of("size", problem).into())
}
