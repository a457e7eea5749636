//! The manifest: what an archive holds, as JSON that has exactly one spelling.
//!
//! Parsed in two steps: the bytes must be what this version would write for what they say, digest included, and what
//! they say must fit together. Whether the checkpoints are signed by whom a policy names is for
//! [`Archive::verify`](crate::Archive::verify).

use quorate_core::{
    checkpoint::Checkpoint,
    hash::{Hash, sha256},
    name::{ClusterOrigin, LedgerName},
    note::SignedNote,
    policy::Policy,
    position::{LogIndex, TreeSize},
    tree::Frontier,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::ArchiveError,
    storage::{self, Storage},
};

/// The name of the manifest.
pub const MANIFEST: &str = "manifest.json";

/// The format of the manifest and of everything it names.
pub const FORMAT: &str = "quorate-archive/1";

/// What an archive holds.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The origin of the cluster.
    pub cluster: ClusterOrigin,
    /// The policy by which whoever wrote it believed the checkpoints: every ledger's log, and the cosigners.
    pub policy: Policy,
    /// The ledgers: `_system` first, the others by name.
    pub ledgers: Vec<ArchivedLedger>,
}

/// A ledger in an archive.
#[derive(Debug, Clone)]
pub struct ArchivedLedger {
    /// Its name.
    pub name: LedgerName,
    /// The cosigned checkpoint that covers all of it.
    pub note: SignedNote,
    /// The right edge of its log tree: what the next leaves are appended to. Its root is the checkpoint's.
    pub edge: Frontier,
    /// Its leaves, in order, without gaps.
    pub segments: Vec<Segment>,
}

/// A file with consecutive leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The first leaf.
    pub first: LogIndex,
    /// How many.
    pub entries: u64,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Hash,
}

impl ArchivedLedger {
    /// The checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        self.note.checkpoint()
    }

    /// The file of a segment of it.
    #[must_use]
    pub fn file(&self, segment: &Segment) -> String {
        storage::segment_of(&self.name, segment.first)
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    format: String,
    cluster: String,
    policy: String,
    ledgers: Vec<LedgerFile>,
    sha256: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerFile {
    name: String,
    checkpoint: String,
    edge: Vec<String>,
    segments: Vec<SegmentFile>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentFile {
    first: u64,
    entries: u64,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// The manifest of the archive in a place; `None` where there is none.
    pub(crate) fn load(storage: &dyn Storage) -> Result<Option<Self>, ArchiveError> {
        let Some(bytes) = storage.read(MANIFEST)? else {
            return Ok(None);
        };
        Self::parse(&bytes).map(Some).map_err(|problem| ArchiveError::file(storage.path(MANIFEST), problem))
    }

    /// Reads a manifest.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let file: ManifestFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if file.format != FORMAT {
            return Err(format!("format: it is {:?}, and this version reads {FORMAT:?}", file.format));
        }
        if file.encode()? != bytes {
            return Err("it is not what was written: its spelling is another one".to_owned());
        }
        if file.digest()?.to_string() != file.sha256 {
            return Err("it is not what was written: it does not match its sha256".to_owned());
        }
        file.into_manifest()
    }

    /// The bytes of the manifest.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut file = ManifestFile {
            format: FORMAT.to_owned(),
            cluster: self.cluster.as_str().to_owned(),
            policy: self.policy.to_string(),
            ledgers: self.ledgers.iter().map(LedgerFile::of).collect(),
            sha256: String::new(),
        };
        file.sha256 = file.digest()?.to_string();
        file.encode()
    }

    /// A ledger by name.
    #[must_use]
    pub fn ledger(&self, name: &LedgerName) -> Option<&ArchivedLedger> {
        self.ledgers.iter().find(|ledger| ledger.name == *name)
    }
}

impl ManifestFile {
    fn encode(&self) -> Result<Vec<u8>, String> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Over the manifest with an empty `sha256`.
    fn digest(&self) -> Result<Hash, String> {
        Ok(sha256(&[&Self { sha256: String::new(), ..self.clone() }.encode()?]))
    }

    fn into_manifest(self) -> Result<Manifest, String> {
        let cluster = ClusterOrigin::parse(&self.cluster).map_err(|error| format!("cluster: {error}"))?;
        let policy = Policy::parse(&self.policy).map_err(|error| format!("policy: {error}"))?;
        let mut ledgers: Vec<ArchivedLedger> = Vec::new();
        for file in self.ledgers {
            let name = file.name.clone();
            let ledger = file.into_ledger(&cluster).map_err(|problem| format!("ledger {name}: {problem}"))?;
            let in_order = match ledgers.last() {
                None => ledger.name.is_system(),
                Some(last) if last.name.is_system() => !ledger.name.is_system(),
                Some(last) => last.name < ledger.name,
            };
            if !in_order {
                return Err(format!("ledger {name}: _system comes first, the others by name, each once"));
            }
            ledgers.push(ledger);
        }
        if ledgers.is_empty() {
            return Err("ledgers: there is none".to_owned());
        }
        Ok(Manifest { cluster, policy, ledgers })
    }
}

impl LedgerFile {
    fn of(ledger: &ArchivedLedger) -> Self {
        let segments = ledger.segments.iter().map(|segment| SegmentFile {
            first: segment.first.get(),
            entries: segment.entries,
            bytes: segment.bytes,
            sha256: segment.sha256.to_string(),
        });
        Self {
            name: ledger.name.to_string(),
            checkpoint: ledger.note.to_string(),
            edge: ledger.edge.peaks().iter().map(Hash::to_string).collect(),
            segments: segments.collect(),
        }
    }

    fn into_ledger(self, cluster: &ClusterOrigin) -> Result<ArchivedLedger, String> {
        let name = LedgerName::new(&self.name).map_err(|error| error.to_string())?;
        let note = SignedNote::parse(&self.checkpoint).map_err(|error| format!("checkpoint: {error}"))?;
        let checkpoint = note.checkpoint();
        let origin = cluster.ledger(&name);
        if checkpoint.origin != origin.as_str() {
            return Err(format!("checkpoint: it is of {}, not of {origin}", checkpoint.origin));
        }
        let peaks = self.edge.iter().map(|peak| Hash::from_hex(peak)).collect::<Result<_, _>>();
        let peaks = peaks.map_err(|error| format!("edge: {error}"))?;
        let edge = Frontier::from_parts(checkpoint.size, peaks).map_err(|error| format!("edge: {error}"))?;
        if edge.root() != checkpoint.root {
            return Err("edge: it does not lead to the root of the checkpoint".to_owned());
        }
        let mut next = TreeSize::ZERO;
        let mut segments = Vec::with_capacity(self.segments.len());
        for file in self.segments {
            let sha256 = Hash::from_hex(&file.sha256).map_err(|error| format!("segments: {error}"))?;
            if file.first != next.get() || file.entries == 0 {
                return Err(format!("segments: the leaves from {next} on are missing"));
            }
            let after = next.checked_add(file.entries);
            next = after.ok_or_else(|| "segments: more leaves than a log can have".to_owned())?;
            let first = LogIndex::new(file.first);
            segments.push(Segment { first, entries: file.entries, bytes: file.bytes, sha256 });
        }
        if next != checkpoint.size {
            return Err(format!("segments: they end at {next}, and the checkpoint at {}", checkpoint.size));
        }
        Ok(ArchivedLedger { name, note, edge, segments })
    }
}
