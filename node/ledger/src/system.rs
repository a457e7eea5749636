//! The ledger `_system`: what the cluster has agreed on about itself, as documents under fixed keys.
//!
//! Contract: each document is a Protocol Buffers message in its one encoding (this version's fields, in order,
//! nothing else); what does not decode to exactly that, or contradicts the cluster, is
//! [`Rejection::Malformed`], and nothing is written. Documents are never deleted, never expire and are never
//! erased; other keys are refused.
//!
//! | key | document | effect |
//! |---|---|---|
//! | `cosigners` | [`CosignerSet`] | the epoch of the blocks that follow, at most one in a block |
//! | `nodes/<id>` | [`NodeRecord`](crate::registry::NodeRecord) | who was ever a node of the cluster, and what became of it |
//! | `invitations/<id>` | [`InvitationRecord`](crate::registry::InvitationRecord) | the id is taken; who has the secret may register under it |
//! | `settings` | [`SettingsRecord`] | the settings by which the blocks that follow are judged |
//! | `ledgers/<name>` | [`LedgerRecord`] | the ledger is born in this block; written once and never again |
//! | `lineage/<n>` | [`Lineage`] | written by the first transaction of a cluster that continues another, and by no other |
//!
//! What the first three say together is judged by [`crate::registry`], at the end of each request.
//!
//! Who may write here is for the interface of the node to decide, before a request gets here.

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
    registry::{Draft, INVITATION_PREFIX, NODE_PREFIX, Registry, id_of},
    view::{ClusterState, Settings},
};

mod lineage;

pub use crate::registry::{COSIGNERS_KEY, Cosigner, CosignerSet};
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
}

/// What a request to `_system` changes in the cluster, whose state after the requests before it is `cluster`. `epoch`
/// was in force before the block, `time` is that of its leaves.
pub(crate) fn judge(
    request: &Request,
    facts: &Facts,
    cluster: &ClusterState,
    epoch: Epoch,
    time: Micros,
) -> Result<Vec<SystemChange>, Rejection> {
    let mut draft = Draft::new(cluster, epoch, time);
    if let Some(document) = &cluster.continues {
        return lineage::judge(request, facts, cluster, document, draft);
    }
    let mut changes = Vec::new();
    let wrong =
        |position: usize, field: &str, problem| malformed(format!("writes[{position}].{field}"), problem);
    for (position, (write, facts)) in request.writes.iter().zip(&facts.writes).enumerate() {
        let change = change_of(write, facts, cluster, &mut draft, position);
        changes.extend(change.map_err(|(field, problem)| wrong(position, field, problem))?);
    }
    let registry = draft.finish().map_err(|(position, problem)| wrong(position, "put.value", problem))?;
    changes.extend(registry.map(SystemChange::Registry));
    Ok(changes)
}

/// What is wrong: which field of a write, and how.
type Problem = (&'static str, String);

fn change_of(
    write: &Write,
    facts: &WriteFacts,
    cluster: &ClusterState,
    draft: &mut Draft,
    position: usize,
) -> Result<Option<SystemChange>, Problem> {
    let Some(put) = &write.put else {
        return Err(("key", "documents of _system are neither deleted nor erased".to_owned()));
    };
    if put.expires_at != 0 {
        return Err(("put.expires_at", "documents of _system do not expire".to_owned()));
    }
    let Some(origin) = &cluster.origin else {
        return Err(("key", "the cluster has no origin".to_owned()));
    };
    let value = |problem| ("put.value", problem);
    let id = |prefix| id_of(prefix, &write.key).map_err(|problem| ("key", problem));
    match &*write.key {
        COSIGNERS_KEY => draft.set(decode(&put.value)?, position).map_err(value).map(|()| None),
        SETTINGS_KEY => check_settings(&decode(&put.value)?).map_err(value).map(Some),
        key if key.starts_with(NODE_PREFIX) => {
            draft.node(id(NODE_PREFIX)?, decode(&put.value)?, position).map_err(value).map(|()| None)
        }
        key if key.starts_with(INVITATION_PREFIX) => {
            draft.invite(id(INVITATION_PREFIX)?, decode(&put.value)?).map_err(value).map(|()| None)
        }
        key => {
            let name = key.strip_prefix(LEDGER_PREFIX).and_then(|name| str::from_utf8(name).ok());
            let unknown = "_system has cosigners, nodes/<id>, invitations/<id>, settings and ledgers/<name>";
            let name = LedgerName::new(name.ok_or_else(|| ("key", unknown.to_owned()))?);
            let name = name.map_err(|error| ("key", error.to_string()))?;
            if facts.newest.is_some() || name == LedgerName::system() {
                return Err(("key", format!("ledger {name} exists already; a name is never used twice")));
            }
            check_ledger(&decode(&put.value)?, &name, origin).map_err(value)?;
            Ok(Some(SystemChange::Birth(name)))
        }
    }
}

/// Reads a document in its one encoding.
fn decode<M: Message + Default>(bytes: &Bytes) -> Result<M, Problem> {
    let document = M::decode(bytes.clone()).map_err(|error| ("put.value", error.to_string()))?;
    if document.encode_to_vec() != *bytes {
        let problem = "not the one encoding of the fields that this version knows";
        return Err(("put.value", problem.to_owned()));
    }
    Ok(document)
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
