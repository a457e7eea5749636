//! `quorate get`: reads a value, or proves that there is none.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use quorate_client::{LogIndex, Micros, Read, Value};

use super::files::write_whole;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys::KeyArgs;
use crate::output::{json, text, time};
use crate::session::Session;
use crate::{clock, convert, duration};

/// Read a value
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The value goes to stdout, what proves it to stderr. A key without a value ends with exit code 4,
and that there is none is proven too.

  quorate get greeting
  quorate get greeting --at 17                  as of log index 17
  quorate get greeting --receipt g.tlog-proof   and a file that proves it without any network")]
pub(crate) struct Args {
    #[command(flatten)]
    key: KeyArgs,

    /// The answer as of this log index
    #[arg(long, value_name = "INDEX")]
    at: Option<u64>,

    /// Only the bytes of the value, nothing added
    #[arg(long)]
    raw: bool,

    /// Save a receipt of what the key holds now, or that it holds nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["at", "no_verify"])]
    receipt: Option<PathBuf>,

    /// Take the answer of any replica whose checkpoint was cosigned at most so long ago
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_nonzero)]
    max_staleness: Option<Duration>,
}

/// Reads.
pub(crate) async fn run(session: &Session, args: &Args) -> Result<Exit, CliError> {
    let key = args.key.bytes()?;
    let mut options = session.read_options();
    if let Some(index) = args.at {
        options = options.at(LogIndex::new(index));
    }
    if let Some(bound) = args.max_staleness {
        options = options.max_staleness(bound);
    }
    let read = session.ledger.get(&key, options).await?;
    if let Some(path) = &args.receipt {
        let receipt = session.ledger.state_receipt(&key).await?;
        write_whole(path, receipt.to_string().as_bytes())?;
    }
    tell(session, args, &key, &read)
}

fn tell(session: &Session, args: &Args, key: &[u8], read: &Read<Option<Value>>) -> Result<Exit, CliError> {
    let exit = if read.value.is_some() { Exit::Done } else { Exit::NotFound };
    if session.output.is_document() {
        let document = json::Value {
            ledger: session.ledger_name.clone(),
            item: convert::item_of_read(key, read),
            at: args.at.map(|index| index.to_string()),
            size: read.size.to_string(),
            receipt: args.receipt.as_ref().map(|path| path.display().to_string()),
            verified: read.checkpoint.is_some(),
            checkpoint: read.checkpoint.as_deref().map(convert::checkpoint),
        };
        session.output.document("value", &document)?;
        return Ok(exit);
    }
    let proof = convert::proof_line(read.checkpoint.as_deref());
    let as_of = args.at.map(|index| format!("as of index {index}: ")).unwrap_or_default();
    let Some(value) = &read.value else {
        let sentence = convert::state_sentence(read.state);
        let proven = if read.checkpoint.is_some() { "proven: " } else { "" };
        let message = format!("not found: {as_of}key {} {sentence} ({proven}{proof})", text::key(key));
        let next = format!("`quorate history {}` shows its writes", args.key.as_given());
        let next = read.written.is_some().then_some(next);
        session.output.error(exit, &message, next.as_deref());
        return Ok(exit);
    };
    show(session, args, value)?;
    if !args.raw {
        let expiry = value.expires_at.map(expiry).unwrap_or_default();
        let kind = value.content_type().map(|kind| format!(", {kind}")).unwrap_or_default();
        session.output.hint(&format!(
            "{as_of}revision {}, written at index {}{kind}{expiry}; {proof}",
            value.revision, value.index
        ));
    }
    Ok(exit)
}

/// When a value expires. It does so by the cosigners' clocks: the newest checkpoint may be older than this moment.
fn expiry(at: Micros) -> String {
    let date = time::rfc3339(at);
    if at > clock::now() {
        return format!(", expires {date}");
    }
    format!(", expired {date} by this machine's clock, which the newest cosignatures do not show yet")
}

/// The value itself: byte for byte into files and pipes, escaped onto a terminal.
fn show(session: &Session, args: &Args, value: &Value) -> Result<(), CliError> {
    if args.raw {
        return session.output.bytes(&value.value);
    }
    let is_terminal = std::io::stdout().is_terminal();
    let shown = match std::str::from_utf8(&value.value) {
        Ok(text) if !is_terminal => text.to_owned(),
        Ok(text) => text::lines(text),
        Err(_) => {
            session.output.hint("the value is no text, so it is shown as base64; --raw gives its bytes");
            text::base64(&value.value)
        }
    };
    let end = if shown.ends_with('\n') { "" } else { "\n" };
    session.output.text(&format!("{shown}{end}"))
}
