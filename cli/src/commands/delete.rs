//! `quorate delete`: deletes a key.

use quorate_client::Transaction;

use super::write::WriteArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys::KeyArgs;
use crate::session::Session;

/// Delete a key; its history stays
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The key reads as absent from then on. What was written before stays in the log and in its
history.")]
pub(crate) struct Args {
    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    write: WriteArgs,
}

/// Deletes.
pub(crate) async fn run(session: &Session, args: Args) -> Result<Exit, CliError> {
    args.write.check()?;
    let key = args.key.bytes()?;
    let transaction = Transaction::new().delete(key.clone());
    args.write.commit(session, &key, transaction, "deleted").await
}
