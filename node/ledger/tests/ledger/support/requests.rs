//! Requests in short words.

use prost::bytes::Bytes;
use quorate_core::position::Micros;
use quorate_ledger::block::{Condition, Precondition, Put, Request, Write};

pub(crate) fn request(
    ledger: &str,
    key: &str,
    not_after: Micros,
    writes: impl IntoIterator<Item = Write>,
) -> Request {
    Request {
        ledger: ledger.to_owned(),
        author: "anonymous".to_owned(),
        idempotency_key: Bytes::copy_from_slice(key.as_bytes()),
        not_after: not_after.get(),
        meta: Bytes::from_static(b"\x0a\x09anonymous"),
        meta_salt: Bytes::from_static(&[1; 16]),
        preconditions: Vec::new(),
        writes: writes.into_iter().collect(),
    }
}

pub(crate) fn put(key: &[u8], value: &[u8]) -> Write {
    put_until(key, value, 0)
}

pub(crate) fn put_until(key: &[u8], value: &[u8], expires_at: u64) -> Write {
    let put = Put {
        salt: Bytes::from_static(&[2; 16]),
        attributes: Bytes::new(),
        value: Bytes::copy_from_slice(value),
        expires_at,
    };
    Write { key: Bytes::copy_from_slice(key), put: Some(put), erase: None }
}

pub(crate) fn delete(key: &[u8]) -> Write {
    Write { key: Bytes::copy_from_slice(key), put: None, erase: None }
}

pub(crate) fn erase(key: &[u8], revision: u64) -> Write {
    Write { key: Bytes::copy_from_slice(key), put: None, erase: Some(revision) }
}

pub(crate) fn provided(mut request: Request, key: &[u8], condition: Condition) -> Request {
    let key = Bytes::copy_from_slice(key);
    request.preconditions.push(Precondition { key, condition: Some(condition) });
    request
}
