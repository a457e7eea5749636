//! Whether a request may be committed, and with which operations: pure, over facts that were read before.
//!
//! The order is part of the replicated outcome: time, form, preconditions in their order, writes in theirs.

use std::collections::BTreeSet;

use quorate_core::{
    entry::{MAX_KEY_LEN, MAX_OPS, OpKind, Operation, Salt, value_digest},
    hash::Hash,
    position::{LogIndex, Micros, Revision},
};

use crate::{
    block::{Condition, MAX_ATTRIBUTES, MAX_PRECONDITIONS, Precondition, Put, Request, Write},
    outcome::{KeyState, Rejection},
    view::Settings,
};

/// What a request is judged by, besides the state of its keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The time of the ledger's leaves in this block.
    pub(crate) time: Micros,
    pub(crate) settings: Settings,
}

/// The newest write of a key, at the request's place in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Newest {
    pub(crate) index: LogIndex,
    pub(crate) revision: Revision,
    pub(crate) kind: OpKind,
    pub(crate) expires_at: Option<Micros>,
}

impl Newest {
    pub(crate) fn new(index: LogIndex, operation: &Operation) -> Self {
        let Operation { kind, revision, expires_at, .. } = *operation;
        Self { index, revision, kind, expires_at }
    }
}

/// What is known of a write's key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteFacts {
    pub(crate) newest: Option<Newest>,
    /// For an erase: the log index of the write to be erased, if there is such a write.
    pub(crate) erased: Option<LogIndex>,
}

/// The state of the keys of a request, at its place in the log.
#[derive(Debug)]
pub(crate) struct Facts {
    /// One for each precondition.
    pub(crate) preconditions: Vec<Option<Newest>>,
    /// One for each write.
    pub(crate) writes: Vec<WriteFacts>,
}

/// What is checked without the state of any key. `repeats`: whether two writes have the same key.
pub(crate) fn check_form(request: &Request, repeats: bool, rules: &Rules) -> Result<(), Rejection> {
    check_time(Micros::new(request.not_after), rules)?;
    check_count("writes", request.writes.len(), 1..=MAX_OPS)?;
    check_count("preconditions", request.preconditions.len(), 0..=MAX_PRECONDITIONS)?;
    salt(&request.meta_salt).ok_or_else(|| malformed("meta_salt".to_owned(), "it must have 16 bytes"))?;
    for (position, precondition) in request.preconditions.iter().enumerate() {
        check_precondition(position, precondition)?;
    }
    let mut keys = repeats.then(BTreeSet::new);
    for (position, write) in request.writes.iter().enumerate() {
        let field = |name: &str| format!("writes[{position}].{name}");
        check_key(|| field("key"), &write.key)?;
        if keys.as_mut().is_some_and(|keys| !keys.insert(&write.key)) {
            return Err(malformed(field("key"), "an earlier write of the request has the same key"));
        }
        check_write(field, write, rules)?;
    }
    Ok(())
}

/// The operations of the request, if its preconditions hold and its writes can be made.
pub(crate) fn judge(request: &Request, facts: &Facts, rules: &Rules) -> Result<Vec<Operation>, Rejection> {
    let preconditions = request.preconditions.iter().zip(&facts.preconditions);
    for (position, (precondition, newest)) in preconditions.enumerate() {
        let state = key_state(newest.as_ref(), rules.time);
        if !holds(precondition, &state) {
            return Err(Rejection::Precondition { position: number(position), state });
        }
    }
    let writes = request.writes.iter().zip(&facts.writes).enumerate();
    writes.map(|(position, (write, facts))| operation(position, write, facts, rules)).collect()
}

/// A malformed request.
pub(crate) fn malformed(field: String, problem: impl Into<String>) -> Rejection {
    Rejection::Malformed { field, problem: problem.into() }
}

/// A salt, if it is one.
pub(crate) fn salt(bytes: &[u8]) -> Option<Salt> {
    bytes.try_into().ok()
}

fn check_time(not_after: Micros, rules: &Rules) -> Result<(), Rejection> {
    let time = rules.time;
    let limit_us = rules.settings.max_not_after_us;
    match not_after.since(time) {
        None => Err(Rejection::TooLate { not_after, time }),
        Some(ahead) if ahead > limit_us => Err(Rejection::TooFarAhead { not_after, time, limit_us }),
        Some(_) => Ok(()),
    }
}

fn check_count(field: &str, count: usize, allowed: std::ops::RangeInclusive<usize>) -> Result<(), Rejection> {
    let (least, most) = (allowed.start(), allowed.end());
    if allowed.contains(&count) {
        return Ok(());
    }
    Err(malformed(field.to_owned(), format!("there must be {least} to {most} of them, not {count}")))
}

fn check_key(field: impl FnOnce() -> String, key: &[u8]) -> Result<(), Rejection> {
    if (1..=MAX_KEY_LEN).contains(&key.len()) {
        return Ok(());
    }
    Err(malformed(field(), format!("a key has 1 to {MAX_KEY_LEN} bytes, this one has {}", key.len())))
}

