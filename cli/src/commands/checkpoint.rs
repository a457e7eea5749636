//! `quorate checkpoint`: the signed note that everything hangs on.

use std::path::PathBuf;

use quorate_client::{CheckpointOptions, TreeSize};

use super::files::write_whole;
use crate::convert;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::json;
use crate::session::Session;

/// Show or save the certified checkpoint of a ledger
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The note on stdout is what the log and the replicas signed (c2sp.org/tlog-checkpoint).")]
pub(crate) struct Args {
    /// The checkpoint at this size, which must be the end of a block [default: the latest]
    #[arg(long, value_name = "SIZE", value_parser = clap::value_parser!(u64).range(1..))]
    size: Option<u64>,

    /// Ask for the cosignatures of so many replicas, if that is more than the policy asks for
    #[arg(long, value_name = "N")]
    min_cosigners: Option<u32>,

    /// Save the note to a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Shows or saves.
pub(crate) async fn run(session: &Session, args: &Args) -> Result<Exit, CliError> {
    let mut options = args
        .size
        .map_or_else(CheckpointOptions::latest, |size| CheckpointOptions::at_size(TreeSize::new(size)));
    if let Some(count) = args.min_cosigners {
        options = options.min_cosigners(count);
    }
    let certified = session.ledger.checkpoint(options).await?;
    let note = certified.note().to_string();
    if let Some(path) = &args.out {
        write_whole(path, note.as_bytes())?;
    }
    let document = json::CheckpointNote {
        ledger: session.ledger_name.clone(),
        checkpoint: convert::checkpoint(&certified),
        note,
        file: args.out.as_ref().map(|path| path.display().to_string()),
    };
    session.output.result("checkpoint", &document, |document| document.note.clone())?;
    session.output.hint(&convert::certified_by(&certified));
    Ok(Exit::Done)
}
