//! From the client's values to documents and lines: the only place that looks into both.

use quorate_client::{
    CertifiedCheckpoint, Entry, HistoryEntry, KeyState, LogIndex, Micros, OperationRecord, Read, Standing,
    Value,
};
use quorate_core::answer::{Absent, Contents, IncludedOperation, Reading};
use quorate_core::entry::{OpKind, Operation as CoreOperation};
use quorate_core::key::VerifierKey;

use crate::output::json::{Attribute, Bytes, Checkpoint, Cosignature, Item, Operation};
use crate::output::{text, time};

/// A certified checkpoint as a document has it.
pub(crate) fn checkpoint(certified: &CertifiedCheckpoint) -> Checkpoint {
    let checkpoint = certified.checkpoint();
    let cosigner = |(key, secs): (&VerifierKey, u64)| Cosignature {
        name: key.name().to_owned(),
        time: time::rfc3339_secs(secs),
    };
    Checkpoint {
        origin: checkpoint.origin.clone(),
        size: checkpoint.size.to_string(),
        log_root: checkpoint.root.to_string(),
        cosigners: certified.cosigners().map(cosigner).collect(),
    }
}

/// The same for people: `certified at size 26 by node/1, node/2`.
pub(crate) fn certified_by(certified: &CertifiedCheckpoint) -> String {
    let names: Vec<String> = certified.cosigners().map(|(key, _)| short_name(key.name())).collect();
    format!("certified at size {} by {}", certified.checkpoint().size, names.join(", "))
}

/// What was proven, or that nothing was.
pub(crate) fn proof_line(certified: Option<&CertifiedCheckpoint>) -> String {
    certified.map_or_else(|| "unverified: the word of one replica".to_owned(), certified_by)
}

/// The part of a cosigner's name after its cluster: `node/1`. The whole name of anybody else.
fn short_name(name: &str) -> String {
    let short = name.rfind("/node/").map_or(name, |place| &name[place + 1..]);
    text::line(short)
}

/// How a replica stands to the others in one word, as documents have it.
pub(crate) const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Agrees => "agrees",
        Standing::Behind => "behind",
        Standing::Silent => "silent",
        Standing::Different => "different",
    }
}

/// The state of a key in one word, as documents have it.
pub(crate) const fn state_word(state: KeyState) -> &'static str {
    match state {
        KeyState::Present => "present",
        KeyState::NeverWritten => "never_written",
        KeyState::Deleted => "deleted",
        KeyState::Expired => "expired",
        KeyState::Erased { .. } => "erased",
    }
}

/// The same in a sentence, after the key.
pub(crate) fn state_sentence(state: KeyState) -> String {
    match state {
        KeyState::Present => "has a value".to_owned(),
        KeyState::NeverWritten => "was never written".to_owned(),
        KeyState::Deleted => "is deleted".to_owned(),
        KeyState::Expired => "is expired".to_owned(),
        KeyState::Erased { at } => format!("was erased by transaction {at}"),
    }
}

/// An item about a key of which nothing is known yet.
fn empty(key: &[u8], state: &'static str) -> Item {
    Item {
        key: Bytes::of(key),
        state,
        value: None,
        content_type: None,
        attributes: Vec::new(),
        index: None,
        revision: None,
        time: None,
        expires_at: None,
    }
}

impl Item {
    fn with_value(mut self, value: Option<&Value>) -> Self {
        let Some(value) = value else { return self };
        self.value = Some(Bytes::of(&value.value));
        self.content_type = value.content_type();
        let described = value.described().map(|described| described.attributes).unwrap_or_default();
        self.attributes =
            described.into_iter().map(|one| Attribute { name: one.name, value: one.value }).collect();
        self
    }

    fn with_write(
        mut self,
        index: impl ToString,
        revision: impl ToString,
        expires_at: Option<Micros>,
    ) -> Self {
        self.index = Some(index.to_string());
        self.revision = Some(revision.to_string());
        self.expires_at = expires_at.map(time::rfc3339);
        self
    }
}

