//! `quorate ledger archive` and `verify`: a frozen ledger in open formats, with a statement of what it holds.
//!
//! Made beside the directory, recomputed there from the files alone, and renamed as a whole: so the directory is complete or not
//! there. **If we crash** before the rename, `DIR.unfinished` is left, and the next run begins with what it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_archive::{Archive, Block, Export, FrozenLedger, STATEMENT, Writer};
use quorate_client::{CheckpointOptions, Hash, LedgerInfo, LogIndex, Receipt, TreeSize};
use quorate_core::name::LedgerName;
use quorate_core::policy::Policy;
use quorate_core::tree::Frontier;
use serde::Serialize;

use super::create::{copy, joined};
use crate::commands::files::read_receipt;
use crate::commands::ledger::one;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::json::{Bytes, Checkpoint};
use crate::output::{Table, text};
use crate::session::Session;
use crate::{convert, policy_files, progress};

/// How long the checkpoint of the frozen ledger is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// `archived_ledger`: what an archived ledger proves.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ArchivedLedger {
    pub(crate) directory: String,
    pub(crate) cluster: String,
    pub(crate) ledger: String,
    pub(crate) reason: String,
    pub(crate) revision: String,
    /// `given` or `inside`: whose policy it was verified by.
    pub(crate) policy: &'static str,
    pub(crate) transactions: String,
    pub(crate) keys: String,
    pub(crate) erased: String,
    pub(crate) state_root: String,
    pub(crate) checkpoint: Checkpoint,
    /// What was asked about a key; `null` if nothing was.
    pub(crate) value: Option<ArchivedValue>,
    /// The receipt that is of this history; `null` if none was given.
    pub(crate) receipt: Option<String>,
}

/// What an archived ledger holds under a key.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ArchivedValue {
    pub(crate) key: Bytes,
    /// `present`, `deleted`, `erased` or `never_written`. Whether a value has expired, its reader judges.
    pub(crate) state: &'static str,
    pub(crate) index: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) value: Option<Bytes>,
}

/// Archives a frozen ledger.
pub(crate) async fn archive(session: &Session, name: &str, to: &Path) -> Result<Exit, CliError> {
    refuse_full(to)?;
    let before = frozen_now(session, name).await?;
    let work = beside(to);
    let export = copied(session, &before, &work).await?;
    let opened = Export::open(&export)?;
    let frozen = opened.frozen(opened.policy(), |_, _| {})?;
    opened.state(&frozen)?;
    // Nobody thawed it while it was copied, so nothing is missing.
    let after = frozen_now(session, name).await?;
    if after.freeze != before.freeze {
        return Err(CliError::usage(
            format!("ledger {name} was thawed and frozen again while it was copied"),
            "run the command again",
        ));
    }
    fs::rename(&export, to).map_err(CliError::io("make", to))?;
    fs::remove_dir_all(&work).map_err(CliError::io("remove", &work))?;
    let document = document(to, &frozen, "inside");
    session.output.result("archived_ledger", &document, table)?;
    session.output.hint(&format!(
        "`quorate ledger verify {}` recomputes it, without any network; keep the policy elsewhere too",
        to.display()
    ));
    Ok(Exit::Done)
}

/// The ledger, which must be frozen.
async fn frozen_now(session: &Session, name: &str) -> Result<LedgerInfo, CliError> {
    let ledger = one(session, name).await?;
    if ledger.is_frozen() {
        return Ok(ledger);
    }
    Err(CliError::usage(
        format!("ledger {name} is not frozen: it still grows"),
        format!("`quorate ledger freeze {name}`, then archive it"),
    ))
}

