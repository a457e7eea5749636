//! Requests that write.

use bytes::Bytes;
use quorate_core::{entry::MAX_OPS, name::LedgerName, position::TreeSize};
use quorate_ledger::block::{self, MAX_ATTRIBUTES, MAX_PRECONDITIONS};
use quorate_proto::v1;
use tonic::Status;

use super::field;
use crate::{api::errors::Reason, signer::Need};

/// Bytes of a salt.
const SALT: usize = 16;

/// Bounds that the cluster has agreed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteLimits {
    /// Largest value, bytes.
    pub(crate) value_len: u32,
}

/// A request for one transaction.
#[derive(Debug)]
pub(crate) struct CheckedCommit {
    pub(crate) ledger: LedgerName,
    pub(crate) idempotency_key: Bytes,
    pub(crate) not_after: u64,
    /// In the client's order. The salt of a put is empty where the client sent none.
    pub(crate) writes: Vec<block::Write>,
    pub(crate) preconditions: Vec<block::Precondition>,
    /// Whether the answer waits for cosignatures.
    pub(crate) certified: bool,
    pub(crate) trusted: TreeSize,
    pub(crate) need: Need,
}

/// A request for a new ledger.
#[derive(Debug)]
pub(crate) struct CheckedCreate {
    pub(crate) ledger: LedgerName,
    pub(crate) idempotency_key: Bytes,
    pub(crate) not_after: u64,
}

impl CheckedCommit {
    /// Checks a request.
    pub(crate) fn new(request: v1::CommitRequest, limits: WriteLimits) -> Result<Self, Status> {
        let ledger = writable(&request.ledger)?;
        field::idempotency_key(&request.idempotency_key, "idempotency_key")?;
        let not_after = field::not_after(request.not_after)?;
        let certified = match v1::Wait::try_from(request.wait) {
            Ok(v1::Wait::Unspecified | v1::Wait::Certified) => true,
            Ok(v1::Wait::Committed) => false,
            Err(_) => {
                let problem = format_args!("{} is neither WAIT_COMMITTED nor WAIT_CERTIFIED", request.wait);
                return Err(Reason::WaitUnknown.of("wait", problem));
            }
        };
        Ok(Self {
            ledger,
            not_after,
            writes: writes(request.writes, limits)?,
            preconditions: preconditions(request.preconditions)?,
            idempotency_key: request.idempotency_key,
            certified,
            trusted: TreeSize::new(request.trusted_size),
            need: field::need((request.min_cosigners, &request.witnesses, request.min_witnesses), "")?,
        })
    }
}

impl CheckedCreate {
    /// Checks a request.
    pub(crate) fn new(request: v1::CreateLedgerRequest) -> Result<Self, Status> {
        let ledger = writable(&request.ledger)?;
        field::idempotency_key(&request.idempotency_key, "idempotency_key")?;
        let not_after = field::not_after(request.not_after)?;
        Ok(Self { ledger, idempotency_key: request.idempotency_key, not_after })
    }
}

/// A ledger that clients may write to.
fn writable(name: &str) -> Result<LedgerName, Status> {
    let ledger = field::ledger(name)?;
    if ledger.is_system() {
        let problem = format_args!("{ledger} belongs to the cluster itself and is not written by clients");
        return Err(Reason::SystemLedger.of("ledger", problem));
    }
    Ok(ledger)
}

fn writes(writes: Vec<v1::Write>, limits: WriteLimits) -> Result<Vec<block::Write>, Status> {
    if writes.is_empty() {
        return Err(
            Reason::WritesEmpty.of("writes", format_args!("empty: a transaction has 1 to {MAX_OPS} writes"))
        );
    }
    if writes.len() > MAX_OPS {
        let problem = format_args!("{} writes: a transaction has at most {MAX_OPS}", writes.len());
        return Err(Reason::TooManyWrites.of("writes", problem));
    }
    let writes = writes.into_iter().enumerate();
    let checked: Vec<_> =
        writes.map(|(position, write)| one_write(position, write, limits)).collect::<Result<_, _>>()?;
    let mut keys: Vec<(&Bytes, usize)> = checked.iter().map(|write| &write.key).zip(0..).collect();
    keys.sort_unstable();
    let again = keys.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1);
    if let Some(position) = again.min() {
        let name = if checked[position].put.is_some() { "put" } else { "delete" };
        let problem = "another write has the same key: a key occurs at most once in a transaction";
        return Err(Reason::KeyDuplicate.of(format!("writes[{position}].{name}.key"), problem));
    }
    Ok(checked)
}

