//! Timings and bounds of consensus, and openraft's configuration made from them.

use std::{sync::Arc, time::Duration};

use openraft::{Config, ConfigError, SnapshotPolicy};

use crate::pace::Rates;

use super::types::NodeId;

/// Settings of one node's consensus. The same on all nodes of a cluster, ids aside.
#[derive(Clone, Debug)]
pub struct ConsensusConfig {
    /// The cluster.
    pub cluster_id: [u8; 16],
    /// This node.
    pub node_id: NodeId,
    /// Time between heartbeats of a leader, in milliseconds.
    pub heartbeat_ms: u64,
    /// The shortest election timeout in milliseconds; well above the heartbeat.
    pub election_min_ms: u64,
    /// The longest election timeout in milliseconds. A follower that heard a leader refuses to elect another
    /// one for this long, so it sets the failover time.
    pub election_max_ms: u64,
    /// Entries in one append request, at most.
    pub max_append_entries: u64,
    /// Bytes of entries in one append request, at most, except that one entry is always sent. Below the
    /// message limit of the connection, less the largest block.
    pub max_append_bytes: usize,
    /// Entries applied since the last flush that trigger the next one (and a purge).
    pub flush_after_entries: u64,
    /// Bytes appended since the last flush that trigger the next one (and a purge).
    pub flush_after_bytes: u64,
    /// Entries kept behind the flushed position, so that a follower slightly behind needs no snapshot.
    pub keep_entries: u64,
    /// Bytes of one piece of a snapshot file on its way.
    pub snapshot_chunk_bytes: usize,
    /// How snapshots are sent.
    pub snapshot: SnapshotSettings,
}

/// How snapshots are sent.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotSettings {
    /// How fast files are read for it.
    pub rates: Rates,
    /// How long after its last piece a snapshot is not replaced, for somebody who goes on with it.
    pub kept: Duration,
    /// Bytes of the log that are kept behind such a snapshot, or while none is certified, at most.
    pub held_log_bytes: u64,
}

impl ConsensusConfig {
    /// The defaults for a node.
    #[must_use]
    pub fn new(cluster_id: [u8; 16], node_id: NodeId) -> Self {
        Self {
            cluster_id,
            node_id,
            heartbeat_ms: 100,
            election_min_ms: 400,
            election_max_ms: 800,
            max_append_entries: 1024,
            max_append_bytes: 2 << 20,
            flush_after_entries: 20_000,
            flush_after_bytes: 256 << 20,
            keep_entries: 4096,
            snapshot_chunk_bytes: 1 << 20,
            snapshot: SnapshotSettings {
                rates: Rates { idle: 0, busy: 0 },
                kept: Duration::from_secs(60),
                held_log_bytes: 4 << 30,
            },
        }
    }

    /// Openraft's configuration. What is not named keeps openraft's default.
    ///
    /// Off on purpose: log reversion (a member that lost its log must not be welcomed back), restoring
    /// leadership after a restart without a vote, and snapshots by its own policy (see `maintenance`).
    pub(crate) fn raft(&self) -> Result<Arc<Config>, ConfigError> {
        let config = Config {
            cluster_name: hex::encode(self.cluster_id),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_min_ms,
            election_timeout_max: self.election_max_ms,
            quorum_loss_probe_interval: Some(self.election_max_ms.saturating_mul(2)),
            enable_pre_vote: Some(true),
            max_payload_entries: self.max_append_entries,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: self.keep_entries,
            allow_log_reversion: Some(false),
            enable_leader_restore: Some(false),
            broadcast_submitted_on_append: Some(true),
            ..Config::default()
        };
        config.validate().map(Arc::new)
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        let election = Duration::from_millis(self.election_max_ms);
        Timeouts {
            vote: Duration::from_millis(self.election_min_ms),
            append: election.saturating_mul(2),
            read: election,
            transfer: election,
            snapshot_idle: Duration::from_secs(30).max(election),
            snapshot_install: Duration::from_secs(600),
        }
    }
}

/// How long an answer of a peer is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) vote: Duration,
    /// Per answer, while requests are on their way.
    pub(crate) append: Duration,
    pub(crate) read: Duration,
    pub(crate) transfer: Duration,
    /// Between two pieces of a snapshot, at the receiver.
    pub(crate) snapshot_idle: Duration,
    /// For a receiver to check and install a snapshot, besides what its bytes take.
    pub(crate) snapshot_install: Duration,
}
