//! The ledger `_system`: what the cluster has agreed on about itself, as documents under fixed keys.
//!
//! Contract: each document is a Protocol Buffers message in its one encoding (this version's fields, in order,
//! nothing else); what does not decode at all, or contradicts the cluster, is [`Rejection::Malformed`], and nothing is
//! written. Documents are never deleted, never expire and are never erased.
//!
//! **What a newer version wrote.** A document under a key of no kind in the table, or with a field that is not known here, is
//! neither: a newer version may have committed it, and what it changes is not known. It stops the node
//! ([`ApplyError::Newer`](crate::apply::ApplyError::Newer)), as it does when it is found in a state that is opened
//! ([`check_known`]). A correct proposer of this version writes no such document.
//!
//! | key | document | effect |
//! |---|---|---|
//! | `cosigners` | [`CosignerSet`] | the epoch of the blocks that follow, at most one in a block |
//! | `nodes/<id>` | [`NodeRecord`] | who was ever a node of the cluster, and what became of it |
//! | `invitations/<id>` | [`InvitationRecord`] | the id is taken; who has the secret may register under it |
//! | `settings` | [`SettingsRecord`] | the settings by which the blocks that follow are judged |
//! | `ledgers/<name>` | [`LedgerRecord`] | the ledger is born in this block; written once and never again |
//! | `frozen/<name>` | [`FreezeRecord`] | the ledger takes transactions or takes none, from the next block on |
//! | `lineage/<n>` | [`Lineage`] | written by the first transaction of a cluster that continues another, and by no other |
//!
//! What the first three say together is judged by [`crate::registry`], at the end of each request.
//!
//! Who may write here is for the interface of the node to decide, before a request gets here.

use std::collections::BTreeSet;

use prost::{Message, bytes::Bytes};
use quorate_core::{
    entry::MAX_NOT_AFTER,
    key::{SignatureType, VerifierKey},
    name::{ClusterOrigin, LedgerName},
    position::{Epoch, Micros},
};

use crate::{
    block::{Request, Write},
    judge::{Facts, WriteFacts, malformed},
    outcome::Rejection,
    registry::{Draft, INVITATION_PREFIX, InvitationRecord, NODE_PREFIX, NodeRecord, Registry, id_of},
    view::{ClusterState, Settings},
};

mod frozen;
mod lineage;

pub(crate) use frozen::frozen_name;

pub use crate::registry::{COSIGNERS_KEY, Cosigner, CosignerSet};
pub use frozen::{FROZEN_PREFIX, FreezeRecord, FreezeState, MAX_FREEZE_REASON, frozen_key};
pub use lineage::{LINEAGE_PREFIX, Lineage, LineageLedger};

/// Key of the [`SettingsRecord`].
pub const SETTINGS_KEY: &[u8] = b"settings";
/// What the key of a [`LedgerRecord`] begins with, before the ledger's name.
pub const LEDGER_PREFIX: &[u8] = b"ledgers/";

/// The largest value that the settings may allow, bytes.
pub const MAX_VALUE_LEN: u32 = 32 << 20;

/// A ledger of the cluster.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LedgerRecord {
    /// Its name, as in the key.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its origin, `<cluster origin>/<name>`.
    #[prost(string, tag = "2")]
    pub origin: String,
    /// The vkey of its log key (type 0x01), named by its origin.
    #[prost(string, tag = "3")]
    pub log_vkey: String,
}

/// The settings that affect apply.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SettingsRecord {
    /// [`Settings::max_not_after_us`]: 1 to 15 minutes' worth.
    #[prost(uint64, tag = "1")]
    pub max_not_after_us: u64,
    /// [`Settings::max_value_len`]: 1 to [`MAX_VALUE_LEN`].
    #[prost(uint32, tag = "2")]
    pub max_value_len: u32,
}

impl From<Settings> for SettingsRecord {
    fn from(settings: Settings) -> Self {
        Self { max_not_after_us: settings.max_not_after_us, max_value_len: settings.max_value_len }
    }
}

/// The key under which a ledger is registered.
#[must_use]
pub fn ledger_key(name: &LedgerName) -> Vec<u8> {
    [LEDGER_PREFIX, name.as_str().as_bytes()].concat()
}

