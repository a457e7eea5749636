//! What a block carries: the body of a Raft entry, as Protocol Buffers messages written by hand, so that this
//! crate needs no generator and no network code.
//!
//! The body's bytes are what the block hash covers (docs/formats.md, "Block"): they are made once by the
//! proposer, carried verbatim and never encoded again. Values decode without a copy when the input is [`Bytes`].

use prost::bytes::Bytes;

/// Most preconditions in a request.
pub const MAX_PRECONDITIONS: usize = 4_096;

/// Longest attributes of a value, bytes.
pub const MAX_ATTRIBUTES: usize = 64 << 10;

/// The body of a block.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Block {
    /// The proposer's clock when it sealed the block, microseconds since the Unix epoch.
    #[prost(uint64, tag = "1")]
    pub time: u64,
    /// The requests, in the order they are applied.
    #[prost(message, repeated, tag = "2")]
    pub requests: Vec<Request>,
    /// Only in the first block of a cluster, which has no requests: founds the ledger `_system`.
    #[prost(message, optional, tag = "3")]
    pub genesis: Option<Genesis>,
}

/// Founds a cluster.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Genesis {
    /// The cluster id, 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub cluster_id: Bytes,
    /// The cluster's name, the first part of every origin.
    #[prost(string, tag = "2")]
    pub cluster_name: String,
}

/// A request for one transaction in one ledger.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Name of the ledger.
    #[prost(string, tag = "1")]
    pub ledger: String,
    /// The authenticated principal, or `anonymous`.
    #[prost(string, tag = "2")]
    pub author: String,
    /// 1 to 64 bytes chosen by the client.
    #[prost(bytes = "bytes", tag = "3")]
    pub idempotency_key: Bytes,
    /// Microseconds since the Unix epoch: rejected in a block whose time is later.
    #[prost(uint64, tag = "4")]
    pub not_after: u64,
    /// The bytes of a `TransactionMeta` message, verbatim.
    #[prost(bytes = "bytes", tag = "5")]
    pub meta: Bytes,
    /// 16 bytes, drawn by the proposer.
    #[prost(bytes = "bytes", tag = "6")]
    pub meta_salt: Bytes,
    /// What must hold, in the order the client gave.
    #[prost(message, repeated, tag = "7")]
    pub preconditions: Vec<Precondition>,
    /// The writes, in the order the client gave.
    #[prost(message, repeated, tag = "8")]
    pub writes: Vec<Write>,
}

/// One operation on a key: a put, a delete (neither `put` nor `erase`), or an erase.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Write {
    /// The key, 1 to 1,024 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// What is put; absent for a delete and an erase.
    #[prost(message, optional, tag = "2")]
    pub put: Option<Put>,
    /// An erase: destroys what this revision of the key wrote. Not together with `put`.
    #[prost(uint64, optional, tag = "3")]
    pub erase: Option<u64>,
}

/// What a put writes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Put {
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub salt: Bytes,
    /// The bytes of a `ValueAttributes` message, verbatim.
    #[prost(bytes = "bytes", tag = "2")]
    pub attributes: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "3")]
    pub value: Bytes,
    /// Microseconds since the Unix epoch; 0 = never.
    #[prost(uint64, tag = "4")]
    pub expires_at: u64,
}

/// A precondition on one key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Precondition {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// What must hold.
    #[prost(oneof = "Condition", tags = "2, 3, 4, 5")]
    pub condition: Option<Condition>,
}

/// What a precondition asks for.
#[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
pub enum Condition {
    /// The key exists: written, not deleted, not expired at the block's time.
    #[prost(bool, tag = "2")]
    MustExist(bool),
    /// The key does not exist.
    #[prost(bool, tag = "3")]
    MustNotExist(bool),
    /// The newest write has this revision; 0 = never written.
    #[prost(uint64, tag = "4")]
    RevisionEquals(u64),
    /// The newest write, if any, has at most this log index.
    #[prost(uint64, tag = "5")]
    NotModifiedAfter(u64),
}