/// What `get` found.
pub(crate) fn item_of_read(key: &[u8], read: &Read<Option<Value>>) -> Item {
    let item = empty(key, state_word(read.state)).with_value(read.value.as_ref());
    match &read.written {
        Some(written) => item.with_write(written.index, written.revision, written.expires_at),
        None => item,
    }
}

/// A key of a scan.
pub(crate) fn item_of_entry(entry: &Entry) -> Item {
    let item = empty(&entry.key, state_word(entry.state)).with_value(entry.value.as_ref());
    match &entry.written {
        Some(written) => item.with_write(written.index, written.revision, written.expires_at),
        None => item,
    }
}

/// A write of a key's history.
pub(crate) fn item_of_history(key: &[u8], entry: &HistoryEntry) -> Item {
    let state = match (entry.kind, entry.erased_at) {
        (OpKind::Put, None) => "written",
        (OpKind::Put, Some(_)) => "erased",
        (OpKind::Delete | OpKind::Erase, _) => "deleted",
    };
    let item = empty(key, state).with_value(entry.value.as_ref());
    let mut item = item.with_write(entry.index, entry.revision, entry.expires_at);
    item.time = entry.time.map(time::rfc3339);
    item
}

/// The word for an operation.
pub(crate) const fn kind_word(kind: OpKind) -> &'static str {
    match kind {
        OpKind::Put => "put",
        OpKind::Delete => "delete",
        OpKind::Erase => "erase",
    }
}

/// An operation of a transaction.
pub(crate) fn operation(operation: &OperationRecord) -> Operation {
    let is_put = operation.kind == OpKind::Put;
    Operation {
        operation: kind_word(operation.kind),
        key: Bytes::of(&operation.key),
        revision: operation.revision.to_string(),
        previous_index: operation.prev_index.map(|index| index.to_string()),
        expires_at: operation.expires_at.map(time::rfc3339),
        value_length: is_put.then(|| operation.value_len.to_string()),
        value_digest: is_put.then(|| operation.value_digest.to_string()),
        value: operation.value.as_ref().map(|value| Bytes::of(&value.value)),
    }
}

/// A value with the operation that wrote it, in the form that knows how to describe itself.
fn value_of(index: LogIndex, operation: &CoreOperation, contents: &Contents) -> Value {
    Value {
        value: contents.value.clone().into(),
        attributes: contents.attributes.clone().into(),
        index,
        revision: operation.revision,
        expires_at: operation.expires_at,
    }
}

/// An operation that a receipt of a transaction shows.
pub(crate) fn item_of_included(index: LogIndex, at: Micros, shown: &IncludedOperation) -> Item {
    let operation = shown.operation();
    let state = match (operation.kind, shown.contents()) {
        (OpKind::Put, Some(_)) => "written",
        (OpKind::Put, None) => "not_shown",
        (OpKind::Delete, _) => "deleted",
        (OpKind::Erase, _) => "erased",
    };
    let value = shown.contents().map(|contents| value_of(index, operation, contents));
    let item = empty(&operation.key, state).with_value(value.as_ref());
    let mut item = item.with_write(index, operation.revision, operation.expires_at);
    item.time = Some(time::rfc3339(at));
    item
}

/// What a receipt of state says of a key.
pub(crate) fn item_of_reading(reading: &Reading) -> Item {
    let state = match reading {
        Reading::Value(_) => "present",
        Reading::Absent(Absent::NeverWritten { .. }) => "never_written",
        Reading::Absent(Absent::Deleted(_)) => "deleted",
        Reading::Absent(Absent::Expired(_)) => "expired",
        Reading::Erased(_) => "erased",
    };
    let value = reading.value().map(|value| {
        let write = value.write();
        value_of(write.index(), write.operation(), value.contents())
    });
    let item = empty(reading.key(), state).with_value(value.as_ref());
    match reading.write() {
        Some(write) => {
            item.with_write(write.index(), write.operation().revision, write.operation().expires_at)
        }
        None => item,
    }
}

/// The text of a document's bytes for a table.
pub(crate) fn cell(bytes: &Bytes) -> String {
    match bytes {
        Bytes::Utf8(text) => text::shorten(&text::line(text), 60),
        Bytes::Base64(text) => text::shorten(&format!("base64:{text}"), 60),
    }
}
