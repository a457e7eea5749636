//! `quorate backup create`: from a running cluster into an archive.
//!
//! Each ledger is read up to one certified checkpoint of its own, `_system` first: it says which ledgers there are. What
//! is read is proven before it is written, by the client; that the archive as a whole leads to the checkpoint's root is
//! checked once more, by the archive, before it becomes the new backup.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt as _;
use indicatif::ProgressBar;
use quorate_archive::Writer;
use quorate_client::{
    CertifiedCheckpoint, CheckpointOptions, Client, Ledger, MemoryTrust, Policy, Query, ReadOptions,
};
use quorate_core::name::LedgerName;

use super::args::CreateArgs;
use super::documents::{Backup, BackupLedger};
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::Table;
use crate::session::Session;
use crate::{convert, progress};

/// What the keys of the registry begin with, before a ledger's name.
const REGISTRY: &[u8] = b"ledgers/";

/// Backs up.
pub(super) async fn run(global: &Global, session: &Session, args: &CreateArgs) -> Result<Exit, CliError> {
    let one;
    let client = match args.replica {
        None => &session.client,
        Some(node) => {
            one = client_of(global, session, node).await?;
            &one
        }
    };
    let mut writer = Writer::open_in(args.to.open()?, client.cluster())?;
    let bar = progress::bar(session.output, "backing up", 0);
    let (mut ledgers, mut policies) = (Vec::new(), Vec::new());
    let system = LedgerName::system();
    // The registry at the size that is archived: a ledger that is born meanwhile is in the next backup.
    let latest = CheckpointOptions::latest();
    let (copied, certified) = copy(client, &mut writer, &system, latest, &bar).await?;
    done(copied, &mut ledgers, &mut policies);
    for name in registered(client, &certified).await? {
        let (copied, _) = copy(client, &mut writer, &name, latest, &bar).await?;
        done(copied, &mut ledgers, &mut policies);
    }
    bar.finish_and_clear();
    let published = writer.publish(&joined(&policies)?)?;
    let document = Backup {
        directory: args.to.to_string(),
        cluster: client.cluster().to_string(),
        incremental: published.continued,
        added: published.added.to_string(),
        ledgers,
    };
    session.output.result("backup", &document, table)?;
    session.output.hint("`quorate backup verify` recomputes all of it; keep a copy elsewhere");
    Ok(Exit::Done)
}

fn done(
    (ledger, policy): (BackupLedger, Arc<Policy>),
    ledgers: &mut Vec<BackupLedger>,
    policies: &mut Vec<Arc<Policy>>,
) {
    ledgers.push(ledger);
    policies.push(policy);
}

/// Copies what is new of one ledger, up to a certified checkpoint.
pub(super) async fn copy(
    client: &Client,
    writer: &mut Writer,
    name: &LedgerName,
    which: CheckpointOptions,
    bar: &ProgressBar,
) -> Result<((BackupLedger, Arc<Policy>), Arc<CertifiedCheckpoint>), CliError> {
    let ledger: Ledger = client.ledger(name.as_str());
    let certified = ledger.checkpoint(which).await?;
    let policy = ledger.policy().await?;
    let end = certified.checkpoint().size.next_index();
    let mut target = writer.ledger(name);
    let first = target.next();
    let new = end.since(first).unwrap_or_default();
    bar.inc_length(new);
    if new > 0 {
        let mut entries = ledger.entries(first, Some(end));
        while let Some(entry) = entries.try_next().await? {
            target.push(&entry)?;
            bar.inc(1);
        }
    }
    target.finish(certified.note().clone())?;
    let copied = BackupLedger {
        ledger: name.to_string(),
        added: new.to_string(),
        checkpoint: convert::checkpoint(&certified),
    };
    Ok(((copied, policy), certified))
}

/// The ledgers registered in `_system` at a checkpoint, by name.
async fn registered(
    client: &Client,
    certified: &CertifiedCheckpoint,
) -> Result<BTreeSet<LedgerName>, CliError> {
    let system = client.ledger(LedgerName::SYSTEM);
    let last = certified.checkpoint().size.last_index().unwrap_or_default();
    let options = ReadOptions::new().at(last);
    let entries = system.scan(Query::Prefix(REGISTRY.to_vec()), options).all().await?;
    let names = entries.iter().filter_map(|entry| entry.key.strip_prefix(REGISTRY));
    names
        .map(|name| {
            let name = String::from_utf8_lossy(name);
            LedgerName::new(&name)
                .map_err(|error| CliError::other(format!("_system registers {name:?}: {error}")))
        })
        .collect()
}

/// A client that reads from one node.
async fn client_of(global: &Global, session: &Session, node: u64) -> Result<Client, CliError> {
    let status = session.client.status().await;
    let found = status.iter().find(|(_, status)| status.as_ref().is_ok_and(|status| status.node_id == node));
    let Some((endpoint, _)) = found else {
        return Err(CliError::usage(
            format!("none of the endpoints is node {node}, or it does not answer"),
            "`quorate status` shows which node answers where; --endpoints names them",
        ));
    };
    let only = Global { endpoints: vec![endpoint.clone()], ..global.clone() };
    Session::client(&only, Arc::new(MemoryTrust::new()))
}

/// One policy with the logs of all, whose other lines are the same.
pub(super) fn joined(policies: &[Arc<Policy>]) -> Result<Policy, CliError> {
    let mut text = String::new();
    let mut listed = BTreeSet::new();
    for log in policies.iter().flat_map(|policy| policy.logs()) {
        let line = format!("log {}\n", log.key());
        if listed.insert(line.clone()) {
            text.push_str(&line);
        }
    }
    let rules = policies.first().map(ToString::to_string).unwrap_or_default();
    text.extend(rules.split_inclusive('\n').filter(|line| !line.starts_with("log ")));
    Policy::parse(text).map_err(|error| CliError::other(error.to_string()))
}

fn table(document: &Backup) -> String {
    let mut rows = Table::new(["LEDGER", "ADDED", "LEAVES", "LOG ROOT"]);
    for ledger in &document.ledgers {
        let checkpoint = &ledger.checkpoint;
        rows.row([
            ledger.ledger.clone(),
            ledger.added.clone(),
            checkpoint.size.clone(),
            checkpoint.log_root.clone(),
        ]);
    }
    let kind = if document.incremental { "added to the backup" } else { "backup" };
    format!("{kind} of {} in {}: {} leaves\n\n{rows}", document.cluster, document.directory, document.added)
}
