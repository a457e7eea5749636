//! An export of one frozen ledger, and the statement beside it.
//!
//! Contract: the export has `_system` and the ledger. The newest document under `frozen/<name>` in that `_system` says that the
//! ledger is frozen. `statement.json` says nothing that the export does not prove: it is made of what was recomputed, and
//! compared with that to the byte.

use std::path::Path;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::{
    entry::OpKind,
    frozen::{FreezeRecord, frozen_key},
    name::{ClusterOrigin, LedgerName},
    policy::Policy,
    position::{LogIndex, Revision},
};
use serde::Serialize;

use crate::{
    block::Block,
    error::ArchiveError,
    export::must_read,
    exported::Export,
    files,
    verify::{Verified, VerifiedLedger},
};

/// The format of statements.
pub const STATEMENT_FORMAT: &str = "quorate-frozen-ledger/1";
/// The file.
pub const STATEMENT: &str = "statement.json";

/// What an export of a frozen ledger proves. Only [`Export::frozen`] makes one.
#[derive(Debug)]
pub struct FrozenLedger {
    cluster: ClusterOrigin,
    system: VerifiedLedger,
    ledger: VerifiedLedger,
    /// Where the document stands in `_system`.
    index: LogIndex,
    revision: Revision,
    reason: String,
}

/// The newest document about the ledger, as far as `_system` was read.
#[derive(Debug)]
struct Document {
    index: LogIndex,
    revision: Revision,
    value: Option<Bytes>,
}

#[derive(Serialize)]
struct Statement<'s> {
    format: &'static str,
    statement: String,
    cluster: &'s str,
    ledger: &'s str,
    size: u64,
    log_root: String,
    state_root: String,
    /// Of the last block, microseconds since the Unix epoch.
    time: u64,
    frozen_by: FrozenBy<'s>,
    checkpoint: String,
    system_checkpoint: String,
}

#[derive(Serialize)]
struct FrozenBy<'s> {
    key: String,
    revision: u64,
    /// Log index in `_system`.
    index: u64,
    reason: &'s str,
}

impl Export {
    /// Verifies an export of one frozen ledger. `each` is told of every block, as in [`Export::verify`].
    ///
    /// # Errors
    /// [`ArchiveError`]: also an export of other ledgers, and of one that is not frozen.
    pub fn frozen(
        &self,
        policy: &Policy,
        mut each: impl FnMut(&LedgerName, &Block),
    ) -> Result<FrozenLedger, ArchiveError> {
        let path = self.path("export.json");
        let [system, name] = self.ledgers() else {
            return Err(ArchiveError::file(
                path,
                "an archived ledger is an export of _system and that ledger",
            ));
        };
        if !system.is_system() || name.is_system() {
            return Err(ArchiveError::file(
                path,
                "an archived ledger is an export of _system and that ledger",
            ));
        }
        let key = frozen_key(name);
        let mut newest = None;
        let verified = self.verify(policy, |ledger, block| {
            if ledger == system {
                newest = of_block(block, &key).or(newest.take());
            }
            each(ledger, block);
        })?;
        let open = |problem: &str| ArchiveError::Ledger {
            path: self.path(system.as_str()),
            ledger: name.clone(),
            problem: problem.to_owned(),
        };
        let Some(Document { index, revision, value: Some(value) }) = newest else {
            return Err(open("_system does not say that it is frozen"));
        };
        let record = FreezeRecord::decode(value).map_err(|error| open(&error.to_string()))?;
        if record.ledger != name.as_str() || !record.is_frozen() {
            return Err(open("_system says that it is not frozen"));
        }
        let Verified { cluster, ledgers } = verified;
        let ledgers = <[VerifiedLedger; 2]>::try_from(ledgers);
        let [system, ledger] = ledgers.map_err(|_| open("it was not verified"))?;
        Ok(FrozenLedger { cluster, system, ledger, index, revision, reason: record.reason })
    }

    /// Writes the statement beside the export.
    ///
    /// # Errors
    /// A failing disk.
    pub fn state(&self, frozen: &FrozenLedger) -> Result<(), ArchiveError> {
        let path = self.path(STATEMENT);
        files::write(&path, frozen.statement(&path)?.as_bytes())
    }

    /// Compares the statement beside the export with what the export proves.
    ///
    /// # Errors
    /// It is missing, or says something else.
    pub fn check_statement(&self, frozen: &FrozenLedger) -> Result<(), ArchiveError> {
        let path = self.path(STATEMENT);
        if must_read(&path)? == frozen.statement(&path)?.as_bytes() {
            return Ok(());
        }
        Err(ArchiveError::file(path, "the statement is not what the leaves and checkpoints beside it prove"))
    }
}

impl FrozenLedger {
    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterOrigin {
        &self.cluster
    }

    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> &VerifiedLedger {
        &self.ledger
    }

    /// Why it was frozen.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// How often it had been frozen and thawed.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    fn statement(&self, path: &Path) -> Result<String, ArchiveError> {
        let ledger = &self.ledger;
        let (name, certified) = (ledger.name(), ledger.certified());
        let checkpoint = certified.checkpoint();
        let statement = format!(
            "Ledger {name} of {} is frozen at size {}. Every leaf, every operation and every value that was not erased \
             is beside this file; all of it was recomputed, and leads to this checkpoint, which a quorum cosigned.",
            self.cluster, checkpoint.size
        );
        let statement = Statement {
            format: STATEMENT_FORMAT,
            statement,
            cluster: self.cluster.as_str(),
            ledger: name.as_str(),
            size: checkpoint.size.get(),
            log_root: checkpoint.root.to_string(),
            state_root: ledger.state_root().to_string(),
            time: ledger.time().get(),
            frozen_by: FrozenBy {
                key: format!("frozen/{name}"),
                revision: self.revision.get(),
                index: self.index.get(),
                reason: &self.reason,
            },
            checkpoint: certified.note().to_string(),
            system_checkpoint: self.system.certified().note().to_string(),
        };
        let text =
            serde_json::to_string_pretty(&statement).map_err(|error| ArchiveError::file(path, error))?;
        Ok(text + "\n")
    }
}

/// The last write of a key in a block.
fn of_block(block: &Block, key: &[u8]) -> Option<Document> {
    let writes = block.transactions().iter().flat_map(|transaction| {
        let operations = transaction.operations().iter().zip(transaction.contents());
        operations.map(|(operation, content)| (transaction.index(), operation, content))
    });
    let (index, operation, content) =
        writes.filter(|(_, operation, _)| operation.kind == OpKind::Put && operation.key == key).last()?;
    let value = content.map(|content| content.value.clone());
    Some(Document { index, revision: operation.revision, value })
}
