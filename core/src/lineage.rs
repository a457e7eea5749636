//! What a cluster continues: the documents `lineage/<n>` of `_system` (`docs/formats.md`).
//!
//! A restored or recovered cluster has an id, an origin and keys of its own, and the leaves of the cluster before it. The
//! document is in its first transaction, and stays for ever.

use prost::{Message, bytes::Bytes};

/// What the key of a [`Lineage`] begins with, before its number.
pub const LINEAGE_PREFIX: &[u8] = b"lineage/";

/// What a cluster continues.
#[derive(Clone, PartialEq, Message)]
pub struct Lineage {
    /// Counts the clusters that continued this history, from 1.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// `restored`: from a backup; `recovered`: from what was left after the loss of a quorum.
    #[prost(string, tag = "2")]
    pub kind: String,
    /// Origin of the cluster that is continued.
    #[prost(string, tag = "3")]
    pub previous: String,
    /// Where each of its ledgers is continued, `_system` first, the others by name.
    #[prost(message, repeated, tag = "4")]
    pub ledgers: Vec<LineageLedger>,
    /// When this was made, by the clock of the machine that made it, microseconds since the Unix epoch.
    #[prost(uint64, tag = "5")]
    pub time: u64,
    /// What is known of what was lost, for people; empty when nothing is known to be.
    #[prost(string, tag = "6")]
    pub loss: String,
}

/// Where a ledger is continued.
#[derive(Clone, PartialEq, Message)]
pub struct LineageLedger {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its size: the leaves from here on are the new cluster's.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Its log root at that size, 32 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub root: Bytes,
    /// The newest checkpoint that the cluster before cosigned, as a signed note, at that size or a smaller one; empty
    /// where none is known.
    #[prost(string, tag = "4")]
    pub note: String,
}

impl Lineage {
    /// The key of this document.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        [LINEAGE_PREFIX, self.number.to_string().as_bytes()].concat()
    }
}
