//! The rows of the table `meta`: what was applied, and the heads of the ledgers.
//!
//! `applied` is in every batch, so what it says and what the other tables hold cannot part. It is there from the
//! first moment: a database without it is damaged, not empty.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use quorate_core::{
    hash::Hash,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{BlockHeight, Epoch, Micros, TreeSize},
    tree::Frontier,
};
use quorate_ledger::view::{ClusterState, LedgerHead, LedgerId, Settings};

use crate::store::log::LogId;

/// What the state is the result of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The last Raft entry applied; `None` before the first.
    pub last: Option<LogId>,
    /// The newest applied entry that carried a membership: its id and the bytes it carried.
    pub membership: Option<(LogId, Bytes)>,
}

/// The decoded row `applied`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppliedRow {
    pub(crate) cluster_id: [u8; 16],
    pub(crate) applied: Applied,
    pub(crate) cluster: ClusterState,
}

/// A row of `meta` that cannot be what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row does not decode: {0}")]
pub(crate) struct MetaError(String);

impl MetaError {
    fn new(problem: impl std::fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

#[derive(Clone, PartialEq, Message)]
struct AppliedMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(bytes = "bytes", tag = "2")]
    cluster_id: Bytes,
    #[prost(message, optional, tag = "3")]
    log_id: Option<LogIdMessage>,
    #[prost(message, optional, tag = "4")]
    membership: Option<MembershipMessage>,
    #[prost(string, optional, tag = "5")]
    origin: Option<String>,
    #[prost(message, optional, tag = "6")]
    last_block: Option<LastBlockMessage>,
    #[prost(uint64, tag = "7")]
    epoch: u64,
    #[prost(uint64, tag = "8")]
    max_not_after_us: u64,
    #[prost(uint32, tag = "9")]
    max_value_len: u32,
    #[prost(uint32, tag = "10")]
    next_ledger: u32,
    #[prost(bytes = "bytes", optional, tag = "11")]
    continues: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct LogIdMessage {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
}

#[derive(Clone, PartialEq, Message)]
struct MembershipMessage {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(bytes = "bytes", tag = "3")]
    bytes: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct LastBlockMessage {
    #[prost(uint64, tag = "1")]
    height: u64,
    #[prost(bytes = "bytes", tag = "2")]
    hash: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct HeadMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    peaks: Vec<Bytes>,
    #[prost(uint64, tag = "5")]
    time: u64,
    #[prost(bytes = "bytes", tag = "6")]
    state_root: Bytes,
}

/// The format of everything in the database.
const FORMAT: u32 = super::directory::FORMAT_VERSION;

impl AppliedRow {
    /// The row of an empty store.
    pub(crate) fn new(cluster_id: [u8; 16]) -> Self {
        let cluster = ClusterState {
            origin: None,
            last_block: None,
            id: None,
            epoch: Epoch::new(0),
            registry: Arc::default(),
            settings: Settings::default(),
            next_ledger: LedgerId(0),
            continues: None,
            frozen: Arc::default(),
        };
        Self { cluster_id, applied: Applied::default(), cluster }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let cluster = &self.cluster;
        let last_block = cluster.last_block.map(|(height, hash)| LastBlockMessage {
            height: height.get(),
            hash: Bytes::copy_from_slice(hash.as_bytes()),
        });
        let message = AppliedMessage {
            format: FORMAT,
            cluster_id: Bytes::copy_from_slice(&self.cluster_id),
            log_id: self.applied.last.map(|id| LogIdMessage { term: id.term, index: id.index }),
            membership: self.applied.membership.as_ref().map(|(id, bytes)| MembershipMessage {
                term: id.term,
                index: id.index,
                bytes: bytes.clone(),
            }),
            origin: cluster.origin.as_ref().map(|origin| origin.as_str().to_owned()),
            last_block,
            epoch: cluster.epoch.get(),
            max_not_after_us: cluster.settings.max_not_after_us,
            max_value_len: cluster.settings.max_value_len,
            next_ledger: cluster.next_ledger.0,
            continues: cluster.continues.clone(),
        };
        message.encode_to_vec()
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, MetaError> {
        let message = AppliedMessage::decode(row).map_err(MetaError::new)?;
        if message.format != FORMAT {
            return Err(MetaError(format!("expected format {FORMAT}, found {}", message.format)));
        }
        let cluster_id: [u8; 16] = message.cluster_id.as_ref().try_into().map_err(MetaError::new)?;
        let last_block =
            message.last_block.map(|block| Ok((BlockHeight::new(block.height), hash(&block.hash)?)));
        let has_origin = message.origin.is_some();
        let cluster = ClusterState {
            origin: message
                .origin
                .map(|text| ClusterOrigin::parse(&text))
                .transpose()
                .map_err(MetaError::new)?,
            last_block: last_block.transpose()?,
            id: has_origin.then(|| ClusterId::new(cluster_id)),
            epoch: Epoch::new(message.epoch),
            // Read from the documents when all of them are at hand (`epochs`).
            registry: Arc::default(),
            settings: Settings {
                max_not_after_us: message.max_not_after_us,
                max_value_len: message.max_value_len,
            },
            next_ledger: LedgerId(message.next_ledger),
            continues: message.continues,
            // Read from the documents, like the registry.
            frozen: Arc::default(),
        };
        let last = message.log_id.map(|id| LogId { term: id.term, index: id.index });
        let membership = message.membership.map(|m| (LogId { term: m.term, index: m.index }, m.bytes));
        Ok(Self { cluster_id, applied: Applied { last, membership }, cluster })
    }
}

/// The row of a ledger's head.
pub(crate) fn encode_head(head: &LedgerHead) -> Vec<u8> {
    let message = HeadMessage {
        id: head.id.0,
        name: head.name.as_str().to_owned(),
        size: head.frontier.size().get(),
        peaks: head.frontier.peaks().iter().map(|peak| Bytes::copy_from_slice(peak.as_bytes())).collect(),
        time: head.time.get(),
        state_root: Bytes::copy_from_slice(head.state_root.as_bytes()),
    };
    message.encode_to_vec()
}

/// Reads the row of a ledger's head.
pub(crate) fn decode_head(row: &[u8]) -> Result<Arc<LedgerHead>, MetaError> {
    let message = HeadMessage::decode(row).map_err(MetaError::new)?;
    let peaks = message.peaks.iter().map(|peak| hash(peak)).collect::<Result<_, _>>()?;
    let frontier = Frontier::from_parts(TreeSize::new(message.size), peaks).map_err(MetaError::new)?;
    Ok(Arc::new(LedgerHead {
        id: LedgerId(message.id),
        name: LedgerName::new(&message.name).map_err(MetaError::new)?,
        frontier,
        time: Micros::new(message.time),
        state_root: hash(&message.state_root)?,
    }))
}

fn hash(bytes: &[u8]) -> Result<Hash, MetaError> {
    Hash::try_from(bytes).map_err(MetaError::new)
}
