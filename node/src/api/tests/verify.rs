//! From answers to what a client believes: the mapping to `quorate_core::answer`, and nothing taken on trust.

use std::collections::BTreeMap;

use quorate_core::{
    answer::{Absent, Bundle, LeafProof, Proven, Reading, TransactionProof},
    position::{LogIndex, TreeSize},
    proof::consistency,
};
use quorate_proto::{
    convert::{CheckpointParts, ItemParts, LeafAt},
    v1::{self, ledger_server::Ledger},
};

use super::world::World;

/// Parts of an answer on the way to a bundle: a transaction that several keys show is one transaction.
#[derive(Default)]
pub(super) struct Parts {
    bundle: Bundle,
    transactions: BTreeMap<LogIndex, TransactionProof>,
}

impl Parts {
    pub(super) fn state_proof(mut self, proof: &[u8]) -> Self {
        if !proof.is_empty() {
            self.bundle.state_proofs.push(proof.to_vec());
        }
        self
    }

    pub(super) fn transaction(mut self, wire: Option<v1::Transaction>) -> Self {
        if let Some(wire) = wire {
            self.add(wire.try_into().unwrap());
        }
        self
    }

    pub(super) fn item(mut self, item: Option<v1::Item>) -> Self {
        let Some(item) = item else { return self };
        let item = ItemParts::try_from(item).unwrap();
        self.bundle.contents.extend(item.contents);
        for proof in [item.erased_by, item.written, item.superseded_by].into_iter().flatten() {
            self.add(proof);
        }
        self
    }

    fn add(&mut self, proof: TransactionProof) {
        let Some(known) = self.transactions.get_mut(&proof.index) else {
            self.transactions.insert(proof.index, proof);
            return;
        };
        for operation in proof.operations {
            if known.operations.iter().all(|other| other.position != operation.position) {
                known.operations.push(operation);
            }
        }
        known.operations.sort_by_key(|operation| operation.position);
    }

    /// Verifies all of it under the checkpoint of the answer; `at`: as of this log index, whose leaf is fetched.
    pub(super) async fn open(
        mut self,
        world: &World,
        checkpoint: Option<v1::CheckpointProof>,
        at: Option<u64>,
    ) -> Proven {
        let checkpoint = CheckpointParts::try_from(checkpoint.expect("a proven answer")).unwrap();
        let certified = world.policy().open(&checkpoint.note).unwrap();
        let size = certified.checkpoint().size;
        let last = size.last_index().map(LogIndex::get);
        if let Some(at) = at.filter(|at| Some(*at) != last) {
            self.bundle.point = Some(leaf_at(world, at, size).await);
        }
        self.bundle.commit = Some(checkpoint.commit);
        self.bundle.transactions = self.transactions.into_values().collect();
        Proven::open(certified, self.bundle).unwrap()
    }
}

async fn leaf_at(world: &World, index: u64, size: TreeSize) -> LeafProof {
    let request = v1::InclusionProofRequest { ledger: "default".to_owned(), index, size: size.get() };
    let answer = world.api.inclusion_proof(tonic::Request::new(request)).await.unwrap().into_inner();
    LeafAt::try_from(answer).unwrap().proof
}

/// What a key holds, asked for with proofs and verified.
pub(super) async fn get(world: &World, key: &str, at: Option<u64>) -> Reading {
    let request = v1::GetRequest {
        ledger: "default".to_owned(),
        key: key.as_bytes().to_vec().into(),
        options: super::world::proven(at),
    };
    let answer = world.api.get(tonic::Request::new(request)).await.unwrap().into_inner();
    let parts = Parts::default().state_proof(&answer.state_proof).item(answer.item);
    let proven = parts.open(world, answer.checkpoint, at).await;
    match at {
        None => proven.get(key.as_bytes()).unwrap(),
        Some(at) => proven.as_of(LogIndex::new(at)).unwrap().get(key.as_bytes()).unwrap(),
    }
}

/// A reading in short words: the value, or why there is none.
pub(super) fn short(reading: &Reading) -> String {
    match reading {
        Reading::Value(value) => String::from_utf8(value.bytes().to_vec()).unwrap(),
        Reading::Absent(Absent::NeverWritten { .. }) => "never".to_owned(),
        Reading::Absent(Absent::Deleted(_)) => "deleted".to_owned(),
        Reading::Absent(Absent::Expired(_)) => "expired".to_owned(),
        Reading::Erased(_) => "erased".to_owned(),
    }
}

/// That the checkpoint of an answer continues the one at `trusted`.
pub(super) async fn continues(world: &World, checkpoint: v1::CheckpointProof, trusted: u64) {
    let trusted = checkpoint_at(world, trusted).await;
    let parts = CheckpointParts::try_from(checkpoint).unwrap();
    let new = world.policy().open(&parts.note).unwrap().checkpoint().clone();
    let (old, new) = if trusted.size <= new.size { (trusted, new) } else { (new, trusted) };
    consistency::verify(old.size, &old.root, new.size, &new.root, &parts.consistency).unwrap();
}

pub(super) async fn checkpoint_at(world: &World, size: u64) -> quorate_core::checkpoint::Checkpoint {
    let request = v1::GetCheckpointRequest {
        ledger: "default".to_owned(),
        size,
        ..v1::GetCheckpointRequest::default()
    };
    let answer = world.api.get_checkpoint(tonic::Request::new(request)).await.unwrap().into_inner();
    let parts = CheckpointParts::try_from(answer.checkpoint.unwrap()).unwrap();
    world.policy().open(&parts.note).unwrap().checkpoint().clone()
}