/// What a write to `_system` changes in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SystemChange {
    /// A ledger is born.
    Birth(LedgerName),
    /// Nodes, invitations and cosigner set as they are from the next block on.
    Registry(Registry),
    /// Settings come into force with the next block.
    Settings(Settings),
    /// The cluster has said what it continues.
    Continued,
    /// A ledger takes no transactions, for this reason.
    Frozen(LedgerName, String),
    /// A ledger takes them.
    Thawed(LedgerName),
}

/// What a request to `_system` is judged by, besides the state of its keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    /// The cluster after the requests before it.
    pub(crate) cluster: &'a ClusterState,
    /// The epoch in force before the block.
    pub(crate) epoch: Epoch,
    /// The time of the block's leaves.
    pub(crate) time: Micros,
    /// Of the ledgers that it freezes or thaws, those that there are.
    pub(crate) named: &'a BTreeSet<LedgerName>,
}

/// Why a request to `_system` is not committed.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is rejected.
    Rejected(Rejection),
    /// This version does not know what it writes: the node stops. Which document, and what is new about it.
    Newer(String),
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// What a request to `_system` changes in the cluster.
pub(crate) fn judge(
    request: &Request,
    facts: &Facts,
    around: &Circumstances<'_>,
) -> Result<Vec<SystemChange>, Refused> {
    let mut draft = Draft::new(around.cluster, around.epoch, around.time);
    if let Some(document) = &around.cluster.continues {
        return lineage::judge(request, facts, around, document, draft);
    }
    let mut changes = Vec::new();
    for (position, (write, facts)) in request.writes.iter().zip(&facts.writes).enumerate() {
        let change = change_of(write, facts, around, &mut draft, position);
        changes.extend(change.map_err(|problem| problem.at(position))?);
    }
    let registry =
        draft.finish().map_err(|(position, problem)| Problem::Wrong("put.value", problem).at(position))?;
    changes.extend(registry.map(SystemChange::Registry));
    Ok(changes)
}

