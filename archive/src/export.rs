//! Exports: an archive in formats that anybody reads, and back.
//!
//! ```text
//! OUT/export.json                      format, cluster, names of the ledgers
//! OUT/policy                           c2sp.org/tlog-policy: every ledger's log, and the cosigners
//! OUT/<ledger>/checkpoint              c2sp.org/tlog-checkpoint, cosigned
//! OUT/<ledger>/tile/…                  c2sp.org/tlog-tiles: hashes of all levels, and the leaves
//! OUT/<ledger>/leaves.jsonl            a line per leaf: the leaf, its operations, what they wrote; bytes in base64
//! ```
//!
//! Contract: complete or not there. An export proves as much as its archive: `core/examples/verify_export.rs` verifies it
//! with the core alone. An import reads `export.json`, `policy`, the checkpoints and the lines, and gives an archive, whose
//! leaves must lead to the checkpoints; the tiles follow from the lines and are not read.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use quorate_core::{
    name::{ClusterOrigin, LedgerName},
    note::SignedNote,
    policy::Policy,
};
use quorate_proto::v1::{Content, LogEntry};
use serde::{Deserialize, Serialize};

use crate::{
    block::Block,
    error::ArchiveError,
    files,
    manifest::ArchivedLedger,
    reader::Archive,
    storage::Storage,
    tiles::Tiles,
    writer::{Published, Writer},
};

/// The format of exports.
pub const EXPORT_FORMAT: &str = "quorate-export/1";

pub(crate) const INDEX: &str = "export.json";
pub(crate) const POLICY: &str = "policy";
pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const LEAVES: &str = "leaves.jsonl";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    pub(crate) format: String,
    pub(crate) cluster: String,
    pub(crate) ledgers: Vec<String>,
}

/// A line of `leaves.jsonl`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    index: u64,
    leaf: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    operations: Vec<OperationLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta_salt: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationLine {
    operation: String,
    /// Absent for deletes and erases, and for values that were erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrote: Option<ContentLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentLine {
    salt: String,
    attributes: String,
    value: String,
}

impl Archive {
    /// Writes an export of all ledgers to `out`, which must be empty or not exist. Checks what blocks show by themselves;
    /// [verify](Archive::verify) before or after for the rest. `progress` is told how many leaves were done.
    ///
    /// # Errors
    /// [`ArchiveError`]: nothing is at `out` then.
    pub fn export(&self, out: &Path, mut progress: impl FnMut(u64)) -> Result<(), ArchiveError> {
        if let Some(found) = files::list(out)?.into_iter().next() {
            return Err(ArchiveError::file(out.join(found.name), "the directory of an export must be empty"));
        }
        let making = out.with_extension("incomplete");
        if making.exists() {
            fs::remove_dir_all(&making).map_err(ArchiveError::io("remove", &making))?;
        }
        files::create_dir(&making)?;
        let manifest = self.manifest();
        files::write(&making.join(POLICY), manifest.policy.to_string().as_bytes())?;
        for ledger in &manifest.ledgers {
            self.export_ledger(&making.join(ledger.name.as_str()), ledger, &mut progress)?;
        }
        let index = Index {
            format: EXPORT_FORMAT.to_owned(),
            cluster: manifest.cluster.to_string(),
            ledgers: manifest.ledgers.iter().map(|ledger| ledger.name.to_string()).collect(),
        };
        let index = serde_json::to_vec_pretty(&index);
        let index = index.map_err(|error| ArchiveError::file(making.join(INDEX), error))?;
        files::write(&making.join(INDEX), &index)?;
        files::sync_dir(&making)?;
        if out.exists() {
            fs::remove_dir(out).map_err(ArchiveError::io("replace", out))?;
        }
        fs::rename(&making, out).map_err(ArchiveError::io("rename", &making))
    }

    fn export_ledger(
        &self,
        folder: &Path,
        ledger: &ArchivedLedger,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), ArchiveError> {
        files::create_dir(folder)?;
        files::write(&folder.join(CHECKPOINT), ledger.note.to_string().as_bytes())?;
        let path = folder.join(LEAVES);
        let mut lines = BufWriter::new(File::create(&path).map_err(ArchiveError::io("create", &path))?);
        let mut tiles = Tiles::written(folder.join("tile"));
        self.walk(ledger, |block| {
            for line in lines_of(&block) {
                serde_json::to_writer(&mut lines, &line).map_err(|error| ArchiveError::file(&path, error))?;
                lines.write_all(b"\n").map_err(ArchiveError::io("write", &path))?;
            }
            for transaction in block.transactions() {
                tiles.push(transaction.leaf_bytes())?;
            }
            tiles.push(block.commit_bytes())?;
            progress(u64::try_from(block.len()).unwrap_or(u64::MAX));
            Ok::<(), ArchiveError>(())
        })?;
        tiles.finish()?;
        let file = lines.into_inner().map_err(|error| error.into_error());
        file.and_then(|file| file.sync_all()).map_err(ArchiveError::io("write", &path))
    }
}

