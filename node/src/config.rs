//! The configuration of a node: one TOML file, `QUORATE_*` variables over it.
//!
//! An unknown key is an error that names the nearest known one; secrets are only ever paths of files. What
//! affects how blocks are applied is *not* here: it is replicated in the ledger `_system` (see [`crate::cluster`]).

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use figment::{
    Figment,
    error::Kind,
    providers::{Env, Format, Toml},
};
use serde::{Deserialize, Serialize};

use crate::{
    disk::MIN_RESERVE,
    witness::{WitnessSettings, settings},
};

/// The slowest that a snapshot may be sent, bytes per second: a piece has to arrive every half minute.
const MIN_SNAPSHOT_RATE: u64 = 64 << 10;

/// The slowest that the log may be read, bytes per second: a message of the stream has one MiB, and clients wait ten seconds for it.
const MIN_LOG_RATE: u64 = 1 << 20;

/// Everything one node is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Who this node is and where its files are.
    pub node: Identity,
    /// Where it listens.
    pub listen: Listen,
    /// Its secret keys.
    pub keys: Keys,
    /// Its certificates.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Bounds, each enforced before work is done.
    #[serde(default)]
    pub limits: Limits,
    /// Memory and files.
    #[serde(default)]
    pub storage: Storage,
    /// How snapshots are sent to nodes that are far behind.
    #[serde(default)]
    pub snapshot: Snapshot,
    /// How what is stored is read again.
    #[serde(default)]
    pub scrub: Scrub,
    /// Outside witnesses that are asked to cosign checkpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witness: Vec<WitnessSettings>,
    /// Timings of Raft.
    #[serde(default)]
    pub raft: Raft,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
}

/// Who a node is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its id in the cluster, from 1; never used for another node, not even after this one is gone.
    pub id: u64,
    /// Its data directory, mode 0700; made if it does not exist.
    pub data_dir: PathBuf,
    /// The cluster file, the same on every node.
    pub cluster_file: PathBuf,
}

/// Where a node listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// gRPC for clients.
    pub client: SocketAddr,
    /// gRPC for the other nodes.
    pub peer: SocketAddr,
    /// Plain HTTP: health, metrics, tiles. Everything on it is public.
    pub http: SocketAddr,
    /// No TLS on the client and peer ports. Anybody who reaches the peer port is then believed to be a node.
    #[serde(default)]
    pub insecure_plaintext: bool,
}

/// Files with secrets, mode 0600.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The seed of this node's cosigner key, 64 hex digits.
    pub cosigner: PathBuf,
    /// The seed of the key this node signs blocks with, 64 hex digits.
    pub block: PathBuf,
    /// The cluster's log secret, 64 hex digits, the same on every node.
    pub log_secret: PathBuf,
}

/// Certificates and keys in PEM.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The authority that issued all of them.
    pub authority: PathBuf,
    /// What clients see.
    pub server_certificate: PathBuf,
    /// Its key, mode 0600.
    pub server_key: PathBuf,
    /// What the other nodes see, bound to the node's id.
    pub peer_certificate: PathBuf,
    /// Its key, mode 0600.
    pub peer_key: PathBuf,
}

/// Bounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest gRPC message, bytes.
    pub message_bytes: usize,
    /// Requests waiting for a block; more are refused at once.
    pub queued_requests: usize,
    /// Bytes of requests waiting for a block; more are refused at once.
    pub queued_bytes: usize,
    /// Longest time that a write should take, milliseconds; while those before it would take longer, more are refused at once. 0: no
    /// such bound.
    pub write_wait_ms: u64,
    /// Requests in a block.
    pub block_requests: usize,
    /// Bytes of requests in a block (one larger request still gets a block of its own).
    pub block_bytes: usize,
    /// Blocks on their way at once.
    pub blocks_in_flight: usize,
    /// Connections of clients.
    pub connections: usize,
    /// Calls of clients at work at once.
    pub calls: usize,
    /// Longest time a call may take, milliseconds.
    pub call_timeout_ms: u64,
    /// Bytes per second of contents that streams of the log read, all together, while clients write; 0: no limit.
    pub busy_log_bytes_per_second: u64,
}

impl Limits {
    /// The longest time that a write should take, if there is such a bound.
    pub(crate) fn write_wait(&self) -> Option<Duration> {
        (self.write_wait_ms > 0).then(|| Duration::from_millis(self.write_wait_ms))
    }

    fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("message_bytes", self.message_bytes),
            ("queued_requests", self.queued_requests),
            ("queued_bytes", self.queued_bytes),
            ("block_requests", self.block_requests),
            ("block_bytes", self.block_bytes),
            ("blocks_in_flight", self.blocks_in_flight),
            ("connections", self.connections),
            ("calls", self.calls),
        ] {
            if value == 0 {
                return Err(format!("limits.{name} is 0: nothing could be served"));
            }
        }
        if (1..MIN_LOG_RATE).contains(&self.busy_log_bytes_per_second) {
            return Err(format!(
                "limits.busy_log_bytes_per_second must be 0 (no limit) or at least {MIN_LOG_RATE}: slower, whoever reads the log \
                 takes this node for dead"
            ));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 40 << 20,
            queued_requests: 8_192,
            queued_bytes: 128 << 20,
            write_wait_ms: 500,
            block_requests: 4_096,
            block_bytes: 8 << 20,
            blocks_in_flight: 2,
            connections: 4_096,
            calls: 8_192,
            call_timeout_ms: 60_000,
            busy_log_bytes_per_second: 16 << 20,
        }
    }
}

/// Memory and files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Cache of state-tree buckets, bytes.
    pub state_cache_bytes: usize,
    /// RocksDB block cache, bytes.
    pub block_cache_bytes: usize,
    /// RocksDB write buffers of the state store, bytes.
    pub write_buffer_bytes: usize,
    /// Raft entries after which a snapshot position is taken and the log is purged behind it.
    pub snapshot_entries: u64,
    /// Raft entries kept behind the snapshot position, for followers that are a little behind.
    pub kept_entries: u64,
    /// Free space, bytes, below which a leader takes no writes, so that the disk is never full.
    pub disk_reserve_bytes: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            state_cache_bytes: 128 << 20,
            block_cache_bytes: 32 << 20,
            write_buffer_bytes: 32 << 20,
            snapshot_entries: 20_000,
            kept_entries: 10_000,
            disk_reserve_bytes: 512 << 20,
        }
    }
}

/// How snapshots are sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Snapshot {
    /// Bytes per second while nothing is written; 0: no limit.
    pub bytes_per_second: u64,
    /// Bytes per second while clients write; 0: no limit.
    pub busy_bytes_per_second: u64,
    /// How long after its last piece a snapshot is not replaced, for somebody who goes on with it, seconds.
    pub kept_seconds: u64,
    /// Bytes of the Raft log that are kept behind a snapshot that is fetched, or while none is certified, at most.
    pub held_log_bytes: u64,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            bytes_per_second: 256 << 20,
            busy_bytes_per_second: 32 << 20,
            kept_seconds: 60,
            held_log_bytes: 4 << 30,
        }
    }
}

/// How what is stored is read again and recomputed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scrub {
    /// Hours from the end of one whole pass to the beginning of the next; 0: never.
    pub interval_hours: u64,
    /// Bytes read per second while nothing is written; 0: no limit.
    pub bytes_per_second: u64,
    /// Bytes read per second while clients write; 0: no limit.
    pub busy_bytes_per_second: u64,
}

impl Default for Scrub {
    fn default() -> Self {
        Self { interval_hours: 168, bytes_per_second: 16 << 20, busy_bytes_per_second: 4 << 20 }
    }
}

/// Timings of Raft, milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raft {
    /// Between heartbeats of the leader.
    pub heartbeat_ms: u64,
    /// Shortest time without a leader before an election.
    pub election_min_ms: u64,
    /// Longest; also the lease a follower waits out first.
    pub election_max_ms: u64,
}

impl Default for Raft {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_min_ms: 400, election_max_ms: 800 }
    }
}

/// What is logged, to standard error.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `quorate_node=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info,openraft=error".to_owned() }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read the configuration {path}: {source}; `quorate init` makes one")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file does not say what a configuration says.
    #[error("configuration {path}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key.
        problem: String,
    },
}

