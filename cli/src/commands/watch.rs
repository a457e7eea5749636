//! `quorate watch`: the transactions of a ledger as they are certified, each proven.

use futures::StreamExt as _;
use quorate_client::{CheckpointOptions, Delivery, LogIndex, TransactionRecord};

use crate::convert;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys::KeyAs;
use crate::output::{json, text, time};
use crate::run::stop::Stop;
use crate::session::Session;

/// Follow the transactions of a ledger
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each transaction is shown once, in the order of the log, when a quorum has signed a checkpoint that
covers it. That none is missing is proven, with --prefix too. If a replica fails, another one goes
on where it was. With -o json, each transaction is one line, and its field `next` is what --from
takes to go on after it.

  quorate watch                                 from now on
  quorate watch --from 0 --prefix builds/       all there were, then from now on
  quorate watch --from 0 --limit 10 -o json     the first ten")]
pub(crate) struct Args {
    /// The first log index [default: the end of the log as of now]
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,

    /// Only transactions that write or delete a key that begins with this
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: String,

    #[command(flatten)]
    key_as: KeyAs,

    /// Without values
    #[arg(long)]
    keys_only: bool,

    /// End after so many transactions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// Follows.
pub(crate) async fn run(session: &Session, args: &Args) -> Result<Exit, CliError> {
    let mut stop = Stop::listen()?;
    let prefix = args.key_as.encoding.decode(&args.prefix)?;
    let from = match args.from {
        Some(from) => LogIndex::new(from),
        None => {
            let newest = session.ledger.checkpoint(CheckpointOptions::latest()).await?;
            newest.checkpoint().size.next_index()
        }
    };
    let asked = session.ledger.subscribe(from).prefix(prefix);
    let asked = if args.keys_only { asked.without_contents() } else { asked };
    session.output.hint(&format!("from log index {from} on; Ctrl-C ends"));
    let mut deliveries = asked.stream();
    let (mut position, mut shown) = (from, 0_u32);
    while args.limit.is_none_or(|limit| shown < limit) {
        let delivery = tokio::select! {
            _ = stop.requested() => break,
            delivery = deliveries.next() => delivery,
        };
        match delivery {
            Some(Ok(Delivery::Transaction(transaction))) => {
                position = transaction.index.next().unwrap_or(transaction.index);
                show(session, &transaction, position)?;
                shown = shown.saturating_add(1);
            }
            Some(Ok(Delivery::UpTo { next, .. })) => position = next,
            Some(Err(error)) => {
                session.output.hint(&format!("to go on: --from {position}"));
                return Err(error.into());
            }
            None => break,
        }
    }
    session.output.hint(&format!(
        "{}; to go on: --from {position}",
        text::count(usize::try_from(shown).unwrap_or(usize::MAX), "transaction")
    ));
    Ok(Exit::Done)
}

fn show(session: &Session, transaction: &TransactionRecord, next: LogIndex) -> Result<(), CliError> {
    let document = json::Change {
        ledger: session.ledger_name.clone(),
        index: transaction.index.to_string(),
        time: time::rfc3339(transaction.time),
        author: transaction.author.clone(),
        request_id: transaction.request_id.to_string(),
        operations: transaction.operations.iter().map(convert::operation).collect(),
        next: next.to_string(),
    };
    session.output.event("change", &document, |_| lines(transaction))
}

/// A line for each operation.
fn lines(transaction: &TransactionRecord) -> String {
    let line = |operation: &quorate_client::OperationRecord| {
        let value = operation.value.as_ref().map(|value| text::value(&value.value));
        format!(
            "{:>8}  {}  {:<6}  {}  {}\n",
            transaction.index,
            time::rfc3339(transaction.time),
            convert::kind_word(operation.kind),
            text::key(&operation.key),
            value.unwrap_or_default()
        )
    };
    transaction.operations.iter().map(line).collect()
}
