//! The ledger `_system`: what the cluster has agreed on about itself, as documents under fixed keys.
//!
//! Contract: each document is a Protocol Buffers message in its one encoding (this version's fields, in order,
//! nothing else); what does not decode to exactly that, or contradicts the cluster, is
//! [`Rejection::Malformed`], and nothing is written. Documents are never deleted, never expire and are never
//! erased; other keys are refused.
//!
//! | key | document | effect |
//! |---|---|---|
//! | `cosigners` | [`CosignerSet`] | the epoch of the blocks that follow |
//! | `settings` | [`SettingsRecord`] | the settings by which the blocks that follow are judged |
//! | `ledgers/<name>` | [`LedgerRecord`] | the ledger is born in this block; written once and never again |
//! | `lineage/<n>` | [`Lineage`] | written by the first transaction of a cluster that continues another, and by no other |
//!
//! Who may write here is for the interface of the node to decide, before a request gets here.

use std::collections::BTreeSet;

use prost::{Message, bytes::Bytes};
use quorate_core::{
    block::BlockPublicKey,
    entry::MAX_NOT_AFTER,
    key::{SignatureType, VerifierKey},
    name::{ClusterOrigin, LedgerName},
    position::{Epoch, NodeId},
};

use crate::{
    block::{Request, Write},
    judge::{Facts, WriteFacts, malformed},
    outcome::Rejection,
    view::{ClusterState, Settings},
};

mod lineage;

pub use lineage::{LINEAGE_PREFIX, Lineage, LineageLedger};

/// Key of the [`CosignerSet`].
pub const COSIGNERS_KEY: &[u8] = b"cosigners";
/// Key of the [`SettingsRecord`].
pub const SETTINGS_KEY: &[u8] = b"settings";
/// What the key of a [`LedgerRecord`] begins with, before the ledger's name.
pub const LEDGER_PREFIX: &[u8] = b"ledgers/";

/// The largest value that the settings may allow, bytes.
pub const MAX_VALUE_LEN: u32 = 32 << 20;

/// Longest address, bytes.
const MAX_ADDRESS: usize = 255;

/// The replicas whose cosignatures count.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CosignerSet {
    /// The number of this set: one more than that of the set before, 1 for the first.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// By ascending node id, at least one; all keys are pairwise distinct.
    #[prost(message, repeated, tag = "2")]
    pub cosigners: Vec<Cosigner>,
}

/// A replica of the set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cosigner {
    /// Its node id, from 1.
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// The vkey of its cosigner key (type 0x04), named `<cluster origin>/node/<node id>`.
    #[prost(string, tag = "2")]
    pub vkey: String,
    /// The public key with which it signs the blocks it proposes, 32 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub block_public_key: Bytes,
    /// Where clients reach it, `host:port`.
    #[prost(string, tag = "4")]
    pub client_address: String,
    /// Where its peers reach it, `host:port`.
    #[prost(string, tag = "5")]
    pub peer_address: String,
}

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
    /// A cosigner set comes into force with the next block.
    Epoch(Epoch),
    /// Settings come into force with the next block.
    Settings(Settings),
    /// The cluster has said what it continues.
    Continued,
}

/// What a request to `_system` changes in the cluster, whose state after the requests before it is `cluster`.
pub(crate) fn judge(
    request: &Request,
    facts: &Facts,
    cluster: &ClusterState,
) -> Result<Vec<SystemChange>, Rejection> {
    if let Some(document) = &cluster.continues {
        return lineage::judge(request, facts, cluster, document);
    }
    let writes = request.writes.iter().zip(&facts.writes).enumerate();
    let change = |(position, (write, facts))| {
        change_of(write, facts, cluster)
            .map_err(|(field, problem)| malformed(format!("writes[{position}].{field}"), problem))
    };
    writes.map(change).collect()
}

/// What is wrong: which field of a write, and how.
type Problem = (&'static str, String);

fn change_of(write: &Write, facts: &WriteFacts, cluster: &ClusterState) -> Result<SystemChange, Problem> {
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
    match &*write.key {
        COSIGNERS_KEY => check_cosigners(&decode(&put.value)?, origin, cluster.epoch).map_err(value),
        SETTINGS_KEY => check_settings(&decode(&put.value)?).map_err(value),
        key => {
            let name = key.strip_prefix(LEDGER_PREFIX).and_then(|name| str::from_utf8(name).ok());
            let unknown = || ("key", "_system has cosigners, settings and ledgers/<name>".to_owned());
            let name = LedgerName::new(name.ok_or_else(unknown)?);
            let name = name.map_err(|error| ("key", error.to_string()))?;
            if facts.newest.is_some() || name == LedgerName::system() {
                return Err(("key", format!("ledger {name} exists already; a name is never used twice")));
            }
            check_ledger(&decode(&put.value)?, &name, origin).map_err(value)?;
            Ok(SystemChange::Birth(name))
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

fn check_cosigners(set: &CosignerSet, origin: &ClusterOrigin, epoch: Epoch) -> Result<SystemChange, String> {
    if epoch.next().map(Epoch::get) != Some(set.epoch) {
        return Err(format!("epoch is {}, and must be one more than the present one, {epoch}", set.epoch));
    }
    if set.cosigners.is_empty() {
        return Err("cosigners must not be empty".to_owned());
    }
    if !set.cosigners.is_sorted_by(|a, b| a.node_id < b.node_id) {
        return Err("cosigners must be in ascending order of distinct node ids".to_owned());
    }
    let mut keys = BTreeSet::new();
    for (number, cosigner) in set.cosigners.iter().enumerate() {
        let public = check_cosigner(cosigner, origin);
        for key in public.map_err(|problem| format!("cosigners[{number}].{problem}"))? {
            if !keys.insert(key) {
                return Err(format!("cosigners[{number}]: one of its keys occurs twice in the set"));
            }
        }
    }
    Ok(SystemChange::Epoch(Epoch::new(set.epoch)))
}

/// The two public keys of a cosigner.
fn check_cosigner(cosigner: &Cosigner, origin: &ClusterOrigin) -> Result<[[u8; 32]; 2], String> {
    if cosigner.node_id == 0 {
        return Err("node_id must be at least 1".to_owned());
    }
    let vkey = VerifierKey::parse(&cosigner.vkey).map_err(|error| format!("vkey: {error}"))?;
    let name = origin.node(NodeId::new(cosigner.node_id));
    if vkey.kind() != SignatureType::Cosignature || vkey.name() != name {
        return Err(format!("vkey: it must be a cosigner's (type 0x04), named {name}"));
    }
    let block_key = BlockPublicKey::try_from(&*cosigner.block_public_key);
    let block_key = block_key.map_err(|error| format!("block_public_key: {error}"))?;
    let addresses = [("client_address", &cosigner.client_address), ("peer_address", &cosigner.peer_address)];
    for (field, address) in addresses {
        if !(1..=MAX_ADDRESS).contains(&address.len()) {
            return Err(format!("{field}: 1 to {MAX_ADDRESS} bytes, not {}", address.len()));
        }
    }
    Ok([*vkey.public_key(), *block_key.as_bytes()])
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