impl NodeConfig {
    /// Reads the file and the `QUORATE_*` variables over it (`QUORATE_LISTEN__CLIENT` is `listen.client`).
    /// Relative paths in it are relative to the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let config: Self = Figment::new()
            .merge(Toml::string(&text))
            .merge(Env::prefixed("QUORATE_").filter(|name| name.as_str().contains("__")).split("__"))
            .extract()
            .map_err(|error| ConfigError::Invalid { path: path.to_owned(), problem: explain(error) })?;
        let config = config.relative_to(path.parent().unwrap_or(Path::new(".")));
        config.check().map_err(|problem| ConfigError::Invalid { path: path.to_owned(), problem })?;
        Ok(config)
    }

    fn relative_to(mut self, base: &Path) -> Self {
        let Keys { cosigner, block, log_secret } = &mut self.keys;
        for path in [&mut self.node.data_dir, &mut self.node.cluster_file, cosigner, block, log_secret] {
            *path = base.join(&*path);
        }
        if let Some(tls) = &mut self.tls {
            for path in [
                &mut tls.authority,
                &mut tls.server_certificate,
                &mut tls.server_key,
                &mut tls.peer_certificate,
                &mut tls.peer_key,
            ] {
                *path = base.join(&*path);
            }
        }
        self.witness.iter_mut().for_each(|witness| witness.relative_to(base));
        self
    }

    fn check(&self) -> Result<(), String> {
        if self.node.id == 0 {
            return Err("node.id is 0: ids start at 1".to_owned());
        }
        if self.tls.is_none() && !self.listen.insecure_plaintext {
            return Err(
                "[tls] is missing: name the certificates, or set listen.insecure_plaintext = true".to_owned()
            );
        }
        if self.raft.election_min_ms <= self.raft.heartbeat_ms.saturating_mul(2) {
            return Err("raft.election_min_ms must be more than twice raft.heartbeat_ms".to_owned());
        }
        if self.raft.election_max_ms <= self.raft.election_min_ms {
            return Err("raft.election_max_ms must be more than raft.election_min_ms".to_owned());
        }
        if self.storage.disk_reserve_bytes < MIN_RESERVE {
            return Err(format!(
                "storage.disk_reserve_bytes must be at least {MIN_RESERVE}: a disk that is full stops the node"
            ));
        }
        for (name, rate) in [
            ("bytes_per_second", self.snapshot.bytes_per_second),
            ("busy_bytes_per_second", self.snapshot.busy_bytes_per_second),
        ] {
            if (1..MIN_SNAPSHOT_RATE).contains(&rate) {
                return Err(format!(
                    "snapshot.{name} must be 0 (no limit) or at least {MIN_SNAPSHOT_RATE}: slower, a receiver takes the sender \
                     for dead"
                ));
            }
        }
        settings::check_all(&self.witness).map_err(|error| error.to_string())?;
        self.limits.check()
    }
}

/// Turns figment's errors into one sentence each, with the key and, for an unknown key, the nearest known one.
fn explain(error: figment::Error) -> String {
    let mut text = String::new();
    for one in error {
        let mut path = one.path.clone();
        if let Kind::UnknownField(field, _) = &one.kind
            && path.last() == Some(field)
        {
            path.pop();
        }
        let key = path.join(".");
        let separator = if text.is_empty() { "" } else { "; " };
        let written = match &one.kind {
            Kind::UnknownField(field, known) => {
                let hint = nearest(field, known).map_or_else(
                    || format!("known here: {}", known.join(", ")),
                    |name| format!("did you mean {name:?}?"),
                );
                write!(text, "{separator}unknown key {field:?} in [{key}]; {hint}")
            }
            Kind::MissingField(field) => write!(text, "{separator}the key {field:?} is missing in [{key}]"),
            kind if key.is_empty() => write!(text, "{separator}{kind}"),
            kind => write!(text, "{separator}{key}: {kind}"),
        };
        if written.is_err() {
            break;
        }
    }
    text
}

/// The known name that differs least from `name`, if it differs by at most two edits.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().map(|k| (edits(name, k), *k)).min().filter(|(distance, _)| *distance <= 2).map(|(_, k)| k)
}

