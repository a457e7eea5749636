//! `quorate ledger`: creates and lists ledgers.

use clap::Subcommand;
use quorate_client::LedgerInfo;

use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Table, json};
use crate::session::Session;

/// Create and list ledgers
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
}

/// Creates or lists.
pub(crate) async fn run(session: &Session, args: &Args) -> Result<Exit, CliError> {
    let (ledgers, done) = match &args.command {
        Command::Create { name } => {
            (vec![session.client.create_ledger(name).await?], format!("created; use it with --ledger {name}"))
        }
        Command::List => (session.client.list_ledgers().await?, String::new()),
    };
    let verified = ledgers.iter().all(|ledger| ledger.verified);
    let document = json::Ledgers { ledgers: ledgers.iter().map(document).collect(), verified };
    session.output.result("ledgers", &document, |_| {
        let mut table = Table::new(["NAME", "SIZE", "ORIGIN"]);
        for ledger in &ledgers {
            let size = ledger.size.map(|size| size.to_string()).unwrap_or_default();
            table.row([ledger.name.clone(), size, ledger.origin.clone()]);
        }
        table.to_string()
    })?;
    if !done.is_empty() {
        session.output.hint(&done);
    }
    if !verified {
        session.output.warn(
            "names and keys are the word of one replica: the policy does not list the ledger _system, whose registry \
             would prove them (add its policy file with --policy)",
        );
    }
    Ok(Exit::Done)
}

fn document(ledger: &LedgerInfo) -> json::Ledger {
    json::Ledger {
        name: ledger.name.clone(),
        origin: ledger.origin.clone(),
        log_vkey: ledger.log_vkey.clone(),
        size: ledger.size.map(|size| size.to_string()),
    }
}