fn check_precondition(position: usize, precondition: &Precondition) -> Result<(), Rejection> {
    let field = |name: &str| format!("preconditions[{position}].{name}");
    check_key(|| field("key"), &precondition.key)?;
    match precondition.condition {
        None => Err(malformed(field("condition"), "it is missing")),
        Some(Condition::MustExist(false)) => Err(malformed(field("must_exist"), "it must be true")),
        Some(Condition::MustNotExist(false)) => Err(malformed(field("must_not_exist"), "it must be true")),
        Some(_) => Ok(()),
    }
}

fn check_write(field: impl Fn(&str) -> String, write: &Write, rules: &Rules) -> Result<(), Rejection> {
    match (&write.put, write.erase) {
        (Some(_), Some(_)) => Err(malformed(field("erase"), "a put cannot be an erase too")),
        (Some(put), None) => check_put(field, put, rules),
        (None, _) => Ok(()),
    }
}

fn check_put(field: impl Fn(&str) -> String, put: &Put, rules: &Rules) -> Result<(), Rejection> {
    if salt(&put.salt).is_none() {
        return Err(malformed(field("put.salt"), "it must have 16 bytes"));
    }
    if put.attributes.len() > MAX_ATTRIBUTES {
        let problem = format!("at most {MAX_ATTRIBUTES} bytes, these have {}", put.attributes.len());
        return Err(malformed(field("put.attributes"), problem));
    }
    let most = rules.settings.max_value_len;
    if u32::try_from(put.value.len()).is_ok_and(|len| len <= most) {
        return Ok(());
    }
    let problem =
        format!("a value of this cluster has at most {most} bytes, this one has {}", put.value.len());
    Err(malformed(field("put.value"), problem))
}

/// Whether a precondition holds. One without a condition was refused before.
fn holds(precondition: &Precondition, state: &KeyState) -> bool {
    let (index, revision) = state.newest.unzip();
    match precondition.condition {
        Some(Condition::MustExist(_)) => state.exists,
        Some(Condition::MustNotExist(_)) => !state.exists,
        Some(Condition::RevisionEquals(asked)) => revision.map_or(0, Revision::get) == asked,
        Some(Condition::NotModifiedAfter(limit)) => index.is_none_or(|index| index.get() <= limit),
        None => false,
    }
}

/// The operation of a write.
fn operation(
    position: usize,
    write: &Write,
    facts: &WriteFacts,
    rules: &Rules,
) -> Result<Operation, Rejection> {
    match (&write.put, write.erase) {
        (Some(put), _) => Ok(put_operation(&write.key, put, facts.newest.as_ref())),
        (None, None) => match &facts.newest {
            Some(newest) if newest.kind == OpKind::Put => Ok(Operation {
                revision: next_revision(Some(newest)),
                prev_index: Some(newest.index),
                ..valueless(OpKind::Delete, &write.key)
            }),
            newest => Err(Rejection::DeleteOfAbsent {
                position: number(position),
                state: key_state(newest.as_ref(), rules.time),
            }),
        },
        (None, Some(revision)) => match facts.erased {
            Some(index) => Ok(Operation {
                revision: Revision::new(revision),
                prev_index: Some(index),
                ..valueless(OpKind::Erase, &write.key)
            }),
            None => Err(Rejection::EraseOfUnknown {
                position: number(position),
                revision: Revision::new(revision),
                state: key_state(facts.newest.as_ref(), rules.time),
            }),
        },
    }
}

fn put_operation(key: &[u8], put: &Put, newest: Option<&Newest>) -> Operation {
    let salt = salt(&put.salt).expect("the form was checked");
    Operation {
        revision: next_revision(newest),
        prev_index: newest.map(|newest| newest.index),
        expires_at: (put.expires_at != 0).then_some(Micros::new(put.expires_at)),
        value_len: u32::try_from(put.value.len()).expect("the form was checked"),
        value_digest: value_digest(&salt, &put.attributes, &put.value),
        ..valueless(OpKind::Put, key)
    }
}

/// A first write without a value.
fn valueless(kind: OpKind, key: &[u8]) -> Operation {
    Operation {
        kind,
        revision: Revision::FIRST,
        prev_index: None,
        expires_at: None,
        value_len: 0,
        value_digest: Hash::ZERO,
        key: key.to_vec(),
    }
}

fn next_revision(newest: Option<&Newest>) -> Revision {
    newest.map_or(Revision::FIRST, |newest| newest.revision.next().expect("no key is written 2^64 times"))
}

/// The state of a key as preconditions see it.
fn key_state(newest: Option<&Newest>, time: Micros) -> KeyState {
    let expired = |newest: &Newest| newest.expires_at.is_some_and(|expires_at| expires_at <= time);
    KeyState {
        newest: newest.map(|newest| (newest.index, newest.revision)),
        exists: newest.is_some_and(|newest| newest.kind == OpKind::Put && !expired(newest)),
    }
}

/// A position in a request.
fn number(position: usize) -> u32 {
    u32::try_from(position).expect("the form was checked")
}
