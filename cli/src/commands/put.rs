//! `quorate put`: writes a value.

use std::path::PathBuf;
use std::time::Duration;

use quorate_client::{PutOptions, Transaction};

use super::files::read_value;
use super::write::WriteArgs;
use crate::artifact::parse_attribute;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys::KeyArgs;
use crate::session::Session;
use crate::{clock, duration};

/// Write a value
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The value is an argument, a file, or with `-` what stdin holds.

  quorate put greeting 'hello, world'
  quorate put config --file app.toml --content-type application/toml --if-absent
  date | quorate put now - --expires-in 1h --receipt now.tlog-proof")]
pub(crate) struct Args {
    #[command(flatten)]
    key: KeyArgs,

    /// The value, or - for stdin
    #[arg(
        value_name = "VALUE",
        required_unless_present = "file",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    value: Option<String>,

    /// Read the value from a file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Media type of the value, such as application/json
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,

    /// Attribute of the value; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_attribute)]
    attr: Vec<(String, String)>,

    /// From when on the key reads as absent, counted from now by this machine's clock
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_nonzero)]
    expires_in: Option<Duration>,

    #[command(flatten)]
    write: WriteArgs,
}

/// Writes.
pub(crate) async fn run(session: &Session, args: Args) -> Result<Exit, CliError> {
    args.write.check()?;
    let key = args.key.bytes()?;
    let value = match (&args.value, &args.file) {
        (Some(value), _) if value != "-" => value.clone().into_bytes(),
        (_, Some(file)) => read_value(file)?,
        _ => read_value("-".as_ref())?,
    };
    let expires_at = match args.expires_in {
        None => None,
        Some(after) => Some(clock::from_now(after).ok_or_else(|| {
            CliError::usage(
                "--expires-in: no clock will ever show that time",
                "leave it out: then it never expires",
            )
        })?),
    };
    let options = PutOptions { content_type: args.content_type, attributes: args.attr, expires_at };
    let transaction = Transaction::new().put_with(key.clone(), value, options);
    args.write.commit(session, &key, transaction, "put").await
}
