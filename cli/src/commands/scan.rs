//! `quorate scan`: the keys of a prefix or a range, proven complete.

use std::sync::Arc;

use quorate_client::{CertifiedCheckpoint, Entry, LogIndex, Query};

use crate::convert;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys::KeyAs;
use crate::output::json::{self, Bytes};
use crate::output::{Table, text};
use crate::session::Session;

/// Most keys that a server gives at once.
const MAX_PAGE: u32 = 1_000;

/// List the keys of a prefix or a range
#[derive(Debug, clap::Args)]
#[command(after_help = "\
All keys if neither is given. That none was left out is proven. Deleted and expired keys are not
shown.

  quorate scan --prefix builds/
  quorate scan --first a --end b --reverse --limit 10
  quorate scan --at 17                          as of log index 17")]
pub(crate) struct Args {
    /// Keys that begin with this
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["first", "end"])]
    prefix: Option<String>,

    /// Keys from this one on
    #[arg(long, value_name = "KEY")]
    first: Option<String>,

    /// Keys below this one
    #[arg(long, value_name = "KEY")]
    end: Option<String>,

    #[command(flatten)]
    key_as: KeyAs,

    /// From the last key to the first
    #[arg(long)]
    reverse: bool,

    /// At most so many keys
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// The answer as of this log index
    #[arg(long, value_name = "INDEX")]
    at: Option<u64>,

    /// Only the keys
    #[arg(long)]
    keys_only: bool,
}

/// What was found.
struct Found {
    entries: Vec<Entry>,
    complete: bool,
    checkpoint: Option<Arc<CertifiedCheckpoint>>,
}

/// The question, decoded.
struct Question {
    prefix: Option<Vec<u8>>,
    first: Option<Vec<u8>>,
    end: Option<Vec<u8>>,
}

/// Lists.
pub(crate) async fn run(session: &Session, args: &Args) -> Result<Exit, CliError> {
    let question = Question::of(args)?;
    let found = collect(session, args, question.query()).await?;
    let bytes = |key: &Option<Vec<u8>>| key.as_deref().map(Bytes::of);
    let document = json::Scan {
        ledger: session.ledger_name.clone(),
        prefix: bytes(&question.prefix),
        first: bytes(&question.first),
        end: bytes(&question.end),
        reverse: args.reverse,
        items: found.entries.iter().map(convert::item_of_entry).collect(),
        complete: found.complete,
        verified: found.checkpoint.is_some(),
        checkpoint: found.checkpoint.as_deref().map(convert::checkpoint),
    };
    session.output.result("scan", &document, |_| table(&found.entries, args.keys_only))?;
    let more = if found.complete { "" } else { "; there are more: --limit" };
    session.output.hint(&format!(
        "{}{more}; {}",
        text::count(found.entries.len(), "key"),
        convert::proof_line(found.checkpoint.as_deref())
    ));
    Ok(Exit::Done)
}

impl Question {
    fn of(args: &Args) -> Result<Self, CliError> {
        let decode =
            |key: &Option<String>| key.as_deref().map(|key| args.key_as.encoding.decode(key)).transpose();
        let question =
            Self { prefix: decode(&args.prefix)?, first: decode(&args.first)?, end: decode(&args.end)? };
        match &question.end {
            Some(end) if *end <= question.first.clone().unwrap_or_default() => Err(CliError::usage(
                "--end is not greater than --first, so there is nothing between them",
                "keys are ordered by their bytes; --reverse lists a range from its end",
            )),
            _ => Ok(question),
        }
    }

    fn query(&self) -> Query {
        if self.first.is_none() && self.end.is_none() {
            return Query::Prefix(self.prefix.clone().unwrap_or_default());
        }
        Query::Range { first: self.first.clone().unwrap_or_default(), end: self.end.clone() }
    }
}

async fn collect(session: &Session, args: &Args, query: Query) -> Result<Found, CliError> {
    let mut options = session.read_options();
    if let Some(index) = args.at {
        options = options.at(LogIndex::new(index));
    }
    // One more than wanted tells whether there are more.
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut scan = session.ledger.scan(query, options).page_size(args.limit.saturating_add(1).min(MAX_PAGE));
    if args.reverse {
        scan = scan.reverse();
    }
    if args.keys_only {
        scan = scan.keys_only();
    }
    let mut found = Found { entries: Vec::new(), complete: true, checkpoint: None };
    while let Some(page) = scan.next_page().await? {
        found.entries.extend(page.entries);
        found.checkpoint = page.checkpoint;
        if found.entries.len() > wanted {
            found.entries.truncate(wanted);
            found.complete = false;
            break;
        }
    }
    Ok(found)
}

fn table(entries: &[Entry], keys_only: bool) -> String {
    if keys_only {
        return entries.iter().map(|entry| format!("{}\n", text::key(&entry.key))).collect();
    }
    let mut table = Table::new(["KEY", "REVISION", "INDEX", "VALUE"]);
    for entry in entries {
        let value = entry.value.as_ref().map(|value| text::value(&value.value));
        let written = entry.written.as_ref();
        table.row([
            text::key(&entry.key),
            written.map(|written| written.revision.to_string()).unwrap_or_default(),
            written.map(|written| written.index.to_string()).unwrap_or_default(),
            value.unwrap_or_else(|| format!("({})", convert::state_word(entry.state))),
        ]);
    }
    table.to_string()
}