/// One write.
fn one_write(position: usize, write: v1::Write, limits: WriteLimits) -> Result<block::Write, Status> {
    match write.write {
        None => Err(Reason::WriteMissing.of(format!("writes[{position}]"), "neither a put nor a delete")),
        Some(v1::write::Write::Delete(delete)) => {
            field::key(&delete.key, || format!("writes[{position}].delete.key"))?;
            Ok(block::Write { key: delete.key, put: None, erase: None })
        }
        Some(v1::write::Write::Put(put)) => {
            field::key(&put.key, || format!("writes[{position}].put.key"))?;
            check_put(&put, limits).map_err(|(reason, name, problem)| {
                reason.of(format!("writes[{position}].put.{name}"), problem)
            })?;
            let v1::Put { key, value, attributes, expires_at, salt } = put;
            let put = Some(block::Put { salt, attributes, value, expires_at });
            Ok(block::Write { key, put, erase: None })
        }
    }
}

fn check_put(put: &v1::Put, limits: WriteLimits) -> Result<(), (Reason, &'static str, String)> {
    let value = put.value.len();
    if u32::try_from(value).map_or(true, |len| len > limits.value_len) {
        let problem = format!("{value} bytes: this cluster takes values of at most {}", limits.value_len);
        return Err((Reason::ValueTooLong, "value", problem));
    }
    let attributes = put.attributes.len();
    if attributes > MAX_ATTRIBUTES {
        let problem = format!("{attributes} bytes: attributes have at most {MAX_ATTRIBUTES}");
        return Err((Reason::AttributesTooLong, "attributes", problem));
    }
    let salt = put.salt.len();
    if salt != 0 && salt != SALT {
        let problem = format!("{salt} bytes: a salt has {SALT}, or is left out");
        return Err((Reason::SaltLength, "salt", problem));
    }
    Ok(())
}

fn preconditions(preconditions: Vec<v1::Precondition>) -> Result<Vec<block::Precondition>, Status> {
    if preconditions.len() > MAX_PRECONDITIONS {
        let problem = format_args!("{} preconditions: at most {MAX_PRECONDITIONS}", preconditions.len());
        return Err(Reason::TooManyPreconditions.of("preconditions", problem));
    }
    preconditions.into_iter().enumerate().map(|(position, one)| precondition(position, one)).collect()
}

fn precondition(position: usize, precondition: v1::Precondition) -> Result<block::Precondition, Status> {
    use v1::precondition::Condition as Asked;
    field::key(&precondition.key, || format!("preconditions[{position}].key"))?;
    let untrue = |name: &str| {
        let problem = "false: only true can be asked for; its opposite is another condition";
        Reason::ConditionFalse.of(format!("preconditions[{position}].{name}"), problem)
    };
    let condition = match precondition.condition {
        None => {
            let problem = "no condition: what must hold for the key?";
            return Err(Reason::ConditionMissing.of(format!("preconditions[{position}]"), problem));
        }
        Some(Asked::MustExist(false)) => return Err(untrue("must_exist")),
        Some(Asked::MustNotExist(false)) => return Err(untrue("must_not_exist")),
        Some(Asked::MustExist(true)) => block::Condition::MustExist(true),
        Some(Asked::MustNotExist(true)) => block::Condition::MustNotExist(true),
        Some(Asked::RevisionEquals(revision)) => block::Condition::RevisionEquals(revision),
        Some(Asked::NotModifiedAfter(index)) => block::Condition::NotModifiedAfter(index),
    };
    Ok(block::Precondition { key: precondition.key, condition: Some(condition) })
}