/// The export of the ledger and of `_system`, made in the work folder.
async fn copied(session: &Session, ledger: &LedgerInfo, work: &Path) -> Result<PathBuf, CliError> {
    let (segments, export) = (work.join("segments"), work.join("export"));
    if export.exists() {
        fs::remove_dir_all(&export).map_err(CliError::io("remove", &export))?;
    }
    let client = &session.client;
    let name = LedgerName::new(&ledger.name).map_err(|error| CliError::other(error.to_string()))?;
    let mut writer = Writer::open(&segments, client.cluster())?;
    let bar = progress::bar(session.output, "copying", 0);
    let latest = CheckpointOptions::latest();
    let ((_, system), _) = copy(client, &mut writer, &LedgerName::system(), latest, &bar).await?;
    let whole = CheckpointOptions::at_size(ledger.size.unwrap_or_default()).wait(PATIENCE);
    let ((_, own), _) = copy(client, &mut writer, &name, whole, &bar).await?;
    bar.finish_and_clear();
    writer.publish(&joined(&[system, own])?)?;
    Archive::open(&segments)?.export(&export, |_| {})?;
    Ok(export)
}

/// Where it is made.
fn beside(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    to.with_file_name(name)
}

/// Refuses a directory with anything in it.
fn refuse_full(to: &Path) -> Result<(), CliError> {
    let entries = match fs::read_dir(to) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CliError::io("list", to)(error)),
    };
    let Some(found) = entries.flatten().next() else { return Ok(()) };
    let next = match to.join(STATEMENT).exists() {
        true => format!("it holds an archived ledger: `quorate ledger verify {}` shows which", to.display()),
        false => "give --to a directory that is empty or not there".to_owned(),
    };
    Err(CliError::usage(
        format!("{} is not empty: {} is in it", to.display(), found.file_name().to_string_lossy()),
        next,
    ))
}

/// What is looked for while an archive is verified.
#[derive(Default)]
struct Sought<'s> {
    key: Option<&'s [u8]>,
    value: Option<ArchivedValue>,
    /// The leaf that a receipt is about, and the size of its checkpoint.
    receipt: Option<(LogIndex, TreeSize)>,
    log: Frontier,
    leaf: Option<Hash>,
    root: Option<Hash>,
}

/// Verifies an archived ledger.
pub(crate) fn verify(
    global: &Global,
    dir: &Path,
    key: Option<&[u8]>,
    receipt: Option<&Path>,
) -> Result<Exit, CliError> {
    let export = Export::open(dir)?;
    let (policy, word) = judge(global, &export)?;
    let receipt = receipt.map(|path| receipt_of(path, &policy)).transpose()?;
    let mut sought = Sought { key, ..Sought::default() };
    sought.receipt = receipt.as_ref().map(|(_, index, _, checkpoint)| (*index, checkpoint.size));
    let frozen = export.frozen(&policy, |name, block| {
        if !name.is_system() {
            sought.look(block);
        }
    })?;
    export.check_statement(&frozen)?;
    let mut document = document(dir, &frozen, word);
    if let Some((path, _, leaf, checkpoint)) = receipt {
        let origin = &frozen.ledger().certified().checkpoint().origin;
        if (sought.leaf, sought.root) != (Some(leaf), Some(checkpoint.root)) || checkpoint.origin != *origin {
            return Err(CliError::Unverified {
                message: format!("{} is not of the history of {origin} in {}", path.display(), dir.display()),
                next: "the receipt is of another ledger, or one of the two is forged: keep both".to_owned(),
            });
        }
        document.receipt = Some(path.display().to_string());
    }
    document.value = key.map(|key| sought.value.unwrap_or_else(|| never_written(key)));
    let exit = match &document.value {
        Some(value) if value.value.is_none() => Exit::NotFound,
        _ => Exit::Done,
    };
    global.output().result("archived_ledger", &document, table)?;
    Ok(exit)
}

/// The given policy over the logs of the archive, or the one inside.
fn judge(global: &Global, export: &Export) -> Result<(Policy, &'static str), CliError> {
    let files = global.settings()?.policy;
    if files.is_empty() {
        global.output().warn(
            "no policy was given, so the one inside is used: it shows that nothing was altered since, not who signed; give \
             --policy to see that too",
        );
        return Ok((export.policy().clone(), "inside"));
    }
    let policy = export.policy_over(&policy_files::load(&files)?);
    let path = files.first().cloned().unwrap_or_default();
    Ok((policy.map_err(|source| CliError::Policy { path, source })?, "given"))
}

