//! `quorate history`: the writes of a key, proven complete.

use std::sync::Arc;

use quorate_client::{CertifiedCheckpoint, HistoryEntry, LogIndex, ReadOptions};

use crate::convert;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys::KeyArgs;
use crate::output::json::{self, Bytes};
use crate::output::{Table, text, time};
use crate::session::Session;

/// Most writes that a server gives at once.
const MAX_PAGE: u32 = 1_000;

/// List the writes of a key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The newest comes first. That none was left out is proven: each write names the one before.")]
pub(crate) struct Args {
    #[command(flatten)]
    key: KeyArgs,

    /// From the first write to the newest
    #[arg(long)]
    oldest_first: bool,

    /// At most so many writes
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// The answer as of this log index
    #[arg(long, value_name = "INDEX")]
    at: Option<u64>,
}

/// Lists.
pub(crate) async fn run(session: &Session, args: &Args) -> Result<Exit, CliError> {
    let key = args.key.bytes()?;
    let mut options = session.read_options();
    if let Some(index) = args.at {
        options = options.at(LogIndex::new(index));
    }
    let found = collect(session, &key, args.oldest_first, args.limit, options).await?;
    if found.entries.is_empty() {
        let proof = convert::proof_line(found.checkpoint.as_deref());
        return Err(CliError::NotFound {
            message: format!("not found: key {} was never written ({proof})", text::key(&key)),
            next: "`quorate scan --prefix P` lists the keys that begin with P".to_owned(),
        });
    }
    let order = if args.oldest_first { "oldest_first" } else { "newest_first" };
    let document = json::History {
        ledger: session.ledger_name.clone(),
        key: Bytes::of(&key),
        order,
        writes: found.entries.iter().map(|entry| convert::item_of_history(&key, entry)).collect(),
        complete: found.complete,
        verified: found.checkpoint.is_some(),
        checkpoint: found.checkpoint.as_deref().map(convert::checkpoint),
    };
    session.output.result("history", &document, |_| {
        let mut table = Table::new(["REVISION", "INDEX", "TIME", "WRITE", "VALUE"]);
        for entry in &found.entries {
            let item = convert::item_of_history(&key, entry);
            let value = entry.value.as_ref().map(|value| text::value(&value.value));
            table.row([
                entry.revision.to_string(),
                entry.index.to_string(),
                entry.time.map(time::rfc3339).unwrap_or_default(),
                item.state.to_owned(),
                value.unwrap_or_default(),
            ]);
        }
        table.to_string()
    })?;
    let more = if found.complete { "" } else { "; there are more: --limit" };
    session.output.hint(&format!(
        "{}{more}; {}",
        text::count(found.entries.len(), "write"),
        convert::proof_line(found.checkpoint.as_deref())
    ));
    Ok(Exit::Done)
}

/// The writes of a key.
pub(super) struct Writes {
    pub(super) entries: Vec<HistoryEntry>,
    /// Whether these are all there are.
    pub(super) complete: bool,
    /// The checkpoint of the last page; `None` if nothing was asked.
    pub(super) checkpoint: Option<Arc<CertifiedCheckpoint>>,
}

/// Asks for pages until there are as many writes as wanted.
pub(super) async fn collect(
    session: &Session,
    key: &[u8],
    oldest_first: bool,
    limit: u32,
    options: ReadOptions,
) -> Result<Writes, CliError> {
    // One more than wanted tells whether there are more.
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let page_size = limit.saturating_add(1).min(MAX_PAGE);
    let mut history = session.ledger.history(key).options(options).page_size(page_size);
    if oldest_first {
        history = history.oldest_first();
    }
    let mut writes = Writes { entries: Vec::new(), complete: true, checkpoint: None };
    while let Some(page) = history.next_page().await? {
        writes.entries.extend(page.entries);
        writes.checkpoint = Some(page.checkpoint);
        if writes.entries.len() > wanted {
            writes.entries.truncate(wanted);
            writes.complete = false;
            break;
        }
    }
    Ok(writes)
}
