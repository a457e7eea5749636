//! Transactions of `_system` that this node asks for by itself.

use bytes::Bytes;
use prost::Message;
use quorate_core::name::LedgerName;
use quorate_ledger::block::{Condition, Precondition, Put, Request, Write};

use crate::clock::Clock;

/// Who asks.
const AUTHOR: &str = "quorate";

/// How long such a transaction may take, microseconds.
const VALID_US: u64 = 60 * 1_000_000;

/// A request that puts documents, if the conditions hold. The idempotency key names what is asked for.
///
/// # Errors
/// The operating system has no random bytes.
pub(crate) fn request(
    idempotency_key: Bytes,
    documents: Vec<(Vec<u8>, Vec<u8>)>,
    conditions: Vec<(Vec<u8>, Condition)>,
    clock: &Clock,
) -> Result<Request, String> {
    let condition =
        |(key, condition): (Vec<u8>, Condition)| Precondition { key: key.into(), condition: Some(condition) };
    let mut writes = Vec::with_capacity(documents.len());
    for (key, value) in documents {
        let put = Put { salt: salt()?, attributes: Bytes::new(), value: value.into(), expires_at: 0 };
        writes.push(Write { key: key.into(), put: Some(put), erase: None });
    }
    let meta = quorate_proto::v1::TransactionMeta { author: AUTHOR.to_owned() };
    Ok(Request {
        ledger: LedgerName::SYSTEM.to_owned(),
        author: AUTHOR.to_owned(),
        idempotency_key,
        not_after: clock.now().get().saturating_add(VALID_US),
        meta: meta.encode_to_vec().into(),
        meta_salt: salt()?,
        preconditions: conditions.into_iter().map(condition).collect(),
        writes,
    })
}

/// 16 random bytes.
///
/// # Errors
/// The operating system has none.
pub(crate) fn salt() -> Result<Bytes, String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)
        .map_err(|error| format!("no random bytes from the operating system: {error}"))?;
    Ok(Bytes::copy_from_slice(&salt))
}
