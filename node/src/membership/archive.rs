//! The beginnings of epochs, of which every node keeps the proof for ever.
//!
//! A node that took part when an epoch began has its proof. One that was down for a moment, or got the state as a
//! snapshot, may lack the state proof or some of the cosignatures: it asks the others. What they send is checked like
//! anything else: the proof against the commit leaf here, each signature against the key of the set.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_core::{
    hash::Hash,
    position::{Epoch, NodeId},
};
use quorate_proto::peer::v1 as pb;

use crate::{
    health::Health,
    peer::Peers,
    signer::{Need, Signer},
    store::{
        faults::StoreFault,
        state::{EpochStart, ReadView, StateStore, StoredCosignature},
    },
};

/// Between two looks at what is missing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the archive works with.
pub(crate) struct Archive {
    pub(crate) state: Arc<StateStore>,
    pub(crate) signer: Signer,
    pub(crate) peers: Peers,
    pub(crate) health: Health,
}

impl Archive {
    /// Until the node has a fault.
    pub(crate) async fn run(self) {
        let mut complete = 0;
        while self.health.is_good() {
            tokio::time::sleep(LOOK_EVERY).await;
            let view = self.state.view();
            match view.first_epoch() {
                Ok(first) => complete = complete.max(first.get().saturating_sub(1)),
                Err(fault) => return self.health.fail(fault.to_string()),
            }
            while complete < view.cluster().epoch.get() {
                match self.complete(Epoch::new(complete + 1)).await {
                    Ok(true) => complete += 1,
                    Ok(false) => break,
                    Err(fault) => return self.health.fail(fault.to_string()),
                }
            }
        }
    }

    /// Whether all is here of the beginning of an epoch, after asking for what is not.
    async fn complete(&self, epoch: Epoch) -> Result<bool, StoreFault> {
        if self.is_complete(epoch).await? {
            return Ok(true);
        }
        for node in self.peers.known() {
            match self.peers.epoch(node, epoch.get()).await {
                Ok(answer) => self.take(epoch, node, answer)?,
                Err(error) => tracing::debug!(%error, %epoch, "no proof of the beginning of an epoch"),
            }
            if self.is_complete(epoch).await? {
                tracing::info!(%epoch, from = %node, "got the proof of the beginning of an epoch");
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn is_complete(&self, epoch: Epoch) -> Result<bool, StoreFault> {
        let view = self.state.view();
        let (Some(system), Some(start)) = (view.system(), view.epoch_start(epoch)?) else {
            return Ok(false);
        };
        let root = system.root_at(start.size)?.unwrap_or(Hash::ZERO);
        let name = &system.head().name;
        Ok(self.signer.wait(name, start.size, root, &Need::default(), Duration::ZERO).await.is_ok())
    }

    fn take(&self, epoch: Epoch, from: NodeId, answer: pb::GetEpochResponse) -> Result<(), StoreFault> {
        let Some(size) = self.state.view().epoch_size(epoch)? else {
            return Ok(());
        };
        let start = EpochStart { size, state_proof: answer.state_proof.to_vec() };
        if !start.state_proof.is_empty() && !self.state.put_epoch_start(epoch, &start)? {
            tracing::warn!(%epoch, peer = %from, "what a peer sent as the proof of an epoch proves nothing");
        }
        for cosignature in answer.cosignatures {
            let Ok(signature) = cosignature.signature.as_ref().try_into() else {
                continue;
            };
            let node = NodeId::new(cosignature.node_id);
            let stored = StoredCosignature { node, time_s: cosignature.time_s, signature };
            self.signer.archive(size, stored)?;
        }
        Ok(())
    }
}

/// What is kept here of the beginning of an epoch.
pub(crate) fn kept(view: &ReadView, epoch: Epoch) -> Result<(Bytes, Vec<pb::NodeCosignature>), StoreFault> {
    let (Some(system), Some(size)) = (view.system(), view.epoch_size(epoch)?) else {
        return Ok((Bytes::new(), Vec::new()));
    };
    let proof = view.epoch_start(epoch)?.map(|start| start.state_proof.into()).unwrap_or_default();
    let wire = |stored: StoredCosignature| pb::NodeCosignature {
        node_id: stored.node.get(),
        time_s: stored.time_s,
        signature: Bytes::copy_from_slice(&stored.signature),
    };
    Ok((proof, view.cosignatures(system.id(), size)?.into_iter().map(wire).collect()))
}
