//! A witness for logs that are not recomputed: vouches that each only grows (c2sp.org/tlog-witness).
//!
//! Contract: what was cosigned last of each origin is in one file, `witness.db`; comparing with it and replacing it is one
//! transaction, which is on disk before the cosignature is given. So of two submissions at once the second is judged
//! against the first, and after a crash no smaller size and no other root is ever signed.

use std::path::Path;

use quorate_core::checkpoint::Checkpoint;
use quorate_core::hash::Hash;
use quorate_core::key::{CosignerKey, KeyError};
use quorate_core::note::SignedNote;
use quorate_core::policy::Policy;
use quorate_core::position::TreeSize;
use redb::{Database, ReadableTable as _, TableDefinition};

use crate::clock;
use crate::store::StoreError;
use crate::submission::{Recorded, Refusal, Submission};

/// origin → size u64 ‖ time u64 (seconds) ‖ root 32
const LOGS: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("logs");
/// Cached pages of the database, bytes.
const CACHE: usize = 4 << 20;

/// A witness of the logs of a policy.
#[derive(Debug)]
pub struct LogWitness {
    key: CosignerKey,
    logs: Policy,
    records: Records,
}

/// What came of a submission.
#[derive(Debug)]
pub enum Answer {
    /// The signature line, with its newline.
    Cosigned(String),
    /// It is not cosigned.
    Refused(Refusal),
}

impl LogWitness {
    /// Opens or makes the file in a directory. Of the policy, the logs count.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(directory: &Path, key: CosignerKey, logs: Policy) -> Result<Self, StoreError> {
        Ok(Self { key, logs, records: Records::open(directory)? })
    }

    /// Answers one submission. Blocks until what is signed is on disk.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was signed.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<Answer, StoreError> {
        let submission = match Submission::parse(body) {
            Ok(submission) => submission,
            Err(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let judge = |recorded| submission.judge(&self.logs, recorded).cloned();
        let (checkpoint, time) = match self.records.replace(submission.origin(), judge)? {
            Ok(promised) => promised,
            Err(refusal) => return Ok(Answer::Refused(refusal)),
        };
        let line = signature_line(&self.key, checkpoint, time);
        line.map(Answer::Cosigned).map_err(|error| self.records.0.damaged(error))
    }
}

/// The line of a cosignature, with its newline.
pub(crate) fn signature_line(
    key: &CosignerKey,
    checkpoint: Checkpoint,
    time: u64,
) -> Result<String, KeyError> {
    let cosignature = key.cosign(&checkpoint, time)?;
    let mut note = SignedNote::new(checkpoint);
    note.add(cosignature.to_line());
    let text = note.to_string();
    Ok(text.split_once("\n\n").map_or(text.as_str(), |(_, lines)| lines).to_owned())
}

/// What was cosigned last of each origin.
#[derive(Debug)]
struct Records(File);

/// The database, with its path for messages.
struct File {
    database: Database,
    path: std::path::PathBuf,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}

impl File {
    fn error(&self, source: impl Into<redb::Error>) -> StoreError {
        StoreError::Database { path: self.path.clone(), source: source.into() }
    }

    fn damaged(&self, problem: impl std::fmt::Display) -> StoreError {
        StoreError::Promises { path: self.path.clone(), problem: problem.to_string() }
    }
}

impl Records {
    fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("witness.db");
        let opened = Database::builder().set_cache_size(CACHE).create(&path);
        let database =
            opened.map_err(|source| StoreError::Database { path: path.clone(), source: source.into() })?;
        Ok(Self(File { database, path }))
    }

    /// Judges by what is recorded of an origin, and records what passed: it is on disk when this returns, with the time to
    /// sign it with.
    fn replace(
        &self,
        origin: &str,
        judge: impl FnOnce(Option<Recorded>) -> Result<Checkpoint, Refusal>,
    ) -> Result<Result<(Checkpoint, u64), Refusal>, StoreError> {
        let file = &self.0;
        // One at a time: the next waits here until this one is on disk.
        let transaction = file.database.begin_write().map_err(|error| file.error(error))?;
        let promised = {
            let mut table = transaction.open_table(LOGS).map_err(|error| file.error(error))?;
            let before = match table.get(origin).map_err(|error| file.error(error))? {
                Some(row) => {
                    let decoded = decode(row.value());
                    Some(
                        decoded
                            .ok_or_else(|| file.damaged(format!("the record of {origin} does not decode")))?,
                    )
                }
                None => None,
            };
            let checkpoint = match judge(before.map(|(recorded, _)| recorded)) {
                Ok(checkpoint) => checkpoint,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let time = before.map_or(0, |(_, time)| time).max(clock::now_secs());
            let row =
                [checkpoint.size.to_be_bytes().as_slice(), &time.to_be_bytes(), checkpoint.root.as_bytes()]
                    .concat();
            table.insert(origin, row.as_slice()).map_err(|error| file.error(error))?;
            (checkpoint, time)
        };
        transaction.commit().map_err(|error| file.error(error))?;
        Ok(Ok(promised))
    }
}

fn decode(row: &[u8]) -> Option<(Recorded, u64)> {
    let (size, rest) = row.split_first_chunk::<8>()?;
    let (time, root) = rest.split_first_chunk::<8>()?;
    let root = Hash::new(root.try_into().ok()?);
    Some((Recorded { size: TreeSize::from_be_bytes(*size), root }, u64::from_be_bytes(*time)))
}