/// What is wrong with a write.
#[derive(Debug)]
enum Problem {
    /// Which field of it, and how.
    Wrong(&'static str, String),
    /// This version does not know the document.
    Newer(String),
}

impl Problem {
    /// Of the write at this position of a request.
    fn at(self, position: usize) -> Refused {
        match self {
            Self::Wrong(field, problem) => malformed(format!("writes[{position}].{field}"), problem).into(),
            Self::Newer(document) => Refused::Newer(document),
        }
    }
}

impl From<(&'static str, String)> for Problem {
    fn from((field, problem): (&'static str, String)) -> Self {
        Self::Wrong(field, problem)
    }
}

fn change_of(
    write: &Write,
    facts: &WriteFacts,
    around: &Circumstances<'_>,
    draft: &mut Draft,
    position: usize,
) -> Result<Option<SystemChange>, Problem> {
    let key = |problem: &str| Problem::Wrong("key", problem.to_owned());
    let Some(put) = &write.put else {
        return Err(key("documents of _system are neither deleted nor erased"));
    };
    if put.expires_at != 0 {
        return Err(Problem::Wrong("put.expires_at", "documents of _system do not expire".to_owned()));
    }
    let Some(origin) = &around.cluster.origin else {
        return Err(key("the cluster has no origin"));
    };
    let value = |problem| Problem::Wrong("put.value", problem);
    let id = |prefix| id_of(prefix, &write.key).map_err(|problem| Problem::Wrong("key", problem));
    let name = |prefix: &[u8]| {
        let name = write.key.strip_prefix(prefix).and_then(|name| str::from_utf8(name).ok());
        let name = LedgerName::new(name.ok_or_else(|| key("the name of a ledger is not UTF-8"))?);
        name.map_err(|error| Problem::Wrong("key", error.to_string()))
    };
    match &*write.key {
        COSIGNERS_KEY => draft.set(decode(write)?, position).map_err(value).map(|()| None),
        SETTINGS_KEY => check_settings(&decode(write)?).map_err(value).map(Some),
        key if key.starts_with(NODE_PREFIX) => {
            draft.node(id(NODE_PREFIX)?, decode(write)?, position).map_err(value).map(|()| None)
        }
        key if key.starts_with(INVITATION_PREFIX) => {
            draft.invite(id(INVITATION_PREFIX)?, decode(write)?).map_err(value).map(|()| None)
        }
        written if written.starts_with(LEDGER_PREFIX) => {
            let name = name(LEDGER_PREFIX)?;
            if facts.newest.is_some() || name == LedgerName::system() {
                return Err(key(&format!("ledger {name} exists already; a name is never used twice")));
            }
            check_ledger(&decode(write)?, &name, origin).map_err(value)?;
            Ok(Some(SystemChange::Birth(name)))
        }
        written if written.starts_with(FROZEN_PREFIX) => {
            Ok(Some(frozen::judge(&name(FROZEN_PREFIX)?, &decode(write)?, around)?))
        }
        written if written.starts_with(LINEAGE_PREFIX) => {
            Err(key("only the first transaction of a cluster that continues another writes it"))
        }
        unknown => Err(Problem::Newer(shown(unknown))),
    }
}

/// Reads the document of a write in its one encoding.
fn decode<M: Message + Default>(write: &Write) -> Result<M, Problem> {
    let bytes = write.put.as_ref().map(|put| put.value.clone()).unwrap_or_default();
    read(&write.key, &bytes).map_err(|problem| match problem {
        Unreadable::Malformed(problem) => Problem::Wrong("put.value", problem),
        Unreadable::Newer(document) => Problem::Newer(document),
    })
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is none.
    #[error("a document of _system that does not decode: {0}")]
    Malformed(String),
    /// Its kind, or one of its fields, is not known to this version: a newer one wrote it.
    #[error("a document of _system that this version does not know: {0}")]
    Newer(String),
}

fn read<M: Message + Default>(key: &[u8], bytes: &Bytes) -> Result<M, Unreadable> {
    let document = M::decode(bytes.clone()).map_err(|error| Unreadable::Malformed(error.to_string()))?;
    if document.encode_to_vec() != *bytes {
        let problem = "is not in the one encoding of the fields that this version knows";
        return Err(Unreadable::Newer(format!("{} {problem}", shown(key))));
    }
    Ok(document)
}

/// Whether this version knows a document that is stored in `_system`: its kind, and all of its fields.
///
/// # Errors
/// Which document, and what is new about it or wrong with it.
pub fn check_known(key: &[u8], document: &Bytes) -> Result<(), Unreadable> {
    match key {
        COSIGNERS_KEY => read::<CosignerSet>(key, document).map(drop),
        SETTINGS_KEY => read::<SettingsRecord>(key, document).map(drop),
        key if key.starts_with(NODE_PREFIX) => read::<NodeRecord>(key, document).map(drop),
        key if key.starts_with(INVITATION_PREFIX) => read::<InvitationRecord>(key, document).map(drop),
        key if key.starts_with(LEDGER_PREFIX) => read::<LedgerRecord>(key, document).map(drop),
        key if key.starts_with(FROZEN_PREFIX) => read::<FreezeRecord>(key, document).map(drop),
        key if key.starts_with(LINEAGE_PREFIX) => read::<Lineage>(key, document).map(drop),
        unknown => Err(Unreadable::Newer(shown(unknown))),
    }
}

/// A key for people.
fn shown(key: &[u8]) -> String {
    format!("\"{}\"", key.escape_ascii())
}

fn check_settings(record: &SettingsRecord) -> Result<SystemChange, String> {
    let most = MAX_NOT_AFTER.get();
    if !(1..=most).contains(&record.max_not_after_us) {
        return Err(format!("max_not_after_us must be 1 to {most}, not {}", record.max_not_after_us));
    }
    if !(1..=MAX_VALUE_LEN).contains(&record.max_value_len) {
        return Err(format!("max_value_len must be 1 to {MAX_VALUE_LEN}, not {}", record.max_value_len));
    }
    let SettingsRecord { max_not_after_us, max_value_len } = *record;
    Ok(SystemChange::Settings(Settings { max_not_after_us, max_value_len }))
}

fn check_ledger(record: &LedgerRecord, name: &LedgerName, origin: &ClusterOrigin) -> Result<(), String> {
    let origin = origin.ledger(name);
    if record.name != name.as_str() || record.origin != origin.as_str() {
        return Err(format!("name and origin must be {name} and {origin}"));
    }
    let vkey = VerifierKey::parse(&record.log_vkey).map_err(|error| format!("log_vkey: {error}"))?;
    if vkey.kind() != SignatureType::Ed25519 || vkey.name() != origin.as_str() {
        return Err(format!("log_vkey: it must be a log's (type 0x01), named {origin}"));
    }
    Ok(())
}
