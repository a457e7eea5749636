//! The command line of `quorate backup`.

use std::path::PathBuf;

use clap::Subcommand;
use quorate_archive_s3::Location;

use super::{create, export, restore, verify};
use crate::cli::online;
use crate::error::CliError;
use crate::exit::Exit;
use crate::global::Global;
use crate::run::Nodes;

/// Back up a whole cluster, and verify backups
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write every ledger into a directory or an object store, or what is new since the last time
    #[command(after_help = "\
Hot: the cluster goes on, and goes before: the command lowers its own priority. Every leaf is
verified against a certified checkpoint before it is written. Run again on the same directory, it
adds what is new; it refuses the directory of another cluster, and leaves that do not continue
those that are there. Interrupted at any moment, the directory is as it was before; run it again.

  quorate backup create --to /backup/prod
  quorate backup create --to /backup/prod --replica 3
  quorate backup create --to s3://bucket/prod

For an S3-compatible store the settings are those of Amazon's tools: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, and AWS_ENDPOINT_URL for another store than Amazon's.")]
    Create(CreateArgs),
    /// Recompute every root of a backup, without any network
    #[command(after_help = "\
Checks every byte: file digests, log roots from the leaves, state roots from the operations,
values against their digests, and all of it against the cosigned checkpoints. With --policy (or
QUORATE_POLICY), whose cosigners must have signed; otherwise by the policy inside the backup,
which shows that nothing was altered, but not who signed. Exit code 10 if anything does not hold.

  quorate backup verify /backup/prod --policy default.policy")]
    Verify(VerifyArgs),
    /// Make a new cluster that continues the history in a backup
    #[command(after_help = "\
Verifies the whole backup on the way. The new cluster has an id, an origin, keys and certificates
of its own, every leaf of the old one, and a document in _system, under lineage/, that says what
it continues, for ever. The old cluster must not come back: two clusters would continue one
history. Clients need the policies in OUT/client. Nothing is made in a directory that is not empty.

  quorate backup restore /backup/prod --out cluster --policy old.policy \\
    --node 1=ledger-1.example --node 2=ledger-2.example --node 3=ledger-3.example

`quorate verify --receipt R --old-policy OLD` then proves that an old receipt is in the new history.")]
    Restore(RestoreArgs),
    /// Turn a backup into files that anybody can read: JSON lines, tiles and checkpoints
    #[command(after_help = "\
Verifies the backup first. The result is verified without this program by core/examples/verify_export.rs;
docs/formats.md says how it is laid out.

  quorate backup export /backup/prod --out export --policy default.policy")]
    Export(ExportArgs),
    /// Turn an export back into a backup, to verify and to restore it
    #[command(after_help = "  quorate backup import export --to /backup/again")]
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Where to write: a directory, or s3://BUCKET/PREFIX; empty, or with a backup of this cluster
    #[arg(long, value_name = "PLACE")]
    pub(super) to: Location,

    /// Read from this node only [default: from any]
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) replica: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Where the backup is: a directory, or s3://BUCKET/PREFIX
    #[arg(value_name = "PLACE")]
    pub(super) from: Location,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// Where the backup is: a directory, or s3://BUCKET/PREFIX
    #[arg(value_name = "PLACE")]
    pub(super) from: Location,

    /// Directory to write to: empty, or not there
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// Directory of the export
    #[arg(value_name = "EXPORT")]
    pub(super) export: PathBuf,

    /// Where to make the backup: a directory, or s3://BUCKET/PREFIX; empty, or not there
    #[arg(long, value_name = "PLACE")]
    pub(super) to: Location,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// Where the backup is: a directory, or s3://BUCKET/PREFIX
    #[arg(value_name = "PLACE")]
    pub(super) from: Location,

    /// Folder to make the new cluster in: empty, or not there
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,

    /// Name of the new cluster [default: that of the old one]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,

    #[command(flatten)]
    pub(super) nodes: Nodes,
}

/// Priority of a backup, as `nice` counts.
const YIELDING: i32 = 10;

/// Has this process give way to all others: where a backup is made on the machine of a node, writes go before it.
fn give_way() {
    // Refused, it is made all the same.
    rustix::process::nice(YIELDING).ok();
}

/// Carries out the command.
pub(crate) fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    match &args.command {
        Command::Create(args) => {
            give_way();
            online(global, async |session| create::run(global, session, args).await)
        }
        Command::Verify(args) => verify::run(global, args),
        Command::Restore(args) => restore::run(global, args),
        Command::Export(args) => export::export(global, args),
        Command::Import(args) => export::import(global, args),
    }
}
