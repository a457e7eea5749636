//! Single fields.

use std::time::Duration;

use quorate_core::{
    entry::{MAX_IDEMPOTENCY_KEY, MAX_KEY_LEN},
    key::KeyId,
    name::LedgerName,
};
use tonic::Status;

use crate::{
    api::errors::Reason,
    signer::{MAX_NAMED, Need},
};

/// Longest time a checkpoint may be waited for, milliseconds.
const MAX_WAIT_MS: u32 = 60_000;

/// Most keys or writes on a page.
const MAX_PAGE: u32 = 1_000;

/// Keys or writes on a page where the request does not say.
const DEFAULT_PAGE: usize = 100;

/// The name of a ledger.
pub(crate) fn ledger(name: &str) -> Result<LedgerName, Status> {
    LedgerName::new(name).map_err(|error| Reason::LedgerInvalid.of("ledger", error))
}

/// A key; `field` names it.
pub(crate) fn key(key: &[u8], field: impl FnOnce() -> String) -> Result<(), Status> {
    match key.len() {
        0 => Err(Reason::KeyEmpty.of(field(), format_args!("the key is empty: 1 to {MAX_KEY_LEN} bytes"))),
        1..=MAX_KEY_LEN => Ok(()),
        len => Err(too_long(field(), len)),
    }
}

/// Bytes that a key is compared with: a prefix, or an end of a range. May be empty.
pub(crate) fn bound(bytes: &[u8], field: &str) -> Result<(), Status> {
    if bytes.len() > MAX_KEY_LEN {
        return Err(too_long(field.to_owned(), bytes.len()));
    }
    Ok(())
}

fn too_long(field: String, len: usize) -> Status {
    Reason::KeyTooLong.of(field, format_args!("{len} bytes: a key has at most {MAX_KEY_LEN}"))
}

/// An idempotency key.
pub(crate) fn idempotency_key(key: &[u8], field: &str) -> Result<(), Status> {
    match key.len() {
        0 => Err(Reason::IdempotencyKeyEmpty
            .of(field, format_args!("empty: 1 to {MAX_IDEMPOTENCY_KEY} bytes that name this request"))),
        1..=MAX_IDEMPOTENCY_KEY => Ok(()),
        len => Err(Reason::IdempotencyKeyTooLong
            .of(field, format_args!("{len} bytes: it has at most {MAX_IDEMPOTENCY_KEY}"))),
    }
}

/// Until when a request may reach the log.
pub(crate) fn not_after(micros: u64) -> Result<u64, Status> {
    if micros == 0 {
        let problem = "missing: microseconds since the Unix epoch until which the request is valid";
        return Err(Reason::NotAfterMissing.of("not_after", problem));
    }
    Ok(micros)
}

/// Keys or writes per page.
pub(crate) fn limit(limit: u32) -> Result<usize, Status> {
    if limit > MAX_PAGE {
        return Err(Reason::LimitTooLarge.of("limit", format_args!("{limit}: a page has at most {MAX_PAGE}")));
    }
    match usize::try_from(limit) {
        Ok(0) | Err(_) => Ok(DEFAULT_PAGE),
        Ok(limit) => Ok(limit),
    }
}

/// How long to wait for a checkpoint.
pub(crate) fn wait(milliseconds: u32) -> Result<Duration, Status> {
    if milliseconds > MAX_WAIT_MS {
        let problem = format_args!("{milliseconds} ms: at most {MAX_WAIT_MS} ms are waited");
        return Err(Reason::WaitTooLong.of("wait_ms", problem));
    }
    Ok(Duration::from_millis(milliseconds.into()))
}

/// Who has to have signed; more than any cluster has members is judged later.
pub(crate) fn need((cosigners, witnesses, least): (u32, &[u32], u32), at: &str) -> Result<Need, Status> {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let ids = witnesses.iter().map(|id| KeyId::new(id.to_be_bytes()));
    let problem = || {
        let got = witnesses.len();
        let problem = format_args!("{got} outside witnesses are named: at most {MAX_NAMED}");
        Reason::TooManyCosigners.of(format!("{at}witnesses"), problem)
    };
    Need::replicas(count(cosigners)).with(ids, count(least)).ok_or_else(problem)
}
