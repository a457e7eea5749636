//! `quorate tx`: a transaction, by its log index or by the request that asked for it.

use std::path::PathBuf;

use quorate_client::{LogIndex, TransactionId, TransactionRecord};

use super::files::write_whole;
use crate::convert;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Table, json, text, time};
use crate::session::Session;

/// Show a transaction
#[derive(Debug, clap::Args)]
#[command(after_help = "\
By its log index, or by the idempotency key it was asked for with.

  quorate tx 17
  quorate tx --request build-4711 --receipt build-4711.tlog-proof")]
pub(crate) struct Args {
    /// Its log index
    #[arg(value_name = "INDEX", required_unless_present = "request", conflicts_with = "request")]
    index: Option<u64>,

    /// The idempotency key of its request
    #[arg(long, value_name = "KEY")]
    request: Option<String>,

    /// Who asked, if it was not you
    #[arg(long, value_name = "NAME", requires = "request")]
    author: Option<String>,

    /// Save the receipt: a file that proves the transaction without any network
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

/// Shows.
pub(crate) async fn run(session: &Session, args: &Args) -> Result<Exit, CliError> {
    let id = match (args.index, &args.request) {
        (Some(index), _) => TransactionId::Index(LogIndex::new(index)),
        (None, request) => TransactionId::Request {
            author: args.author.clone(),
            idempotency_key: request.clone().unwrap_or_default().into_bytes(),
        },
    };
    let record = session.ledger.transaction(id).await?;
    // The receipt carries the checkpoint, which the record does not.
    let receipt = session.ledger.receipt_for(record.index).await?;
    let policy = session.ledger.policy().await?;
    let certified = policy.certify(receipt.note().clone()).map_err(|error| CliError::Unverified {
        message: format!("the checkpoint of transaction {}: {error}", record.index),
        next: "`quorate policy show` shows the keys that count".to_owned(),
    })?;
    if let Some(path) = &args.receipt {
        write_whole(path, receipt.to_string().as_bytes())?;
    }
    let document = json::Transaction {
        ledger: session.ledger_name.clone(),
        index: record.index.to_string(),
        time: time::rfc3339(record.time),
        not_after: time::rfc3339(record.not_after),
        author: record.author.clone(),
        request_id: record.request_id.to_string(),
        operations: record.operations.iter().map(convert::operation).collect(),
        receipt: args.receipt.as_ref().map(|path| path.display().to_string()),
        verified: true,
        checkpoint: Some(convert::checkpoint(&certified)),
    };
    session.output.result("transaction", &document, |_| table(&record))?;
    session.output.hint(&convert::certified_by(&certified));
    Ok(Exit::Done)
}

fn table(record: &TransactionRecord) -> String {
    let author = record.author.as_deref().map_or_else(|| "not shown".to_owned(), text::line);
    let mut table = Table::new(["OPERATION", "KEY", "REVISION", "VALUE"]);
    for operation in &record.operations {
        let value = operation.value.as_ref().map(|value| text::value(&value.value));
        table.row([
            convert::kind_word(operation.kind).to_owned(),
            text::key(&operation.key),
            operation.revision.to_string(),
            value.unwrap_or_default(),
        ]);
    }
    format!(
        "index    {}\ntime     {}\nauthor   {author} (by the word of the leader)\nrequest  {}\n\n{table}",
        record.index,
        time::rfc3339(record.time),
        record.request_id
    )
}
