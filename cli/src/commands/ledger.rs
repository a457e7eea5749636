//! `quorate ledger`: creates, lists, freezes and archives ledgers.

use std::path::PathBuf;

use clap::Subcommand;
use quorate_client::{Error, LedgerInfo};

use crate::backup::frozen;
use crate::cli::online;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::keys::KeyAs;
use crate::output::{Table, json, text};
use crate::session::Session;

/// Create, list, freeze and archive ledgers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a ledger; a name is never used twice
    Create {
        /// Its name: lowercase letters, digits, dots, hyphens and underscores, at most 64
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the ledgers of the cluster
    List,
    /// Show one ledger, and whether it takes writes
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Have a ledger take no writes any more, for operators
    #[command(after_help = "\
From the block after the one that says so, every write to the ledger is refused (exit code 5), on
every node, after restarts, in snapshots, and in clusters restored from a backup. Reads, proofs,
scans, histories and subscriptions go on, and a write that was acknowledged before still gets its
receipt. It works while the disks are too full for writes. Freezing what is frozen changes nothing.

  quorate ledger freeze builds-2025 --reason 'the year is over'
  quorate ledger show builds-2025
  quorate ledger thaw builds-2025")]
    Freeze(Change),
    /// Have a frozen ledger take writes again, for operators
    Thaw(Change),
    /// Export a frozen ledger, verify the export offline, and state what it holds
    #[command(after_help = "\
DIR must be empty or not there. It gets the export of the ledger and of _system, which holds that
it is frozen (docs/formats.md, section 7.5), recomputed from the files before it is there, and
statement.json with the certified checkpoint. Interrupted, DIR is not there: run it again. Any
static web server may serve DIR: checkpoint and tiles are those of c2sp.org/tlog-tiles.

  quorate ledger freeze builds-2025
  quorate ledger archive builds-2025 --to /archive/builds-2025
  quorate ledger verify /archive/builds-2025 --policy default.policy")]
    Archive {
        /// The ledger; it must be frozen
        #[arg(value_name = "NAME")]
        name: String,
        /// Directory to write to: empty, or not there
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Verify an archived ledger, and read a key or check a receipt in it, without any network
    #[command(after_help = "\
Recomputes every root from the leaves, every tile, and that the ledger is frozen at this size, by
the policy given (or the one inside, which shows that nothing was altered, not who signed).

  quorate ledger verify /archive/builds-2025 --policy default.policy
  quorate ledger verify /archive/builds-2025 --key greeting
  quorate ledger verify /archive/builds-2025 --receipt old.tlog-proof")]
    Verify {
        /// The directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Show what the archive holds under this key
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        #[command(flatten)]
        key_as: KeyAs,
        /// That this receipt is of the archived history
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Change {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Why; everybody who is refused reads it, and it stays in _system for ever
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Refuse unless it was frozen and thawed so often (`ledger show` says how often): nobody else decided since
    #[arg(long, value_name = "REVISION")]
    expect_revision: Option<u64>,
}

/// Carries a command out.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    match &args.command {
        Command::Verify { dir, key, key_as, receipt } => {
            let key = key.as_deref().map(|key| key_as.encoding.decode(key)).transpose()?;
            frozen::verify(global, dir, key.as_deref(), receipt.as_deref())
        }
        Command::Archive { name, to } => {
            online(global, async |session| frozen::archive(session, name, to).await)
        }
        command => online(global, async |session| connected(session, command).await),
    }
}

async fn connected(session: &Session, command: &Command) -> Result<Exit, CliError> {
    let client = &session.client;
    let (ledgers, done) = match command {
        Command::Create { name } => {
            (vec![client.create_ledger(name).await?], format!("created; use it with --ledger {name}"))
        }
        Command::Show { name } => (vec![one(session, name).await?], String::new()),
        Command::Freeze(change) => {
            let Change { name, reason, expect_revision } = change;
            let frozen = client.admin().freeze(name, reason, *expect_revision).await?;
            let done = format!(
                "frozen at size {}; `quorate ledger archive {name} --to DIR` exports it",
                frozen.size
            );
            (vec![one(session, name).await?], done)
        }
        Command::Thaw(change) => {
            let Change { name, reason, expect_revision } = change;
            client.admin().thaw(name, reason, *expect_revision).await?;
            (vec![one(session, name).await?], "it takes writes".to_owned())
        }
        _ => (client.list_ledgers().await?, String::new()),
    };
    let verified = ledgers.iter().all(|ledger| ledger.verified);
    let document = json::Ledgers { ledgers: ledgers.iter().map(document).collect(), verified };
    session.output.result("ledgers", &document, |_| table(&ledgers))?;
    if !done.is_empty() {
        session.output.hint(&done);
    }
    if !verified {
        session.output.warn(
            "names, keys and states are the word of one replica: the policy does not list the ledger _system, whose registry \
             would prove them (add its policy file with --policy)",
        );
    }
    Ok(Exit::Done)
}

/// The ledger of this name.
pub(crate) async fn one(session: &Session, name: &str) -> Result<LedgerInfo, CliError> {
    let found = session.client.list_ledgers().await?.into_iter().find(|ledger| ledger.name == name);
    Ok(found.ok_or_else(|| Error::NotFound {
        reason: "unknown_ledger".to_owned(),
        message: format!("the cluster has no ledger {name}"),
    })?)
}

fn table(ledgers: &[LedgerInfo]) -> String {
    let mut table = Table::new(["NAME", "SIZE", "STATE", "ORIGIN"]);
    let mut notes = String::new();
    for ledger in ledgers {
        let size = ledger.size.map(|size| size.to_string()).unwrap_or_default();
        let state = if ledger.is_frozen() { "frozen" } else { "open" };
        table.row([ledger.name.clone(), size, state.to_owned(), ledger.origin.clone()]);
        if let Some(freeze) = &ledger.freeze {
            let word = if freeze.frozen { "frozen" } else { "thawed" };
            let reason = if freeze.reason.is_empty() { "no reason given" } else { &freeze.reason };
            let (name, reason) = (&ledger.name, text::line(reason));
            notes.push_str(&format!(
                "{name}: {word} (revision {} of frozen/{name} in _system): {reason}\n",
                freeze.revision
            ));
        }
    }
    format!("{table}{notes}")
}

fn document(ledger: &LedgerInfo) -> json::Ledger {
    json::Ledger {
        name: ledger.name.clone(),
        origin: ledger.origin.clone(),
        log_vkey: ledger.log_vkey.clone(),
        size: ledger.size.map(|size| size.to_string()),
        frozen: ledger.is_frozen(),
        freeze: ledger.freeze.as_ref().map(|freeze| json::Freeze {
            frozen: freeze.frozen,
            reason: freeze.reason.clone(),
            revision: freeze.revision.to_string(),
        }),
    }
}