/// A receipt that holds: its file, the leaf it is about, and its checkpoint.
fn receipt_of<'p>(
    path: &'p Path,
    policy: &Policy,
) -> Result<(&'p Path, LogIndex, Hash, quorate_client::Checkpoint), CliError> {
    let because = |source| CliError::Receipt { path: path.to_owned(), source };
    let receipt = Receipt::parse(&read_receipt(path)?).map_err(because)?;
    let leaf = quorate_core::hash::leaf_hash(&receipt.extra().leaf);
    let index = receipt.index();
    let verified = receipt.verify(policy).map_err(because)?;
    Ok((path, index, leaf, verified.checkpoint().checkpoint().clone()))
}

impl Sought<'_> {
    fn look(&mut self, block: &Block) {
        if let Some(key) = self.key {
            for transaction in block.transactions() {
                for (operation, content) in transaction.operations().iter().zip(transaction.contents()) {
                    if operation.key == key && operation.kind.is_write() {
                        let state = match (operation.kind, content) {
                            (quorate_core::entry::OpKind::Delete, _) => "deleted",
                            (_, None) => "erased",
                            (_, Some(_)) => "present",
                        };
                        self.value = Some(ArchivedValue {
                            key: Bytes::of(key),
                            state,
                            index: Some(transaction.index().to_string()),
                            revision: Some(operation.revision.to_string()),
                            value: content.map(|content| Bytes::of(&content.value)),
                        });
                    }
                }
            }
        }
        let Some((index, size)) = self.receipt else { return };
        for hash in block.leaf_hashes() {
            if self.log.size().next_index() == index {
                self.leaf = Some(*hash);
            }
            self.log.push(*hash);
            if self.log.size() == size {
                self.root = Some(self.log.root());
            }
        }
    }
}

fn never_written(key: &[u8]) -> ArchivedValue {
    ArchivedValue { key: Bytes::of(key), state: "never_written", index: None, revision: None, value: None }
}

fn document(dir: &Path, frozen: &FrozenLedger, policy: &'static str) -> ArchivedLedger {
    let ledger = frozen.ledger();
    ArchivedLedger {
        directory: dir.display().to_string(),
        cluster: frozen.cluster().to_string(),
        ledger: ledger.name().to_string(),
        reason: frozen.reason().to_owned(),
        revision: frozen.revision().to_string(),
        policy,
        transactions: ledger.transactions().to_string(),
        keys: ledger.keys().to_string(),
        erased: ledger.erased().to_string(),
        state_root: ledger.state_root().to_string(),
        checkpoint: convert::checkpoint(ledger.certified()),
        value: None,
        receipt: None,
    }
}

fn table(document: &ArchivedLedger) -> String {
    let checkpoint = &document.checkpoint;
    let mut lines = format!(
        "verified: ledger {} of {}, frozen at size {}, {} transactions, {} keys; every root follows from the files\n\
         log root {}, {} cosigners, policy {}\n",
        document.ledger,
        document.cluster,
        checkpoint.size,
        document.transactions,
        document.keys,
        checkpoint.log_root,
        checkpoint.cosigners.len(),
        document.policy
    );
    if let Some(receipt) = &document.receipt {
        lines.push_str(&format!("{}: of this history\n", text::line(receipt)));
    }
    if let Some(value) = &document.value {
        let or_empty = |cell: &Option<String>| cell.clone().unwrap_or_default();
        let mut table = Table::new(["KEY", "STATE", "REVISION", "INDEX", "VALUE"]);
        table.row([
            convert::cell(&value.key),
            value.state.replace('_', " "),
            or_empty(&value.revision),
            or_empty(&value.index),
            value.value.as_ref().map(convert::cell).unwrap_or_default(),
        ]);
        lines.push_str(&table.to_string());
    }
    lines
}