/// Levenshtein distance, in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != *y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[node]
id = 1
data_dir = "data"
cluster_file = "cluster.toml"
[listen]
client = "127.0.0.1:7400"
peer = "127.0.0.1:7401"
http = "127.0.0.1:7402"
insecure_plaintext = true
[keys]
cosigner = "cosigner.key"
block = "block.key"
log_secret = "log.secret"
"#;

    fn load(text: &str) -> Result<NodeConfig, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quorate.toml");
        std::fs::write(&path, text).unwrap();
        NodeConfig::load(&path)
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = load(GOOD).unwrap();
        assert!(config.keys.block.is_absolute());
        assert!(config.keys.block.ends_with("block.key"));
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        let error = load(&GOOD.replace("data_dir", "data_dri")).unwrap_err().to_string();
        assert!(
            error.contains("unknown key \"data_dri\"") && error.contains("did you mean \"data_dir\""),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_type_names_the_key() {
        let error = load(&GOOD.replace("id = 1", "id = \"one\"")).unwrap_err().to_string();
        assert!(error.contains("node.id"), "{error}");
    }

    #[test]
    fn plaintext_is_never_the_default() {
        let error = load(&GOOD.replace("insecure_plaintext = true", "")).unwrap_err().to_string();
        assert!(error.contains("[tls] is missing"), "{error}");
    }

    #[test]
    fn a_disk_may_not_be_filled_to_the_last_byte() {
        let error = load(&format!("{GOOD}[storage]\ndisk_reserve_bytes = 0\n")).unwrap_err().to_string();
        assert!(error.contains("storage.disk_reserve_bytes"), "{error}");
    }

    #[test]
    fn a_snapshot_may_not_be_so_slow_that_it_never_arrives() {
        let error =
            load(&format!("{GOOD}[snapshot]\nbusy_bytes_per_second = 65535\n")).unwrap_err().to_string();
        assert!(error.contains("snapshot.busy_bytes_per_second"), "{error}");
        assert!(load(&format!("{GOOD}[snapshot]\nbytes_per_second = 0\n")).is_ok());
    }

    #[test]
    fn the_log_may_not_be_read_so_slowly_that_whoever_reads_gives_up() {
        let read = |rate: u64| load(&format!("{GOOD}[limits]\nbusy_log_bytes_per_second = {rate}\n"));
        let error = read(1_048_575).unwrap_err().to_string();
        assert!(error.contains("limits.busy_log_bytes_per_second"), "{error}");
        assert!(read(0).is_ok() && read(1_048_576).is_ok());
    }

    #[test]
    fn a_witness_that_cannot_be_asked_is_refused_with_what_is_wrong() {
        let vkey = |seed: u8| {
            let key = quorate_core::key::CosignerKey::from_seed("witness.example/w", &[seed; 32]).unwrap();
            key.verifier().to_string()
        };
        let with = |lines: &str| load(&format!("{GOOD}[[witness]]\n{lines}\n"));
        let good = format!("name = \"one\"\nurl = \"https://witness.example/a\"\nvkey = \"{}\"", vkey(1));
        let config = with(&format!("{good}\nauthority = \"ca.pem\"")).unwrap();
        assert_eq!((config.witness[0].min_interval_ms, config.witness[0].timeout_ms), (250, 5_000));
        assert!(config.witness[0].authority.as_ref().unwrap().is_absolute());
        let log = "example.org/log+530f903d+AWZ0Yf6dvEMe1DfpI6cPRxOjDKJq0v3mBq8mBhqHTqJ9".to_owned();
        for (lines, words) in [
            (good.replace("https", "ftp"), "witness.url of \"one\""),
            (good.replace("https://witness.example/a", "witness.example"), "expected https://"),
            (good.replace(&vkey(1), "nonsense"), "witness.vkey"),
            (good.replace(&vkey(1), &log), "witness.vkey"),
            (good.replace("\"one\"", "\"o n e\""), "witness.name"),
            (format!("{good}\nmin_interval_ms = 0"), "witness.min_interval_ms of \"one\": 0: expected"),
            (format!("{good}\ntimeout_ms = 60001"), "witness.timeout_ms"),
            (format!("{good}\nintervall = 3"), "unknown key \"intervall\""),
            (format!("{good}\n[[witness]]\n{good}"), "another witness has this name"),
            (
                format!("{good}\n[[witness]]\n{}", good.replace("one", "two")),
                "the witness \"one\" has this key",
            ),
        ] {
            let error = with(&lines).unwrap_err().to_string();
            assert!(error.contains(words), "{lines}: {error}");
        }
    }

    #[test]
    fn not_toml_at_all_says_where() {
        let error = load("[node\nid").unwrap_err().to_string();
        assert!(error.contains("line") || error.contains("expected"), "{error}");
    }
}