/// Makes an archive of an export, in a place where nothing is. Verify it afterwards.
///
/// # Errors
/// [`ArchiveError`]: a line that is none, leaves that do not lead to their checkpoint; there is no archive then.
pub fn import(
    export: &Path,
    storage: Arc<dyn Storage>,
    mut progress: impl FnMut(u64),
) -> Result<Published, ArchiveError> {
    let (path, index, cluster, policy) = read_index(export)?;
    let place = storage.path("");
    let mut writer = Writer::open_in(storage, &cluster)?;
    if writer.before().is_some() {
        return Err(ArchiveError::file(place, "there is an archive already: import into an empty directory"));
    }
    for name in &index.ledgers {
        let name = LedgerName::new(name).map_err(|error| ArchiveError::file(&path, error))?;
        let folder = export.join(name.as_str());
        let note_path = folder.join(CHECKPOINT);
        let note = String::from_utf8_lossy(&must_read(&note_path)?).into_owned();
        let note = SignedNote::parse(&note).map_err(|error| ArchiveError::file(&note_path, error))?;
        let leaves = folder.join(LEAVES);
        let file = File::open(&leaves).map_err(ArchiveError::io("open", &leaves))?;
        let mut target = writer.ledger(&name);
        for (number, line) in (1..).zip(BufReader::new(file).lines()) {
            let line = line.map_err(ArchiveError::io("read", &leaves))?;
            let wrong = |problem: String| ArchiveError::file(&leaves, format!("line {number}: {problem}"));
            let line: Line = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
            target.push(&line.into_entry().map_err(wrong)?)?;
            progress(1);
        }
        target.finish(note)?;
    }
    writer.publish(&policy)
}

/// What an export says of itself: the file, what is in it, the cluster and the policy.
pub(crate) fn read_index(export: &Path) -> Result<(PathBuf, Index, ClusterOrigin, Policy), ArchiveError> {
    let path = export.join(INDEX);
    let index: Index =
        serde_json::from_slice(&must_read(&path)?).map_err(|e| ArchiveError::file(&path, e))?;
    if index.format != EXPORT_FORMAT {
        let problem = format!("format: it is {:?}, and this version reads {EXPORT_FORMAT:?}", index.format);
        return Err(ArchiveError::file(path, problem));
    }
    let cluster = ClusterOrigin::parse(&index.cluster).map_err(|error| ArchiveError::file(&path, error))?;
    let policy_path = export.join(POLICY);
    let policy = Policy::parse(must_read(&policy_path)?).map_err(|e| ArchiveError::file(&policy_path, e))?;
    Ok((path, index, cluster, policy))
}

pub(crate) fn must_read(path: &Path) -> Result<Vec<u8>, ArchiveError> {
    files::read(path)?.ok_or_else(|| ArchiveError::file(path, "the file is missing"))
}

fn lines_of(block: &Block) -> impl Iterator<Item = Line> {
    let transactions = block.transactions().iter().map(|transaction| Line {
        index: transaction.index().get(),
        leaf: STANDARD.encode(transaction.leaf_bytes()),
        operations: transaction
            .operation_bytes()
            .iter()
            .zip(transaction.contents())
            .map(|(operation, content)| OperationLine {
                operation: STANDARD.encode(operation),
                wrote: content.map(|content| ContentLine {
                    salt: STANDARD.encode(&content.salt),
                    attributes: STANDARD.encode(&content.attributes),
                    value: STANDARD.encode(&content.value),
                }),
            })
            .collect(),
        meta: Some(STANDARD.encode(transaction.meta())),
        meta_salt: Some(STANDARD.encode(transaction.meta_salt())),
    });
    let commit = Line {
        index: block.commit().index().map_or(0, |index| index.get()),
        leaf: STANDARD.encode(block.commit_bytes()),
        operations: Vec::new(),
        meta: None,
        meta_salt: None,
    };
    transactions.chain([commit])
}

impl Line {
    pub(crate) fn into_entry(self) -> Result<LogEntry, String> {
        let mut operations = Vec::with_capacity(self.operations.len());
        let mut contents = Vec::with_capacity(self.operations.len());
        for operation in self.operations {
            operations.push(decode("operation", &operation.operation)?);
            contents.push(match operation.wrote {
                None => Content::default(),
                Some(wrote) => Content {
                    salt: decode("salt", &wrote.salt)?,
                    attributes: decode("attributes", &wrote.attributes)?,
                    value: decode("value", &wrote.value)?,
                },
            });
        }
        Ok(LogEntry {
            index: self.index,
            leaf: decode("leaf", &self.leaf)?,
            operations,
            contents,
            meta: decode("meta", self.meta.as_deref().unwrap_or_default())?,
            meta_salt: decode("meta_salt", self.meta_salt.as_deref().unwrap_or_default())?,
        })
    }
}

fn decode(field: &str, text: &str) -> Result<Bytes, String> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| format!("{field}: {error}"))
}
