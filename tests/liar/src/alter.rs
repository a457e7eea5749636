//! How each lie alters an honest answer.

use quorate_core::note::SignedNote;
use quorate_proto::v1;
use tonic::Status;

use crate::{
    front::Front,
    lie::Lie,
    notes::{signed_again, with_another_root, with_lines_of, with_two_lines},
};

/// A key that nobody writes.
const NEVER: &[u8] = b"never written";

/// The key whose answer is given for another.
const OTHER: &[u8] = b"other";

fn flip(leaf: &mut bytes::Bytes) {
    let mut altered = leaf.to_vec();
    if let Some(byte) = altered.get_mut(9) {
        *byte ^= 1;
    }
    *leaf = altered.into();
}

impl Front {
    /// What lies about checkpoints do to every answer that has one.
    pub(crate) async fn checkpoint(
        &self,
        proof: &mut Option<v1::CheckpointProof>,
        trusted: u64,
    ) -> Result<(), Status> {
        let Some(proof) = proof.as_mut() else { return Ok(()) };
        let internal = |error: quorate_core::note::NoteError| Status::internal(error.to_string());
        match self.lie {
            Lie::ForgedRoot => proof.note = with_another_root(&proof.note, &self.liars).map_err(internal)?,
            Lie::RolledBack => {
                let Some(past) = self.past.get.as_ref().and_then(|get| get.checkpoint.clone()) else {
                    return Ok(());
                };
                let old_size = SignedNote::parse(&past.note).map_err(internal)?.checkpoint().size.get();
                *proof = past;
                proof.note = signed_again(&proof.note, &self.liars).map_err(internal)?;
                proof.consistency.clear();
                if trusted > old_size {
                    let request = v1::ConsistencyProofRequest {
                        ledger: self.past.ledger.clone(),
                        old_size,
                        new_size: trusted,
                    };
                    let ask = |mut client: crate::front::Client| {
                        let request = request.clone();
                        async move { client.consistency_proof(request).await }
                    };
                    proof.consistency = self.upstream.ask(ask).await?.path;
                }
            }
            Lie::ReplayedCosignatures => {
                let past = self.past.get.as_ref().and_then(|get| get.checkpoint.as_ref());
                proof.note = with_lines_of(&proof.note, past.map_or("", |past| &past.note));
            }
            Lie::WithheldCosignatures => proof.note = with_two_lines(&proof.note),
            Lie::RemovedCosigner => proof.note = signed_again(&proof.note, &self.liars).map_err(internal)?,
            _ => {}
        }
        Ok(())
    }

    /// Lies about the value of a key.
    pub(crate) async fn value(
        &self,
        request: &v1::GetRequest,
        answer: &mut v1::GetResponse,
    ) -> Result<(), Status> {
        match self.lie {
            Lie::AnotherKey | Lie::FalseAbsence => {
                let key = if self.lie == Lie::AnotherKey { OTHER } else { NEVER };
                let other = v1::GetRequest { key: bytes::Bytes::from_static(key), ..request.clone() };
                *answer = self.honest_get(other).await?;
            }
            Lie::StaleValue => {
                if let Some(past) = &self.past.get {
                    answer.state_proof.clone_from(&past.state_proof);
                    answer.item.clone_from(&past.item);
                }
            }
            Lie::FalseErased => {
                if let Some(item) = &mut answer.item {
                    item.content = None;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A listing without one of its keys, and a proof that shows the first one only.
    pub(crate) async fn listing(
        &self,
        request: &v1::ScanRequest,
        answer: &mut v1::ScanResponse,
    ) -> Result<(), Status> {
        if self.lie != Lie::HiddenKey || answer.items.len() < 2 {
            return Ok(());
        }
        answer.items.truncate(1);
        let key = answer.items.first().map(|item| item.key.clone()).unwrap_or_default();
        let first = v1::GetRequest { ledger: request.ledger.clone(), key, options: request.options.clone() };
        answer.state_proof = self.honest_get(first).await?.state_proof;
        Ok(())
    }

    /// A history without the write before the newest.
    pub(crate) fn history_of(&self, answer: &mut v1::HistoryResponse) {
        if self.lie == Lie::OmittedRevision && answer.writes.len() > 1 {
            answer.writes.remove(1);
        }
    }

    /// Lies about a transaction that was asked for.
    pub(crate) fn transaction_of(&self, answer: &mut v1::GetTransactionResponse) {
        match (self.lie, &mut answer.transaction) {
            (Lie::WrongLeaf, Some(transaction)) => flip(&mut transaction.leaf),
            (Lie::SwappedReceipt, transaction) => transaction.clone_from(&self.past.transaction),
            _ => {}
        }
    }

    /// Lies about a transaction that was just committed.
    pub(crate) async fn committed(
        &self,
        request: &v1::CommitRequest,
        answer: &mut v1::CommitResponse,
    ) -> Result<(), Status> {
        if self.lie != Lie::AnothersIndex {
            return Ok(());
        }
        let index = self.past.transaction.as_ref().map_or(0, |transaction| transaction.index);
        let options =
            v1::ReadOptions { prove: true, trusted_size: request.trusted_size, ..v1::ReadOptions::default() };
        let other = self.honest_transaction(&request.ledger, index, options).await?;
        answer.transaction = other.transaction;
        answer.checkpoint = other.checkpoint;
        Ok(())
    }
}
