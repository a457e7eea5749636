//! What keys hold, and single transactions.

use quorate_core::answer::{AnswerError, Proven, Reading, TransactionProof};
use quorate_core::entry::request_id;
use quorate_proto::v1;

use super::{Ground, Parts, Point};
use crate::error::Distrust;
use crate::values::{TransactionId, author_of};

/// What one key holds.
pub(crate) fn get(
    ground: &Ground,
    point: Option<&Point>,
    key: &[u8],
    state_proof: Vec<u8>,
    item: Option<v1::Item>,
) -> Result<Reading, Distrust> {
    let mut parts = Parts::default();
    parts.add_state_proof(state_proof);
    if let Some(item) = item {
        parts.add_wire_item("item", item)?;
    }
    let proven = ground.open(parts, point)?;
    match point {
        None => Ok(proven.get(key)?),
        Some(point) => Ok(proven.as_of(point.index)?.get(key)?),
    }
}

/// What several keys hold, each with its own part of the answer.
pub(crate) fn get_many<K: AsRef<[u8]>>(
    ground: &Ground,
    point: Option<&Point>,
    keys: &[K],
    answers: Vec<v1::KeyAnswer>,
) -> Result<Vec<Reading>, Distrust> {
    if answers.len() != keys.len() {
        return Err(AnswerError::StateProofCount { wanted: keys.len(), got: answers.len() }.into());
    }
    if point.is_some() {
        // As of an index, a key may be proven from the log alone: each answer is one of its own.
        let each = keys.iter().zip(answers);
        return each
            .map(|(key, answer)| get(ground, point, key.as_ref(), answer.state_proof.into(), answer.item))
            .collect();
    }
    let mut parts = Parts::default();
    for (place, answer) in answers.into_iter().enumerate() {
        parts.add_state_proof(answer.state_proof.into());
        if let Some(item) = answer.item {
            parts.add_wire_item(format_args!("answers[{place}].item"), item)?;
        }
    }
    Ok(ground.open(parts, None)?.get_many(keys)?)
}

/// A transaction with all its operations. Gives the proof too, which is what a receipt is made of.
pub(crate) fn get_transaction(
    ground: &Ground,
    asked: &TransactionId,
    caller: Option<&str>,
    transaction: v1::Transaction,
) -> Result<(Proven, TransactionProof), Distrust> {
    let proof = TransactionProof::try_from(transaction).map_err(|error| error.within("transaction"))?;
    let mut parts = Parts::default();
    parts.add_transaction(proof.clone());
    let proven = ground.open(parts, None)?;
    let included = proven.transaction(proof.index)?;
    match asked {
        TransactionId::Index(index) if *index != proof.index => {
            return Err(Distrust::NotAsked { what: "another transaction" });
        }
        TransactionId::Index(_) => {}
        TransactionId::Request { author, idempotency_key } => {
            let shown = author_of(included);
            // Whose request it is was named by the caller of this function, or is what the leader called them.
            let author = author.as_deref().or(caller).or(shown.as_deref()).unwrap_or_default();
            let id = request_id(author, idempotency_key).map_err(AnswerError::from)?;
            proven.request(&id)?;
        }
    }
    if !included.is_complete() {
        return Err(Distrust::Missing { part: "operations of the transaction" });
    }
    Ok((proven, proof))
}
